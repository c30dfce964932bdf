//! A fault of an input: in one field, or in the whole body.

use std::borrow::Cow;
use std::fmt;

/// Which field is wrong, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldFault {
    /// The field's name as the client writes it; empty if it is the input as a whole.
    pub field: Cow<'static, str>,
    /// What must be true of it.
    pub reason: Cow<'static, str>,
}

impl FieldFault {
    pub(crate) fn new(field: impl Into<Cow<'static, str>>, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

impl fmt::Display for FieldFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() { f.write_str(&self.reason) } else { write!(f, "{}: {}", self.field, self.reason) }
    }
}

/// What is wrong with a body as a whole, so that nothing after it can be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BodyFault {
    /// It ends in the middle.
    #[error("the body ends too early: {0}")]
    Truncated(String),
    /// It is not what its type and encoding say.
    #[error("the body cannot be read: {0}")]
    Malformed(String),
    /// It unpacks to far more than real input does.
    #[error("the body unpacks to more than {0} times its size")]
    Bomb(u64),
}

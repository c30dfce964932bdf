//! A fault of an input: in a field, or in the whole body.

use std::borrow::Cow;
use std::fmt;

/// The wrong field, and the reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldFault {
    /// The field's name as the client writes it; empty for the input as a whole.
    pub field: Cow<'static, str>,
    /// The violated rule.
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

/// A fault of the whole body: the rest cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BodyFault {
    /// The body ends in the middle.
    #[error("the body ends too early: {0}")]
    Truncated(String),
    /// The body does not match its type and encoding.
    #[error("the body cannot be read: {0}")]
    Malformed(String),
    /// The body unpacks to far more than real input does.
    #[error("the body unpacks to more than {0} times its size")]
    Bomb(u64),
}

//! Documents: JSON texts, kept as they were written.

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::RecordError;
use super::json_text::{BrokenJson, JsonCursor};
use super::merge::merge;
use crate::payload::{FieldFault, JsonFault, read_json};

/// The longest document, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// How deep objects and lists may lie in one another: PostgreSQL's and many clients' readers recurse.
const MAX_DEPTH: usize = 128;

/// A JSON value of at most [`MAX_DOCUMENT_BYTES`], as its text.
#[derive(Clone, Debug)]
pub struct Document(Box<str>);

impl Document {
    /// Reads a JSON text.
    ///
    /// # Errors
    /// `TooLarge`, or the fault of the text.
    pub fn read(text: &[u8]) -> Result<Self, RecordError> {
        Self::new(read_json(text)?)
    }

    /// Takes a JSON value that is part of a request.
    ///
    /// # Errors
    /// `TooLarge`, or too deep nesting.
    pub fn new(value: Box<RawValue>) -> Result<Self, RecordError> {
        if value.get().len() > MAX_DOCUMENT_BYTES {
            return Err(RecordError::TooLarge);
        }
        if depth(value.get()) > MAX_DEPTH {
            let why = format!("must not nest objects and lists deeper than {MAX_DEPTH}");
            return Err(FieldFault::new("", why).into());
        }
        Ok(Self(value.into()))
    }

    /// The text of a stored document. The text was read as JSON before it was stored, and the type of the column checks
    /// it too.
    pub(super) fn stored(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The document's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text of a member of the object, or `None` if no member has this name.
    pub(super) fn member(&self, name: &str) -> Result<Option<&str>, FieldFault> {
        let mut cursor = JsonCursor::new(self.as_str());
        if !cursor.is_at_object() {
            return Err(FieldFault::new("", "must be a JSON object"));
        }
        let (mut found, mut is_repeated) = (None, false);
        let read = cursor.read_members(|member, cursor| {
            let value = cursor.skip_value()?;
            if member.meaning()? == name.as_bytes() {
                is_repeated |= found.replace(value).is_some();
            }
            Ok(())
        });
        match read {
            Err(BrokenJson) => Err(FieldFault::new("", "cannot be read as JSON")),
            Ok(()) if is_repeated => Err(FieldFault::new(name.to_owned(), "must be there only once")),
            Ok(()) => Ok(found),
        }
    }

    /// The document with a patch applied (JSON Merge Patch, RFC 7396): members of the patch replace members of the
    /// document, `null` removes members, and all other members stay as they were written.
    ///
    /// # Errors
    /// `TooLarge`, or nested too deeply.
    pub fn merged(&self, patch: &Self) -> Result<Self, RecordError> {
        let merged = merge(self.as_str(), patch.as_str());
        let merged = merged.map_err(|BrokenJson| RecordError::Syntax("the stored text cannot be read".to_owned()))?;
        Self::read(merged.as_bytes())
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // serde_json writes a text as it is only after it has read the text itself. Where that counts, the writer of an
        // answer takes `as_str`.
        serde_json::from_str::<&RawValue>(&self.0).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl From<JsonFault> for RecordError {
    fn from(fault: JsonFault) -> Self {
        match fault {
            JsonFault::Syntax(reason) => Self::Syntax(reason),
            JsonFault::Field(fault) => Self::Field(fault),
        }
    }
}

/// How deep a JSON text nests; its brackets are known to pair up.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_found_whatever_stands_beside_it() {
        let document = Document::read(br#"{"\ud83d":1,"a":{"b":2},"twice":1,"tw\u0069ce":2,"\u0062":"x"}"#).unwrap();
        assert_eq!(document.member("a").unwrap(), Some("{\"b\":2}"));
        assert_eq!(document.member("b").unwrap(), Some("\"x\""));
        assert_eq!(document.member("c").unwrap(), None);
        assert!(document.member("twice").is_err());
        assert!(Document::read(b"[1]").unwrap().member("a").is_err());
        assert!(Document::stored("{\"a\"").member("a").is_err(), "what cannot be read is not empty");
    }

    #[test]
    fn deep_and_long_documents_are_refused() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Document::read(deep(128).as_bytes()).is_ok());
        assert!(Document::read(deep(129).as_bytes()).is_err());
        assert!(Document::read(deep(500_000).as_bytes()).is_err());
        assert!(Document::read(format!("\"{}\\\"[[{}\"", "[".repeat(200), "{".repeat(200)).as_bytes()).is_ok());
        let long = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        assert!(Document::read(long(MAX_DOCUMENT_BYTES).as_bytes()).is_ok());
        assert!(matches!(Document::read(long(MAX_DOCUMENT_BYTES + 1).as_bytes()), Err(RecordError::TooLarge)));
    }
}

//! Documents: JSON texts that are kept as they were written.

use std::borrow::Cow;

use serde::de::{MapAccess, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::RecordError;
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
    /// `TooLarge`, or what is wrong with it.
    pub fn read(text: &[u8]) -> Result<Self, RecordError> {
        Self::new(read_json(text)?)
    }

    /// Takes a JSON value that is part of a request.
    ///
    /// # Errors
    /// `TooLarge`, or that it is nested too deeply.
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

    /// The text of a stored document. It was read as JSON before it was stored, and the column's type sees to it too.
    pub(super) fn stored(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if it is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.as_str().starts_with('{')
    }

    /// A member of the object, or `None` if it has none of this name.
    pub(super) fn member(&self, name: &str) -> Result<Option<&RawValue>, FieldFault> {
        if !self.is_object() {
            return Err(FieldFault::new("", "must be a JSON object"));
        }
        let members = ObjectMembers::of(self.as_str());
        let mut named = members.0.iter().filter(|(key, _)| key == name);
        match (named.next(), named.next()) {
            (Some(_), Some(_)) => Err(FieldFault::new(name.to_owned(), "must be there only once")),
            (found, _) => Ok(found.map(|(_, value)| *value)),
        }
    }

    /// The document with a patch applied to it (JSON Merge Patch, RFC 7396): members of the patch replace those of the
    /// document, `null` removes them. What the patch does not name stays as it was written.
    ///
    /// # Errors
    /// `TooLarge`, or nested too deeply.
    pub fn merged(&self, patch: &Self) -> Result<Self, RecordError> {
        let mut text = String::with_capacity(self.as_str().len() + patch.as_str().len());
        merge(Some(self.as_str()), patch.as_str(), &mut text);
        Self::read(text.as_bytes())
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A text is written as it is only if serde_json has read it itself. Where that counts, whoever writes an answer
        // takes `as_str`.
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

/// The members of an object, in their order.
#[derive(Default)]
struct ObjectMembers<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> ObjectMembers<'a> {
    /// Those of a JSON text that is known to be good; none if it is no object.
    fn of(text: &'a str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for ObjectMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MemberPairs;
        impl<'de> Visitor<'de> for MemberPairs {
            type Value = ObjectMembers<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ObjectMembers<'de>, A::Error> {
                #[derive(Deserialize)]
                struct MemberName<'a>(#[serde(borrow)] Cow<'a, str>);
                let mut members = Vec::new();
                while let Some((MemberName(name), value)) = map.next_entry::<MemberName<'de>, &'de RawValue>()? {
                    members.push((name, value));
                }
                Ok(ObjectMembers(members))
            }
        }
        deserializer.deserialize_map(MemberPairs)
    }
}

/// Writes `target` with `patch` applied; both are good JSON, and not deeper than [`MAX_DEPTH`].
fn merge(target: Option<&str>, patch: &str, out: &mut String) {
    if !patch.starts_with('{') {
        out.push_str(patch);
        return;
    }
    let (old, new) = (target.map(ObjectMembers::of).unwrap_or_default(), ObjectMembers::of(patch));
    let change_of = |name: &str| new.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.get());
    let mut first = true;
    let mut name_member = |name: &str, out: &mut String| {
        out.push_str(if std::mem::take(&mut first) { "{" } else { "," });
        // A text always becomes JSON.
        out.push_str(&serde_json::to_string(name).unwrap_or_default());
        out.push(':');
    };
    for (name, value) in &old.0 {
        match change_of(name) {
            None => {
                name_member(name, out);
                out.push_str(value.get());
            }
            Some("null") => {}
            Some(change) => {
                name_member(name, out);
                merge(Some(value.get()), change, out);
            }
        }
    }
    for (place, (name, value)) in new.0.iter().enumerate() {
        let is_old = old.0.iter().any(|(key, _)| key == name);
        let comes_again = new.0.iter().skip(place + 1).any(|(key, _)| key == name);
        if !is_old && !comes_again && value.get() != "null" {
            name_member(name, out);
            merge(None, value.get(), out);
        }
    }
    out.push_str(if first { "{}" } else { "}" });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::read(text.as_bytes()).unwrap()
    }

    /// The examples of RFC 7396, appendix A.
    #[test]
    fn merge_patches_of_the_rfc() {
        for (target, patch, merged) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(document(target).merged(&document(patch)).unwrap().as_str(), merged, "{target} + {patch}");
        }
    }

    #[test]
    fn what_a_patch_does_not_name_stays_as_it_was_written() {
        let merged = document(r#"{"price":9.50,"big":123456789012345678901234567890,"s":{ "n" : null }}"#)
            .merged(&document(r#"{"new":1e2}"#))
            .unwrap();
        let expected = r#"{"price":9.50,"big":123456789012345678901234567890,"s":{ "n" : null },"new":1e2}"#;
        assert_eq!(merged.as_str(), expected);
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

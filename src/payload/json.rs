//! Reads valid JSON fast, and names the wrong field of any other.

use serde::Deserialize;

use super::fault::FieldFault;
use super::opening::{UTF_16, is_utf_16, skip_mark};

/// The longest reason, as a client's own text may be part of it.
const MAX_REASON: usize = 300;

/// The longest name of a field; longer names are nonsense.
const MAX_FIELD: usize = 100;

/// Rust's types mean nothing to a client.
const PLAIN_TYPES: [(&str, &str); 4] = [
    ("expected i64", "expected a whole number of 64 bits"),
    ("expected a nonzero u32", "expected a whole number from 1 to 4294967295"),
    ("expected variant identifier", "expected a text"),
    ("invalid type: floating point `", "invalid type: number `"),
];

/// What stands before the name of a Rust type that is an object to a client.
const BEFORE_OBJECTS: [&str; 2] = ["expected struct ", "expected internally tagged enum "];

/// What the reader of UUIDs says, before what is of no use to a client.
const NO_UUID: &str = "UUID parsing failed";

/// The fault of a JSON text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JsonFault {
    /// The text is no JSON, or not UTF-8.
    Syntax(String),
    /// The JSON has the wrong content. The field's name is empty if the text as a whole is wrong.
    Field(FieldFault),
}

/// The JSON text after an optional byte order mark.
///
/// # Errors
/// `Syntax` for UTF-16.
pub fn plain_text(text: &[u8]) -> Result<&[u8], JsonFault> {
    if is_utf_16(text) {
        return Err(JsonFault::Syntax(UTF_16.to_owned()));
    }
    Ok(skip_mark(text))
}

/// Reads one JSON value, which may borrow from the text.
///
/// # Errors
/// The fault and its field. A faulty text is read twice, as the bookkeeping of fields would slow valid texts down.
pub fn read_json<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, JsonFault> {
    let Ok(text) = std::str::from_utf8(plain_text(text)?) else {
        return Err(JsonFault::Syntax("is not valid UTF-8".to_owned()));
    };
    serde_json::from_str(text).map_err(|quick| {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
            // The value itself is valid, but other text follows.
            Ok(_) => JsonFault::Syntax(plain_reason(&quick)),
            Err(error) if error.inner().is_data() => {
                let reason = plain_reason(error.inner());
                let path = error.path().to_string();
                // "." is the text as a whole. Only serde's message names a missing or unknown field.
                let field = match path.as_str() {
                    "." => named_field(&reason).unwrap_or_default(),
                    path if path.len() > MAX_FIELD => "",
                    path => path,
                };
                JsonFault::Field(FieldFault::new(field.to_owned(), reason))
            }
            Err(error) => JsonFault::Syntax(plain_reason(error.inner())),
        }
    })
}

/// serde's message without the position, which would be relative to the record of a stream.
fn plain_reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    shorten_reason(&plain_words(reason))
}

fn plain_words(reason: &str) -> String {
    if reason.starts_with(NO_UUID) {
        return "must be a UUID, such as 019a9e4b-3f21-7c5a-9e02-7a002a5d4c1e".to_owned();
    }
    for before in BEFORE_OBJECTS {
        if let Some((start, rest)) = reason.split_once(before) {
            let end = rest.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(rest.len());
            return format!("{start}expected an object{}", rest.get(end..).unwrap_or_default());
        }
    }
    PLAIN_TYPES.iter().fold(reason.to_owned(), |reason, (rust, plain)| reason.replace(rust, plain))
}

/// The text, cut to the longest reason.
#[must_use]
pub fn shorten_reason(text: &str) -> String {
    match text.char_indices().nth(MAX_REASON) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The field in serde's messages such as "missing field `user_id`".
#[must_use]
pub fn named_field(message: &str) -> Option<&str> {
    let rest = ["missing field `", "unknown field `", "duplicate field `"]
        .iter()
        .find_map(|start| message.split_once(start).map(|(_, rest)| rest))?;
    rest.split_once('`').map(|(field, _)| field).filter(|field| field.len() <= MAX_FIELD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_name_no_type_of_rust() {
        for (reason, plain) in [
            (
                "invalid type: integer `1`, expected struct OperationInput",
                "invalid type: integer `1`, expected an object",
            ),
            (
                "invalid type: null, expected internally tagged enum X, or more",
                "invalid type: null, expected an object, or more",
            ),
            ("invalid type: integer `1`, expected variant identifier", "invalid type: integer `1`, expected a text"),
            (
                "invalid type: floating point `1e20`, expected i64",
                "invalid type: number `1e20`, expected a whole number of 64 bits",
            ),
            ("missing field `expected`", "missing field `expected`"),
        ] {
            assert_eq!(plain_words(reason), plain);
        }
        assert!(plain_words("UUID parsing failed: invalid character").starts_with("must be a UUID"));
    }
}

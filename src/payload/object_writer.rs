//! Writes JSON objects whose names are known: a page holds a dozen names and values a row, and serde looks at each name
//! for characters to escape.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::time;

/// An object being written. Each name is given as it stands in the text: `"name":`, after a comma but for the first.
pub(crate) struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> ObjectWriter<'a> {
    /// Begins an object.
    pub(crate) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out }
    }

    /// Writes a text, or null.
    ///
    /// # Errors
    /// Never, as the text goes into memory.
    pub(crate) fn text(&mut self, name: &'static str, value: Option<&str>) -> Result<(), serde_json::Error> {
        self.name(name);
        match value {
            None => self.out.extend_from_slice(b"null"),
            Some(text) if needs_no_escape(text) => self.quote(text.as_bytes()),
            Some(text) => serde_json::to_writer(&mut *self.out, text)?,
        }
        Ok(())
    }

    /// Writes a number, or null.
    ///
    /// # Errors
    /// Never, as for a text.
    pub(crate) fn number(&mut self, name: &'static str, value: Option<i64>) -> Result<(), serde_json::Error> {
        self.name(name);
        serde_json::to_writer(&mut *self.out, &value)
    }

    /// Writes true or false.
    pub(crate) fn flag(&mut self, name: &'static str, value: bool) {
        self.name(name);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Writes an id, or null.
    pub(crate) fn id(&mut self, name: &'static str, value: Option<Uuid>) {
        self.name(name);
        match value {
            None => self.out.extend_from_slice(b"null"),
            Some(id) => self.quote(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes()),
        }
    }

    /// Writes a time, or null.
    ///
    /// # Errors
    /// Never, as for a text.
    pub(crate) fn time(&mut self, name: &'static str, value: Option<&DateTime<Utc>>) -> Result<(), serde_json::Error> {
        self.name(name);
        match value {
            None => self.out.extend_from_slice(b"null"),
            Some(at) => time::write_time(at, self.out)?,
        }
        Ok(())
    }

    /// Ends the object.
    pub(crate) fn end(self) {
        self.out.push(b'}');
    }

    fn name(&mut self, name: &'static str) {
        self.out.extend_from_slice(name.as_bytes());
    }

    fn quote(&mut self, text: &[u8]) {
        self.out.push(b'"');
        self.out.extend_from_slice(text);
        self.out.push(b'"');
    }
}

/// True for a text that stands in JSON as it is (RFC 8259, section 7). Looks at every byte, so that the compiler takes
/// many at once.
fn needs_no_escape(text: &str) -> bool {
    !text.bytes().fold(false, |found, byte| found | (byte < 0x20) | (byte == b'"') | (byte == b'\\'))
}

//! A file's `ETag`: the state that a client knows.

use std::fmt;

use ring::digest::{SHA256, digest};

use super::model::File;
use super::page_codec::{FILE_BYTES, write_file};

/// A hash of all that clients see of a file: every change of the answer changes the tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileTag(u128);

impl FileTag {
    /// The tag of this text; `None` if no file can have such a tag.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_tag = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        u128::from_str_radix(text, 16).ok().filter(|_| is_tag).map(Self)
    }
}

impl fmt::Display for FileTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl File {
    /// The tag of the file's state.
    #[must_use]
    pub fn tag(&self) -> FileTag {
        // The packed fields cost a third of what the JSON costs, which an answer to `POST /ingest` would notice.
        let mut packed = Vec::with_capacity(FILE_BYTES);
        write_file(&mut packed, self);
        let half = digest(&SHA256, &packed).as_ref().first_chunk().map_or(0, |half| u128::from_be_bytes(*half));
        FileTag(half)
    }
}

/// In what state a file must be to be changed or deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileCondition {
    /// In any state; a missing file is an error.
    Any,
    /// The file must exist.
    Present,
    /// In the state of this tag; `None` for a text that is no file's tag.
    Tag(Option<FileTag>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_read_as_it_is_written() {
        for tag in [FileTag(0), FileTag(u128::MAX), FileTag(0x1234)] {
            assert_eq!(FileTag::parse(&tag.to_string()), Some(tag));
        }
        for bad in ["", "0", "0x234567890123456789012345678901234", "+1234567890123456789012345678901", &"A".repeat(32)]
        {
            assert_eq!(FileTag::parse(bad), None, "{bad}");
        }
    }
}

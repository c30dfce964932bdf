//! A file's `ETag`: the state that a client knows.

use std::fmt;

use chrono::{DateTime, Utc};
use ring::digest::{SHA256, digest};

use super::model::File;

/// The usual length of a file's packed fields.
const FILE_BYTES: usize = 192;

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

/// Appends all that clients see of a file. Files that differ have different bytes: numbers are little-endian, a text is
/// a length in four bytes and then UTF-8, and an optional value has a byte in front, 1 with a value and 0 without.
fn write_file(out: &mut Vec<u8>, file: &File) {
    // All fields by name, so that a new field cannot be forgotten.
    let File {
        file_id,
        user_id,
        file_name,
        folder_id,
        path,
        mime_type,
        checksum,
        size_bytes,
        modified_at,
        created_at,
        updated_at,
        trashed,
        content_ref,
    } = file;
    out.extend(file_id.as_bytes());
    out.extend(user_id.to_le_bytes());
    text(out, file_name);
    optional(out, folder_id.as_ref(), |out, id| out.extend(id.as_bytes()));
    optional(out, path.as_ref(), |out, path| text(out, path));
    optional(out, mime_type.as_ref(), |out, value| text(out, value));
    optional(out, checksum.as_ref(), |out, value| text(out, value));
    optional(out, *size_bytes, |out, value| out.extend(value.to_le_bytes()));
    optional(out, *modified_at, time);
    time(out, *created_at);
    time(out, *updated_at);
    out.push(u8::from(*trashed));
    optional(out, content_ref.as_ref(), |out, value| text(out, value));
}

fn length(length: usize) -> [u8; 4] {
    // The database holds no text of four gigabytes.
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(length(text.len()));
    out.extend(text.as_bytes());
}

fn time(out: &mut Vec<u8>, time: DateTime<Utc>) {
    // Microseconds, as the database keeps them.
    out.extend(time.timestamp_micros().to_le_bytes());
}

fn optional<T>(out: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        write(out, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn file(change: impl FnOnce(&mut File)) -> File {
        let at = |micros| DateTime::from_timestamp_micros(micros).unwrap();
        let mut file = File {
            file_id: Uuid::from_u128(1),
            user_id: 7,
            file_name: "n".to_owned(),
            folder_id: None,
            path: None,
            mime_type: None,
            checksum: None,
            size_bytes: None,
            modified_at: None,
            created_at: at(2),
            updated_at: at(3),
            trashed: false,
            content_ref: None,
        };
        change(&mut file);
        file
    }

    #[test]
    fn files_that_differ_have_different_tags() {
        let at = DateTime::from_timestamp_micros(9);
        let text = |text: &str| Some(text.to_owned());
        let mut tags = [
            file(|_| ()),
            file(|file| file.file_id = Uuid::from_u128(2)),
            file(|file| file.user_id = 8),
            file(|file| file.file_name = "m".to_owned()),
            file(|file| file.file_name = "n\0".to_owned()),
            file(|file| file.folder_id = Some(Uuid::nil())),
            file(|file| file.path = text("n")),
            file(|file| file.path = text("")),
            file(|file| file.mime_type = text("n")),
            file(|file| file.checksum = text("n")),
            file(|file| file.content_ref = text("n")),
            file(|file| file.size_bytes = Some(0)),
            file(|file| file.size_bytes = Some(1)),
            file(|file| file.modified_at = at),
            file(|file| file.created_at = at.unwrap()),
            file(|file| file.updated_at = at.unwrap()),
            file(|file| file.trashed = true),
        ]
        .map(|file| file.tag().0);
        let all = tags.len();
        tags.sort_unstable();
        assert_eq!(tags.chunk_by(|a, b| a == b).count(), all);
    }

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

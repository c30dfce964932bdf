//! Files, pages and cursors.

use chrono::{DateTime, Utc};
use compact_str::CompactString;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::payload::{read_cursor, write_cursor};
use crate::shard::{IdClock, RequestKey, Slot};

/// A user: 0 to 9,223,372,036,854,775,807.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UserId(i64);

impl UserId {
    /// The user with this number, or `None` for a negative number.
    #[must_use]
    pub fn new(number: i64) -> Option<Self> {
        (number >= 0).then_some(Self(number))
    }

    /// The user's number.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }

    /// The slot of all of the user's files.
    #[must_use]
    pub fn slot(self) -> Slot {
        Slot::of_user(self.0)
    }
}

/// A new file to store. [`super::input::FileInput::check`] makes new files, within the limits stated there.
#[derive(Clone, Debug)]
pub struct NewFile {
    pub(super) user: UserId,
    pub(super) id: Uuid,
    /// True if the service gave the id: then no earlier request has stored a file under the id.
    pub(super) minted: bool,
    pub(super) name: CompactString,
    /// The path from the root on, ending in the name; `None`: the file is in no folder.
    pub(super) path: Option<CompactString>,
    pub(super) mime_type: Option<CompactString>,
    pub(super) checksum: Option<CompactString>,
    pub(super) size_bytes: Option<i64>,
    pub(super) modified_at: Option<DateTime<Utc>>,
    pub(super) content_ref: Option<CompactString>,
}

impl NewFile {
    /// A file to try the service with: `file_<user>.txt`.
    #[must_use]
    pub fn test_file(user: UserId, ids: &IdClock) -> Self {
        Self {
            user,
            id: ids.mint(user.slot()),
            minted: true,
            name: format!("file_{}.txt", user.0).into(),
            path: None,
            mime_type: None,
            checksum: None,
            size_bytes: None,
            modified_at: None,
            content_ref: None,
        }
    }

    /// The file's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file's user.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.user
    }

    /// The file's id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// True if the client gave the id.
    #[must_use]
    pub fn has_own_id(&self) -> bool {
        !self.minted
    }

    /// The file's path in the user's drive; `None`: the file is in no folder.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// The path of the folder around the file; empty for the root. `None`: the file is in no folder.
    pub(super) fn folder_path(&self) -> Option<&str> {
        self.path.as_deref().map(|path| path.rsplit_once('/').map_or("", |(folder, _)| folder))
    }

    /// The bytes of all texts: the part of a record that grows.
    #[must_use]
    pub(super) fn text_bytes(&self) -> usize {
        let length = |text: &Option<CompactString>| text.as_deref().map_or(0, str::len);
        self.name.len()
            + length(&self.path)
            + length(&self.mime_type)
            + length(&self.checksum)
            + length(&self.content_ref)
    }

    /// The stored file, with the time `created_at`.
    #[must_use]
    pub(super) fn stored(&self, created_at: DateTime<Utc>, folder_id: Option<Uuid>) -> File {
        File {
            file_id: self.id,
            user_id: self.user.0,
            file_name: self.name.to_string(),
            folder_id,
            path: self.path.as_deref().map(str::to_owned),
            mime_type: self.mime_type.as_deref().map(str::to_owned),
            checksum: self.checksum.as_deref().map(str::to_owned),
            size_bytes: self.size_bytes,
            modified_at: self.modified_at,
            created_at,
            updated_at: created_at,
            trashed: false,
            content_ref: self.content_ref.as_deref().map(str::to_owned),
        }
    }
}

/// What is known of the content of a file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FileContent {
    /// The media type.
    pub mime_type: Option<CompactString>,
    /// A checksum.
    pub checksum: Option<CompactString>,
    /// The size in bytes.
    pub size_bytes: Option<i64>,
    /// When the content last changed.
    pub modified_at: Option<DateTime<Utc>>,
    /// Where the content is stored, in the client's words.
    pub content_ref: Option<CompactString>,
}

/// A stored file.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, ToSchema)]
pub struct File {
    /// The file's id, a UUID.
    pub file_id: Uuid,
    /// The file's user.
    #[schema(minimum = 0)]
    pub user_id: i64,
    /// The file's name.
    pub file_name: String,
    /// The folder around the file, the nil UUID for the root; `null`: the file is in no folder.
    pub folder_id: Option<Uuid>,
    /// The path from the root on; `null`: the file is in no folder.
    pub path: Option<String>,
    /// The media type, if known.
    pub mime_type: Option<String>,
    /// A checksum of the content, from the client.
    pub checksum: Option<String>,
    /// The size, if known.
    #[schema(minimum = 0)]
    pub size_bytes: Option<i64>,
    /// When the content last changed, from the client; microseconds.
    pub modified_at: Option<DateTime<Utc>>,
    /// When the file was stored, by the shard's clock.
    pub created_at: DateTime<Utc>,
    /// When this record last changed, by the shard's clock.
    pub updated_at: DateTime<Utc>,
    /// True if the file is in the trash, by itself or with a folder above it.
    #[serde(default)]
    pub trashed: bool,
    /// Where the content is stored, in the words of the client. The service does not read it.
    #[serde(default)]
    pub content_ref: Option<String>,
}

/// Changes of a file: `None` keeps a field, `Some(None)` clears a field.
#[derive(Clone, Default, Debug)]
pub struct FilePatch {
    pub(super) name: Option<CompactString>,
    pub(super) path: Option<Option<CompactString>>,
    pub(super) mime_type: Option<Option<CompactString>>,
    pub(super) checksum: Option<Option<CompactString>>,
    pub(super) size_bytes: Option<Option<i64>>,
    pub(super) modified_at: Option<Option<DateTime<Utc>>>,
    pub(super) content_ref: Option<Option<CompactString>>,
}

/// The position in a user's listing after a file. Clients get an opaque text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileCursor(Uuid);

impl FileCursor {
    /// The position after this file.
    #[must_use]
    pub fn after(file_id: Uuid) -> Self {
        Self(file_id)
    }

    /// Reads the text of a cursor; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(Uuid::from_slice(&read_cursor(text)?).ok()?))
    }

    /// The highest id after this position in a listing, newest first; `None` at the very end.
    #[must_use]
    pub(super) fn next_id(self) -> Option<Uuid> {
        self.0.as_u128().checked_sub(1).map(Uuid::from_u128)
    }
}

impl std::fmt::Display for FileCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&write_cursor(self.0.as_bytes()))
    }
}

/// A new file, and the key of its request.
pub(super) struct FileInsert {
    pub(super) file: NewFile,
    pub(super) key: Option<RequestKey>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cursors_round_trip(bits in any::<u128>()) {
            let cursor = FileCursor::after(Uuid::from_u128(bits));
            prop_assert_eq!(FileCursor::parse(&cursor.to_string()), Some(cursor));
        }

        #[test]
        fn nonsense_is_no_cursor(text in ".{0,60}") {
            if let Some(cursor) = FileCursor::parse(&text) {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }
}

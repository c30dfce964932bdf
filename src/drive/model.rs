//! Folders and the pages of what a folder holds.

use chrono::{DateTime, Utc};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::files::{File, UserId};
use crate::payload::{JsonLines, ObjectWriter, PageSize, read_cursor, text_if_inexact, time, write_cursor};

/// A folder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Folder {
    /// The folder's id. The root of every drive has the nil UUID.
    #[schema(example = "019a9e4b-3f21-7c5a-9e02-7a002a5d4c1e")]
    pub folder_id: Uuid,
    /// The folder's user.
    #[schema(example = 42)]
    pub user_id: i64,
    /// The same as a text, for numbers above 2^53 − 1, which readers with doubles would round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id_text: Option<String>,
    /// The folder around this folder; `null` for the root.
    pub parent_id: Option<Uuid>,
    /// The folder's name; empty for the root.
    #[schema(example = "letters")]
    pub folder_name: String,
    /// The path from the root on; empty for the root.
    #[schema(example = "documents/letters")]
    pub path: String,
    /// True if the folder, or a folder above it, is in the trash.
    pub trashed: bool,
    /// The number of the last change.
    pub version: i64,
    /// When the folder was made, by the shard's clock; `null` for the root of a drive without folders.
    #[serde(serialize_with = "time::serialize_optional_time")]
    pub created_at: Option<DateTime<Utc>>,
    /// When the folder last changed, by the shard's clock; `null` for the root of a drive without folders.
    #[serde(serialize_with = "time::serialize_optional_time")]
    pub updated_at: Option<DateTime<Utc>>,
}

impl Folder {
    /// The root of a drive that has no folder yet: the first change stores the root.
    #[must_use]
    pub(super) fn unused_root(user: UserId) -> Self {
        Self {
            folder_id: Uuid::nil(),
            user_id: user.get(),
            user_id_text: text_if_inexact(user.get()),
            parent_id: None,
            folder_name: String::new(),
            path: String::new(),
            trashed: false,
            version: 0,
            created_at: None,
            updated_at: None,
        }
    }

    /// The `ETag`: a hash of all that clients see of the folder.
    #[must_use]
    pub fn tag(&self) -> String {
        let seen = serde_json::to_vec(self).unwrap_or_default();
        let half = digest(&SHA256, &seen).as_ref().first_chunk().map_or(0, |half| u128::from_be_bytes(*half));
        format!("{half:032x}")
    }
}

/// A folder, or a file in a folder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A folder.
    Folder,
    /// A file.
    File,
}

impl EntryKind {
    /// The kind's name, as JSON has it.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::File => "file",
        }
    }
}

/// The order of the names in a page.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum NameOrder {
    /// `a` before `b`.
    #[default]
    Ascending,
    /// `b` before `a`.
    Descending,
}

/// An entry of a folder, borrowed from the row that a shard has answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Child<'a> {
    /// Folder or file.
    pub kind: EntryKind,
    /// The id of the folder or file.
    pub id: Uuid,
    /// The name, as the client gave it.
    #[schema(example = "my_document.txt")]
    pub name: &'a str,
    /// The size in bytes; of files whose size is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,
    /// The media type; of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<&'a str>,
    /// A checksum of the content; of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<&'a str>,
    /// Where the content is stored, in the words of the client; of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_ref: Option<&'a str>,
    /// When the content last changed; of files.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "time::serialize_optional_time")]
    pub modified_at: Option<DateTime<Utc>>,
    /// The number of the last change.
    pub version: i64,
    /// When the entry was made, by the shard's clock.
    #[serde(serialize_with = "time::serialize_time")]
    pub created_at: DateTime<Utc>,
    /// When the entry last changed, by the shard's clock.
    #[serde(serialize_with = "time::serialize_time")]
    pub updated_at: DateTime<Utc>,
    /// The name in NFC, unless the name is that.
    #[serde(skip)]
    pub(super) name_key: Option<&'a str>,
}

impl Child<'_> {
    /// The name in NFC, by which entries are ordered.
    pub(super) fn order_key(&self) -> &str {
        self.name_key.unwrap_or(self.name)
    }

    /// Writes the same bytes as `Serialize`, without its cost for each name: a page has many entries.
    ///
    /// # Errors
    /// Never, as the bytes go into memory.
    pub(super) fn write_json(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let mut entry = ObjectWriter::begin(out);
        entry.text(r#""kind":"#, Some(self.kind.as_str()))?;
        entry.id(r#","id":"#, Some(self.id));
        entry.text(r#","name":"#, Some(self.name))?;
        if self.size_bytes.is_some() {
            entry.number(r#","size_bytes":"#, self.size_bytes)?;
        }
        for (name, text) in [
            (r#","mime_type":"#, self.mime_type),
            (r#","checksum":"#, self.checksum),
            (r#","content_ref":"#, self.content_ref),
        ] {
            if text.is_some() {
                entry.text(name, text)?;
            }
        }
        if self.modified_at.is_some() {
            entry.time(r#","modified_at":"#, self.modified_at.as_ref())?;
        }
        entry.number(r#","version":"#, Some(self.version))?;
        entry.time(r#","created_at":"#, Some(&self.created_at))?;
        entry.time(r#","updated_at":"#, Some(&self.updated_at))?;
        entry.end();
        Ok(())
    }
}

/// The entry at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PathEntry {
    /// A folder.
    Folder(Folder),
    /// A file.
    File(File),
}

/// The entry that an operation has made or changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DriveEntry {
    /// A folder.
    Folder(Folder),
    /// The id of a file.
    File(Uuid),
}

/// What a drive holds, in numbers. What is in the trash counts until it is purged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct DriveSummary {
    /// Grows with each rename, move, trash and restore of a drive.
    #[schema(example = 3)]
    pub tree_version: i64,
    /// Folders besides the root.
    #[schema(example = 2)]
    pub folders: i64,
    /// Files, also those in no folder.
    #[schema(example = 17)]
    pub files: i64,
    /// The sum of the known sizes of the files.
    #[schema(example = 1_048_576)]
    pub total_size_bytes: u128,
    /// Entries that were put into the trash themselves.
    #[schema(example = 1)]
    pub trashed: i64,
}

/// The position in a folder after an entry. It belongs to this folder of this user, and to this order, alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChildrenCursor {
    pub(super) user: UserId,
    pub(super) folder: Uuid,
    pub(super) order: NameOrder,
    pub(super) kind: EntryKind,
    pub(super) name_key: String,
}

impl ChildrenCursor {
    /// Reads the text of a cursor; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = read_cursor(text)?;
        let (user, rest) = bytes.split_first_chunk()?;
        let (folder, rest) = rest.split_first_chunk()?;
        let (place, name_key) = rest.split_first()?;
        let (order, kind) = match place {
            0 => (NameOrder::Ascending, EntryKind::Folder),
            1 => (NameOrder::Ascending, EntryKind::File),
            2 => (NameOrder::Descending, EntryKind::Folder),
            3 => (NameOrder::Descending, EntryKind::File),
            _ => return None,
        };
        Some(Self {
            user: UserId::new(i64::from_be_bytes(*user))?,
            folder: Uuid::from_bytes(*folder),
            order,
            kind,
            name_key: std::str::from_utf8(name_key).ok().filter(|name| !name.contains('\0'))?.to_owned(),
        })
    }
}

impl std::fmt::Display for ChildrenCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = self.user.get().to_be_bytes().to_vec();
        bytes.extend_from_slice(self.folder.as_bytes());
        bytes.push(2 * u8::from(self.order == NameOrder::Descending) + u8::from(self.kind == EntryKind::File));
        bytes.extend_from_slice(self.name_key.as_bytes());
        f.write_str(&write_cursor(&bytes))
    }
}

/// Which page of a folder is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChildrenQuery {
    /// The size of the page.
    pub size: PageSize,
    /// The order of the names, of folders and of files.
    pub order: NameOrder,
    /// Folders or files alone; `None`: both.
    pub kinds: Option<EntryKind>,
    /// Where the page begins; `None`: at the first entry.
    pub after: Option<ChildrenCursor>,
}

/// A page of what a folder holds: folders first, then files, by name.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ChildrenPage {
    /// The entries.
    pub entries: JsonLines,
    /// Where the next page starts; `None` after the last page.
    pub next: Option<ChildrenCursor>,
}

/// The user as a text where a double does not hold the number.
pub(super) fn user_text(user: i64) -> Option<String> {
    text_if_inexact(user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cursors_round_trip(
            user in 0..i64::MAX, folder in any::<u128>(), is_file in any::<bool>(), descends in any::<bool>(), name in "[^\0]{0,20}"
        ) {
            let cursor = ChildrenCursor {
                user: UserId::new(user).unwrap(),
                folder: Uuid::from_u128(folder),
                order: if descends { NameOrder::Descending } else { NameOrder::Ascending },
                kind: if is_file { EntryKind::File } else { EntryKind::Folder },
                name_key: name,
            };
            prop_assert_eq!(ChildrenCursor::parse(&cursor.to_string()), Some(cursor));
        }

        #[test]
        fn an_entry_is_written_as_serde_writes_it(
            is_file in any::<bool>(),
            (id, name, version) in (any::<u128>(), any::<String>(), any::<i64>()),
            (size_bytes, mime_type, checksum, content_ref) in
                (any::<Option<i64>>(), any::<Option<String>>(), any::<Option<String>>(), any::<Option<String>>()),
            micros in proptest::collection::vec(-9_999_999_999_999_999..99_999_999_999_999_999_i64, 2..4),
        ) {
            let mut times = micros.into_iter().map(|micros| DateTime::from_timestamp_micros(micros).unwrap());
            let entry = Child {
                kind: if is_file { EntryKind::File } else { EntryKind::Folder },
                id: Uuid::from_u128(id),
                name: &name,
                size_bytes,
                mime_type: mime_type.as_deref(),
                checksum: checksum.as_deref(),
                content_ref: content_ref.as_deref(),
                created_at: times.next().unwrap(),
                updated_at: times.next().unwrap(),
                modified_at: times.next(),
                version,
                name_key: None,
            };
            let mut written = Vec::new();
            entry.write_json(&mut written).unwrap();
            prop_assert_eq!(String::from_utf8(written).unwrap(), serde_json::to_string(&entry).unwrap());
        }

        #[test]
        fn other_texts_are_no_cursor(text in ".{0,60}") {
            if let Some(cursor) = ChildrenCursor::parse(&text) {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }
}

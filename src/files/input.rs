//! Files and changes as clients send them, checked against the [`limits`](super::limits).

use compact_str::CompactString;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use uuid::Uuid;

use super::limits::{
    CHECKSUM, CONTENT_REF, FILE_NAME, MIME_TYPE, PATH, check_file_path, check_id, check_size, check_time, check_user,
};
use super::model::{FileContent, FilePatch, NewFile};
use super::path::is_same_name;
use super::values::{BorrowedText, TimeInput};
use crate::payload::{FieldFault, WholeNumber, check_text, whole_number};
use crate::shard::IdClock;

/// One file of a load.
#[derive(Debug)]
pub struct LoadedFile {
    /// The file.
    pub file: NewFile,
    /// Why a field of the record is not stored with the file.
    pub warning: Option<FieldFault>,
}

/// A new file, as a client sends one.
#[derive(Clone, Default, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewFile)]
pub struct FileInput<'a> {
    /// The file's user.
    #[serde(deserialize_with = "whole_number")]
    #[schema(value_type = WholeNumber, example = 123)]
    pub user_id: i64,
    /// The same number as a text, as answers give beside a large number.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    pub user_id_text: Option<BorrowedText<'a>>,
    /// The file's name, which ends the path: 1 to 1,024 bytes, without `/` and NUL.
    #[serde(borrow)]
    #[schema(value_type = String, min_length = 1, max_length = 1024, example = "my_document.txt")]
    pub file_name: BorrowedText<'a>,
    /// An id of the client's own, unique within the user. A file with an id is stored once, however often the client
    /// sends the file.
    #[serde(default)]
    pub file_id: Option<Uuid>,
    /// The path in the user's drive, ending in `file_name`: up to 4,096 bytes. Missing folders are made. Without a path
    /// the file is in no folder.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, max_length = 4096, example = "letters/my_document.txt")]
    pub path: Option<BorrowedText<'a>>,
    /// The size in bytes.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub size_bytes: Option<i64>,
    /// The media type, up to 255 bytes.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, max_length = 255, example = "text/plain")]
    pub mime_type: Option<BorrowedText<'a>>,
    /// A checksum of the content, up to 255 bytes.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, max_length = 255, example = "sha256:9f86d081")]
    pub checksum: Option<BorrowedText<'a>>,
    /// When its content last changed (RFC 3339), in the years 1 to 9999.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub modified_at: Option<TimeInput<'a>>,
    /// Where the content is stored, in words of the client's own, such as the key of an object: up to 1,024 bytes.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, max_length = 1024, example = "s3://bucket/4f/9f86d081")]
    pub content_ref: Option<BorrowedText<'a>>,
    /// Bulk loads ignore this field, which the service's own listings have: the shard's clock gives the time.
    #[serde(default)]
    #[schema(ignore)]
    pub created_at: Option<IgnoredAny>,
    /// As `created_at`.
    #[serde(default)]
    #[schema(ignore)]
    pub updated_at: Option<IgnoredAny>,
    /// Bulk loads ignore this field, which the service's own listings have: the path says the folder.
    #[serde(default)]
    #[schema(ignore)]
    pub folder_id: Option<IgnoredAny>,
    /// As `folder_id`: a listing has no file of the trash.
    #[serde(default)]
    #[schema(ignore)]
    pub trashed: Option<IgnoredAny>,
}

impl FileInput<'_> {
    /// The file to store, with an id minted by `ids` if the client gave none.
    ///
    /// # Errors
    /// The first wrong field.
    pub fn check(self, ids: &IdClock) -> Result<NewFile, FieldFault> {
        const CLOCK: &str = "is told by the shard's clock; leave it out";
        for (field, value, reason) in [
            ("created_at", self.created_at, CLOCK),
            ("updated_at", self.updated_at, CLOCK),
            ("folder_id", self.folder_id, "follows from the path; give the path instead"),
            ("trashed", self.trashed, "is told by the service; leave it out"),
        ] {
            if value.is_some() {
                return Err(FieldFault::new(field, reason));
            }
        }
        let LoadedFile { file, warning } = self.check_loaded(ids)?;
        warning.map_or(Ok(file), Err)
    }

    /// The same for a load, which stores a file without an unreadable time.
    ///
    /// # Errors
    /// The first other wrong field.
    pub(super) fn check_loaded(self, ids: &IdClock) -> Result<LoadedFile, FieldFault> {
        let user = check_user(self.user_id)?;
        check_text(self.user_id, self.user_id_text.as_ref().map(|text| &*text.0), "user_id_text")?;
        FILE_NAME.check(&self.file_name.0)?;
        let path = self.path.as_ref().map(|path| check_file_path(&path.0)).transpose()?;
        if path.is_some_and(|(_, name)| !is_same_name(name, &self.file_name.0)) {
            return Err(FieldFault::new(PATH.field, "must end in /file_name"));
        }
        if let Some(id) = self.file_id {
            check_id(user, id)?;
        }
        let (modified_at, warning) = match check_time(self.modified_at) {
            Ok(time) => (time, None),
            Err(fault) => (None, Some(fault)),
        };
        let file = NewFile {
            user,
            id: self.file_id.unwrap_or_else(|| ids.mint(user.slot())),
            minted: self.file_id.is_none(),
            name: self.file_name.0.into(),
            path: path.map(|(path, _)| path.into()),
            mime_type: MIME_TYPE.check_optional(self.mime_type)?,
            checksum: CHECKSUM.check_optional(self.checksum)?,
            size_bytes: check_size(self.size_bytes)?,
            modified_at,
            content_ref: CONTENT_REF.check_optional(self.content_ref)?,
        };
        Ok(LoadedFile { file, warning })
    }
}

/// What is known of a file's content, as a client sends it for a path.
#[derive(Clone, Default, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FileContent)]
pub struct ContentInput<'a> {
    /// The size in bytes.
    #[serde(default)]
    #[schema(minimum = 0, example = 1024)]
    pub size_bytes: Option<i64>,
    /// The media type, up to 255 bytes.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, max_length = 255, example = "text/plain")]
    pub mime_type: Option<BorrowedText<'a>>,
    /// A checksum of the content, up to 255 bytes.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, max_length = 255, example = "sha256:9f86d081")]
    pub checksum: Option<BorrowedText<'a>>,
    /// When the content last changed (RFC 3339), in the years 1 to 9999.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub modified_at: Option<TimeInput<'a>>,
    /// Where the content is stored, in words of the client's own, such as the key of an object: up to 1,024 bytes.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, max_length = 1024, example = "s3://bucket/4f/9f86d081")]
    pub content_ref: Option<BorrowedText<'a>>,
}

impl ContentInput<'_> {
    /// The content to store.
    ///
    /// # Errors
    /// The first wrong field.
    pub fn check(self) -> Result<FileContent, FieldFault> {
        Ok(FileContent {
            mime_type: MIME_TYPE.check_optional(self.mime_type)?,
            checksum: CHECKSUM.check_optional(self.checksum)?,
            size_bytes: check_size(self.size_bytes)?,
            modified_at: check_time(self.modified_at)?,
            content_ref: CONTENT_REF.check_optional(self.content_ref)?,
        })
    }
}

/// Changes of a file, as a client sends them. A missing field stays; `null` clears a field, but not the name.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FilePatch)]
pub struct PatchInput<'a> {
    /// The new name.
    #[serde(borrow, default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 1024)]
    pub file_name: Option<Option<BorrowedText<'a>>>,
    /// The new path, whose missing folders are made. The name changes with the path. `null` takes the file out of every
    /// folder.
    #[serde(borrow, default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, max_length = 4096)]
    pub path: Option<Option<BorrowedText<'a>>>,
    /// The size in bytes.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub size_bytes: Option<Option<i64>>,
    /// The media type.
    #[serde(borrow, default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, max_length = 255)]
    pub mime_type: Option<Option<BorrowedText<'a>>>,
    /// A checksum of the content.
    #[serde(borrow, default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, max_length = 255)]
    pub checksum: Option<Option<BorrowedText<'a>>>,
    /// When its content last changed (RFC 3339), in the years 1 to 9999.
    #[serde(borrow, default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub modified_at: Option<Option<TimeInput<'a>>>,
    /// Where the content is stored, in words of the client's own.
    #[serde(borrow, default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, max_length = 1024)]
    pub content_ref: Option<Option<BorrowedText<'a>>>,
}

/// Tells `null` from a missing field.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl PatchInput<'_> {
    /// The change to make.
    ///
    /// # Errors
    /// The first wrong field; an empty change is wrong too.
    pub fn check(self) -> Result<FilePatch, FieldFault> {
        let file_name = match self.file_name {
            Some(None) => return Err(FieldFault::new("file_name", "must not be null: a file always has a name")),
            Some(Some(name)) => Some(name),
            None => None,
        };
        if let Some(name) = &file_name {
            FILE_NAME.check(&name.0)?;
        }
        let mut name: Option<CompactString> = file_name.map(|name| name.0.into());
        let path = match self.path {
            Some(Some(path)) => {
                let (path, last) = check_file_path(&path.0)?;
                if name.as_deref().is_some_and(|name| !is_same_name(name, last)) {
                    return Err(FieldFault::new("path", "must end in /file_name"));
                }
                name = Some(last.into());
                Some(Some(path.into()))
            }
            Some(None) => Some(None),
            None => None,
        };
        let patch = FilePatch {
            name,
            path,
            mime_type: self.mime_type.map(|text| MIME_TYPE.check_optional(text)).transpose()?,
            checksum: self.checksum.map(|text| CHECKSUM.check_optional(text)).transpose()?,
            size_bytes: self.size_bytes.map(check_size).transpose()?,
            modified_at: self.modified_at.map(check_time).transpose()?,
            content_ref: self.content_ref.map(|text| CONTENT_REF.check_optional(text)).transpose()?,
        };
        if patch.is_empty() {
            return Err(FieldFault::new("", "name at least one field to change"));
        }
        Ok(patch)
    }
}

impl FilePatch {
    fn is_empty(&self) -> bool {
        self.name.is_none()
            && self.path.is_none()
            && self.mime_type.is_none()
            && self.checksum.is_none()
            && self.size_bytes.is_none()
            && self.modified_at.is_none()
            && self.content_ref.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::files::model::UserId;

    fn check(json: &str) -> Result<NewFile, String> {
        let input: FileInput<'_> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        input.check(&IdClock::default()).map_err(|fault| fault.field.into_owned())
    }

    #[test]
    fn what_is_wrong_names_its_field() {
        let long = |n: usize| "x".repeat(n);
        for (json, field) in [
            (r#"{"user_id":-1,"file_name":"a"}"#.to_owned(), "user_id"),
            (r#"{"user_id":1,"file_name":""}"#.to_owned(), "file_name"),
            (r#"{"user_id":1,"file_name":"a\u0000b"}"#.to_owned(), "file_name"),
            (r#"{"user_id":1,"file_name":"a/b"}"#.to_owned(), "file_name"),
            (format!(r#"{{"user_id":1,"file_name":"{}"}}"#, long(1025)), "file_name"),
            (r#"{"user_id":1,"file_name":"a","path":""}"#.to_owned(), "path"),
            (r#"{"user_id":1,"file_name":"a","path":"x/b"}"#.to_owned(), "path"),
            (r#"{"user_id":1,"file_name":"a","path":"x/ba"}"#.to_owned(), "path"),
            (format!(r#"{{"user_id":1,"file_name":"a","path":"{}/a"}}"#, long(4096)), "path"),
            (r#"{"user_id":1,"file_name":"a","size_bytes":-1}"#.to_owned(), "size_bytes"),
            (format!(r#"{{"user_id":1,"file_name":"a","checksum":"{}"}}"#, long(256)), "checksum"),
            (r#"{"user_id":1,"file_name":"a","file_id":"00000000-0000-0000-0000-000000000000"}"#.to_owned(), "file_id"),
        ] {
            assert_eq!(check(&json).unwrap_err(), field, "{json}");
        }
    }

    #[test]
    fn a_load_keeps_a_file_without_a_time_that_cannot_be_read() {
        for time in [
            "\"0000-01-01T00:00:00Z\"",
            "\"yesterday\"",
            "\"\"",
            "1714564800",
            "-1",
            "1.5",
            "true",
            "[1,{}]",
            "{\"s\":[1]}",
        ] {
            let json = format!(r#"{{"user_id":1,"modified_at":{time},"file_name":"a"}}"#);
            let input: FileInput<'_> = serde_json::from_str(&json).unwrap();
            let loaded = input.check_loaded(&IdClock::default()).unwrap();
            assert_eq!((loaded.file.name(), loaded.file.modified_at), ("a", None), "{time}");
            assert_eq!(loaded.warning.unwrap().field, "modified_at", "{time}");
            assert_eq!(check(&json).unwrap_err(), "modified_at", "{time}");
        }
        let good = r#"{"user_id":1,"file_name":"a","modified_at":"2016-12-31T23:59:60Z"}"#;
        let time = check(good).unwrap().modified_at.unwrap();
        assert_eq!(time.to_rfc3339(), "2017-01-01T00:00:00+00:00");
        assert_eq!(check(r#"{"user_id":1,"file_name":"a","modified_at":null}"#).unwrap().modified_at, None);
    }

    #[test]
    fn what_a_listing_tells_of_the_shards_clock_is_for_loads_alone() {
        let json = r#"{"user_id":1,"file_name":"a","created_at":"2024-05-01T12:00:00Z","updated_at":null}"#;
        assert_eq!(check(json).unwrap_err(), "created_at");
        let input: FileInput<'_> = serde_json::from_str(json).unwrap();
        assert!(input.check_loaded(&IdClock::default()).unwrap().warning.is_none());
    }

    #[test]
    fn an_id_made_for_another_slot_is_refused() {
        let foreign = IdClock::default().mint(UserId::new(2).unwrap().slot());
        let json = |user| format!(r#"{{"user_id":{user},"file_name":"a","file_id":"{foreign}"}}"#);
        assert_eq!(check(&json(1)).unwrap_err(), "file_id");
        assert_eq!(check(&json(2)).unwrap().id(), foreign);
    }

    #[test]
    fn a_path_puts_the_file_into_a_folder() {
        assert_eq!(check(r#"{"user_id":1,"file_name":"a"}"#).unwrap().path(), None);
        assert_eq!(check(r#"{"user_id":1,"file_name":"a","path":"a"}"#).unwrap().path(), Some("a"));
        assert_eq!(check(r#"{"user_id":1,"file_name":"a","path":"b/a"}"#).unwrap().path(), Some("b/a"));
        assert_eq!(check(r#"{"user_id":1,"file_name":"a","path":"/a"}"#).unwrap().path(), Some("a"));
    }

    #[test]
    fn texts_borrow_from_the_input() {
        let json = r#"{"user_id":1,"file_name":"a","path":"b/a","checksum":"esc\u0061ped"}"#;
        let input: FileInput<'_> = serde_json::from_str(json).unwrap();
        assert!(matches!(input.file_name.0, Cow::Borrowed(_)));
        assert!(matches!(input.path.unwrap().0, Cow::Borrowed(_)));
        assert!(matches!(input.checksum.unwrap().0, Cow::Owned(_)));
    }

    #[test]
    fn a_patch_keeps_name_and_path_together() {
        let patch = |json: &str| serde_json::from_str::<PatchInput<'_>>(json).unwrap().check();
        let moved = patch(r#"{"path":"new/place.txt"}"#).unwrap();
        assert_eq!(moved.name.as_deref(), Some("place.txt"));
        let top = patch(r#"{"path":"place.txt"}"#).unwrap();
        assert_eq!((top.name.as_deref(), top.path), (Some("place.txt"), Some(Some("place.txt".into()))));
        assert_eq!(patch(r#"{"path":"x/a","file_name":"b"}"#).unwrap_err().field, "path");
        assert_eq!(patch(r#"{"path":"x/"}"#).unwrap_err().field, "path");
        assert_eq!(patch("{}").unwrap_err().field, "");
        assert_eq!(patch(r#"{"file_name":null,"size_bytes":5}"#).unwrap_err().field, "file_name");
        let cleared = patch(r#"{"mime_type":null}"#).unwrap();
        assert_eq!(cleared.mime_type, Some(None));
    }
}

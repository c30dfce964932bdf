//! A file as clients see it, borrowed from where its values lie: a [`File`], or a row that a shard has answered.
//!
//! A page goes from rows to JSON without a [`File`] in between, whose texts would be copied for each row.

use chrono::{DateTime, Utc};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::model::File;
use crate::payload::{ObjectWriter, text_if_inexact, time};
use crate::shard::{
    optional_flag, optional_id, optional_number, optional_text, optional_time, required, required_time,
};

/// The column of the user, behind the columns of [`FileView::of_user`].
pub(super) const USER_COLUMN: usize = 12;

/// The fields of a [`File`], which describes each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FileView<'a> {
    pub(super) file_id: Uuid,
    pub(super) user_id: i64,
    pub(super) file_name: &'a str,
    pub(super) folder_id: Option<Uuid>,
    pub(super) path: Option<&'a str>,
    pub(super) mime_type: Option<&'a str>,
    pub(super) checksum: Option<&'a str>,
    pub(super) size_bytes: Option<i64>,
    pub(super) modified_at: Option<DateTime<Utc>>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) trashed: bool,
    pub(super) content_ref: Option<&'a str>,
}

impl<'a> FileView<'a> {
    /// The file of a user in a row's columns from `first` on, or `None` for nulls.
    pub(super) fn of_user(row: &'a PgRow, first: usize, user_id: i64) -> Result<Option<Self>, sqlx::Error> {
        let Some(file_id) = optional_id(row, first)? else { return Ok(None) };
        Ok(Some(Self {
            file_id,
            user_id,
            file_name: required(optional_text(row, first + 1)?, first + 1)?,
            folder_id: optional_id(row, first + 2)?,
            path: optional_text(row, first + 3)?,
            mime_type: optional_text(row, first + 4)?,
            checksum: optional_text(row, first + 5)?,
            size_bytes: optional_number(row, first + 6)?,
            modified_at: optional_time(row, first + 7)?,
            created_at: required_time(row, first + 8)?,
            updated_at: required_time(row, first + 9)?,
            trashed: required(optional_flag(row, first + 10)?, first + 10)?,
            content_ref: optional_text(row, first + 11)?,
        }))
    }

    /// Writes the same bytes as `Serialize` below, without its cost for each name: the way of a page's rows.
    ///
    /// # Errors
    /// Never, as the bytes go into memory.
    pub(super) fn write_json(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let mut object = ObjectWriter::begin(out);
        object.id(r#""file_id":"#, Some(self.file_id));
        object.number(r#","user_id":"#, Some(self.user_id))?;
        if let Some(text) = text_if_inexact(self.user_id) {
            object.text(r#","user_id_text":"#, Some(&text))?;
        }
        object.text(r#","file_name":"#, Some(self.file_name))?;
        object.id(r#","folder_id":"#, self.folder_id);
        object.text(r#","path":"#, self.path)?;
        object.text(r#","mime_type":"#, self.mime_type)?;
        object.text(r#","checksum":"#, self.checksum)?;
        object.number(r#","size_bytes":"#, self.size_bytes)?;
        object.time(r#","modified_at":"#, self.modified_at.as_ref())?;
        object.time(r#","created_at":"#, Some(&self.created_at))?;
        object.time(r#","updated_at":"#, Some(&self.updated_at))?;
        object.flag(r#","trashed":"#, self.trashed);
        object.text(r#","content_ref":"#, self.content_ref)?;
        object.end();
        Ok(())
    }

    pub(super) fn to_file(self) -> File {
        File {
            file_id: self.file_id,
            user_id: self.user_id,
            file_name: self.file_name.to_owned(),
            folder_id: self.folder_id,
            path: self.path.map(str::to_owned),
            mime_type: self.mime_type.map(str::to_owned),
            checksum: self.checksum.map(str::to_owned),
            size_bytes: self.size_bytes,
            modified_at: self.modified_at,
            created_at: self.created_at,
            updated_at: self.updated_at,
            trashed: self.trashed,
            content_ref: self.content_ref.map(str::to_owned),
        }
    }
}

/// The file in a row's columns from `first` on, with the user in the last column, or `None` for nulls.
pub(crate) fn optional_file(row: &PgRow, first: usize) -> Result<Option<File>, sqlx::Error> {
    match row.try_get_unchecked(first + USER_COLUMN)? {
        Some(user) => Ok(FileView::of_user(row, first, user)?.map(FileView::to_file)),
        None => Ok(None),
    }
}

impl File {
    pub(super) fn view(&self) -> FileView<'_> {
        FileView {
            file_id: self.file_id,
            user_id: self.user_id,
            file_name: &self.file_name,
            folder_id: self.folder_id,
            path: self.path.as_deref(),
            mime_type: self.mime_type.as_deref(),
            checksum: self.checksum.as_deref(),
            size_bytes: self.size_bytes,
            modified_at: self.modified_at,
            created_at: self.created_at,
            updated_at: self.updated_at,
            trashed: self.trashed,
            content_ref: self.content_ref.as_deref(),
        }
    }
}

impl Serialize for File {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.view().serialize(serializer)
    }
}

/// The fields, and the user as a text where a double does not hold the number. The id comes first, where
/// [`super::page`] reads it again.
impl Serialize for FileView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let user_id_text = text_if_inexact(self.user_id);
        let mut file = serializer.serialize_struct("File", 13 + usize::from(user_id_text.is_some()))?;
        file.serialize_field("file_id", &self.file_id)?;
        file.serialize_field("user_id", &self.user_id)?;
        if let Some(text) = &user_id_text {
            file.serialize_field("user_id_text", text)?;
        }
        file.serialize_field("file_name", &self.file_name)?;
        file.serialize_field("folder_id", &self.folder_id)?;
        file.serialize_field("path", &self.path)?;
        file.serialize_field("mime_type", &self.mime_type)?;
        file.serialize_field("checksum", &self.checksum)?;
        file.serialize_field("size_bytes", &self.size_bytes)?;
        file.serialize_field("modified_at", &OptionalTime(&self.modified_at))?;
        file.serialize_field("created_at", &RequiredTime(&self.created_at))?;
        file.serialize_field("updated_at", &RequiredTime(&self.updated_at))?;
        file.serialize_field("trashed", &self.trashed)?;
        file.serialize_field("content_ref", &self.content_ref)?;
        file.end()
    }
}

struct OptionalTime<'a>(&'a Option<DateTime<Utc>>);

impl Serialize for OptionalTime<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        time::serialize_optional_time(self.0, serializer)
    }
}

struct RequiredTime<'a>(&'a DateTime<Utc>);

impl Serialize for RequiredTime<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        time::serialize_time(self.0, serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_time() -> impl Strategy<Value = DateTime<Utc>> {
        // Also years that RFC 3339 does not know.
        (-99_999_999_999_999_999..999_999_999_999_999_999_i64)
            .prop_map(|micros| DateTime::from_timestamp_micros(micros).unwrap())
    }

    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![any::<String>(), "[\\x00-\\x7f]{0,9}", "[a-z./]{0,40}"]
    }

    proptest! {
        #[test]
        fn a_line_is_what_serde_writes(
            (file_id, folder_id, user_id, size_bytes) in
                (any::<u128>(), any::<Option<u128>>(), any::<i64>(), any::<Option<i64>>()),
            (file_name, path, mime_type, checksum, content_ref) in
                (any_text(), proptest::option::of(any_text()), proptest::option::of(any_text()), any::<Option<String>>(), any::<Option<String>>()),
            (modified_at, created_at, updated_at) in (proptest::option::of(any_time()), any_time(), any_time()),
            trashed in any::<bool>(),
        ) {
            let file = File {
                file_id: Uuid::from_u128(file_id),
                user_id,
                file_name,
                folder_id: folder_id.map(Uuid::from_u128),
                path,
                mime_type,
                checksum,
                size_bytes,
                modified_at,
                created_at,
                updated_at,
                trashed,
                content_ref,
            };
            let mut line = Vec::new();
            file.view().write_json(&mut line).unwrap();
            prop_assert_eq!(String::from_utf8(line).unwrap(), serde_json::to_string(&file).unwrap());
        }
    }
}

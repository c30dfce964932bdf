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
use crate::payload::{text_if_inexact, time};
use crate::shard::{optional_time, required_time};

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
    /// The file of a user in a row's columns from `first` on, or `None` for nulls. By position and without a check of the
    /// types, as this is the hot path.
    pub(super) fn of_user(row: &'a PgRow, first: usize, user_id: i64) -> Result<Option<Self>, sqlx::Error> {
        let Some(file_id) = row.try_get_unchecked(first)? else { return Ok(None) };
        Ok(Some(Self {
            file_id,
            user_id,
            file_name: row.try_get_unchecked(first + 1)?,
            folder_id: row.try_get_unchecked(first + 2)?,
            path: row.try_get_unchecked(first + 3)?,
            mime_type: row.try_get_unchecked(first + 4)?,
            checksum: row.try_get_unchecked(first + 5)?,
            size_bytes: row.try_get_unchecked(first + 6)?,
            modified_at: optional_time(row, first + 7)?,
            created_at: required_time(row, first + 8)?,
            updated_at: required_time(row, first + 9)?,
            trashed: row.try_get_unchecked(first + 10)?,
            content_ref: row.try_get_unchecked(first + 11)?,
        }))
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

//! The limits on a file's fields, for every way in. The table's constraints in `migrations/` hold the same limits
//! against psql.

use chrono::{DateTime, Utc};
use compact_str::CompactString;
use uuid::Uuid;

use super::model::UserId;
use super::path::check_path;
use super::values::{BorrowedText, TimeInput};
use crate::payload::FieldFault;
use crate::shard::slot_of_id;

const WHOLE_NUMBER: &str = "must be a whole number from 0 to 9223372036854775807";

/// The limits on a text field of a file.
#[derive(Clone, Copy, Debug)]
pub struct TextLimit {
    /// The field's name in the API, which is also the column's.
    pub field: &'static str,
    /// The longest text, in bytes of UTF-8.
    pub max_bytes: usize,
    /// True if the field, where it is given, must not be empty.
    pub needs_text: bool,
    /// True if the text may hold `/`.
    pub takes_slash: bool,
}

/// The name of a file: the last part of its path.
pub(super) const FILE_NAME: TextLimit =
    TextLimit { field: "file_name", max_bytes: 1024, needs_text: true, takes_slash: false };
/// The whole path of a file.
pub(super) const PATH: TextLimit = TextLimit { field: "path", max_bytes: 4096, needs_text: true, takes_slash: true };
/// The media type of a file.
pub(super) const MIME_TYPE: TextLimit =
    TextLimit { field: "mime_type", max_bytes: 255, needs_text: false, takes_slash: true };
/// The checksum of a file's content.
pub(super) const CHECKSUM: TextLimit =
    TextLimit { field: "checksum", max_bytes: 255, needs_text: false, takes_slash: true };

/// Where the content of a file is stored.
pub(super) const CONTENT_REF: TextLimit =
    TextLimit { field: "content_ref", max_bytes: 1024, needs_text: false, takes_slash: true };

/// The limits on all text fields of a file.
pub const TEXT_LIMITS: [TextLimit; 5] = [FILE_NAME, PATH, MIME_TYPE, CHECKSUM, CONTENT_REF];

impl TextLimit {
    /// Checks a text.
    ///
    /// # Errors
    /// The limit that the text breaks.
    pub fn check(&self, text: &str) -> Result<(), FieldFault> {
        let reason = match text {
            "" if self.needs_text => "must not be empty".to_owned(),
            text if text.len() > self.max_bytes => format!("must not be longer than {} bytes", self.max_bytes),
            text if text.contains('\0') => "must not contain NUL".to_owned(),
            text if !self.takes_slash && text.contains('/') => {
                "must not contain /; the folders belong into path".to_owned()
            }
            _ => return Ok(()),
        };
        Err(FieldFault::new(self.field, reason))
    }

    /// Checks an optional text.
    pub(super) fn check_optional(&self, text: Option<BorrowedText<'_>>) -> Result<Option<CompactString>, FieldFault> {
        let Some(BorrowedText(text)) = text else { return Ok(None) };
        self.check(&text)?;
        Ok(Some(text.into()))
    }
}

/// The constraints of `file_metadata` as clients read them: the field, and the rule.
const CONSTRAINTS: [(&str, &str, &str); 10] = [
    ("file_metadata_user_id_check", "user_id", WHOLE_NUMBER),
    ("file_metadata_file_name_check", "file_name", "must be 1 to 1024 bytes long, without /"),
    ("file_metadata_entry_check", "file_name", "must not be . or .. in a folder"),
    ("file_metadata_mime_type_check", "mime_type", "must not be longer than 255 bytes"),
    ("file_metadata_checksum_check", "checksum", "must not be longer than 255 bytes"),
    ("file_metadata_content_ref_check", "content_ref", "must not be longer than 1024 bytes"),
    ("file_metadata_size_bytes_check", "size_bytes", WHOLE_NUMBER),
    (ENTRY_NAME_INDEX, "path", "is the path of another entry"),
    (FILE_ON_THE_WAY, "path", "leads through a file, where a folder is needed"),
    ("file_metadata_times_check", "modified_at", "must be in the years 1 to 9999"),
];

/// The index that keeps the names in a folder unique.
pub(super) const ENTRY_NAME_INDEX: &str = "file_metadata_name_idx";
/// The name under which a path is refused that leads through a file.
pub(super) const FILE_ON_THE_WAY: &str = "file_on_the_way";

/// Why a constraint refuses a row, if the client can mend the row.
pub(crate) fn fault_of_constraint(constraint: &str) -> Option<FieldFault> {
    let (_, field, reason) = CONSTRAINTS.iter().find(|(name, ..)| *name == constraint)?;
    Some(FieldFault::new(*field, *reason))
}

/// The user with this number.
///
/// # Errors
/// For a negative number.
pub fn check_user(number: i64) -> Result<UserId, FieldFault> {
    UserId::new(number).ok_or_else(|| FieldFault::new("user_id", WHOLE_NUMBER))
}

pub(super) fn check_id(user: UserId, id: Uuid) -> Result<(), FieldFault> {
    if id.is_nil() {
        return Err(FieldFault::new("file_id", "must not be the nil UUID"));
    }
    // A request that names no user looks for the file in the slot that the id names.
    if slot_of_id(id).is_some_and(|slot| slot != user.slot()) {
        let reason = "is an id that this service made for another user's file; leave it out, or give an id of your own";
        return Err(FieldFault::new("file_id", reason));
    }
    Ok(())
}

/// Checks the path of a file. Returns the path as it is stored, and the name at its end.
///
/// # Errors
/// For a path that is none, and for the root.
pub(super) fn check_file_path(text: &str) -> Result<(&str, &str), FieldFault> {
    PATH.check(text)?;
    if text.ends_with('/') {
        return Err(FieldFault::new(PATH.field, "must end in the name of the file"));
    }
    let path = check_path(text, PATH.field)?;
    Ok((path, path.rsplit_once('/').map_or(path, |(_, name)| name)))
}

pub(super) fn check_size(size: Option<i64>) -> Result<Option<i64>, FieldFault> {
    match size {
        Some(size) if size < 0 => Err(FieldFault::new("size_bytes", WHOLE_NUMBER)),
        size => Ok(size),
    }
}

pub(super) fn check_time(time: Option<TimeInput<'_>>) -> Result<Option<DateTime<Utc>>, FieldFault> {
    time.map(|time| time.read().map_err(|reason| FieldFault::new("modified_at", reason))).transpose()
}

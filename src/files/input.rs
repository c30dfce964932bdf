//! What clients send, and turning it into what may be stored.
//!
//! Every limit on a field stands here and nowhere else; the table's constraints are the net below.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, FixedOffset, SubsecRound, Utc};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{FilePatch, NewFile, UserId};
use crate::shard::{IdClock, slot_in};
use crate::wire::FieldFault;

/// The longest name, in bytes of UTF-8.
const MAX_NAME_BYTES: usize = 1024;
/// The longest path, in bytes of UTF-8.
const MAX_PATH_BYTES: usize = 4096;
/// The longest media type or checksum, in bytes.
const MAX_LABEL_BYTES: usize = 255;

/// A text that borrows from the input where it can. serde does that for `Cow` alone, but not for `Option<Cow>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// A file to store, as a client sends it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewFile)]
pub struct FileInput<'a> {
    /// Whose it is.
    #[schema(minimum = 0, example = 123)]
    pub user_id: i64,
    /// Its name, the last part of its path: 1 to 1,024 bytes, without `/` and NUL.
    #[serde(borrow)]
    #[schema(value_type = String, min_length = 1, max_length = 1024, example = "my_document.txt")]
    pub file_name: Text<'a>,
    /// An id of the client's own. A file with an id is stored once, however often it is sent.
    #[serde(default)]
    pub file_id: Option<Uuid>,
    /// Its whole path in the user's drive, ending in `file_name`: up to 4,096 bytes. Without it the name is the path.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, max_length = 4096, example = "letters/my_document.txt")]
    pub path: Option<Text<'a>>,
    /// Its size.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub size_bytes: Option<i64>,
    /// Its media type, up to 255 bytes.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, max_length = 255, example = "text/plain")]
    pub mime_type: Option<Text<'a>>,
    /// A checksum of its content, up to 255 bytes.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, max_length = 255, example = "sha256:9f86d081")]
    pub checksum: Option<Text<'a>>,
    /// When its content last changed (RFC 3339).
    #[serde(default)]
    pub modified_at: Option<DateTime<FixedOffset>>,
}

impl FileInput<'_> {
    /// The file that is to be stored, with an id minted by `ids` where the client gave none.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(self, ids: &IdClock) -> Result<NewFile, FieldFault> {
        let user = check_user(self.user_id)?;
        check_name(&self.file_name.0)?;
        let path = self.path.filter(|path| path.0 != self.file_name.0);
        if let Some(path) = &path {
            check_path(&path.0)?;
            if last_part(&path.0) != self.file_name.0 {
                return Err(FieldFault::new("path", "must end in /file_name"));
            }
        }
        if let Some(id) = self.file_id {
            check_id(user, id)?;
        }
        Ok(NewFile {
            user,
            id: self.file_id.unwrap_or_else(|| ids.mint(user.slot())),
            minted: self.file_id.is_none(),
            name: self.file_name.0.into(),
            path: path.map(|path| path.0.into()),
            mime_type: check_label("mime_type", self.mime_type)?,
            checksum: check_label("checksum", self.checksum)?,
            size_bytes: check_size(self.size_bytes)?,
            modified_at: check_time(self.modified_at)?,
        })
    }
}

/// What to change in a file, as a client sends it. A field that is left out stays; `null` clears it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FilePatch)]
pub struct PatchInput<'a> {
    /// Its new name. Its path changes with it.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 1024)]
    pub file_name: Option<Text<'a>>,
    /// Its new path. Its name changes with it. `null`: the name is the path.
    #[serde(borrow, default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 4096)]
    pub path: Option<Option<Text<'a>>>,
    /// Its size.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub size_bytes: Option<Option<i64>>,
    /// Its media type.
    #[serde(borrow, default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 255)]
    pub mime_type: Option<Option<Text<'a>>>,
    /// A checksum of its content.
    #[serde(borrow, default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 255)]
    pub checksum: Option<Option<Text<'a>>>,
    /// When its content last changed.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<DateTime<FixedOffset>>)]
    pub modified_at: Option<Option<DateTime<FixedOffset>>>,
}

/// Tells `null` from a field that is not there.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl PatchInput<'_> {
    /// The change that is to be made.
    ///
    /// # Errors
    /// The first field that is wrong; a change of nothing is one.
    pub fn check(self) -> Result<FilePatch, FieldFault> {
        if let Some(name) = &self.file_name {
            check_name(&name.0)?;
        }
        let mut name: Option<Box<str>> = self.file_name.map(|name| name.0.into());
        let path = match self.path {
            Some(Some(path)) => {
                check_path(&path.0)?;
                let last = last_part(&path.0);
                check_name(last).map_err(|fault| FieldFault::new("path", fault.reason))?;
                if name.as_deref().is_some_and(|name| name != last) {
                    return Err(FieldFault::new("path", "must end in /file_name"));
                }
                name = Some(last.into());
                Some((last != path.0).then(|| path.0.as_ref().into()))
            }
            Some(None) => Some(None),
            None => None,
        };
        let label = |field, text: Option<Option<Text<'_>>>| text.map(|text| check_label(field, text)).transpose();
        let patch = FilePatch {
            name,
            path,
            mime_type: label("mime_type", self.mime_type)?,
            checksum: label("checksum", self.checksum)?,
            size_bytes: self.size_bytes.map(check_size).transpose()?,
            modified_at: self.modified_at.map(check_time).transpose()?,
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
    }
}

/// The user with this number.
///
/// # Errors
/// If it is negative.
pub fn check_user(number: i64) -> Result<UserId, FieldFault> {
    UserId::new(number)
        .ok_or_else(|| FieldFault::new("user_id", "must be a whole number from 0 to 9223372036854775807"))
}

fn check_id(user: UserId, id: Uuid) -> Result<(), FieldFault> {
    if id.is_nil() {
        return Err(FieldFault::new("file_id", "must not be the nil UUID"));
    }
    // An id that was made here for another slot would be looked for there.
    if slot_in(id).is_some_and(|slot| slot != user.slot()) {
        return Err(FieldFault::new("file_id", "is an id that this service made for another user's file"));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), FieldFault> {
    let fault = |reason: &'static str| Err(FieldFault::new("file_name", reason));
    match name {
        "" => fault("must not be empty"),
        name if name.len() > MAX_NAME_BYTES => fault("must not be longer than 1024 bytes"),
        name if name.contains('\0') => fault("must not contain NUL"),
        name if name.contains('/') => fault("must not contain /; the folders belong into path"),
        _ => Ok(()),
    }
}

fn check_path(path: &str) -> Result<(), FieldFault> {
    let fault = |reason: &'static str| Err(FieldFault::new("path", reason));
    match path {
        "" => fault("must not be empty"),
        path if path.len() > MAX_PATH_BYTES => fault("must not be longer than 4096 bytes"),
        path if path.contains('\0') => fault("must not contain NUL"),
        _ => Ok(()),
    }
}

/// The part of a path after its last `/`.
pub(super) fn last_part(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn check_label(field: &'static str, label: Option<Text<'_>>) -> Result<Option<Box<str>>, FieldFault> {
    match label {
        Some(Text(text)) if text.len() > MAX_LABEL_BYTES => {
            Err(FieldFault::new(field, "must not be longer than 255 bytes"))
        }
        Some(Text(text)) if text.contains('\0') => Err(FieldFault::new(field, "must not contain NUL")),
        label => Ok(label.map(|Text(text)| text.into())),
    }
}

fn check_size(size: Option<i64>) -> Result<Option<i64>, FieldFault> {
    match size {
        Some(size) if size < 0 => {
            Err(FieldFault::new("size_bytes", "must be a whole number from 0 to 9223372036854775807"))
        }
        size => Ok(size),
    }
}

/// PostgreSQL keeps microseconds, and no years beyond 294276.
fn check_time(time: Option<DateTime<FixedOffset>>) -> Result<Option<DateTime<Utc>>, FieldFault> {
    let Some(time) = time else { return Ok(None) };
    let time = time.to_utc().trunc_subsecs(6);
    if !(-62_135_596_800..=253_402_300_799).contains(&time.timestamp()) {
        return Err(FieldFault::new("modified_at", "must be in the years 1 to 9999"));
    }
    Ok(Some(time))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn an_id_made_for_another_slot_is_refused() {
        let foreign = IdClock::default().mint(UserId::new(2).unwrap().slot());
        let json = |user| format!(r#"{{"user_id":{user},"file_name":"a","file_id":"{foreign}"}}"#);
        assert_eq!(check(&json(1)).unwrap_err(), "file_id");
        assert_eq!(check(&json(2)).unwrap().id(), foreign);
    }

    #[test]
    fn the_name_is_the_path_of_a_file_without_one() {
        assert_eq!(check(r#"{"user_id":1,"file_name":"a"}"#).unwrap().path(), "a");
        assert_eq!(check(r#"{"user_id":1,"file_name":"a","path":"a"}"#).unwrap().path, None);
        assert_eq!(check(r#"{"user_id":1,"file_name":"a","path":"b/a"}"#).unwrap().path(), "b/a");
        assert_eq!(check(r#"{"user_id":1,"file_name":"a","path":"/a"}"#).unwrap().path(), "/a");
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
        assert_eq!((top.name.as_deref(), top.path), (Some("place.txt"), Some(None)));
        assert_eq!(patch(r#"{"path":"x/a","file_name":"b"}"#).unwrap_err().field, "path");
        assert_eq!(patch(r#"{"path":"x/"}"#).unwrap_err().field, "path");
        assert_eq!(patch("{}").unwrap_err().field, "");
        let cleared = patch(r#"{"mime_type":null}"#).unwrap();
        assert_eq!(cleared.mime_type, Some(None));
    }
}

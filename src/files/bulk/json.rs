//! One record of JSON: a file as the API takes it, or an entry of `rclone lsjson`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::parse::ParsedRecord;
use crate::files::input::{FileInput, LoadedFile};
use crate::files::model::UserId;
use crate::files::path::{DrivePath, is_same_name};
use crate::files::values::{BorrowedText, TimeInput};
use crate::payload::{FieldFault, JsonFault, read_json, skip_mark};
use crate::shard::IdClock;

/// A file as `POST /ingest` takes it.
pub(super) fn file(record: &[u8], ids: &IdClock) -> Result<ParsedRecord, FieldFault> {
    let input = from_json::<FileInput<'_>>(record).map_err(|fault| match from_json::<ListingEntry<'_>>(record) {
        Ok(_) => FieldFault::new("", "is an entry of rclone lsjson; load listings with format=lsjson and user_id"),
        Err(_) => fault,
    })?;
    input.check_loaded(ids).map(ParsedRecord::File)
}

/// An entry of a listing that `rclone lsjson` wrote (<https://rclone.org/commands/rclone_lsjson/>). Its other fields
/// do not matter here, and newer versions of rclone may add more.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListingEntry<'a> {
    #[serde(borrow)]
    path: BorrowedText<'a>,
    #[serde(borrow)]
    name: BorrowedText<'a>,
    /// -1: unknown.
    #[serde(default)]
    size: Option<i64>,
    #[serde(borrow, default)]
    mime_type: Option<BorrowedText<'a>>,
    /// Empty if rclone was told not to look.
    #[serde(borrow, default)]
    mod_time: Option<TimeInput<'a>>,
    #[serde(default)]
    is_dir: bool,
    #[serde(default)]
    hashes: Option<BTreeMap<String, String>>,
}

/// An entry of a listing of `user`'s drive.
pub(super) fn lsjson_entry(record: &[u8], user: UserId, ids: &IdClock) -> Result<ParsedRecord, FieldFault> {
    let entry: ListingEntry<'_> = from_json(record)?;
    if entry.is_dir {
        return folder(&entry.path.0, &entry.name.0).map(ParsedRecord::Folder);
    }
    let input = FileInput {
        user_id: user.get(),
        user_id_text: None,
        file_name: entry.name,
        path: Some(entry.path),
        size_bytes: entry.size.filter(|size| *size != -1),
        mime_type: entry.mime_type.filter(|kind| !kind.0.is_empty()),
        checksum: entry.hashes.as_ref().and_then(strongest).map(|checksum| BorrowedText(Cow::Owned(checksum))),
        modified_at: entry.mod_time.filter(|time| *time != TimeInput::Text(Cow::Borrowed(""))),
        ..FileInput::default()
    };
    let named = |fault: FieldFault| FieldFault { field: lsjson_name(fault.field), ..fault };
    let LoadedFile { file, warning } = input.check_loaded(ids).map_err(named)?;
    Ok(ParsedRecord::File(LoadedFile { file, warning: warning.map(named) }))
}

/// The path of a folder.
fn folder(path: &str, name: &str) -> Result<DrivePath, FieldFault> {
    let path = DrivePath::parse(path, "Path")?;
    match path.split_last() {
        None => Err(FieldFault::new("Path", "must name a folder; the root is always there")),
        Some((_, last)) if !is_same_name(last, name) => Err(FieldFault::new("Path", "must end in /Name")),
        Some(_) => Ok(path),
    }
}

/// The checksum to keep of those that rclone found, as `sha256:…`. Versions before 1.62 write `SHA-1` for `sha1`.
fn strongest(hashes: &BTreeMap<String, String>) -> Option<String> {
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "");
    let find = |wanted: &str| hashes.iter().find(|(name, _)| plain(name) == wanted);
    let (name, value) = ["sha256", "sha1", "md5"].into_iter().find_map(find).or_else(|| hashes.iter().next())?;
    Some(format!("{}:{value}", plain(name)))
}

fn lsjson_name(field: Cow<'static, str>) -> Cow<'static, str> {
    let name = match field.as_ref() {
        "file_name" => "Name",
        "path" => "Path",
        "size_bytes" => "Size",
        "mime_type" => "MimeType",
        "checksum" => "Hashes",
        "modified_at" => "ModTime",
        _ => return field,
    };
    Cow::Borrowed(name)
}

fn from_json<'a, T: Deserialize<'a>>(record: &'a [u8]) -> Result<T, FieldFault> {
    // serde would take an array for a struct, field by field.
    if skip_mark(record).trim_ascii_start().first() != Some(&b'{') {
        return Err(FieldFault::new("", "must be a JSON object"));
    }
    read_json(record).map_err(|fault| match fault {
        JsonFault::Syntax(reason) => FieldFault::new("", reason),
        JsonFault::Field(fault) => fault,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::model::NewFile;

    fn entry(json: &str) -> Result<Option<NewFile>, String> {
        match lsjson_entry(json.as_bytes(), UserId::new(42).unwrap(), &IdClock::default()) {
            Ok(ParsedRecord::File(loaded)) => Ok(Some(loaded.file)),
            Ok(ParsedRecord::Folder(_)) => Ok(None),
            Ok(ParsedRecord::Rejected(_)) => unreachable!("rejections are errors here"),
            Err(fault) => Err(fault.to_string()),
        }
    }

    #[test]
    fn an_entry_of_a_listing_among_files_is_named() {
        let fault = |json: &str| file(json.as_bytes(), &IdClock::default()).unwrap_err().to_string();
        let told = fault(r#"{"Path":"a","Name":"a","Size":1,"IsDir":false}"#);
        assert!(told.starts_with("is an entry of rclone lsjson"), "{told}");
        let told = fault(r#"{"path":"a","name":"a"}"#);
        assert!(told.starts_with("name: unknown field"), "{told}");
    }

    #[test]
    fn an_entry_as_rclone_writes_it() {
        let json = r#"{"Path":"bin/[","Name":"[","Size":68496,"MimeType":"application/octet-stream",
            "ModTime":"2022-09-20T17:27:27.000000001+02:00","IsDir":false,"Hashes":{"SHA-1":"aa","MD5":"bb"},"Tier":"hot"}"#;
        let file = entry(json).unwrap().unwrap();
        assert_eq!((file.path(), file.size_bytes), (Some("bin/["), Some(68496)));
        assert_eq!(file.checksum.as_deref(), Some("sha1:aa"));
        assert_eq!(file.modified_at.unwrap().to_rfc3339(), "2022-09-20T15:27:27+00:00");
        assert!(entry(json).unwrap().unwrap().id() > file.id(), "ids are minted");
    }

    #[test]
    fn unknown_sizes_and_times_are_unknown_and_folders_are_no_files() {
        let file = entry(r#"{"Path":"a","Name":"a","Size":-1,"ModTime":"","IsDir":false}"#).unwrap().unwrap();
        assert_eq!((file.size_bytes, file.modified_at), (None, None));
        assert!(entry(r#"{"Path":"d","Name":"d","Size":-1,"IsDir":true}"#).unwrap().is_none());
    }

    #[test]
    fn faults_name_the_field_as_the_client_wrote_it() {
        for (json, start) in [
            (r#"{"Path":"a/b","Name":"c","Size":1}"#, "Path: must end in"),
            (r#"{"Path":"a/b","Name":"c","IsDir":true}"#, "Path: must end in"),
            (r#"{"Path":"a/../b","Name":"b","IsDir":true}"#, "Path: has a name that"),
            (r#"{"Path":"a","Name":"a","Size":-2}"#, "Size: "),
            (r#"{"Path":"a","Size":1}"#, "Name: missing field `Name`"),
            (r#"{"Path":"a","Name":7}"#, "Name: invalid type"),
            (r#" ["a","a",1,null,null,false,null]"#, "must be a JSON object"),
        ] {
            let fault = entry(json).unwrap_err();
            assert!(fault.starts_with(start), "{json}: {fault}");
        }
    }
}

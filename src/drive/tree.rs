//! A drive in the order of whole paths, as object stores list their keys: pages behind a path, and what a delimiter
//! rolls up.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::DriveError;
use super::model::EntryKind;
use super::service::DriveService;
use crate::files::UserId;
use crate::payload::{FieldFault, PageSize, json_bytes, time};
use crate::shard::{ShardCall, ShardId, WorkKind, optional_time, required_time};

/// The longest prefix and the longest path to start after, in bytes.
const MAX_KEY: usize = 4097;
/// About the bytes of an entry in JSON without its texts.
const ENTRY_BYTES: usize = 256;

/// An entry of a drive with its whole path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct TreeEntry {
    /// Folder or file.
    pub kind: EntryKind,
    /// The path from the root on. The path of a folder ends in `/`.
    #[schema(example = "letters/my_document.txt")]
    pub path: String,
    /// The id of the folder or file.
    pub id: Uuid,
    /// The size in bytes; of files whose size is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,
    /// The media type; of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// A checksum of the content; of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Where the content is stored, in the words of the client; of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_ref: Option<String>,
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
}

impl TreeEntry {
    /// About the bytes of the entry in JSON.
    fn byte_count(&self) -> usize {
        let texts = [&self.mime_type, &self.checksum, &self.content_ref];
        ENTRY_BYTES + json_bytes(&self.path) + texts.into_iter().flatten().map(|text| json_bytes(text)).sum::<usize>()
    }
}

/// Which part of a drive a listing of the tree shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TreeSelection {
    prefix: String,
    rolls_up: bool,
}

impl TreeSelection {
    /// The entries whose paths begin with `prefix`. With `rolls_up`, a folder stands for everything below the folder.
    ///
    /// # Errors
    /// If the prefix cannot begin a path.
    pub fn new(prefix: &str, rolls_up: bool) -> Result<Self, FieldFault> {
        Ok(Self { prefix: check_key(prefix, "prefix")?, rolls_up })
    }

    /// How many names of a path the prefix names whole.
    #[must_use]
    pub fn depth(&self) -> usize {
        slashes(&self.prefix)
    }
}

/// Reads the path after which a page begins.
///
/// # Errors
/// If it cannot be a path.
pub fn check_start_after(path: &str) -> Result<String, FieldFault> {
    check_key(path, "start_after")
}

/// A slash at the beginning changes nothing, as in every path.
fn check_key(key: &str, field: &'static str) -> Result<String, FieldFault> {
    if key.len() > MAX_KEY {
        return Err(FieldFault::new(field, format!("must not be longer than {MAX_KEY} bytes")));
    }
    if key.contains('\0') {
        return Err(FieldFault::new(field, "must not contain NUL"));
    }
    Ok(key.strip_prefix('/').unwrap_or(key).to_owned())
}

fn slashes(path: &str) -> usize {
    path.bytes().filter(|byte| *byte == b'/').count()
}

/// A page of a drive in the order of whole paths.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TreePage {
    /// The entries, in order.
    pub entries: Vec<TreeEntry>,
    /// The path of the last entry; `None` after the last page.
    pub next: Option<String>,
}

impl TreePage {
    /// Takes out the folders that stand for everything below them; their paths are the common prefixes.
    #[must_use]
    pub fn split_common_prefixes(self, selection: &TreeSelection) -> (Vec<TreeEntry>, Vec<String>) {
        if !selection.rolls_up {
            return (self.entries, Vec::new());
        }
        let is_rolled_up =
            |entry: &TreeEntry| entry.kind == EntryKind::Folder && slashes(&entry.path) > selection.depth();
        let (folders, entries): (Vec<_>, Vec<_>) = self.entries.into_iter().partition(is_rolled_up);
        (entries, folders.into_iter().map(|folder| folder.path).collect())
    }
}

struct ListTree<'a> {
    user: UserId,
    selection: &'a TreeSelection,
    after: &'a str,
    size: PageSize,
}

impl ShardCall for ListTree<'_> {
    type Output = Vec<TreeEntry>;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Vec<TreeEntry>>, sqlx::Error> {
        let rows = sqlx::query(include_str!("../../sql/drive/list_tree.sql"))
            .bind(self.user.slot().to_sql())
            .bind(shard.to_sql())
            .bind(self.user.get())
            .bind(&self.selection.prefix)
            .bind(self.after)
            .bind(!self.selection.rolls_up)
            .bind(i32::try_from(self.size.rows()).unwrap_or(i32::MAX))
            .fetch_all(connection)
            .await?;
        if rows.is_empty() {
            return Ok(None);
        }
        rows.iter().filter_map(|row| entry_in(row).transpose()).collect::<Result<_, _>>().map(Some)
    }

    fn work_kind(&self) -> WorkKind {
        WorkKind::Listing
    }
}

fn entry_in(row: &PgRow) -> Result<Option<TreeEntry>, sqlx::Error> {
    let Some(path) = row.try_get(0)? else { return Ok(None) };
    Ok(Some(TreeEntry {
        path,
        kind: if row.try_get(1)? { EntryKind::Folder } else { EntryKind::File },
        id: row.try_get(2)?,
        mime_type: row.try_get(3)?,
        checksum: row.try_get(4)?,
        size_bytes: row.try_get(5)?,
        modified_at: optional_time(row, 6)?,
        version: row.try_get(7)?,
        created_at: required_time(row, 8)?,
        updated_at: required_time(row, 9)?,
        content_ref: row.try_get(10)?,
    }))
}

impl DriveService {
    /// A page of a drive in the order of whole paths, behind the path `after`; with an empty text, from the first path
    /// on.
    ///
    /// # Errors
    /// The shard's error.
    pub async fn list_tree(
        &self,
        user: UserId,
        selection: &TreeSelection,
        after: &str,
        size: PageSize,
    ) -> Result<(ShardId, TreePage), DriveError> {
        let call = ListTree { user, selection, after, size };
        let (shard, mut entries) = self.cluster.run(user.slot(), &call).await?;
        let next = size.cut(&mut entries, TreeEntry::byte_count, |last| last.path.clone());
        Ok((shard, TreePage { entries, next }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_texts_that_can_begin_a_path() {
        assert_eq!(TreeSelection::new("/a/b", true).unwrap().depth(), 1);
        assert_eq!(check_start_after("").unwrap(), "");
        for key in ["a\0", &"x".repeat(MAX_KEY + 1)] {
            assert_eq!(TreeSelection::new(key, true).unwrap_err().field, "prefix");
            assert_eq!(check_start_after(key).unwrap_err().field, "start_after");
        }
    }
}

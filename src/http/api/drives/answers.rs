//! The answers that show a folder or a file of a drive.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use crate::drive::{DriveEntry, Folder, PurgeResult};
use crate::files::UserId;
use crate::http::api::files::{FileAnswer, stored_file_answer};
use crate::http::request::conditional::{has_current_version, not_modified, set_etag};
use crate::http::response::answer;
use crate::http::response::problem::Problem;
use crate::http::state::AppState;
use crate::shard::ShardId;

/// A folder and its shard.
#[derive(Serialize, ToSchema)]
struct StoredFolder {
    #[serde(flatten)]
    folder: Folder,
    /// The owning shard.
    #[schema(value_type = u16, example = 1)]
    shard_id: u16,
}

/// A folder.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct FolderAnswer {
    #[schema(example = true)]
    success: bool,
    data: StoredFolder,
}

/// The answer with a folder or with a file.
#[derive(ToSchema)]
#[schema(as = EntryAnswer)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is only read by its derive")]
pub(in crate::http) enum EntryAnswer {
    Folder(FolderAnswer),
    File(FileAnswer),
}

/// The answer to a deletion: the folder or the file in the trash, or with `purge` what was deleted for good.
#[derive(ToSchema)]
#[schema(as = DeletedEntryAnswer)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is only read by its derive")]
pub(in crate::http) enum DeletedEntryAnswer {
    Folder(FolderAnswer),
    File(FileAnswer),
    Purged(PurgeAnswer),
}

/// What was deleted for good.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct PurgeAnswer {
    #[schema(example = true)]
    success: bool,
    #[schema(example = 42)]
    user_id: i64,
    /// The shard of the user's drive.
    #[schema(example = 0)]
    shard_id: u16,
    /// Deleted files and folders.
    #[schema(example = 12)]
    purged: i64,
    /// True if the time for a call was over before all was deleted: repeat the request.
    #[schema(example = false)]
    more: bool,
}

pub(super) fn purge_answer(user: UserId, shard: ShardId, result: PurgeResult) -> Result<HttpResponse, Problem> {
    let PurgeResult { rows: purged, has_more: more } = result;
    answer::ok(&PurgeAnswer { success: true, user_id: user.get(), shard_id: shard.number(), purged, more })
}

/// The folder, or the file under the id, as it is now.
pub(super) async fn entry_answer(
    state: &AppState,
    status: StatusCode,
    user: UserId,
    shard: ShardId,
    entry: DriveEntry,
) -> Result<HttpResponse, Problem> {
    match entry {
        DriveEntry::Folder(folder) => folder_answer(status, folder, shard),
        DriveEntry::File(id) => {
            let (shard, file) = state.files.find(id, Some(user)).await?;
            stored_file_answer(status, file, shard)
        }
    }
}

/// The folder, unless the client has this state already.
pub(super) fn folder_unless_unchanged(
    request: &HttpRequest,
    folder: Folder,
    shard: ShardId,
) -> Result<HttpResponse, Problem> {
    let current = folder.tag();
    if has_current_version(request, &current)? {
        return Ok(not_modified(&current));
    }
    folder_answer(StatusCode::OK, folder, shard)
}

pub(super) fn folder_answer(status: StatusCode, folder: Folder, shard: ShardId) -> Result<HttpResponse, Problem> {
    let current = folder.tag();
    let data = StoredFolder { folder, shard_id: shard.number() };
    let mut response = answer::json(status, &FolderAnswer { success: true, data }, 768)?;
    set_etag(&mut response, &current);
    Ok(response)
}

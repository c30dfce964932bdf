//! The answers that show a folder or a file of a drive.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use crate::drive::{DriveEntry, Folder};
use crate::files::UserId;
use crate::http::api::files::stored_file_answer;
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

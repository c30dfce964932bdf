//! `/drives/{user_id}/trash`: what was put into the trash, back out of it, and deleted for good.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::answers::{EntryAnswer, PurgeAnswer, entry_answer, purge_answer};
use crate::drive::{DriveEntry, DriveOperation, EntryKind, FolderTarget, TrashCursor, TrashedEntry};
use crate::files::{UserId, check_entry_name};
use crate::http::guards::access::Caller;
use crate::http::guards::idempotency::claim_key;
use crate::http::request::body::JsonBody;
use crate::http::request::extract::{EntryPath, UserPath, query, query_cursor, query_page_size};
use crate::http::response::answer;
use crate::http::response::problem::Problem;
use crate::http::response::problem_responses::{BodyProblems, DriveProblems, RequestProblems, ShardProblems};
use crate::http::state::AppState;
use crate::payload::PageSize;

/// A page of a user's trash.
#[derive(Serialize, ToSchema)]
struct TrashAnswer {
    #[schema(example = true)]
    success: bool,
    #[schema(example = 42)]
    user_id: i64,
    /// The shard of the user's drive.
    #[schema(example = 0)]
    shard_id: u16,
    /// What was put into the trash itself, newest first. What is below a folder is not listed.
    entries: Vec<TrashedEntry>,
    /// The `cursor` of the next page; `null` on the last page.
    next_cursor: Option<String>,
}

/// Reads `true` or `false`.
pub(super) fn flag(field: &'static str, text: Option<&str>, usual: bool) -> Result<bool, Problem> {
    match text {
        None => Ok(usual),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(_) => Err(Problem::query(field, "must be true or false")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrashQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

/// List a user's trash
///
/// What was put into the trash itself, newest first, in pages. It is deleted for good after
/// `SHARDRIVE_TRASH_KEEP_DAYS`.
#[utoipa::path(
    get, path = "/drives/{user_id}/trash", tag = "drives",
    params(
        ("user_id" = i64, Path, description = "The user", minimum = 0),
        ("limit" = Option<u16>, Query, description = "Entries in one page at most, 100 if it is left out; a page of long paths ends at about 2 MiB", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before; only the entries after it are given"),
    ),
    responses(
        (status = 200, description = "The entries; none is no error", body = TrashAnswer),
        RequestProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn list_trash(
    state: Data<AppState>,
    UserPath(user): UserPath,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let TrashQuery { limit, cursor } = query(&request)?;
    let size = query_page_size(limit.as_deref(), PageSize::USUAL)?;
    let after = query_cursor(cursor.as_deref(), TrashCursor::parse)?;
    let (shard, page) = state.drives.list_trash(user, size, after).await?;
    let next_cursor = page.next.map(|cursor| cursor.to_string());
    let body = TrashAnswer {
        success: true,
        user_id: user.get(),
        shard_id: shard.number(),
        entries: page.entries,
        next_cursor,
    };
    answer::ok(&body)
}

/// Delete a user's trash for good
///
/// Some thousand rows by one request: `more` tells whether to repeat it.
#[utoipa::path(
    delete, path = "/drives/{user_id}/trash", tag = "drives",
    params(("user_id" = i64, Path, description = "The user", minimum = 0)),
    responses(
        (status = 200, description = "What was deleted", body = PurgeAnswer),
        RequestProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn empty_trash(
    state: Data<AppState>,
    UserPath(user): UserPath,
) -> Result<HttpResponse, Problem> {
    let (shard, result) = Box::pin(state.drives.empty_trash(user)).await?;
    purge_answer(user, shard, result)
}

/// Deletes what has just been put into the trash.
pub(super) async fn purge_entry(state: &AppState, user: UserId, entry: &DriveEntry) -> Result<HttpResponse, Problem> {
    let (kind, id) = match entry {
        DriveEntry::Folder(folder) => (EntryKind::Folder, folder.folder_id),
        DriveEntry::File(id) => (EntryKind::File, *id),
    };
    let (shard, result) = Box::pin(state.drives.purge(user, kind, id)).await?;
    purge_answer(user, shard, result)
}

/// Where an entry goes that is taken out of the trash.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct RestoreInput {
    /// The name from now on; without it the old name.
    #[serde(default)]
    #[schema(example = "letters")]
    name: Option<String>,
    /// The folder around it from now on; without it the old one.
    #[serde(default)]
    parent_id: Option<Uuid>,
}

/// Take an entry out of the trash
///
/// A folder comes back with all that is below it. An entry whose folder is gone needs a `parent_id`; an entry whose
/// name is taken needs a `name`.
#[utoipa::path(
    post, path = "/drives/{user_id}/trash/{entry_id}/restore", tag = "drives", request_body = RestoreInput,
    params(
        ("user_id" = i64, Path, description = "The user", minimum = 0),
        ("entry_id" = Uuid, Path, description = "The folder or the file"),
    ),
    responses(
        (status = 200, description = "The folder or the file as it is now", body = EntryAnswer),
        RequestProblems, BodyProblems, DriveProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn restore_entry(
    state: Data<AppState>,
    caller: Caller,
    UserPath(user): UserPath,
    EntryPath(id): EntryPath,
    request: HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let claimed = claim_key(&request, caller, body.bytes())?;
    let RestoreInput { name, parent_id } = body.parse()?;
    if let Some(name) = &name {
        check_entry_name(name, "name")?;
    }
    let operation = DriveOperation::Restore { id, parent: parent_id.map(FolderTarget::Id), name };
    let (shard, restored) = Box::pin(state.drives.change(user, operation, claimed.request_key())).await?;
    entry_answer(&state, StatusCode::OK, user, shard, restored.entry).await
}

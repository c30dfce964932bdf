//! `/drives/{user_id}/path/{path}`: the entry at a path.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, IF_MATCH, LOCATION};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use super::answers::{DeletedEntryAnswer, EntryAnswer, entry_answer, folder_unless_unchanged};
use super::trash::{flag, purge_entry};
use crate::drive::{DriveEntry, DriveOperation, EntryTarget, NameConflict, PathEntry};
use crate::files::ContentInput;
use crate::http::api::files::{FileAnswer, file_unless_unchanged};
use crate::http::request::body::JsonBody;
use crate::http::request::conditional::{entry_condition, put_condition};
use crate::http::request::extract::{DrivePathPart, UserPath, query};
use crate::http::response::problem::Problem;
use crate::http::response::problem_responses::{BodyProblems, DriveProblems, RequestProblems, ShardProblems};
use crate::http::state::AppState;

/// Get what is at a path
///
/// A folder is answered as by `/folders/{folder_id}`, and a file as by `/files/{file_id}`.
#[utoipa::path(
    get, path = "/drives/{user_id}/path/{path}", tag = "drives",
    params(
        ("user_id" = i64, Path, description = "The user", minimum = 0),
        ("path" = String, Path, description = "The path from the root on; a `/` in it may stand as it is"),
    ),
    responses(
        (status = 200, description = "The folder or the file", body = EntryAnswer, headers(("ETag" = String, description = "Its state"))),
        RequestProblems, DriveProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn find_path(
    state: Data<AppState>,
    UserPath(user): UserPath,
    DrivePathPart(path): DrivePathPart,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    match state.drives.find_path(user, &path).await? {
        (shard, PathEntry::Folder(folder)) => folder_unless_unchanged(&request, folder, shard),
        (shard, PathEntry::File(file)) => file_unless_unchanged(&request, file, shard),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutQuery {
    on_conflict: Option<String>,
    parents: Option<String>,
}

/// Reads what happens if a file has the name already.
pub(super) fn name_conflict(text: Option<&str>) -> Result<NameConflict, &'static str> {
    match text {
        None | Some("replace") => Ok(NameConflict::Replace),
        Some("fail") => Ok(NameConflict::Fail),
        Some("rename") => Ok(NameConflict::Rename),
        Some(_) => Err("must be replace, fail or rename"),
    }
}

/// Store a file at a path
///
/// Without a file at the path a new file is stored; otherwise the file there gets the new content, and keeps its id.
#[utoipa::path(
    put, path = "/drives/{user_id}/path/{path}", tag = "drives", request_body = ContentInput<'static>,
    params(
        ("user_id" = i64, Path, description = "The user", minimum = 0),
        ("path" = String, Path, description = "The path from the root on; a `/` in it may stand as it is"),
        ("on_conflict" = Option<String>, Query, description = "If a file has the path: `replace` its content, which is also what is done without it; `fail`; or `rename` the new file to the next free name, as `a (2).txt`"),
        ("parents" = Option<bool>, Query, description = "`true`, which is also what is done without it: missing folders on the way are made"),
        ("If-Match" = Option<String>, Header, description = "`ETag` of the state of the file that is to be replaced, or `*` for any; not beside `on_conflict=rename`"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: nothing may be at the path yet"),
    ),
    responses(
        (status = 201, description = "The file is new", body = FileAnswer, headers(("Location" = String, description = "The file's own address"), ("ETag" = String, description = "Its state"))),
        (status = 200, description = "The file at the path has the new content", body = FileAnswer, headers(("ETag" = String, description = "Its state"))),
        RequestProblems, BodyProblems, DriveProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn put_path(
    state: Data<AppState>,
    UserPath(user): UserPath,
    DrivePathPart(path): DrivePathPart,
    request: HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let PutQuery { on_conflict, parents } = query(&request)?;
    let conflict = name_conflict(on_conflict.as_deref()).map_err(|reason| Problem::query("on_conflict", reason))?;
    let makes_folders = flag("parents", parents.as_deref(), true)?;
    let condition = put_condition(&request)?;
    if conflict == NameConflict::Rename && request.headers().contains_key(IF_MATCH) {
        let reason = "must not be rename beside If-Match, which names a file to replace";
        return Err(Problem::query("on_conflict", reason));
    }
    let content = body.parse::<ContentInput<'_>>()?.check()?;
    let operation = DriveOperation::PutFile { path, makes_folders, content, conflict, condition };
    let (shard, put) = Box::pin(state.drives.change(user, operation, None)).await?;
    let status = if put.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let location = match &put.entry {
        DriveEntry::File(id) if put.is_new => HeaderValue::from_str(&format!("/files/{id}")).ok(),
        _ => None,
    };
    let mut response = entry_answer(&state, status, user, shard, put.entry).await?;
    if let Some(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrashQuery {
    purge: Option<String>,
}

/// Put what is at a path into the trash
///
/// A folder goes with all that is below it. With `purge=true` it is deleted for good.
#[utoipa::path(
    delete, path = "/drives/{user_id}/path/{path}", tag = "drives",
    params(
        ("user_id" = i64, Path, description = "The user", minimum = 0),
        ("path" = String, Path, description = "The path from the root on; a `/` in it may stand as it is"),
        ("purge" = Option<bool>, Query, description = "`true`: delete for good; what the time for a call does not allow stays in the trash"),
        ("If-Match" = Option<String>, Header, description = "`ETag` of the only state that is to be changed"),
    ),
    responses(
        (status = 200, description = "The folder or the file, which is in the trash; with `purge=true` what was deleted", body = DeletedEntryAnswer),
        RequestProblems, DriveProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn trash_path(
    state: Data<AppState>,
    UserPath(user): UserPath,
    DrivePathPart(path): DrivePathPart,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let TrashQuery { purge } = query(&request)?;
    let purges = flag("purge", purge.as_deref(), false)?;
    let condition = entry_condition(&request)?;
    let operation = DriveOperation::Trash { entry: EntryTarget::Path(path), condition };
    let (shard, trashed) = Box::pin(state.drives.change(user, operation, None)).await?;
    if purges {
        return purge_entry(&state, user, &trashed.entry).await;
    }
    entry_answer(&state, StatusCode::OK, user, shard, trashed.entry).await
}

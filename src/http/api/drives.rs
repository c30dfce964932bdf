//! `/drives/{user_id}` and `/folders/{folder_id}`: the tree of a user's folders.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, LOCATION};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::drive::{Child, ChildrenCursor, DriveEntry, DriveError, DriveOperation, EntryKind, Folder, FolderTarget};
use crate::files::{DrivePath, UserId, check_entry_name};
use crate::http::guards::access::Caller;
use crate::http::request::body::JsonBody;
use crate::http::request::conditional::{folder_condition, has_current_version, not_modified, set_etag};
use crate::http::request::extract::{DrivePathPart, FolderPath, UserPath, query, query_cursor, query_page_size};
use crate::http::request::owner::named_user;
use crate::http::response::answer;
use crate::http::response::problem::Problem;
use crate::http::response::problem_responses::{BodyProblems, DriveProblems, RequestProblems, ShardProblems};
use crate::http::state::AppState;
use crate::payload::{FieldFault, PageSize};
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

/// A page of what a folder holds.
#[derive(Serialize, ToSchema)]
struct ChildrenAnswer {
    #[schema(example = true)]
    success: bool,
    /// The folder.
    folder: Folder,
    /// The shard of the user's drive.
    #[schema(example = 0)]
    shard_id: u16,
    /// Folders first, then files, each by name.
    entries: Vec<Child>,
    /// The `cursor` of the next page; `null` on the last page.
    next_cursor: Option<String>,
}

/// A new folder: its path, or its name and the folder around it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewFolder {
    /// The path of the new folder. Missing folders on the way are made.
    #[serde(default)]
    #[schema(example = "documents/letters")]
    path: Option<String>,
    /// The folder around the new folder.
    #[serde(default)]
    parent_id: Option<Uuid>,
    /// The name of the new folder.
    #[serde(default)]
    #[schema(example = "letters")]
    folder_name: Option<String>,
}

impl NewFolder {
    fn operation(self) -> Result<DriveOperation, Problem> {
        match (self.path, self.parent_id, self.folder_name) {
            (Some(path), None, None) => {
                let path = DrivePath::parse(&path, "path")?;
                let Some((parents, name)) = path.split_last() else {
                    return Err(FieldFault::new("path", "must name a folder; the root is always there").into());
                };
                let parent = FolderTarget::Path(DrivePath::of_names(parents), true);
                Ok(DriveOperation::CreateFolder { parent, name: name.to_owned() })
            }
            (None, parent, Some(name)) => {
                check_entry_name(&name, "folder_name")?;
                Ok(DriveOperation::CreateFolder { parent: FolderTarget::Id(parent.unwrap_or_default()), name })
            }
            _ => Err(FieldFault::new("path", "is needed alone, or parent_id with folder_name").into()),
        }
    }
}

/// A change of a folder. A member that is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct FolderPatch {
    /// The new name.
    #[serde(default)]
    #[schema(example = "letters")]
    folder_name: Option<String>,
    /// The folder around the folder from now on, by its id.
    #[serde(default)]
    parent_id: Option<Uuid>,
    /// The same by its path.
    #[serde(default)]
    #[schema(example = "documents")]
    parent_path: Option<String>,
}

impl FolderPatch {
    fn target(&self) -> Result<Option<FolderTarget>, Problem> {
        match (self.parent_id, &self.parent_path) {
            (None, None) => Ok(None),
            (Some(id), None) => Ok(Some(FolderTarget::Id(id))),
            (None, Some(path)) => Ok(Some(FolderTarget::Path(DrivePath::parse(path, "parent_path")?, false))),
            (Some(_), Some(_)) => Err(FieldFault::new("parent_path", "must not stand beside parent_id").into()),
        }
    }
}

/// Make a folder
///
/// By `path`, which makes missing folders on the way, or by `folder_name` in the folder `parent_id` (without it, the root).
#[utoipa::path(
    post, path = "/drives/{user_id}/folders", tag = "drives", request_body = NewFolder,
    params(("user_id" = i64, Path, description = "The user", minimum = 0)),
    responses(
        (status = 201, description = "The folder is made", body = FolderAnswer, headers(("Location" = String, description = "The folder's own address"))),
        RequestProblems, BodyProblems, DriveProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn create_folder(
    state: Data<AppState>,
    UserPath(user): UserPath,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let operation = body.parse::<NewFolder>()?.operation()?;
    let (shard, made) = Box::pin(state.drives.change(user, operation)).await?;
    let location = match &made {
        DriveEntry::Folder(folder) => HeaderValue::from_str(&format!("/folders/{}", folder.folder_id)).ok(),
        DriveEntry::File(_) => None,
    };
    let mut response = answer_entry(&state, StatusCode::CREATED, user, shard, made).await?;
    if let Some(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChildrenQuery {
    folder_id: Option<String>,
    path: Option<String>,
    kinds: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// List a folder
///
/// Folders first, then files, each in the order of their names' code points, in pages.
#[utoipa::path(
    get, path = "/drives/{user_id}/children", tag = "drives",
    params(
        ("user_id" = i64, Path, description = "The user", minimum = 0),
        ("folder_id" = Option<Uuid>, Query, description = "The folder; without it and without `path`, the root"),
        ("path" = Option<String>, Query, description = "The folder by its path"),
        ("kinds" = Option<String>, Query, description = "`folders` or `files` alone; without it both"),
        ("limit" = Option<u16>, Query, description = "Entries in one page, 100 if it is left out", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before; only the entries after it are given"),
    ),
    responses(
        (status = 200, description = "The entries; none is no error", body = ChildrenAnswer),
        RequestProblems, DriveProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn list_children(
    state: Data<AppState>,
    UserPath(user): UserPath,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let ChildrenQuery { folder_id, path, kinds, limit, cursor } = query(&request)?;
    let folder = match (folder_id, path) {
        (Some(_), Some(_)) => return Err(Problem::query("path", "must not stand beside folder_id")),
        (Some(id), None) => {
            FolderTarget::Id(Uuid::try_parse(&id).map_err(|_| Problem::query("folder_id", "must be a UUID"))?)
        }
        (None, path) => FolderTarget::Path(
            DrivePath::parse(path.as_deref().unwrap_or_default(), "path")
                .map_err(|fault| Problem::query("path", fault.reason))?,
            false,
        ),
    };
    let kinds = match kinds.as_deref() {
        None | Some("folders,files" | "files,folders") => None,
        Some("folders") => Some(EntryKind::Folder),
        Some("files") => Some(EntryKind::File),
        Some(_) => return Err(Problem::query("kinds", "must be folders, files, or both with a comma")),
    };
    let size = query_page_size(limit.as_deref(), PageSize::USUAL)?;
    let after = query_cursor(cursor.as_deref(), ChildrenCursor::parse)?;
    let (shard, folder, page) = state.drives.list_children(user, &folder, size, after.as_ref(), kinds).await?;
    let entries = page.entries;
    let capacity = 512 + 256 * entries.len();
    let next_cursor = page.next.map(|cursor| cursor.to_string());
    let body = ChildrenAnswer { success: true, folder, shard_id: shard.number(), entries, next_cursor };
    answer::json(StatusCode::OK, &body, capacity)
}

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
        (status = 200, description = "The folder or the file", body = FolderAnswer, headers(("ETag" = String, description = "Its state"))),
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
        (shard, DriveEntry::Folder(folder)) => unless_unchanged(&request, folder, shard),
        (_, DriveEntry::File(id)) => super::files::answer_file(&state, id, Some(user), &request).await,
    }
}

/// Get one folder
#[utoipa::path(
    get, path = "/folders/{folder_id}", tag = "drives",
    params(
        ("folder_id" = Uuid, Path, description = "The folder"),
        ("user_id" = Option<i64>, Query, description = "The user whose folder it is; a token of the scope `user` names its own", minimum = 0),
        ("If-None-Match" = Option<String>, Header, description = "`ETag` of the state that the client has"),
        ("If-Match" = Option<String>, Header, description = "`ETag` of the only state that the client wants"),
    ),
    responses(
        (status = 200, description = "The folder", body = FolderAnswer, headers(("ETag" = String, description = "Its state"))),
        (status = 304, description = "It is still in the state that the client has"),
        RequestProblems, DriveProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn find_folder(
    state: Data<AppState>,
    caller: Caller,
    FolderPath(id): FolderPath,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let user = owner(&state, &request, caller, id).await?;
    let (shard, folder) = state.drives.find_folder(user, id).await?;
    unless_unchanged(&request, folder, shard)
}

/// Rename or move a folder
///
/// One row changes, whatever is below the folder. All paths below are the new ones at once.
#[utoipa::path(
    patch, path = "/folders/{folder_id}", tag = "drives", request_body = FolderPatch,
    params(
        ("folder_id" = Uuid, Path, description = "The folder"),
        ("user_id" = Option<i64>, Query, description = "The user whose folder it is; a token of the scope `user` names its own", minimum = 0),
        ("If-Match" = Option<String>, Header, description = "`ETag` of the only state that is to be changed"),
    ),
    responses(
        (status = 200, description = "The folder as it is now", body = FolderAnswer, headers(("ETag" = String, description = "Its state"))),
        RequestProblems, BodyProblems, DriveProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn change_folder(
    state: Data<AppState>,
    caller: Caller,
    FolderPath(id): FolderPath,
    request: HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let patch = body.parse::<FolderPatch>()?;
    let parent = patch.target()?;
    if let Some(name) = &patch.folder_name {
        check_entry_name(name, "folder_name")?;
    }
    let tag = folder_condition(&request)?;
    let user = owner(&state, &request, caller, id).await?;
    let operation = DriveOperation::MoveFolder { id, parent, name: patch.folder_name, tag };
    let (shard, entry) = Box::pin(state.drives.change(user, operation)).await?;
    answer_entry(&state, StatusCode::OK, user, shard, entry).await
}

/// Put a folder into the trash
///
/// With all that is below it. One row changes.
#[utoipa::path(
    delete, path = "/folders/{folder_id}", tag = "drives",
    params(
        ("folder_id" = Uuid, Path, description = "The folder"),
        ("user_id" = Option<i64>, Query, description = "The user whose folder it is; a token of the scope `user` names its own", minimum = 0),
        ("If-Match" = Option<String>, Header, description = "`ETag` of the only state that is to be changed"),
    ),
    responses(
        (status = 200, description = "The folder is in the trash", body = FolderAnswer),
        RequestProblems, DriveProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn trash_folder(
    state: Data<AppState>,
    caller: Caller,
    FolderPath(id): FolderPath,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let tag = folder_condition(&request)?;
    let user = owner(&state, &request, caller, id).await?;
    let (shard, entry) = Box::pin(state.drives.change(user, DriveOperation::TrashFolder { id, tag })).await?;
    answer_entry(&state, StatusCode::OK, user, shard, entry).await
}

/// Where a folder goes that is taken out of the trash.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct RestoreInput {
    /// The name from now on; without it the old name.
    #[serde(default)]
    folder_name: Option<String>,
    /// The folder around it from now on; without it the old one.
    #[serde(default)]
    parent_id: Option<Uuid>,
}

/// Take a folder out of the trash
#[utoipa::path(
    post, path = "/drives/{user_id}/trash/{folder_id}/restore", tag = "drives", request_body = RestoreInput,
    params(
        ("user_id" = i64, Path, description = "The user", minimum = 0),
        ("folder_id" = Uuid, Path, description = "The folder"),
    ),
    responses(
        (status = 200, description = "The folder as it is now", body = FolderAnswer),
        RequestProblems, BodyProblems, DriveProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn restore_folder(
    state: Data<AppState>,
    UserPath(user): UserPath,
    FolderPath(id): FolderPath,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let RestoreInput { folder_name: name, parent_id } = body.parse()?;
    if let Some(name) = &name {
        check_entry_name(name, "folder_name")?;
    }
    let operation = DriveOperation::Restore { id, parent: parent_id.map(FolderTarget::Id), name };
    let (shard, entry) = Box::pin(state.drives.change(user, operation)).await?;
    answer_entry(&state, StatusCode::OK, user, shard, entry).await
}

/// The user whose folder a request means.
async fn owner(state: &AppState, request: &HttpRequest, caller: Caller, id: Uuid) -> Result<UserId, Problem> {
    match named_user(request, caller)? {
        Some(user) => Ok(user),
        None if id.is_nil() => Err(DriveError::FolderNotFound(id.to_string()).into()),
        None => Ok(state.drives.find_owner(id).await?),
    }
}

/// The folder, or the file under the id, as it is now.
async fn answer_entry(
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
            super::files::stored_file_answer(file, shard)
        }
    }
}

/// Put what is at a path into the trash
///
/// A folder goes with all that is below it.
#[utoipa::path(
    delete, path = "/drives/{user_id}/path/{path}", tag = "drives",
    params(
        ("user_id" = i64, Path, description = "The user", minimum = 0),
        ("path" = String, Path, description = "The path from the root on; a `/` in it may stand as it is"),
        ("If-Match" = Option<String>, Header, description = "`ETag` of the only state of a folder that is to be changed"),
    ),
    responses(
        (status = 200, description = "The folder or the file, which is in the trash", body = FolderAnswer),
        RequestProblems, DriveProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn trash_path(
    state: Data<AppState>,
    UserPath(user): UserPath,
    DrivePathPart(path): DrivePathPart,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let tag = folder_condition(&request)?;
    let operation = match state.drives.find_path(user, &path).await?.1 {
        DriveEntry::Folder(folder) => DriveOperation::TrashFolder { id: folder.folder_id, tag },
        DriveEntry::File(id) => DriveOperation::TrashFile { id },
    };
    let (shard, entry) = Box::pin(state.drives.change(user, operation)).await?;
    answer_entry(&state, StatusCode::OK, user, shard, entry).await
}

fn unless_unchanged(request: &HttpRequest, folder: Folder, shard: ShardId) -> Result<HttpResponse, Problem> {
    let current = folder.tag();
    if has_current_version(request, &current)? {
        return Ok(not_modified(&current));
    }
    folder_answer(StatusCode::OK, folder, shard)
}

fn folder_answer(status: StatusCode, folder: Folder, shard: ShardId) -> Result<HttpResponse, Problem> {
    let current = folder.tag();
    let data = StoredFolder { folder, shard_id: shard.number() };
    let mut response = answer::json(status, &FolderAnswer { success: true, data }, 768)?;
    set_etag(&mut response, &current);
    Ok(response)
}

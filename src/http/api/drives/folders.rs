//! `/drives/{user_id}/folders` and `/folders/{folder_id}`: make, show, rename, move and trash a folder.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, LOCATION};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::answers::{
    DeletedEntryAnswer, FolderAnswer, entry_answer, folder_answer, folder_unless_unchanged, purge_answer,
};
use super::trash::{flag, purge_entry};
use crate::drive::{DriveEntry, DriveError, DriveOperation, EntryCondition, EntryKind, EntryTarget, FolderTarget};
use crate::files::{DrivePath, UserId, check_entry_name};
use crate::http::guards::access::Caller;
use crate::http::guards::idempotency::claim_key;
use crate::http::request::body::JsonBody;
use crate::http::request::conditional::entry_condition;
use crate::http::request::extract::{FolderPath, UserPath, query};
use crate::http::request::owner::{named_user, user_of_query};
use crate::http::response::problem::Problem;
use crate::http::response::problem_responses::{BodyProblems, DriveProblems, RequestProblems, ShardProblems};
use crate::http::state::AppState;
use crate::payload::FieldFault;

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
/// By `path`, which makes missing folders on the way, or by `folder_name` in the folder `parent_id` (without it, the
/// root).
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
    caller: Caller,
    UserPath(user): UserPath,
    request: HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let claimed = claim_key(&request, caller, body.bytes())?;
    let operation = body.parse::<NewFolder>()?.operation()?;
    let (shard, made) = Box::pin(state.drives.change(user, operation, claimed.request_key())).await?;
    let location = match &made.entry {
        DriveEntry::Folder(folder) => HeaderValue::from_str(&format!("/folders/{}", folder.folder_id)).ok(),
        DriveEntry::File(_) => None,
    };
    let mut response = entry_answer(&state, StatusCode::CREATED, user, shard, made.entry).await?;
    if let Some(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
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
    let user = owner(&state, named_user(&request, caller)?, id).await?;
    let (shard, folder) = state.drives.find_folder(user, id).await?;
    folder_unless_unchanged(&request, folder, shard)
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
    let condition = entry_condition(&request)?;
    let patch = body.parse::<FolderPatch>()?;
    let parent = patch.target()?;
    if let Some(name) = &patch.folder_name {
        check_entry_name(name, "folder_name")?;
    }
    if parent.is_none() && patch.folder_name.is_none() {
        return Err(FieldFault::new("", "name at least one field to change").into());
    }
    let claimed = claim_key(&request, caller, body.bytes())?;
    let named = named_user(&request, caller)?;
    // Before the folder is looked for: the folder may be gone since.
    if let (None, Some(key)) = (named, claimed.request_key())
        && let Some((shard, folder)) = state.drives.find_folder_change(id, &key).await?
    {
        return folder_answer(StatusCode::OK, folder, shard);
    }
    let user = owner(&state, named, id).await?;
    let entry = EntryTarget::Folder(id);
    let operation = DriveOperation::Move { entry, parent, name: patch.folder_name, condition };
    let (shard, moved) = Box::pin(state.drives.change(user, operation, claimed.request_key())).await?;
    entry_answer(&state, StatusCode::OK, user, shard, moved.entry).await
}

/// Put a folder into the trash
///
/// With all that is below it. One row changes. With `purge=true` all of it is deleted for good, also of a folder that
/// was put into the trash before.
#[utoipa::path(
    delete, path = "/folders/{folder_id}", tag = "drives",
    params(
        ("folder_id" = Uuid, Path, description = "The folder"),
        ("user_id" = Option<i64>, Query, description = "The user whose folder it is; a token of the scope `user` names its own", minimum = 0),
        ("purge" = Option<bool>, Query, description = "`true`: delete for good; what the time for a call does not allow stays in the trash"),
        ("If-Match" = Option<String>, Header, description = "`ETag` of the only state that is to be changed"),
    ),
    responses(
        (status = 200, description = "The folder is in the trash; with `purge=true` what was deleted", body = DeletedEntryAnswer),
        RequestProblems, DriveProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn trash_folder(
    state: Data<AppState>,
    caller: Caller,
    FolderPath(id): FolderPath,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let FolderQuery { user_id, purge } = query(&request)?;
    let purges = flag("purge", purge.as_deref(), false)?;
    let condition = entry_condition(&request)?;
    let user = owner(&state, user_of_query(user_id.as_deref(), caller)?, id).await?;
    let may_be_trashed = purges && condition == EntryCondition::Any;
    let operation = DriveOperation::Trash { entry: EntryTarget::Folder(id), condition };
    let (shard, trashed) = match Box::pin(state.drives.change(user, operation, None)).await {
        Err(DriveError::FolderTrashed(_)) if may_be_trashed => return purge_trashed(&state, user, id).await,
        done => done?,
    };
    if purges {
        return purge_entry(&state, user, &trashed.entry).await;
    }
    entry_answer(&state, StatusCode::OK, user, shard, trashed.entry).await
}

/// Deletes a folder for good that was put into the trash itself. A folder that is there only with a folder above it
/// stays.
async fn purge_trashed(state: &AppState, user: UserId, id: Uuid) -> Result<HttpResponse, Problem> {
    let (shard, result) = Box::pin(state.drives.purge(user, EntryKind::Folder, id)).await?;
    if result.rows == 0 {
        return Err(DriveError::FolderTrashed(id).into());
    }
    purge_answer(user, shard, result)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FolderQuery {
    user_id: Option<String>,
    purge: Option<String>,
}

/// The user whose folder a request means: the one that the request names, else whose id it is.
async fn owner(state: &AppState, named: Option<UserId>, id: Uuid) -> Result<UserId, Problem> {
    match named {
        Some(user) => Ok(user),
        None if id.is_nil() => Err(DriveError::FolderNotFound(id.to_string()).into()),
        None => Ok(state.drives.find_owner(id).await?),
    }
}

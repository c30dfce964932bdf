//! `/drives/{user_id}` and `/drives/{user_id}/children`: what a drive and a folder hold.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::drive::{Child, ChildrenCursor, ChildrenQuery, DriveSummary, EntryKind, Folder, FolderTarget, NameOrder};
use crate::files::DrivePath;
use crate::http::request::extract::{UserPath, query, query_cursor, query_page_size};
use crate::http::response::answer::{self, WrittenValues};
use crate::http::response::problem::Problem;
use crate::http::response::problem_responses::{DriveProblems, RequestProblems, ShardProblems};
use crate::http::state::AppState;
use crate::payload::{PageSize, text_if_inexact};

/// What a drive holds.
#[derive(Serialize, ToSchema)]
struct SummaryAnswer {
    #[schema(example = true)]
    success: bool,
    data: StoredSummary,
}

/// What a drive holds, and its shard.
#[derive(Serialize, ToSchema)]
struct StoredSummary {
    #[schema(example = 42)]
    user_id: i64,
    /// The same as a text, for numbers above 2^53 − 1, which readers with doubles would round.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id_text: Option<String>,
    /// The shard of the user's drive.
    #[schema(example = 0)]
    shard_id: u16,
    #[serde(flatten)]
    summary: DriveSummary,
}

/// Get what a drive holds, in numbers
///
/// The rows of the user are counted. What is in the trash counts until it is purged.
#[utoipa::path(
    get, path = "/drives/{user_id}", tag = "drives",
    params(("user_id" = i64, Path, description = "The user", minimum = 0)),
    responses(
        (status = 200, description = "The numbers; a user without files has zeros", body = SummaryAnswer),
        RequestProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn summarize(
    state: Data<AppState>,
    UserPath(user): UserPath,
) -> Result<HttpResponse, Problem> {
    let (shard, summary) = state.drives.summarize(user).await?;
    let user_id_text = text_if_inexact(user.get());
    let data = StoredSummary { user_id: user.get(), user_id_text, shard_id: shard.number(), summary };
    answer::ok(&SummaryAnswer { success: true, data })
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
    /// The `cursor` of the next page; `null` on the last page.
    next_cursor: Option<String>,
    /// Folders first, then files, each by name.
    #[schema(value_type = Vec<Child<'static>>)]
    entries: WrittenValues,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChildrenParameters {
    folder_id: Option<String>,
    path: Option<String>,
    order: Option<String>,
    kinds: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// List a folder
///
/// Folders first, then files, each in the order of their names' code points or in the reverse order, in pages.
#[utoipa::path(
    get, path = "/drives/{user_id}/children", tag = "drives",
    params(
        ("user_id" = i64, Path, description = "The user", minimum = 0),
        ("folder_id" = Option<Uuid>, Query, description = "The folder; without it and without `path`, the root"),
        ("path" = Option<String>, Query, description = "The folder by its path"),
        ("order" = Option<String>, Query, description = "`name`, or `-name` for descending names; without it `name`"),
        ("kinds" = Option<String>, Query, description = "`folders` or `files` alone; without it both"),
        ("limit" = Option<u16>, Query, description = "Entries in one page at most, 100 if it is left out; a page of long names ends at about 2 MiB", minimum = 1, maximum = 1000),
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
    let ChildrenParameters { folder_id, path, order, kinds, limit, cursor } = query(&request)?;
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
    let order = match order.as_deref() {
        None | Some("name") => NameOrder::Ascending,
        Some("-name") => NameOrder::Descending,
        Some(_) => return Err(Problem::query("order", "must be name or -name")),
    };
    let size = query_page_size(limit.as_deref(), PageSize::USUAL)?;
    let after = query_cursor(cursor.as_deref(), ChildrenCursor::parse)?;
    let query = ChildrenQuery { size, order, kinds, after };
    let (shard, folder, page) = state.drives.list_children(user, &folder, &query).await?;
    let next_cursor = page.next.map(|cursor| cursor.to_string());
    let body = ChildrenAnswer { success: true, folder, shard_id: shard.number(), next_cursor, entries: WrittenValues };
    answer::with_written_values(&body, &page.entries)
}

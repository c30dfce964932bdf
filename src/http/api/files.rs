//! `/ingest`, `/query/{user_id}` and `/files/{file_id}`: store a file, list a user's files, a file by id.

use std::sync::Arc;

use actix_web::http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::files::{File, FileCursor, FileInput, FilePage, FileService, PatchInput, UserId};
use crate::http::guards::access::Caller;
use crate::http::guards::idempotency::claim_key;
use crate::http::request::body::JsonBody;
use crate::http::request::conditional::{
    file_condition, file_condition_problem, has_current_version, not_modified, set_etag,
};
use crate::http::request::extract::{FilePath, UserPath, consistency, query, query_cursor, query_page_size};
use crate::http::request::media_type::prefers_ndjson;
use crate::http::request::owner::named_user;
use crate::http::response::answer;
use crate::http::response::answer::{NDJSON, WrittenValues};
use crate::http::response::problem::Problem;
use crate::http::response::problem_responses::{BodyProblems, FileProblems, RequestProblems, ShardProblems};
use crate::http::state::AppState;
use crate::payload::{PageSize, text_if_inexact};
use crate::shard::{ReadConsistency, ShardId};
use crate::telemetry::{current_request, with_request_if_any};

/// About the length of a file in JSON: most answers are written without growing.
const FILE_BYTES: usize = 384;

/// A file and its shard.
#[derive(Serialize, ToSchema)]
struct StoredFile {
    #[serde(flatten)]
    file: File,
    /// The owning shard.
    #[schema(value_type = u16, example = 1)]
    shard_id: u16,
}

impl StoredFile {
    fn new(file: File, shard: ShardId) -> Self {
        Self { file, shard_id: shard.number() }
    }
}

/// The answer to a stored file.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct IngestAnswer {
    #[schema(example = true)]
    success: bool,
    /// The outcome in words.
    #[schema(example = "File ingested into shard 1")]
    message: String,
    /// True if the file was there already, and nothing was changed.
    duplicate: bool,
    data: StoredFile,
}

/// A file.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct FileAnswer {
    #[schema(example = true)]
    success: bool,
    data: StoredFile,
}

/// A page of a user's files.
#[derive(Serialize, ToSchema)]
struct ListAnswer {
    #[schema(example = true)]
    success: bool,
    #[schema(example = 42)]
    user_id: i64,
    /// The same as a text, for numbers above 2^53 − 1, which readers with doubles would round.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id_text: Option<String>,
    /// The shard of the user's files.
    #[schema(example = 0)]
    shard_id: u16,
    /// How many files are in this answer.
    #[schema(example = 1)]
    file_count: usize,
    /// The `cursor` of the next page; `null` on the last page.
    next_cursor: Option<String>,
    /// From the highest `file_id` down: newest first, but for ids of clients' own.
    #[schema(value_type = Vec<File>)]
    files: WrittenValues,
}

/// The answer to a deletion.
#[derive(Serialize, ToSchema)]
struct DeleteAnswer {
    #[schema(example = true)]
    success: bool,
    #[schema(example = "File deleted from shard 1")]
    message: String,
    file_id: Uuid,
}

/// Store one file
///
/// The answer comes after the shard's commit. A `file_id` of the client's own is unique within its user: sending it
/// again for this user stores nothing and answers `200` with the stored file.
#[utoipa::path(
    post, path = "/ingest", tag = "files", request_body = FileInput<'static>,
    responses(
        (status = 201, description = "The file is stored", body = IngestAnswer, headers(("Location" = String, description = "The file's own address; with `user_id` if the client gave the id"))),
        (status = 200, description = "The file was stored before", body = IngestAnswer, headers(("Location" = String, description = "The file's own address; with `user_id` if the client gave the id"))),
        RequestProblems, BodyProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn ingest(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let files = &state.files;
    let claimed = claim_key(&request, caller, body.bytes())?;
    let new = body.parse::<FileInput<'_>>()?.check(files.ids())?;
    let user = new.user().get();
    caller.may_reach_user(user, "user_id")?;
    let has_own_id = new.has_own_id();
    let stored = files.ingest(new, claimed.request_key()).await?;
    let (status, message) = if stored.duplicate {
        (StatusCode::OK, format!("File already in shard {}", stored.shard))
    } else {
        (StatusCode::CREATED, format!("File ingested into shard {}", stored.shard))
    };
    let id = stored.file.file_id;
    let location = if has_own_id { format!("/files/{id}?user_id={user}") } else { format!("/files/{id}") };
    let current = stored.file.tag().to_string();
    let data = StoredFile::new(stored.file, stored.shard);
    let body = IngestAnswer { success: true, message, duplicate: stored.duplicate, data };
    let mut response = answer::json(status, &body, FILE_BYTES * 2)?;
    set_etag(&mut response, &current);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileListQuery {
    limit: Option<String>,
    cursor: Option<String>,
    consistency: Option<String>,
}

/// List a user's files
///
/// In pages, from the highest `file_id` down: newest first, but for ids of clients' own. With
/// `Accept: application/x-ndjson` the answer is a stream of all files, a JSON object on each line; after a failure the
/// stream is broken off, and never ends like a whole stream.
#[utoipa::path(
    get, path = "/query/{user_id}", tag = "files",
    params(
        ("user_id" = i64, Path, description = "The user", minimum = 0),
        ("limit" = Option<u16>, Query, description = "Files in one page at most, 1,000 if it is left out; a page of long texts ends at about 2 MiB. Of a stream, files fetched at once", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before; only the files after it are given"),
        ("consistency" = Option<String>, Query, description = "`eventual`: a replica may answer, without the writes of the last moments; `strict`, which is also what is done without it: every acknowledged write shows"),
    ),
    responses(
        (status = 200, description = "The files; none is no error", content(
            (ListAnswer = "application/json"),
            (File = "application/x-ndjson"),
        )),
        RequestProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn list(
    state: Data<AppState>,
    UserPath(user): UserPath,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let FileListQuery { limit, cursor, consistency: wanted } =
        if request.query_string().is_empty() { FileListQuery::default() } else { query(&request)? };
    let size = query_page_size(limit.as_deref(), PageSize::MAX)?;
    let after = query_cursor(cursor.as_deref(), FileCursor::parse)?;
    let consistency = consistency(wanted.as_deref())?;
    let (shard, page) = match consistency {
        ReadConsistency::Strict => state.files.list(user, size, after).await?,
        ReadConsistency::Eventual => Box::pin(state.files.list_eventually(user, size, after)).await?,
    };
    if prefers_ndjson(&request) {
        let mut response = HttpResponse::Ok();
        response.insert_header((CONTENT_TYPE, NDJSON));
        if request.method() == Method::HEAD {
            return Ok(response.finish()); // the files would be fetched for nobody
        }
        return Ok(response.streaming(all_lines(Arc::clone(&state.files), user, size, page, consistency)));
    }
    let body = ListAnswer {
        success: true,
        user_id: user.get(),
        user_id_text: text_if_inexact(user.get()),
        shard_id: shard.number(),
        file_count: page.files.len(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
        files: WrittenValues,
    };
    answer::with_written_values(&body, &page.files)
}

/// A listing broke off. The broken connection tells the client; why, the log has said already.
#[derive(Debug, thiserror::Error)]
#[error("a listing broke off")]
struct BrokenOff;

/// All files from `first` on as lines, page by page. Memory holds a single page; the next page is fetched after the
/// client has taken the page before.
fn all_lines(
    files: Arc<FileService>,
    user: UserId,
    size: PageSize,
    first: FilePage,
    consistency: ReadConsistency,
) -> impl Stream<Item = Result<Bytes, BrokenOff>> {
    enum ListStep {
        Ready(FilePage),
        Fetch(FileCursor),
        End,
    }
    // The stream is read after the request's task has ended, and still logs under the request's id.
    let context = current_request();
    try_unfold(ListStep::Ready(first), move |next| {
        let (files, context) = (Arc::clone(&files), context.clone());
        async move {
            let page = match next {
                ListStep::End => return Ok(None),
                ListStep::Ready(page) => page,
                ListStep::Fetch(cursor) => {
                    with_request_if_any(context, fetch(&files, user, size, cursor, consistency)).await?
                }
            };
            Ok(Some((page.files.into_bytes(), page.next.map_or(ListStep::End, ListStep::Fetch))))
        }
    })
}

async fn fetch(
    files: &FileService,
    user: UserId,
    size: PageSize,
    cursor: FileCursor,
    consistency: ReadConsistency,
) -> Result<FilePage, BrokenOff> {
    let page = match consistency {
        ReadConsistency::Strict => files.list(user, size, Some(cursor)).await,
        ReadConsistency::Eventual => files.list_eventually(user, size, Some(cursor)).await,
    };
    match page {
        Ok((_, page)) => Ok(page),
        Err(error) => {
            log::warn!("a listing broke off: {error}");
            Problem::from(error).log();
            Err(BrokenOff)
        }
    }
}

/// Get one file
///
/// Without `user_id` the answer is the only file under the id. If several users have one, it is 409.
#[utoipa::path(
    get, path = "/files/{file_id}", tag = "files",
    params(
        ("file_id" = Uuid, Path, description = "The file"),
        ("user_id" = Option<i64>, Query, description = "The user whose file it is; a token of the scope `user` names its own", minimum = 0),
        ("If-None-Match" = Option<String>, Header, description = "`ETag` of the state that the client has"),
        ("If-Match" = Option<String>, Header, description = "`ETag` of the only state that the client wants"),
    ),
    responses(
        (status = 200, description = "The file", body = FileAnswer, headers(("ETag" = String, description = "Its state"))),
        (status = 304, description = "It is still in the state that the client has"),
        (status = 409, description = "Several users have a file under the id, and `user_id` is missing", body = crate::http::response::problem::ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 412, description = "The file is not in the state asked for", body = crate::http::response::problem::ProblemBody<'static>, content_type = "application/problem+json"),
        RequestProblems, FileProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn find(
    state: Data<AppState>,
    caller: Caller,
    FilePath(id): FilePath,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (shard, file) = state.files.find(id, named_user(&request, caller)?).await?;
    file_unless_unchanged(&request, file, shard)
}

/// The file, unless the client has this state already.
pub(super) fn file_unless_unchanged(
    request: &HttpRequest,
    file: File,
    shard: ShardId,
) -> Result<HttpResponse, Problem> {
    let current = file.tag().to_string();
    if has_current_version(request, &current)? {
        return Ok(not_modified(&current));
    }
    file_answer(file, shard, &current)
}

/// The answer that shows a file.
pub(super) fn stored_file_answer(status: StatusCode, file: File, shard: ShardId) -> Result<HttpResponse, Problem> {
    let current = file.tag().to_string();
    let mut response = file_answer(file, shard, &current)?;
    *response.status_mut() = status;
    Ok(response)
}

fn file_answer(file: File, shard: ShardId, current: &str) -> Result<HttpResponse, Problem> {
    let mut response = answer::ok(&FileAnswer { success: true, data: StoredFile::new(file, shard) })?;
    set_etag(&mut response, current);
    Ok(response)
}

/// Change one file
///
/// A missing field stays, `null` clears a field. Name and path change together. `If-Match` names the only state to
/// change. In a folder each name exists once, for files and folders. Without `user_id` the id must be of one user's
/// file alone.
#[utoipa::path(
    patch, path = "/files/{file_id}", tag = "files", request_body = PatchInput<'static>,
    params(
        ("file_id" = Uuid, Path, description = "The file"),
        ("user_id" = Option<i64>, Query, description = "The user whose file it is; a token of the scope `user` names its own", minimum = 0),
        ("If-Match" = Option<String>, Header, description = "`ETag` of the state that is to be changed, or `*` for any"),
    ),
    responses(
        (status = 200, description = "The file as it is now", body = FileAnswer, headers(("ETag" = String, description = "Its state"))),
        (status = 412, description = "The file is not in the state asked for", body = crate::http::response::problem::ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 409, description = "The folder has an entry of this name, or a file stands where the path needs a folder; or several users have a file under the id, and `user_id` is missing", body = crate::http::response::problem::ProblemBody<'static>, content_type = "application/problem+json"),
        RequestProblems, BodyProblems, FileProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn change(
    state: Data<AppState>,
    caller: Caller,
    FilePath(id): FilePath,
    request: HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let condition = file_condition(&request)?;
    let user = named_user(&request, caller)?;
    let claimed = claim_key(&request, caller, body.bytes())?;
    let patch = body.parse::<PatchInput<'_>>()?.check()?;
    let changed = state.files.update(id, user, patch, condition, claimed.request_key()).await;
    let (shard, file) = changed.map_err(|error| file_condition_problem(error, condition))?;
    let current = file.tag().to_string();
    file_answer(file, shard, &current)
}

/// Delete one file
///
/// Without `user_id` the id must be of one user's file alone.
#[utoipa::path(
    delete, path = "/files/{file_id}", tag = "files",
    params(
        ("file_id" = Uuid, Path, description = "The file"),
        ("user_id" = Option<i64>, Query, description = "The user whose file it is; a token of the scope `user` names its own", minimum = 0),
        ("If-Match" = Option<String>, Header, description = "`ETag` of the state that is to be deleted, or `*` for any"),
    ),
    responses(
        (status = 200, description = "The file is gone", body = DeleteAnswer),
        (status = 409, description = "Several users have a file under the id, and `user_id` is missing", body = crate::http::response::problem::ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 412, description = "The file is not in the state asked for", body = crate::http::response::problem::ProblemBody<'static>, content_type = "application/problem+json"),
        RequestProblems, FileProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn delete(
    state: Data<AppState>,
    caller: Caller,
    FilePath(id): FilePath,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let condition = file_condition(&request)?;
    let user = named_user(&request, caller)?;
    let deleted = state.files.delete(id, user, condition).await;
    let shard = deleted.map_err(|error| file_condition_problem(error, condition))?;
    answer::ok(&DeleteAnswer { success: true, message: format!("File deleted from shard {shard}"), file_id: id })
}

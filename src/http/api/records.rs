//! `/records/{collection}`: documents in, out, changed and listed.

use actix_web::web::{Data, Payload};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use serde::Deserialize;

use super::record_answers::{
    DeletedRecordAnswer, RecordAnswer, RecordListAnswer, StoredRecordAnswer, deleted_answer, found_answer, page_answer,
    stored_answer,
};
use super::records_bulk;
use crate::http::guards::access::Caller;
use crate::http::guards::idempotency::{claim_key, reject_key_on_stream};
use crate::http::request::body::{JsonBody, MAX_DOCUMENT_BODY};
use crate::http::request::conditional::{
    change_condition, has_current_version, not_modified, record_condition_problem, write_condition,
};
use crate::http::request::extract::{CollectionPath, KeyPath, consistency, query, query_cursor, query_page_size};
use crate::http::request::media_type::{content_type, is_ndjson};
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::http::response::problem_responses::{BodyProblems, RecordProblems, RequestProblems, ShardProblems};
use crate::http::state::AppState;
use crate::payload::PageSize;
use crate::records::{Document, RecordCursor};
use crate::shard::ReadConsistency;

/// A document's body.
type DocumentBody = JsonBody<MAX_DOCUMENT_BODY>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordListQuery {
    shard_key: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
    consistency: Option<String>,
}

#[derive(Default, Deserialize)]
struct FindQuery {
    consistency: Option<String>,
}

/// The size and the start of a page, from the query.
pub(super) fn paging(limit: Option<&str>, cursor: Option<&str>) -> Result<(PageSize, Option<RecordCursor>), Problem> {
    Ok((query_page_size(limit, PageSize::USUAL)?, query_cursor(cursor, RecordCursor::parse)?))
}

/// List documents
///
/// With `shard_key` the documents of one key, from a single shard; else the whole collection, from all shards. Where
/// keys are minted the newest come first, else the documents are ordered by key. A page of large documents may be
/// shorter than `limit`; `next_cursor` says whether there are more.
#[utoipa::path(
    get, path = "/records/{collection}", tag = "records",
    params(
        ("collection" = String, Path, description = "The collection"),
        ("shard_key" = Option<String>, Query, description = "Only the documents of this shard key"),
        ("limit" = Option<u16>, Query, description = "Documents in one page, 100 if it is left out", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before; only the documents after it are given"),
        ("consistency" = Option<String>, Query, description = "`eventual`: of a shard key that has many documents, a replica may answer, without the writes of the last moments; `strict`, which is also what is done without it: every acknowledged write shows"),
    ),
    responses((status = 200, description = "The documents; none is no error", body = RecordListAnswer), RequestProblems, RecordProblems, ShardProblems)
)]
pub(in crate::http) async fn list(
    state: Data<AppState>,
    caller: Caller,
    CollectionPath(name): CollectionPath,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let RecordListQuery { shard_key, limit, cursor, consistency: wanted } = query(&request)?;
    let consistency = consistency(wanted.as_deref())?;
    let (size, after) = paging(limit.as_deref(), cursor.as_deref())?;
    let collection = state.records.collection(&name).await?;
    caller.may_list_documents(&collection, shard_key.as_deref())?;
    let page = state.records.list(&collection, shard_key.as_deref(), size, after.as_ref(), consistency).await?;
    page_answer(name, page)
}

/// Store a new document
///
/// The shard key is a field of the document. Where a shard key has one document, the document must be new;
/// where a shard key has many, the service mints a key. With `Content-Type: application/x-ndjson` the body is a stream
/// of documents, one a line, of any length; a document under a known key replaces the stored document.
#[utoipa::path(
    post, path = "/records/{collection}", tag = "records",
    params(("collection" = String, Path, description = "The collection")),
    request_body(description = "The document: any JSON value of up to 1 MiB", content(
        (serde_json::Value = "application/json"),
        (String = "application/x-ndjson"),
    )),
    responses(
        (status = 201, description = "The document is stored", body = StoredRecordAnswer, headers(
            ("Location" = String, description = "The document's own path"), ("ETag" = String, description = "Its version"),
        )),
        (status = 200, description = "A stream was stored", body = super::records_bulk::RecordBulkAnswer),
        (status = 409, description = "The key is taken", body = crate::http::response::problem::ProblemBody<'static>, content_type = "application/problem+json"),
        RequestProblems, RecordProblems, BodyProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn create(
    state: Data<AppState>,
    caller: Caller,
    CollectionPath(name): CollectionPath,
    request: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    let collection = state.records.collection(&name).await?;
    caller.documents_of(&collection)?;
    if is_ndjson(&content_type(request.headers())) {
        reject_key_on_stream(&request)?;
        return records_bulk::load(&state, caller, collection, &request, body).await;
    }
    let body = DocumentBody::from_request(&request, &mut body.into_inner()).await?;
    let claimed = claim_key(&request, caller, body.bytes())?;
    let document = document(&body)?;
    caller.may_create_document(&collection, &document)?;
    let stored = state.records.create(&collection, document, claimed.request_key()).await?;
    stored_answer(name, stored)
}

/// One document
#[utoipa::path(
    get, path = "/records/{collection}/{key}", tag = "records",
    params(
        ("collection" = String, Path, description = "The collection"),
        ("key" = String, Path, description = "The document's key; may hold `/`"),
        ("If-None-Match" = Option<String>, Header, description = "`ETag` of the version that the client has"),
        ("If-Match" = Option<String>, Header, description = "`ETag` of the only version that the client wants"),
        ("consistency" = Option<String>, Query, description = "`eventual`: a replica may answer, without the writes of the last moments; `strict`, which is also what is done without it: every acknowledged write shows"),
    ),
    responses(
        (status = 200, description = "The document", body = RecordAnswer, headers(("ETag" = String, description = "Its version"))),
        (status = 304, description = "It is still the version that the client has"),
        (status = 412, description = "It is another version than `If-Match` names", body = crate::http::response::problem::ProblemBody<'static>, content_type = "application/problem+json"),
        RequestProblems, RecordProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn find(
    state: Data<AppState>,
    caller: Caller,
    CollectionPath(name): CollectionPath,
    KeyPath(key): KeyPath,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let collection = state.records.collection(&name).await?;
    caller.may_reach_document(&state, &collection, &key).await?;
    let FindQuery { consistency: wanted } =
        if request.query_string().is_empty() { FindQuery::default() } else { query(&request)? };
    let found = match consistency(wanted.as_deref())? {
        ReadConsistency::Strict => state.records.find(&collection, &key).await?,
        ReadConsistency::Eventual => Box::pin(state.records.find_eventually(&collection, &key)).await?,
    };
    let version = found.record.version.to_string();
    if has_current_version(&request, &version)? {
        return Ok(not_modified(&version));
    }
    found_answer(name, found)
}

/// Store a document under a key
///
/// Replaces the stored document. Where keys are minted, only a stored document can be replaced.
#[utoipa::path(
    put, path = "/records/{collection}/{key}", tag = "records",
    params(
        ("collection" = String, Path, description = "The collection"),
        ("key" = String, Path, description = "The document's key, 1 to 1,024 bytes; may hold `/`"),
        ("If-Match" = Option<String>, Header, description = "`ETag` of the version that is to be replaced, or `*` for any"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is no document under the key"),
    ),
    request_body(description = "Any JSON value of up to 1 MiB", content((serde_json::Value = "application/json"))),
    responses(
        (status = 201, description = "The document is new", body = StoredRecordAnswer, headers(("ETag" = String, description = "Its version"), ("Location" = String, description = "The document's own path"))),
        (status = 200, description = "It replaced another one", body = StoredRecordAnswer, headers(("ETag" = String, description = "Its version"))),
        (status = 409, description = "It would come under another shard key", body = crate::http::response::problem::ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 412, description = "The document is not in the state asked for", body = crate::http::response::problem::ProblemBody<'static>, content_type = "application/problem+json"),
        RequestProblems, RecordProblems, BodyProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn put(
    state: Data<AppState>,
    caller: Caller,
    CollectionPath(name): CollectionPath,
    KeyPath(key): KeyPath,
    request: HttpRequest,
    body: DocumentBody,
) -> Result<HttpResponse, Problem> {
    let condition = write_condition(&request)?;
    let collection = state.records.collection(&name).await?;
    caller.may_reach_document(&state, &collection, &key).await?;
    let stored = state.records.put(&collection, &key, document(&body)?, condition, None).await;
    stored_answer(name, stored.map_err(|error| record_condition_problem(error, condition))?)
}

/// Change a document
///
/// By a JSON Merge Patch (RFC 7396): members of the patch replace members of the document, `null` removes a member.
/// With `If-Match` only in the version named; without, on top of concurrent changes.
#[utoipa::path(
    patch, path = "/records/{collection}/{key}", tag = "records",
    params(
        ("collection" = String, Path, description = "The collection"),
        ("key" = String, Path, description = "The document's key; may hold `/`"),
        ("If-Match" = Option<String>, Header, description = "`ETag` of the version that is to be changed"),
    ),
    request_body(description = "The patch", content(
        (serde_json::Value = "application/merge-patch+json"),
        (serde_json::Value = "application/json"),
    )),
    responses(
        (status = 200, description = "The document as it is now", body = RecordAnswer, headers(("ETag" = String, description = "Its version"))),
        (status = 409, description = "It would come under another shard key", body = crate::http::response::problem::ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 412, description = "The document is not in the state asked for", body = crate::http::response::problem::ProblemBody<'static>, content_type = "application/problem+json"),
        RequestProblems, RecordProblems, BodyProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn patch(
    state: Data<AppState>,
    caller: Caller,
    CollectionPath(name): CollectionPath,
    KeyPath(key): KeyPath,
    request: HttpRequest,
    body: DocumentBody,
) -> Result<HttpResponse, Problem> {
    let condition = change_condition(&request)?;
    let collection = state.records.collection(&name).await?;
    caller.may_reach_document(&state, &collection, &key).await?;
    let claimed = claim_key(&request, caller, body.bytes())?;
    let (patch, request_key) = (document(&body)?, claimed.request_key());
    let found = state.records.patch(&collection, &key, &patch, condition, request_key).await;
    found_answer(name, found.map_err(|error| record_condition_problem(error, condition))?)
}

/// Delete a document
#[utoipa::path(
    delete, path = "/records/{collection}/{key}", tag = "records",
    params(
        ("collection" = String, Path, description = "The collection"),
        ("key" = String, Path, description = "The document's key; may hold `/`"),
        ("If-Match" = Option<String>, Header, description = "`ETag` of the version that is to be deleted"),
    ),
    responses(
        (status = 200, description = "The document is gone", body = DeletedRecordAnswer),
        (status = 412, description = "The document is not in the state asked for", body = crate::http::response::problem::ProblemBody<'static>, content_type = "application/problem+json"),
        RequestProblems, RecordProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn delete(
    state: Data<AppState>,
    caller: Caller,
    CollectionPath(name): CollectionPath,
    KeyPath(key): KeyPath,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let condition = change_condition(&request)?;
    let collection = state.records.collection(&name).await?;
    caller.may_reach_document(&state, &collection, &key).await?;
    let deleted = state.records.delete(&collection, &key, condition).await;
    deleted_answer(name, key, deleted.map_err(|error| record_condition_problem(error, condition))?)
}

fn document(body: &DocumentBody) -> Result<Document, Problem> {
    if body.bytes().iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::new(ProblemCode::InvalidBody, "the body is empty; it must be a JSON value"));
    }
    Ok(Document::read(body.bytes())?)
}

//! `/records/{collection}`: documents in, out, changed and listed.

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use actix_web::web::{Data, Payload};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::records_bulk;
use crate::http::guards::access::Caller;
use crate::http::guards::idempotency::{key_of, keyed, refuse};
use crate::http::request::body::{JsonBody, MAX_DOCUMENT_BODY, header_text};
use crate::http::request::conditional::{change_condition, condition, is_known, not_modified, refused, tag};
use crate::http::request::extract::{CollectionPath, KeyPath, consistency, query, query_number};
use crate::http::response::answer;
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::http::response::problem_responses::{BodyProblems, RecordProblems, RequestProblems, ShardProblems};
use crate::http::state::AppState;
use crate::payload::time;
use crate::records::{
    CollectionName, Document, FoundRecord, Record, RecordCursor, RecordPage, RecordPageSize, StoredRecord,
};
use crate::shard::{ReadConsistency, ShardId};

/// A document's body.
type DocumentBody = JsonBody<MAX_DOCUMENT_BODY>;

/// What stands around a document in an answer, in bytes.
const FRAME_BYTES: usize = 384;

/// A document.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RecordAnswer {
    #[schema(example = true)]
    success: bool,
    collection: CollectionName,
    #[serde(flatten)]
    record: Record,
    /// The shard that holds it.
    #[schema(example = 1)]
    shard_id: u16,
    /// True if the cache had it, and no shard was asked.
    from_cache: bool,
}

/// A document that was stored.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct StoredRecordAnswer {
    #[schema(example = true)]
    success: bool,
    /// What was done, in words.
    #[schema(example = "Document created in shard 1")]
    message: String,
    collection: CollectionName,
    /// Its key.
    #[schema(value_type = String, example = "42")]
    key: Box<str>,
    /// Another one after each change; the `ETag`.
    version: i64,
    #[serde(serialize_with = "time::required")]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "time::required")]
    updated_at: DateTime<Utc>,
    /// The shard that holds it.
    #[schema(example = 1)]
    shard_id: u16,
}

/// A document that is gone.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct DeletedRecordAnswer {
    #[schema(example = true)]
    success: bool,
    #[schema(example = "Document deleted from shard 1")]
    message: String,
    collection: CollectionName,
    key: String,
}

/// A page of documents.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RecordListAnswer {
    #[schema(example = true)]
    success: bool,
    /// False if shards did not answer; their documents are missing.
    complete: bool,
    /// These shards.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_shards: Vec<u16>,
    collection: CollectionName,
    /// How many documents are in this answer.
    record_count: usize,
    records: Vec<Record>,
    /// The `cursor` of the next page; `null` if this is the last one.
    next_cursor: Option<String>,
}

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

/// A page's size and where it starts, from the query.
pub(super) fn paging(
    limit: Option<&str>,
    cursor: Option<&str>,
) -> Result<(RecordPageSize, Option<RecordCursor>), Problem> {
    let size = query_number("limit", limit, 1..=RecordPageSize::MAX)?.and_then(RecordPageSize::new).unwrap_or_default();
    let after = match cursor {
        None => None,
        Some(text) => Some(RecordCursor::parse(text).ok_or_else(|| {
            Problem::query("cursor", "must be the next_cursor of an earlier answer; leave it out to start anew")
        })?),
    };
    Ok((size, after))
}

/// The numbers of shards that did not answer.
pub(in crate::http) fn numbers(shards: &[ShardId]) -> Vec<u16> {
    shards.iter().map(|shard| shard.number()).collect()
}

/// List documents
///
/// With `shard_key` those of one key, which one shard answers; else those of the whole collection, from all shards. Where
/// keys are minted the newest come first, else the documents come in the order of their keys. A page may hold fewer
/// documents than asked for if they are large; `next_cursor` says whether there are more.
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
    caller.may_list(&collection, shard_key.as_deref())?;
    let RecordPage { records, next, missing } =
        state.records.list(&collection, shard_key.as_deref(), size, after.as_ref(), consistency).await?;
    let bytes = records.iter().map(|record| record.document.as_str().len() + FRAME_BYTES).sum::<usize>();
    let body = RecordListAnswer {
        success: true,
        complete: missing.is_empty(),
        missing_shards: numbers(&missing),
        collection: name,
        record_count: records.len(),
        records,
        next_cursor: next.map(|cursor| cursor.to_string()),
    };
    answer::json(StatusCode::OK, &body, FRAME_BYTES + bytes)
}

/// Store a new document
///
/// The shard key is read from the document's own field. Where a shard key has one document, that must not be there yet;
/// where it has many, the new one gets a key of its own. With `Content-Type: application/x-ndjson` the body is a stream
/// of documents, one a line, of any length; a document whose key is taken replaces the one that was there.
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
    let kind = header_text(request.headers(), CONTENT_TYPE).split(';').next().unwrap_or_default().trim_end();
    if matches!(kind, "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines") {
        refuse(&request)?;
        return records_bulk::load(&state, caller, collection, &request, body).await;
    }
    let body = DocumentBody::from_request(&request, &mut body.into_inner()).await?;
    let keyed = keyed(&request, caller, body.bytes())?;
    let document = document(&body)?;
    caller.may_create(&collection, &document)?;
    let stored = state.records.create(&collection, document, key_of(keyed.as_ref())).await?;
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
    caller.may_reach(&state, &collection, &key).await?;
    let FindQuery { consistency: wanted } =
        if request.query_string().is_empty() { FindQuery::default() } else { query(&request)? };
    let found = match consistency(wanted.as_deref())? {
        ReadConsistency::Strict => state.records.find(&collection, &key).await?,
        ReadConsistency::Eventual => Box::pin(state.records.find_eventually(&collection, &key)).await?,
    };
    let version = found.record.version.to_string();
    if is_known(&request, &version)? {
        return Ok(not_modified(&version));
    }
    found_answer(name, found)
}

/// Store a document under a key
///
/// In place of what is there. Where keys are minted, only a document that is there can be replaced.
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
    let condition = condition(&request)?;
    let collection = state.records.collection(&name).await?;
    caller.may_reach(&state, &collection, &key).await?;
    let stored = state.records.put(&collection, &key, document(&body)?, condition, None).await;
    stored_answer(name, stored.map_err(|error| refused(error, condition))?)
}

/// Change a document
///
/// By a JSON Merge Patch (RFC 7396): members of the patch replace those of the document, `null` removes them. With
/// `If-Match` only in the version named; without, on top of what others change at the same time.
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
    caller.may_reach(&state, &collection, &key).await?;
    let keyed = keyed(&request, caller, body.bytes())?;
    let (patch, request_key) = (document(&body)?, key_of(keyed.as_ref()));
    let found = state.records.patch(&collection, &key, &patch, condition, request_key).await;
    found_answer(name, found.map_err(|error| refused(error, condition))?)
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
    caller.may_reach(&state, &collection, &key).await?;
    let deleted = state.records.delete(&collection, &key, condition).await;
    let shard = deleted.map_err(|error| refused(error, condition))?;
    let message = format!("Document deleted from shard {shard}");
    answer::ok(&DeletedRecordAnswer { success: true, message, collection: name, key })
}

fn document(body: &DocumentBody) -> Result<Document, Problem> {
    if body.bytes().iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::new(ProblemCode::InvalidBody, "the body is empty; it must be a JSON value"));
    }
    Ok(Document::read(body.bytes())?)
}

fn found_answer(collection: CollectionName, found: FoundRecord) -> Result<HttpResponse, Problem> {
    let FoundRecord { record, shard, from_cache } = found;
    let (version, bytes) = (record.version, record.document.as_str().len());
    let body = RecordAnswer { success: true, collection, record, shard_id: shard.number(), from_cache };
    let mut response = answer::json(StatusCode::OK, &body, FRAME_BYTES + bytes)?;
    tag(&mut response, &version.to_string());
    Ok(response)
}

fn stored_answer(collection: CollectionName, stored: StoredRecord) -> Result<HttpResponse, Problem> {
    let StoredRecord { key, shard, created, version, created_at, updated_at } = stored;
    let (status, done) = if created { (StatusCode::CREATED, "created") } else { (StatusCode::OK, "replaced") };
    let location = format!("/records/{collection}/{}", path_part(&key));
    let message = format!("Document {done} in shard {shard}");
    let shard_id = shard.number();
    let body =
        StoredRecordAnswer { success: true, message, collection, key, version, created_at, updated_at, shard_id };
    let mut response = answer::json(status, &body, FRAME_BYTES)?;
    tag(&mut response, &version.to_string());
    if created && let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// A key as it stands in a path (RFC 3986, section 3.3).
pub(super) fn path_part(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b'@') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

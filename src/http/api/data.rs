//! `/data`: JSON objects under minted ids, spread over all shards.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, LOCATION};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::record_answers::shard_numbers;
use super::records::paging;
use crate::http::guards::access::Caller;
use crate::http::guards::idempotency::claim_key;
use crate::http::request::body::{JsonBody, MAX_DOCUMENT_BODY};
use crate::http::request::extract::query;
use crate::http::response::answer;
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::http::response::problem_responses::{BodyProblems, RecordProblems, RequestProblems, ShardProblems};
use crate::http::state::AppState;
use crate::payload::time;
use crate::records::{BuiltIn, Document, Record, RecordPage};
use crate::shard::ReadConsistency;

/// The id of a stored object.
#[derive(Serialize, ToSchema)]
struct DataStoredAnswer {
    #[schema(value_type = String, example = "019a9e4b-3f21-7c5a-9e02-7a002a5d4c1e")]
    id: Box<str>,
}

/// A stored object.
#[derive(Serialize, ToSchema)]
struct DataObject {
    #[schema(value_type = String, example = "019a9e4b-3f21-7c5a-9e02-7a002a5d4c1e")]
    id: Box<str>,
    /// The object as written.
    #[schema(value_type = serde_json::Value)]
    data: Document,
    #[serde(serialize_with = "time::serialize_time")]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "time::serialize_time")]
    updated_at: DateTime<Utc>,
}

impl From<Record> for DataObject {
    fn from(record: Record) -> Self {
        let Record { key, document, created_at, updated_at, .. } = record;
        Self { id: key, data: document, created_at, updated_at }
    }
}

/// A page of objects.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct DataListAnswer {
    /// False if shards did not answer, and objects of these shards are missing.
    complete: bool,
    /// These shards.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_shards: Vec<u16>,
    /// How many objects are in this answer.
    count: usize,
    /// Newest first.
    data: Vec<DataObject>,
    /// The `cursor` of the next page; `null` on the last page.
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DataListQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

/// Store an object
#[utoipa::path(
    post, path = "/data", tag = "simple calls",
    request_body(description = "Any JSON object of up to 1 MiB", content((Object = "application/json"))),
    responses(
        (status = 201, description = "The object is stored", body = DataStoredAnswer, headers(("Location" = String, description = "The object's own path"))),
        RequestProblems, BodyProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn create(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    body: JsonBody<MAX_DOCUMENT_BODY>,
) -> Result<HttpResponse, Problem> {
    let claimed = claim_key(&request, caller, body.bytes())?;
    let document = Document::new(body.parse()?)?;
    let collection = state.records.built_in(BuiltIn::Data).await?;
    let stored = state.records.create(&collection, document, claimed.request_key()).await?;
    let location = HeaderValue::from_str(&format!("/data/{}", stored.key));
    let mut response = answer::json(StatusCode::CREATED, &DataStoredAnswer { id: stored.key }, 64)?;
    if let Ok(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// List the objects
///
/// Newest first, in pages, from all shards. A page of large objects may be shorter than `limit`; `next_cursor` says
/// whether there are more.
#[utoipa::path(
    get, path = "/data", tag = "simple calls",
    params(
        ("limit" = Option<u16>, Query, description = "Objects in one page, 100 if it is left out", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before; only the objects after it are given"),
    ),
    responses((status = 200, description = "The objects; none is no error", body = DataListAnswer), RequestProblems, ShardProblems)
)]
pub(in crate::http) async fn list(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let DataListQuery { limit, cursor } = query(&request)?;
    let (size, after) = paging(limit.as_deref(), cursor.as_deref())?;
    let collection = state.records.built_in(BuiltIn::Data).await?;
    let RecordPage { records, next, missing } =
        state.records.list(&collection, None, size, after.as_ref(), ReadConsistency::Strict).await?;
    let bytes = records.iter().map(|record| record.document.as_str().len() + 192).sum::<usize>();
    let body = DataListAnswer {
        complete: missing.is_empty(),
        missing_shards: shard_numbers(&missing),
        count: records.len(),
        data: records.into_iter().map(DataObject::from).collect(),
        next_cursor: next.map(|cursor| cursor.to_string()),
    };
    answer::json(StatusCode::OK, &body, bytes + 256)
}

/// One object
#[utoipa::path(
    get, path = "/data/{id}", tag = "simple calls", params(("id" = String, Path, description = "The object's id")),
    responses((status = 200, description = "The object", body = DataObject), RequestProblems, RecordProblems, ShardProblems)
)]
pub(in crate::http) async fn find(state: Data<AppState>, id: Path<String>) -> Result<HttpResponse, Problem> {
    if uuid::Uuid::try_parse(&id).is_err() {
        return Err(Problem::new(ProblemCode::InvalidPath, "id must be a UUID").field("id"));
    }
    let found = state.records.find(&state.records.built_in(BuiltIn::Data).await?, &id).await?;
    answer::ok(&DataObject::from(found.record))
}

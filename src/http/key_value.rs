//! `/write` and `/read`: keys and values.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::body::{JsonBody, MAX_DOCUMENT_BODY};
use super::docs::{BodyProblems, RecordProblems, RequestProblems, ShardProblems};
use super::extract::KeyPath;
use super::store::built_in;
use super::{AppState, Problem, answer};
use crate::records::{Condition, Document};
use crate::wire::time;

/// The collection behind these calls.
const COLLECTION: &str = "kv";

/// A key and its value.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyValue {
    /// 1 to 1,024 bytes of any text without NUL.
    #[schema(example = "user:123", min_length = 1, max_length = 1024)]
    key: String,
    /// Any JSON of up to 1 MiB.
    #[schema(value_type = serde_json::Value, example = "John Doe")]
    value: Box<RawValue>,
}

/// That a value is stored.
#[derive(Serialize, ToSchema)]
pub(super) struct WriteAnswer {
    #[schema(example = true)]
    success: bool,
    #[schema(example = "user:123")]
    key: String,
    /// The shard that holds it.
    #[schema(example = 1)]
    shard_id: u16,
    #[schema(example = "Data written successfully to shard 1")]
    message: String,
}

/// A value.
#[derive(Serialize, ToSchema)]
pub(super) struct ReadAnswer {
    #[schema(example = true)]
    success: bool,
    #[schema(example = "user:123")]
    key: String,
    #[schema(value_type = serde_json::Value, example = "John Doe")]
    value: Document,
    /// When the key was first written.
    #[serde(serialize_with = "time::required")]
    created_at: DateTime<Utc>,
    /// When it was last written.
    #[serde(serialize_with = "time::required")]
    updated_at: DateTime<Utc>,
    /// True if the cache had it, and no shard was asked.
    from_cache: bool,
    /// The shard that holds it.
    #[schema(example = 1)]
    shard_id: u16,
}

/// Write a value
///
/// In place of the one before.
#[utoipa::path(
    post, path = "/write", tag = "simple calls", request_body = KeyValue,
    responses((status = 200, description = "The value is stored", body = WriteAnswer), RequestProblems, BodyProblems, ShardProblems)
)]
pub(super) async fn write(state: Data<AppState>, body: JsonBody<MAX_DOCUMENT_BODY>) -> Result<HttpResponse, Problem> {
    let KeyValue { key, value } = body.parse()?;
    let collection = built_in(&state, COLLECTION).await?;
    let stored = state.records.put(&collection, &key, Document::new(value)?, Condition::Any).await?;
    let shard_id = stored.shard.number();
    let message = format!("Data written successfully to shard {shard_id}");
    answer::ok(&WriteAnswer { success: true, key, shard_id, message })
}

/// Read a value
#[utoipa::path(
    get, path = "/read/{key}", tag = "simple calls",
    params(("key" = String, Path, description = "The key, percent-encoded; may hold `/`")),
    responses((status = 200, description = "The value", body = ReadAnswer), RequestProblems, RecordProblems, ShardProblems)
)]
pub(super) async fn read(state: Data<AppState>, KeyPath(key): KeyPath) -> Result<HttpResponse, Problem> {
    let found = state.records.find(&built_in(&state, COLLECTION).await?, &key).await?;
    let record = found.record;
    let bytes = record.document.as_str().len() + key.len() + 256;
    let body = ReadAnswer {
        success: true,
        key,
        value: record.document,
        created_at: record.created_at,
        updated_at: record.updated_at,
        from_cache: found.from_cache,
        shard_id: found.shard.number(),
    };
    answer::json(StatusCode::OK, &body, bytes)
}

//! `/write` and `/read`: keys and values.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Serializer;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::http::guards::access::Caller;
use crate::http::guards::idempotency::claim_key;
use crate::http::request::body::{JsonBody, MAX_DOCUMENT_BODY};
use crate::http::request::extract::KeyPath;
use crate::http::response::answer;
use crate::http::response::problem::Problem;
use crate::http::response::problem_responses::{BodyProblems, RecordProblems, RequestProblems, ShardProblems};
use crate::http::state::AppState;
use crate::payload::time;
use crate::records::{BuiltIn, Document, WriteCondition};

/// A key and its value.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct KeyValue {
    /// 1 to 1,024 bytes of any text without NUL.
    #[schema(example = "user:123", min_length = 1, max_length = 1024)]
    key: String,
    /// Any JSON of up to 1 MiB.
    #[schema(value_type = serde_json::Value, example = "John Doe")]
    value: Box<RawValue>,
}

/// The answer to a stored value.
#[derive(Serialize, ToSchema)]
struct WriteAnswer {
    #[schema(example = true)]
    success: bool,
    #[schema(example = "user:123")]
    key: String,
    /// The owning shard.
    #[schema(example = 1)]
    shard_id: u16,
    #[schema(example = "Data written successfully to shard 1")]
    message: String,
}

/// A value.
#[derive(ToSchema)]
pub(in crate::http) struct ValueAnswer {
    #[schema(example = true)]
    success: bool,
    #[schema(example = "user:123")]
    key: String,
    #[schema(value_type = serde_json::Value, example = "John Doe")]
    value: Document,
    /// When the key was first written.
    created_at: DateTime<Utc>,
    /// The time of the last write.
    updated_at: DateTime<Utc>,
    /// True if the cache answered, and no shard was asked.
    from_cache: bool,
    /// The owning shard.
    #[schema(example = 1)]
    shard_id: u16,
}

impl ValueAnswer {
    /// The answer as JSON. Written by hand, as serde would read the value again before writing.
    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let Self { success, key, value, created_at, updated_at, from_cache, shard_id } = self;
        let value = value.as_str().as_bytes();
        let mut json = Vec::with_capacity(value.len() + key.len() + 256);
        json.extend_from_slice(b"{\"success\":");
        serde_json::to_writer(&mut json, success)?;
        json.extend_from_slice(b",\"key\":");
        serde_json::to_writer(&mut json, key)?;
        json.extend_from_slice(b",\"value\":");
        json.extend_from_slice(value);
        json.extend_from_slice(b",\"created_at\":");
        time::serialize_time(created_at, &mut Serializer::new(&mut json))?;
        json.extend_from_slice(b",\"updated_at\":");
        time::serialize_time(updated_at, &mut Serializer::new(&mut json))?;
        json.extend_from_slice(b",\"from_cache\":");
        serde_json::to_writer(&mut json, from_cache)?;
        json.extend_from_slice(b",\"shard_id\":");
        serde_json::to_writer(&mut json, shard_id)?;
        json.push(b'}');
        Ok(json)
    }
}

/// Write a value
///
/// Replaces the value before.
#[utoipa::path(
    post, path = "/write", tag = "simple calls", request_body = KeyValue,
    responses((status = 200, description = "The value is stored", body = WriteAnswer), RequestProblems, BodyProblems, ShardProblems)
)]
pub(in crate::http) async fn write(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    body: JsonBody<MAX_DOCUMENT_BODY>,
) -> Result<HttpResponse, Problem> {
    let claimed = claim_key(&request, caller, body.bytes())?;
    let KeyValue { key, value } = body.parse()?;
    let collection = state.records.built_in(BuiltIn::KeyValue).await?;
    let (document, request_key) = (Document::new(value)?, claimed.request_key());
    let stored = state.records.put(&collection, &key, document, WriteCondition::Any, request_key).await?;
    let shard_id = stored.shard.number();
    let message = format!("Data written successfully to shard {shard_id}");
    answer::ok(&WriteAnswer { success: true, key, shard_id, message })
}

/// Read a value
#[utoipa::path(
    get, path = "/read/{key}", tag = "simple calls",
    params(("key" = String, Path, description = "The key, percent-encoded; may hold `/`")),
    responses((status = 200, description = "The value", body = ValueAnswer), RequestProblems, RecordProblems, ShardProblems)
)]
pub(in crate::http) async fn read(state: Data<AppState>, KeyPath(key): KeyPath) -> Result<HttpResponse, Problem> {
    let found = state.records.find(&state.records.built_in(BuiltIn::KeyValue).await?, &key).await?;
    let record = found.record;
    let body = ValueAnswer {
        success: true,
        key,
        value: record.document,
        created_at: record.created_at,
        updated_at: record.updated_at,
        from_cache: found.from_cache,
        shard_id: found.shard.number(),
    };
    answer::of_json(body.to_json())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_in_its_answer_as_it_was_written() {
        let at = DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap();
        let answer = ValueAnswer {
            success: true,
            key: "a \"key\"\n".to_owned(),
            value: Document::read(br#"{"price": 9.50, "text":"\u00e4"}"#).unwrap(),
            created_at: at,
            updated_at: at,
            from_cache: false,
            shard_id: 1,
        };
        let expected = r#"{"success":true,"key":"a \"key\"\n","value":{"price": 9.50, "text":"\u00e4"},"created_at":"2023-11-14T22:13:20.000001Z","updated_at":"2023-11-14T22:13:20.000001Z","from_cache":false,"shard_id":1}"#;
        assert_eq!(String::from_utf8(answer.to_json().unwrap()).unwrap(), expected);
    }
}

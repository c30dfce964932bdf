//! The answers of `/records/{collection}`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, LOCATION};
use chrono::{DateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::request::conditional::set_etag;
use crate::http::response::answer;
use crate::http::response::problem::Problem;
use crate::payload::time;
use crate::records::{CollectionName, FoundRecord, Record, RecordPage, StoredRecord};
use crate::shard::ShardId;

/// The members around a document in an answer, in bytes.
const FRAME_BYTES: usize = 384;

/// A document.
#[derive(Serialize, ToSchema)]
pub(super) struct RecordAnswer {
    #[schema(example = true)]
    success: bool,
    collection: CollectionName,
    #[serde(flatten)]
    record: Record,
    /// The owning shard.
    #[schema(example = 1)]
    shard_id: u16,
    /// True if the cache answered, and no shard was asked.
    from_cache: bool,
}

/// The answer to a stored document.
#[derive(Serialize, ToSchema)]
pub(super) struct StoredRecordAnswer {
    #[schema(example = true)]
    success: bool,
    /// The outcome in words.
    #[schema(example = "Document created in shard 1")]
    message: String,
    collection: CollectionName,
    #[schema(value_type = String, example = "42")]
    key: Box<str>,
    /// A new number after each change; the `ETag`.
    version: i64,
    #[serde(serialize_with = "time::serialize_time")]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "time::serialize_time")]
    updated_at: DateTime<Utc>,
    /// The owning shard.
    #[schema(example = 1)]
    shard_id: u16,
}

/// The answer to a deletion.
#[derive(Serialize, ToSchema)]
pub(super) struct DeletedRecordAnswer {
    #[schema(example = true)]
    success: bool,
    #[schema(example = "Document deleted from shard 1")]
    message: String,
    collection: CollectionName,
    key: String,
}

/// A page of documents.
#[derive(Serialize, ToSchema)]
pub(super) struct RecordListAnswer {
    #[schema(example = true)]
    success: bool,
    /// False if shards did not answer, and documents of these shards are missing.
    complete: bool,
    /// These shards.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_shards: Vec<u16>,
    collection: CollectionName,
    /// How many documents are in this answer.
    record_count: usize,
    records: Vec<Record>,
    /// The `cursor` of the next page; `null` on the last page.
    next_cursor: Option<String>,
}

pub(super) fn shard_numbers(shards: &[ShardId]) -> Vec<u16> {
    shards.iter().map(|shard| shard.number()).collect()
}

pub(super) fn page_answer(collection: CollectionName, page: RecordPage) -> Result<HttpResponse, Problem> {
    let RecordPage { records, next, missing } = page;
    let bytes = records.iter().map(|record| record.document.as_str().len() + FRAME_BYTES).sum::<usize>();
    let body = RecordListAnswer {
        success: true,
        complete: missing.is_empty(),
        missing_shards: shard_numbers(&missing),
        collection,
        record_count: records.len(),
        records,
        next_cursor: next.map(|cursor| cursor.to_string()),
    };
    answer::json(StatusCode::OK, &body, FRAME_BYTES + bytes)
}

pub(super) fn deleted_answer(collection: CollectionName, key: String, shard: ShardId) -> Result<HttpResponse, Problem> {
    let message = format!("Document deleted from shard {shard}");
    answer::ok(&DeletedRecordAnswer { success: true, message, collection, key })
}

pub(super) fn found_answer(collection: CollectionName, found: FoundRecord) -> Result<HttpResponse, Problem> {
    let FoundRecord { record, shard, from_cache } = found;
    let (version, bytes) = (record.version, record.document.as_str().len());
    let body = RecordAnswer { success: true, collection, record, shard_id: shard.number(), from_cache };
    let mut response = answer::json(StatusCode::OK, &body, FRAME_BYTES + bytes)?;
    set_etag(&mut response, &version.to_string());
    Ok(response)
}

pub(super) fn stored_answer(collection: CollectionName, stored: StoredRecord) -> Result<HttpResponse, Problem> {
    let StoredRecord { key, shard, created, version, created_at, updated_at } = stored;
    let (status, done) = if created { (StatusCode::CREATED, "created") } else { (StatusCode::OK, "replaced") };
    let location = format!("/records/{collection}/{}", utf8_percent_encode(&key, ESCAPED));
    let message = format!("Document {done} in shard {shard}");
    let shard_id = shard.number();
    let body =
        StoredRecordAnswer { success: true, message, collection, key, version, created_at, updated_at, shard_id };
    let mut response = answer::json(status, &body, FRAME_BYTES)?;
    set_etag(&mut response, &version.to_string());
    if created && let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// The bytes of a key that a path must escape (RFC 3986, section 3.3).
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b':').remove(b'@');

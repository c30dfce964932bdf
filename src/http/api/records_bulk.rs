//! A stream of documents: `POST /records/{collection}` with NDJSON.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::bulk_answers::FaultyRecord;
use crate::http::guards::access::Caller;
use crate::http::guards::rate_limit::caller_key;
use crate::http::request::body::MAX_DOCUMENT_BODY;
use crate::http::request::bulk_body::open_body;
use crate::http::request::upload_pace::{TooSlow, UploadMeter};
use crate::http::response::answer;
use crate::http::response::problem::Problem;
use crate::http::state::AppState;
use crate::payload::{BodyFault, BodyOpening, BodyReader, FieldFault, LineSplitter};
use crate::records::{Collection, Document, LoadedRecords, RecordError, RecordLoad};
use crate::shard::ShardError;

/// The answer to a stream of documents.
#[derive(Serialize, ToSchema)]
pub(super) struct RecordBulkAnswer {
    /// True if no document was rejected.
    #[schema(example = true)]
    success: bool,
    /// The outcome in words.
    #[schema(example = "Stored 100 documents")]
    message: String,
    #[serde(flatten)]
    done: RecordCounts,
    /// Why documents were rejected, the first 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rejections: Vec<FaultyRecord>,
}

/// The numbers of a load, also of a load that broke off.
#[derive(Serialize, ToSchema)]
struct RecordCounts {
    /// Documents stored.
    #[schema(example = 100)]
    stored: u64,
    /// Stored documents that replaced another document.
    #[schema(example = 0)]
    replaced: u64,
    /// Documents with faults, which are not stored.
    #[schema(example = 0)]
    rejected: u64,
    /// Documents stored on each shard.
    #[schema(value_type = BTreeMap<String, u64>, example = json!({"0": 50, "1": 50}))]
    distribution: BTreeMap<u16, u64>,
}

/// Why a load ended before the end of the body.
enum RecordLoadStop {
    Body(BodyFault),
    Slow(TooSlow),
    Shard(ShardError),
}

/// Stores the documents of the body while reading. A wrong document is rejected, and the load goes on.
pub(in crate::http) async fn load(
    state: &Data<AppState>,
    caller: Caller,
    collection: Arc<Collection>,
    request: &HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    let only = caller.documents_of(&collection)?.map(|_| (caller, Arc::clone(&collection)));
    let mut meter = UploadMeter::new(state, caller_key(request, &state.proxies));
    let (_place, body) = open_body(state, &mut meter, request, body).await?;
    let mut load = RecordLoad::start(Arc::clone(&state.records), collection);
    let stop = store_body(&mut meter, body, only, &mut load).await.err();
    let (loaded, stored) = load.finish().await;
    let stop = stored.err().map(RecordLoadStop::Shard).or(stop);
    let LoadedRecords { stored, replaced, rejected, distribution, rejections } = loaded;
    let done = RecordCounts { stored, replaced, rejected, distribution };
    if let Some(stop) = stop {
        let problem = match stop {
            RecordLoadStop::Body(fault) => fault.into(),
            RecordLoadStop::Shard(error) => error.into(),
            RecordLoadStop::Slow(slow) => slow.into(),
        };
        return Err(Problem::progress(problem, &done));
    }
    let body = RecordBulkAnswer {
        success: rejected == 0,
        message: format!("Stored {stored} documents"),
        done,
        rejections: rejections.into_iter().map(|(line, why)| FaultyRecord::on_line(line, fault(why))).collect(),
    };
    answer::json(StatusCode::OK, &body, 4096)
}

/// Reads the whole body. With `only`, documents of other users are rejected.
async fn store_body<R: tokio::io::AsyncRead + Unpin>(
    meter: &mut UploadMeter,
    mut body: BodyReader<R>,
    only: Option<(Caller, Arc<Collection>)>,
    load: &mut RecordLoad,
) -> Result<(), RecordLoadStop> {
    let is_foreign = |text: &[u8]| match (&only, Document::read(text)) {
        (Some((caller, collection)), Ok(document)) => caller.may_create_document(collection, &document).is_err(),
        _ => false, // what is no document is not stored
    };
    let mut opening = BodyOpening::default();
    // White space around a document does not count, as in a body with a single document.
    let mut lines = LineSplitter::new(MAX_DOCUMENT_BODY);
    let mut pieces: Vec<(u64, Option<Vec<u8>>)> = Vec::new();
    loop {
        let chunk = next_chunk(meter, &mut body, load).await?;
        let (at_end, bytes) = (chunk.is_empty(), chunk.len());
        let text = opening.text_of_chunk(chunk).map_err(RecordLoadStop::Body)?.unwrap_or_default();
        lines.feed(text, |piece| pieces.push((piece.line, piece.bytes.map(<[u8]>::to_vec))));
        if at_end {
            lines.finish(|piece| pieces.push((piece.line, piece.bytes.map(<[u8]>::to_vec))));
        }
        meter.count(bytes, pieces.len()).await;
        for (line, text) in pieces.drain(..) {
            match text {
                None => load.reject(line, RecordError::TooLarge),
                Some(text) if text.iter().all(u8::is_ascii_whitespace) => {}
                Some(text) if only.is_some() && is_foreign(&text) => {
                    load.reject(line, FieldFault::new("user_id", "must be the token's own user").into());
                }
                Some(text) => load.push(line, &text).await.map_err(RecordLoadStop::Shard)?,
            }
        }
        if at_end {
            return Ok(());
        }
    }
}

/// The next bytes of the body. Pending documents are stored meanwhile.
async fn next_chunk<'a, R: tokio::io::AsyncRead + Unpin>(
    meter: &mut UploadMeter,
    body: &'a mut BodyReader<R>,
    load: &mut RecordLoad,
) -> Result<&'a [u8], RecordLoadStop> {
    let mut chunk = pin!(meter.wait(body.next_chunk()));
    loop {
        tokio::select! {
            biased;
            chunk = &mut chunk => return chunk.map_err(RecordLoadStop::Slow)?.map_err(RecordLoadStop::Body),
            settled = load.finish_one(), if load.is_busy() => settled.map_err(RecordLoadStop::Shard)?,
        }
    }
}

/// The fault of a document for the client, without words of the database.
fn fault(error: RecordError) -> FieldFault {
    match error {
        RecordError::Field(fault) => fault,
        RecordError::Shard(_) => FieldFault::new("", "the database cannot hold it"),
        other => FieldFault::new("", other.to_string()),
    }
}

//! `/ingest/bulk`: files from a streamed body, or a number of test files.

use std::pin::pin;

use actix_web::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use super::bulk_answers::{BulkAnswer, BulkCounts, TestFile, bulk_answer};
use crate::files::bulk::{
    BodyFormat, BulkLoad, LoadSummary, ParsedRecord, RecordFault, RecordPosition, RecordReader, RowIdentity,
};
use crate::files::{LoadedFile, NewFile, UserId};
use crate::http::guards::access::Caller;
use crate::http::guards::idempotency::reject_key_on_stream;
use crate::http::guards::rate_limit::caller_key;
use crate::http::request::bulk_body::{LoadPlace, open_body};
use crate::http::request::extract::{query, query_number};
use crate::http::request::media_type::{content_type, is_ndjson};
use crate::http::request::upload_pace::{TooSlow, UploadMeter};
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::http::response::problem_responses::{BodyProblems, RequestProblems, ShardProblems};
use crate::http::state::AppState;
use crate::payload::{BodyFault, BodyReader, FieldFault, text_if_inexact};
use crate::shard::ShardError;

/// Test files listed in the answer.
const LISTED: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BulkQuery {
    count: Option<String>,
    format: Option<String>,
    user_id: Option<String>,
    on_error: Option<String>,
}

/// What a load does at a wrong record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RejectPolicy {
    /// Store the other records.
    Skip,
    /// Stop there.
    Abort,
}

/// Why a load ended before the end of the body.
enum LoadStop {
    Body(BodyFault),
    Slow(TooSlow),
    Record(RecordFault),
    Shard(ShardError),
}

/// Store many files
///
/// Either `count=N`: N test files, for the users 0 to N-1. Or a body, read as a stream of any length: NDJSON
/// (`application/x-ndjson`), a JSON array (`application/json`) or CSV with a header (`text/csv`), packed by gzip or
/// zstd or plain; or with `format=lsjson&user_id=42` the output of `rclone lsjson -R`. Loading a listing again adds new
/// paths and updates changed files. The NDJSON of `GET /query/{user_id}` is a valid body.
///
/// A file with an unreadable `modified_at` is stored without `modified_at`, and `warnings` names the line.
///
/// Files are stored in many short transactions. If a load breaks off, the problem tells how much was stored.
#[utoipa::path(
    post, path = "/ingest/bulk", tag = "files",
    params(
        ("count" = Option<u64>, Query, description = "Make this many test files, instead of a body", minimum = 1),
        ("format" = Option<String>, Query, description = "`ndjson`, `json`, `csv` or `lsjson`; without it Content-Type tells"),
        ("user_id" = Option<i64>, Query, description = "Whose files an lsjson listing holds", minimum = 0),
        ("on_error" = Option<String>, Query, description = "At a record that cannot be stored: `skip` it (as without this) or `abort`"),
    ),
    request_body(description = "The files", content(
        (String = "application/x-ndjson"), (Vec<crate::files::FileInput<'static>> = "application/json"), (String = "text/csv"),
    )),
    responses(
        (status = 200, description = "The load ran to its end", body = BulkAnswer),
        RequestProblems, BodyProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn load(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    reject_key_on_stream(&request)?;
    let query: BulkQuery = query(&request)?;
    let on_error = match query.on_error.as_deref() {
        None | Some("skip") => RejectPolicy::Skip,
        Some("abort") => RejectPolicy::Abort,
        Some(_) => return Err(Problem::query("on_error", "must be skip or abort")),
    };
    let mut meter = UploadMeter::new(&state, caller_key(&request, &state.proxies));
    if let Some(count) = query_number("count", query.count.as_deref(), 1..=state.bulk.max_count)? {
        if query.format.is_some() || query.user_id.is_some() {
            return Err(Problem::query("count", "makes test files; format and user_id belong to a body"));
        }
        if has_body(&request) {
            return Err(Problem::query("count", "makes test files and reads no body; leave out one of the two"));
        }
        let _place = LoadPlace::take(&state, &meter)?;
        return store_test_files(&state, &mut meter, count).await;
    }
    let format = body_format(&request, &query)?;
    if let BodyFormat::Lsjson(user) = format {
        caller.may_reach_user(user.get(), "user_id")?;
    }
    let (_place, body) = open_body(&state, &mut meter, &request, body).await?;
    let identity = if matches!(format, BodyFormat::Lsjson(_)) { RowIdentity::Path } else { RowIdentity::Id };
    let mut load = BulkLoad::start(&state.files, state.bulk, identity);
    let stop = store_body(&state, &mut meter, body, format, on_error, caller.only_user(), &mut load).await.err();
    let (loaded, stored) = load.finish().await;
    // A shard's error is the cause, and the end of reading only follows.
    match stored.err().map(LoadStop::Shard).or(stop) {
        None => bulk_answer(loaded, None),
        Some(stop) => Err(broken_off_problem(stop, &loaded)),
    }
}

/// True if the request comes with a body that may hold a file, which its head tells (RFC 9112, section 6.3). Some
/// clients send `{}` with every POST.
fn has_body(request: &HttpRequest) -> bool {
    let headers = request.headers();
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length > 2)
}

/// Reads and stores the whole body, unless a fault stops the load.
async fn store_body<R: tokio::io::AsyncRead + Unpin>(
    state: &AppState,
    meter: &mut UploadMeter,
    mut body: BodyReader<R>,
    format: BodyFormat,
    on_error: RejectPolicy,
    only: Option<UserId>,
    load: &mut BulkLoad,
) -> Result<(), LoadStop> {
    let mut records = RecordReader::new(format, state.bulk.record_bytes);
    let mut parsed = Vec::new();
    loop {
        let chunk = next_chunk(meter, &mut body, load).await?;
        let fault = records.feed(chunk, state.files.ids(), |place, record| parsed.push((place, record))).err();
        let at_end = chunk.is_empty();
        meter.count(chunk.len(), parsed.len()).await;
        for (place, record) in parsed.drain(..) {
            match reject_other_users(record, only) {
                ParsedRecord::File(file) => load.push(place, file).await.map_err(LoadStop::Shard)?,
                ParsedRecord::Folder(path) => load.push_folder(place, format, path).await.map_err(LoadStop::Shard)?,
                ParsedRecord::Rejected(fault) if on_error == RejectPolicy::Abort => {
                    return Err(LoadStop::Record(RecordFault { place, fault }));
                }
                ParsedRecord::Rejected(fault) => load.reject(RecordFault { place, fault }),
            }
        }
        match fault {
            Some(fault) => return Err(LoadStop::Body(fault)),
            None if at_end => return Ok(()),
            None => {}
        }
    }
}

/// The next bytes of the body. Meanwhile rows are sent after a short wait for more rows.
async fn next_chunk<'a, R: tokio::io::AsyncRead + Unpin>(
    meter: &mut UploadMeter,
    body: &'a mut BodyReader<R>,
    load: &mut BulkLoad,
) -> Result<&'a [u8], LoadStop> {
    let mut chunk = pin!(meter.wait(body.next_chunk()));
    loop {
        tokio::select! {
            chunk = &mut chunk => return chunk.map_err(LoadStop::Slow)?.map_err(LoadStop::Body),
            () = load.has_waited() => load.send_waiting().await.map_err(LoadStop::Shard)?,
        }
    }
}

/// Rejects a file of another user than `only`.
fn reject_other_users(record: ParsedRecord, only: Option<UserId>) -> ParsedRecord {
    match record {
        ParsedRecord::File(loaded) if only.is_some_and(|only| only != loaded.file.user()) => {
            ParsedRecord::Rejected(FieldFault::new("user_id", "must be the token's own user"))
        }
        other => other,
    }
}

/// Stores test files, each made just before sending.
async fn store_test_files(state: &AppState, meter: &mut UploadMeter, count: u64) -> Result<HttpResponse, Problem> {
    let mut load = BulkLoad::start(&state.files, state.bulk, RowIdentity::Id);
    let mut listed = Vec::new();
    let mut failure = None;
    for user in (0..).map_while(UserId::new).take(usize::try_from(count).unwrap_or(usize::MAX)) {
        let file = NewFile::test_file(user, state.files.ids());
        if listed.len() < LISTED {
            listed.push((file.id(), user, file.name().to_owned()));
        }
        meter.count_made_row().await;
        let loaded = LoadedFile { file, warning: None };
        if let Err(error) = load.push(RecordPosition { record: 0, line: 0 }, loaded).await {
            failure = Some(error);
            break;
        }
    }
    let (loaded, stored) = load.finish().await;
    if let Some(error) = stored.err().or(failure) {
        return Err(broken_off_problem(LoadStop::Shard(error), &loaded));
    }
    let map = state.cluster.map();
    let records = listed.into_iter().map(|(file_id, user, file_name)| TestFile {
        file_id,
        user_id: user.get(),
        user_id_text: text_if_inexact(user.get()),
        file_name,
        shard_id: map.owner(user.slot()).number(),
    });
    bulk_answer(loaded, Some(records.collect()))
}

/// The problem of a load that broke off: the cause, and how much was stored.
fn broken_off_problem(stop: LoadStop, loaded: &LoadSummary) -> Problem {
    let problem = match stop {
        LoadStop::Body(fault) => fault.into(),
        LoadStop::Slow(slow) => slow.into(),
        LoadStop::Record(rejection) => {
            let line = rejection.place.line;
            Problem::new(ProblemCode::InvalidField, format!("line {line}: {}", rejection.fault))
                .line(line)
                .field(rejection.fault.field)
        }
        LoadStop::Shard(error) => error.into(),
    };
    problem.progress(&BulkCounts::from(loaded))
}

fn body_format(request: &HttpRequest, query: &BulkQuery) -> Result<BodyFormat, Problem> {
    let user = query_number("user_id", query.user_id.as_deref(), 0..=i64::MAX)?.and_then(UserId::new);
    let format = match (query.format.as_deref(), content_type(request.headers()).as_str()) {
        (Some("lsjson"), _) => {
            let user = user.ok_or_else(|| Problem::query("user_id", "must be given: whose files are they?"))?;
            return Ok(BodyFormat::Lsjson(user));
        }
        (Some("ndjson"), _) => BodyFormat::Ndjson,
        (Some("json"), _) => BodyFormat::JsonArray,
        (Some("csv"), _) => BodyFormat::Csv,
        (Some(_), _) => return Err(Problem::query("format", "must be ndjson, json, csv or lsjson")),
        (None, media_type) if is_ndjson(media_type) => BodyFormat::Ndjson,
        (None, "application/json") => BodyFormat::JsonArray,
        (None, "text/csv") => BodyFormat::Csv,
        (None, _) => {
            let detail = "give count=N for test files, or a body with Content-Type: application/x-ndjson, \
                          application/json or text/csv";
            return Err(Problem::new(ProblemCode::UnsupportedMediaType, detail).field("Content-Type"));
        }
    };
    match user {
        None => Ok(format),
        Some(_) => Err(Problem::query("user_id", "belongs to format=lsjson; other records name their own user")),
    }
}

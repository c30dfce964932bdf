//! `/ingest/bulk`: files from a streamed body, or a number of test files.

use std::collections::BTreeMap;
use std::io;
use std::pin::pin;

use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::SemaphorePermit;
use tokio_util::io::StreamReader;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::files::bulk::{
    BodyFormat, BulkLoad, LoadSummary, ParsedRecord, RecordFault, RecordPosition, RecordReader, RowIdentity,
};
use crate::files::{LoadedFile, NewFile, UserId};
use crate::http::guards::access::Caller;
use crate::http::guards::idempotency::refuse;
use crate::http::guards::rate_limit::caller_key;
use crate::http::request::body::{encoding, header_text};
use crate::http::request::extract::{query, query_number};
use crate::http::request::upload_pace::{TooSlow, UploadMeter};
use crate::http::response::answer;
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::http::response::problem_responses::{BodyProblems, RequestProblems, ShardProblems};
use crate::http::state::AppState;
use crate::limits::LoadPermit;
use crate::payload::{BodyFault, BodyReader, FieldFault, text_if_inexact};
use crate::shard::ShardError;

/// Test files that are listed one by one in the answer.
const LISTED: usize = 1000;

/// What a load has done.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct BulkAnswer {
    /// True if no record was rejected.
    #[schema(example = true)]
    success: bool,
    /// What was done, in words.
    #[schema(example = "Inserted 100 records")]
    message: String,
    #[serde(flatten)]
    done: BulkCounts,
    /// Why records were rejected, the first 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rejections: Vec<FaultyRecord>,
    /// Which fields were not stored with their files, and why, the first 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<FaultyRecord>,
    /// The test files, the first 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<Vec<TestFile>>,
}

/// The numbers of a load; a load that broke off tells them too.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct BulkCounts {
    /// Files stored.
    #[schema(example = 100)]
    inserted: u64,
    /// Files whose ids were there already. They stay as they are.
    #[schema(example = 0)]
    duplicates: u64,
    /// Files of a listing that were imported before and have changed.
    #[schema(example = 0)]
    updated: u64,
    /// Files of a listing that were imported before and are the same.
    #[schema(example = 0)]
    unchanged: u64,
    /// Records that cannot be stored.
    #[schema(example = 0)]
    rejected: u64,
    /// Files taken without a field that cannot be kept: a time that cannot be read.
    #[schema(example = 0)]
    warned: u64,
    /// Folders of a listing: they are not stored.
    #[schema(example = 0)]
    folders: u64,
    /// Files stored on each shard.
    #[schema(value_type = BTreeMap<String, u64>, example = json!({"0": 50, "1": 50}))]
    distribution: BTreeMap<u16, u64>,
}

impl From<&LoadSummary> for BulkCounts {
    fn from(loaded: &LoadSummary) -> Self {
        Self {
            inserted: loaded.inserted,
            duplicates: loaded.duplicates,
            updated: loaded.updated,
            unchanged: loaded.unchanged,
            rejected: loaded.rejected,
            warned: loaded.warned,
            folders: loaded.folders,
            distribution: loaded.distribution.clone(),
        }
    }
}

/// What is wrong with a record of a body.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct FaultyRecord {
    /// The line that it starts on, from 1.
    #[schema(example = 3)]
    line: u64,
    /// Which record it is, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 3)]
    record: Option<u64>,
    /// The field that is wrong; empty if it is the record as a whole.
    #[schema(example = "file_name")]
    field: String,
    /// What must be true of it.
    #[schema(example = "must not be empty")]
    reason: String,
}

impl FaultyRecord {
    /// A line of a body, and what is wrong with it.
    pub(super) fn on_line(line: u64, fault: FieldFault) -> Self {
        Self { line, record: None, field: fault.field.into_owned(), reason: fault.reason.into_owned() }
    }
}

impl From<RecordFault> for FaultyRecord {
    fn from(RecordFault { place, fault }: RecordFault) -> Self {
        Self { record: Some(place.record), ..Self::on_line(place.line, fault) }
    }
}

/// A test file that was stored.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct TestFile {
    file_id: Uuid,
    user_id: i64,
    /// The same as a text, where the number is above 2^53 − 1 and readers that keep numbers as doubles round it.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id_text: Option<String>,
    file_name: String,
    shard_id: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BulkQuery {
    count: Option<String>,
    format: Option<String>,
    user_id: Option<String>,
    on_error: Option<String>,
}

/// What to do at a record that cannot be stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RejectPolicy {
    /// Go on without it.
    Skip,
    /// Stop there.
    Abort,
}

/// Why a load ended before its body.
enum LoadStop {
    Body(BodyFault),
    Slow(TooSlow),
    Record(RecordFault),
    Shard(ShardError),
}

/// Store many files
///
/// Either `count=N`: N test files, one each for the users 0 to N-1. Or a body, read as a stream of any length: NDJSON
/// (`application/x-ndjson`), a JSON array (`application/json`) or CSV with a header (`text/csv`), packed by gzip or zstd
/// or plain; or with `format=lsjson&user_id=42` the output of `rclone lsjson -R`. Loading a listing again adds new paths and
/// updates files that have changed. The NDJSON of `GET /query/{user_id}` is taken as it is.
///
/// A file whose `modified_at` cannot be read or kept is stored without it, and `warnings` names its line.
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
    refuse(&request)?;
    let query: BulkQuery = query(&request)?;
    let on_error = match query.on_error.as_deref() {
        None | Some("skip") => RejectPolicy::Skip,
        Some("abort") => RejectPolicy::Abort,
        Some(_) => return Err(Problem::query("on_error", "must be skip or abort")),
    };
    let mut intake = UploadMeter::new(&state, caller_key(&request, &state.proxies));
    if let Some(count) = query_number("count", query.count.as_deref(), 1..=state.bulk.max_count)? {
        if query.format.is_some() || query.user_id.is_some() {
            return Err(Problem::query("count", "makes test files; format and user_id belong to a body"));
        }
        let _place = LoadPlace::take(&state, &intake)?;
        return generate(&state, &mut intake, count).await;
    }
    let format = format_of(&request, &query)?;
    if let BodyFormat::Lsjson(user) = format {
        caller.reaches(user.get(), "user_id")?;
    }
    let encoding = encoding(request.headers())?;
    let body = intake.wait_for_first(body).await?;
    let _place = LoadPlace::take(&state, &intake)?;
    let bytes = StreamReader::new(body.map(|chunk| chunk.map_err(io_error)));
    let identity = if matches!(format, BodyFormat::Lsjson(_)) { RowIdentity::ListedPath } else { RowIdentity::Id };
    let mut load = BulkLoad::start(&state.files, state.bulk, identity);
    let body = BodyReader::new(bytes, encoding);
    let stop = read(&state, &mut intake, body, format, on_error, caller.only_user(), &mut load).await.err();
    let (loaded, stored) = load.finish().await;
    // A shard's own error says more than the full stop that it brought the reading to.
    match stored.err().map(LoadStop::Shard).or(stop) {
        None => answer(loaded, None),
        Some(stop) => Err(broken_off(stop, &loaded)),
    }
}

/// The place of a load, one of those of its caller and one of those of the process.
pub(in crate::http) struct LoadPlace<'a> {
    _own: LoadPermit,
    _permit: SemaphorePermit<'a>,
}

impl<'a> LoadPlace<'a> {
    /// # Errors
    /// 429 if the caller runs as many loads as one may, 503 if the process does.
    pub(in crate::http) fn take(state: &'a Data<AppState>, intake: &UploadMeter) -> Result<Self, Problem> {
        let own = state.loads.begin(intake.caller()).ok_or_else(|| {
            Problem::new(
                ProblemCode::TooManyOwnLoads,
                "you run as many bulk loads as one caller may; wait for one to end",
            )
            .header(RETRY_AFTER, HeaderValue::from_static("1"))
        })?;
        let permit = state.bulk_permits.try_acquire().map_err(|_| {
            Problem::new(ProblemCode::TooManyLoads, "as many bulk loads as this process takes are running; try again")
        })?;
        Ok(Self { _own: own, _permit: permit })
    }
}

/// Reads the body to its end, or to what stops it.
async fn read<R: tokio::io::AsyncRead + Unpin>(
    state: &AppState,
    intake: &mut UploadMeter,
    mut body: BodyReader<R>,
    format: BodyFormat,
    on_error: RejectPolicy,
    only: Option<UserId>,
    load: &mut BulkLoad,
) -> Result<(), LoadStop> {
    let mut records = RecordReader::new(format, state.bulk.record_bytes);
    let mut parsed = Vec::new();
    loop {
        let chunk = next_chunk(intake, &mut body, load).await?;
        let fault = records.feed(chunk, state.files.ids(), |place, record| parsed.push((place, record))).err();
        let at_end = chunk.is_empty();
        intake.count(chunk.len(), parsed.len()).await;
        for (place, record) in parsed.drain(..) {
            match own(record, only) {
                ParsedRecord::File(file) => load.push(place, file).await.map_err(LoadStop::Shard)?,
                ParsedRecord::Folder => load.skip_folder(),
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

/// The next bytes of the body. Rows that have waited for more rows long enough are sent meanwhile.
async fn next_chunk<'a, R: tokio::io::AsyncRead + Unpin>(
    intake: &mut UploadMeter,
    body: &'a mut BodyReader<R>,
    load: &mut BulkLoad,
) -> Result<&'a [u8], LoadStop> {
    let mut chunk = pin!(intake.wait(body.next_chunk()));
    loop {
        tokio::select! {
            chunk = &mut chunk => return chunk.map_err(LoadStop::Slow)?.map_err(LoadStop::Body),
            () = load.has_waited() => load.send_waiting().await.map_err(LoadStop::Shard)?,
        }
    }
}

/// A record as it is; or, if it is not of the only user whose files are taken, a rejection.
fn own(record: ParsedRecord, only: Option<UserId>) -> ParsedRecord {
    match record {
        ParsedRecord::File(loaded) if only.is_some_and(|only| only != loaded.file.user()) => {
            ParsedRecord::Rejected(FieldFault::new("user_id", "must be the token's own user"))
        }
        other => other,
    }
}

/// Stores the test files. They are made as they are sent, never all at once.
async fn generate(state: &AppState, intake: &mut UploadMeter, count: u64) -> Result<HttpResponse, Problem> {
    let mut load = BulkLoad::start(&state.files, state.bulk, RowIdentity::Id);
    let mut listed = Vec::new();
    let mut failure = None;
    for user in (0..).map_while(UserId::new).take(usize::try_from(count).unwrap_or(usize::MAX)) {
        let file = NewFile::test_file(user, state.files.ids());
        if listed.len() < LISTED {
            listed.push((file.id(), user, file.name().to_owned()));
        }
        intake.count_one().await;
        let loaded = LoadedFile { file, warning: None };
        if let Err(error) = load.push(RecordPosition { record: 0, line: 0 }, loaded).await {
            failure = Some(error);
            break;
        }
    }
    let (loaded, stored) = load.finish().await;
    if let Some(error) = stored.err().or(failure) {
        return Err(broken_off(LoadStop::Shard(error), &loaded));
    }
    let map = state.cluster.map();
    let records = listed.into_iter().map(|(file_id, user, file_name)| TestFile {
        file_id,
        user_id: user.get(),
        user_id_text: text_if_inexact(user.get()),
        file_name,
        shard_id: map.owner(user.slot()).number(),
    });
    answer(loaded, Some(records.collect()))
}

fn answer(loaded: LoadSummary, records: Option<Vec<TestFile>>) -> Result<HttpResponse, Problem> {
    let done = BulkCounts::from(&loaded);
    let body = BulkAnswer {
        success: loaded.rejected == 0,
        message: message(&loaded),
        done,
        rejections: loaded.rejections.into_iter().map(FaultyRecord::from).collect(),
        warnings: loaded.warnings.into_iter().map(FaultyRecord::from).collect(),
        records,
    };
    answer::json(StatusCode::OK, &body, 4096)
}

fn message(loaded: &LoadSummary) -> String {
    match loaded.warned {
        0 => format!("Inserted {} records", loaded.inserted),
        warned => format!("Inserted {} records; {warned} came with a time that cannot be kept", loaded.inserted),
    }
}

/// What the client is told of a load that did not reach its end: why, and what was stored all the same.
fn broken_off(stop: LoadStop, loaded: &LoadSummary) -> Problem {
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

fn format_of(request: &HttpRequest, query: &BulkQuery) -> Result<BodyFormat, Problem> {
    let user = query_number("user_id", query.user_id.as_deref(), 0..=i64::MAX)?.and_then(UserId::new);
    let content_type = header_text(request.headers(), CONTENT_TYPE);
    let content_type = content_type.split(';').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let format = match (query.format.as_deref(), content_type.as_str()) {
        (Some("lsjson"), _) => {
            let user = user.ok_or_else(|| Problem::query("user_id", "must be given: whose files are they?"))?;
            return Ok(BodyFormat::Lsjson(user));
        }
        (Some("ndjson"), _) => BodyFormat::Ndjson,
        (Some("json"), _) => BodyFormat::JsonArray,
        (Some("csv"), _) => BodyFormat::Csv,
        (Some(_), _) => return Err(Problem::query("format", "must be ndjson, json, csv or lsjson")),
        (None, "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines") => {
            BodyFormat::Ndjson
        }
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

/// The body's errors as the decoders pass them on.
pub(super) fn io_error(error: PayloadError) -> io::Error {
    match error {
        PayloadError::Incomplete(_) => io::ErrorKind::UnexpectedEof.into(),
        PayloadError::Io(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

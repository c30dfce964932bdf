//! `shardrive import`: sends files or standard input to a running service, with a progress bar.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::{Args, ValueEnum};
use futures_util::{Stream, stream};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use memchr::memchr_iter;
use serde_json::Value;
use tokio::io::AsyncRead;

use super::CliError;
use super::import_sync::{SyncArgs, print_sync_report};
use super::output::{complain, say};
use super::service::{ServiceArgs, build_client, client_builder};
use crate::outbound::{no_answer, with_causes};
use crate::payload::{BodyEncoding, BodyReader};
use crate::telemetry::OneLine;

const EXAMPLES: &str = "\
Examples:
  shardrive import files.ndjson.gz more.csv
  rclone lsjson -R /usr | shardrive import - --format lsjson --user-id 42
  rclone lsjson -R /usr | shardrive import - --sync --user-id 42 --dry-run

Exit codes: 0 every record is stored, 1 failed, 2 wrong usage, 3 some records were rejected.";

/// Send files to a running service, with a progress bar
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct ImportArgs {
    /// Files to send; - or none for standard input. Names ending in .gz or .zst are unpacked.
    files: Vec<PathBuf>,
    #[command(flatten)]
    service: ServiceArgs,
    /// The format of the files. Without it, the names decide: .ndjson, .jsonl, .json, .csv; .json with --user-id is
    /// lsjson.
    #[arg(long, value_enum)]
    format: Option<ImportFormat>,
    /// The owner of the files in a listing of `rclone lsjson -R`.
    #[arg(long)]
    user_id: Option<u64>,
    /// At a record that cannot be stored: skip the record, or stop.
    #[arg(long, value_enum, default_value_t = ImportRejectPolicy::Skip)]
    on_error: ImportRejectPolicy,
    #[command(flatten)]
    sync: SyncArgs,
    /// Print the service's answers as JSON.
    #[arg(long)]
    json: bool,
}

/// The formats of the service's bulk endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum ImportFormat {
    /// One JSON object in each line.
    Ndjson,
    /// A JSON array of objects.
    Json,
    /// Comma-separated values with a header.
    Csv,
    /// The output of `rclone lsjson -R`.
    Lsjson,
}

/// The reaction to a record that cannot be stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum ImportRejectPolicy {
    /// Skip the record.
    Skip,
    /// Stop at the record.
    Abort,
}

impl ImportArgs {
    /// Sends every file. Fails if any record was rejected.
    pub(super) async fn run(self) -> Result<(), CliError> {
        send_all(self).await
    }
}

async fn send_all(args: ImportArgs) -> Result<(), CliError> {
    // Without a time limit: a load takes as long as its input.
    let client = build_client(client_builder(args.service.read_token().await?)?)?;
    let inputs = if args.files.is_empty() { vec![PathBuf::from("-")] } else { args.files.clone() };
    if args.sync.is_asked_for() && inputs.len() > 1 {
        let reason = "--sync takes one listing: a second one would delete what the first has made";
        return Err(CliError::Usage(reason.to_owned()));
    }
    let mut rejected = 0;
    for input in &inputs {
        let answer = send_input(&client, &args, input).await?;
        rejected += answer.get("rejected").and_then(Value::as_u64).unwrap_or(0);
        print_report(&args, input, &answer);
    }
    if rejected > 0 {
        return Err(CliError::Partial(format!("{} records were rejected", HumanCount(rejected))));
    }
    Ok(())
}

async fn send_input(client: &reqwest::Client, args: &ImportArgs, input: &Path) -> Result<Value, CliError> {
    let shown = input.display();
    let name = input.to_string_lossy();
    let failed = |error| CliError::Failed(format!("{shown}: {error}"));
    if name != "-" && tokio::fs::metadata(input).await.map_err(failed)?.is_dir() {
        return Err(CliError::Usage(format!("{shown}: is a folder; name a file in it")));
    }
    let format = args
        .format
        .or_else(|| args.sync.is_asked_for().then_some(ImportFormat::Lsjson))
        .or_else(|| format_of(&name, args.user_id.is_some()))
        .ok_or_else(|| CliError::Usage(format!("{shown}: unknown format; say --format ndjson, json, csv or lsjson")))?;
    if format != ImportFormat::Lsjson && args.user_id.is_some() {
        return Err(CliError::Usage(format!(
            "{shown}: --user-id is only for --format lsjson, as other records name their own users"
        )));
    }
    let (reader, size): (Box<dyn AsyncRead + Send + Unpin>, Option<u64>) = if name == "-" {
        (Box::new(tokio::io::stdin()), None)
    } else {
        let file = tokio::fs::File::open(input).await.map_err(failed)?;
        let size = file.metadata().await.map_err(failed)?.len();
        (Box::new(file), Some(size))
    };
    let progress = ImportProgress::new(size);
    let body = BodyReader::new(reader, BodyEncoding::from_file_name(&name));
    let fault = Arc::new(std::sync::Mutex::new(None));
    let stream = body_stream(body, progress.clone(), Arc::clone(&fault));

    let (path, query) = target(args, format)?;
    let content_type = match format {
        ImportFormat::Ndjson => "application/x-ndjson",
        ImportFormat::Csv => "text/csv",
        ImportFormat::Json | ImportFormat::Lsjson => "application/json",
    };
    let sent = client
        .post(format!("{}{path}", args.service.url.trim_end_matches('/')))
        .query(&query)
        .header("content-type", content_type)
        .body(reqwest::Body::wrap_stream(stream))
        .send()
        .await;
    progress.finish();
    if let Some(fault) = fault.lock().ok().and_then(|mut fault| fault.take()) {
        let stored = if args.sync.is_asked_for() {
            "nothing is changed"
        } else {
            "records before that place were sent and may be stored"
        };
        return Err(CliError::Failed(format!("{shown}: {fault}; {stored}")));
    }
    let answer = sent.map_err(|error| CliError::Failed(format!("{}: {}", args.service.url, no_answer(error))))?;
    let status = answer.status();
    let answer: Value = answer.json().await.map_err(|error| {
        CliError::Failed(format!("{}: no JSON answer (status {status}): {}", args.service.url, with_causes(&error)))
    })?;
    if status.is_success() {
        return Ok(answer);
    }
    if args.json {
        say!("{answer}");
    }
    let detail =
        answer.get("detail").or_else(|| answer.get("title")).and_then(Value::as_str).unwrap_or("no reason given");
    let stored = match answer.get("inserted").and_then(Value::as_u64) {
        None if args.sync.is_asked_for() => String::new(),
        stored => format!("; {} records were stored before", HumanCount(stored.unwrap_or(0))),
    };
    Err(CliError::Failed(format!("{shown}: {} (status {status}{stored})", OneLine(detail))))
}

/// Names and values behind the `?` of a URL.
type QueryParameters = Vec<(&'static str, String)>;

/// The path and the query of the service for a body of this format.
fn target(args: &ImportArgs, format: ImportFormat) -> Result<(String, QueryParameters), CliError> {
    let on_error = if args.on_error == ImportRejectPolicy::Skip { "skip" } else { "abort" };
    let bulk = ("/ingest/bulk".to_owned(), vec![("on_error", on_error.to_owned())]);
    if format != ImportFormat::Lsjson {
        let usage = "--sync takes a listing of rclone lsjson alone".to_owned();
        return if args.sync.is_asked_for() { Err(CliError::Usage(usage)) } else { Ok(bulk) };
    }
    let user = args
        .user_id
        .ok_or_else(|| CliError::Usage("--format lsjson needs --user-id, the owner of the files".to_owned()))?;
    if args.sync.is_asked_for() {
        return Ok((format!("/drives/{user}/sync"), args.sync.query()));
    }
    let (path, mut query) = bulk;
    query.extend([("format", "lsjson".to_owned()), ("user_id", user.to_string())]);
    Ok((path, query))
}

fn format_of(name: &str, has_user: bool) -> Option<ImportFormat> {
    let plain = name.trim_end_matches(".gz").trim_end_matches(".zst");
    match plain.rsplit_once('.').map(|(_, end)| end)? {
        "ndjson" | "jsonl" => Some(ImportFormat::Ndjson),
        "json" if has_user => Some(ImportFormat::Lsjson),
        "json" => Some(ImportFormat::Json),
        "csv" => Some(ImportFormat::Csv),
        _ => None,
    }
}

type SharedFault = Arc<std::sync::Mutex<Option<String>>>;

/// The unpacked body as a stream. A fault ends the stream with an error, which breaks the request off. The fault's
/// text goes to `fault`, as the HTTP client would hide the text.
fn body_stream<R: AsyncRead + Unpin + Send + 'static>(
    body: BodyReader<R>,
    progress: ImportProgress,
    fault: SharedFault,
) -> impl Stream<Item = Result<Vec<u8>, std::io::Error>> + Send + 'static {
    stream::unfold((body, progress, fault), |(mut body, progress, fault)| async move {
        match body.next_chunk().await {
            Ok([]) => None,
            Ok(chunk) => {
                let chunk = chunk.to_vec();
                progress.show_chunk(body.packed_bytes(), &chunk);
                Some((Ok(chunk), (body, progress, fault)))
            }
            Err(reason) => {
                if let Ok(mut place) = fault.lock() {
                    *place = Some(reason.to_string());
                }
                Some((Err(std::io::Error::other("the input cannot be read")), (body, progress, fault)))
            }
        }
    })
}

/// The progress bar: bytes of the file, and lines. Hidden without a terminal.
#[derive(Clone)]
struct ImportProgress {
    bar: ProgressBar,
    rows: Arc<AtomicU64>,
}

impl ImportProgress {
    fn new(size: Option<u64>) -> Self {
        let bar = match size {
            _ if !std::io::stderr().is_terminal() => ProgressBar::hidden(),
            Some(size) => ProgressBar::new(size),
            None => ProgressBar::new_spinner(),
        };
        let template = match size {
            Some(_) => "{bar:32} {percent}%  {bytes}/{total_bytes}  {msg}  {eta} left",
            None => "{spinner} {bytes}  {msg}  {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, rows: Arc::new(AtomicU64::new(0)) }
    }

    fn show_chunk(&self, packed_bytes: u64, chunk: &[u8]) {
        let lines = u64::try_from(memchr_iter(b'\n', chunk).count()).unwrap_or_default();
        let rows = self.rows.fetch_add(lines, Ordering::Relaxed) + lines;
        let millis = u64::try_from(self.bar.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        self.bar.set_position(packed_bytes);
        self.bar.set_message(format!("{} rows  {} rows/s", HumanCount(rows), HumanCount(rows * 1000 / millis)));
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn print_report(args: &ImportArgs, input: &Path, answer: &Value) {
    if args.json {
        say!("{answer}");
        return;
    }
    if args.sync.is_asked_for() {
        print_sync_report(input, answer);
    } else {
        print_counts(input, answer);
    }
    let number = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or(0);
    if number("warned") > 0 {
        say!("  {} came with a time that cannot be kept", HumanCount(number("warned")));
    }
    print_faults(answer);
}

fn print_counts(input: &Path, answer: &Value) {
    let number = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or(0);
    say!(
        "{}: {} stored, {} updated, {} were there already, {} rejected",
        input.display(),
        HumanCount(number("inserted")),
        HumanCount(number("updated")),
        HumanCount(number("duplicates") + number("unchanged")),
        HumanCount(number("rejected"))
    );
    if let Some(Value::Object(shards)) = answer.get("distribution") {
        for (shard, rows) in shards {
            say!("  shard {shard}: {} stored", HumanCount(rows.as_u64().unwrap_or(0)));
        }
    }
}

fn print_faults(answer: &Value) {
    let faults = ["rejections", "warnings"].iter().filter_map(|name| answer.get(name)?.as_array()).flatten();
    for fault in faults {
        let text = |name: &str| fault.get(name).map(|value| value.as_str().map_or(value.to_string(), str::to_owned));
        let field =
            text("field").filter(|field| !field.is_empty()).map(|field| format!("{field}: ")).unwrap_or_default();
        let reason = format!("{field}{}", text("reason").unwrap_or_default());
        complain!("  line {}: {}", text("line").unwrap_or_default(), OneLine(reason));
    }
}

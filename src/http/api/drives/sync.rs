//! `POST /drives/{user_id}/sync`: a folder of a drive becomes what a listing says.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use crate::drive::mirror::{
    DeleteLimit, DeletePolicy, EntryCounts, ListingChunk, MirrorDifference, MirrorOptions, MirrorSummary,
};
use crate::drive::{DriveError, RefusedEntry};
use crate::files::bulk::{
    BodyFormat, ListingPart, ListingRows, ParsedRecord, RecordFault, RecordPosition, RecordReader,
};
use crate::files::{DrivePath, UserId};
use crate::http::api::bulk_answers::{FaultyRecord, LISTED_FAULTS};
use crate::http::guards::idempotency::reject_key_on_stream;
use crate::http::guards::rate_limit::caller_key;
use crate::http::request::bulk_body::open_body;
use crate::http::request::extract::{UserPath, query};
use crate::http::request::upload_pace::UploadMeter;
use crate::http::response::answer;
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::http::response::problem_responses::{BodyProblems, DriveProblems, RequestProblems, ShardProblems};
use crate::http::state::AppState;
use crate::payload::{BodyReader, FieldFault};
use crate::shard::ShardId;

/// Chunks of a listing between the body and the shard.
const QUEUE: usize = 2;
/// The most entries that a mirror deletes, unless the request says otherwise.
const USUAL_LIMIT: DeleteLimit = DeleteLimit::Percent(10);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SyncQuery {
    root: Option<String>,
    delete: Option<String>,
    max_delete: Option<String>,
    dry_run: Option<String>,
}

impl SyncQuery {
    fn options(self) -> Result<MirrorOptions, Problem> {
        let root = DrivePath::parse(self.root.as_deref().unwrap_or_default(), "root")
            .map_err(|fault| Problem::query("root", fault.reason))?;
        let delete = match self.delete.as_deref() {
            None | Some("trash") => DeletePolicy::Trash,
            Some("purge") => DeletePolicy::Purge,
            Some("keep") => DeletePolicy::Keep,
            Some(_) => return Err(Problem::query("delete", "must be trash, purge or keep")),
        };
        let limit = self.max_delete.as_deref().map_or(Some(USUAL_LIMIT), DeleteLimit::parse);
        let max_delete = limit.ok_or_else(|| {
            Problem::query(
                "max_delete",
                "must be a number of files and folders, or a percentage up to 100%, such as 10%, which a URL writes 10%25",
            )
        })?;
        let dry_run = match self.dry_run.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(Problem::query("dry_run", "must be true or false")),
        };
        Ok(MirrorOptions { root, delete, max_delete, dry_run })
    }
}

/// What a mirror has done, or would do.
#[derive(Serialize, ToSchema)]
struct SyncAnswer {
    /// True if no entry of the listing was rejected.
    #[schema(example = true)]
    success: bool,
    /// True if nothing was written.
    #[schema(example = false)]
    dry_run: bool,
    /// The shard of the user's drive.
    #[schema(example = 0)]
    shard_id: u16,
    /// New entries.
    created: EntryCounts,
    /// Entries with changes.
    updated: EntryCounts,
    /// Entries that were right already; they are not written.
    unchanged: EntryCounts,
    /// Entries that the listing leaves out.
    deleted: EntryCounts,
    /// Entries of the listing with faults.
    #[schema(example = 0)]
    rejected: u64,
    /// True if nothing was deleted, as entries of the listing have faults.
    #[schema(example = false)]
    deletes_withheld: bool,
    /// Files that are stored without a time that was not readable.
    #[schema(example = 0)]
    warned: u64,
    /// The first 100 differences, by path.
    differences: Vec<MirrorDifference>,
    /// Why entries were rejected, the first 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rejections: Vec<FaultyRecord>,
    /// Why fields were not stored with their files, the first 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<FaultyRecord>,
}

/// Mirror a listing
///
/// The drive below `root` becomes what the listing says: the output of `rclone lsjson -R`, as an array or an entry on
/// each line. All of it happens in one transaction. A row that is right already is not written.
///
/// What the listing leaves out goes into the trash. Nothing is deleted if an entry has a fault, and nothing at all is
/// changed if the body breaks off. A mirror that would delete more files and folders than `max_delete` admits is
/// refused.
#[utoipa::path(
    post, path = "/drives/{user_id}/sync", tag = "drives",
    params(
        ("user_id" = i64, Path, description = "The user", minimum = 0),
        ("root" = Option<String>, Query, description = "The folder that the listing describes; without it the drive's root. A missing folder is made"),
        ("delete" = Option<String>, Query, description = "What the listing leaves out goes into the `trash` (as without this), is gone for good (`purge`), or stays (`keep`)"),
        ("max_delete" = Option<String>, Query, description = "The most files and folders to delete, counted together: a number, or a percentage of those below `root`; `10%` if it is left out"),
        ("dry_run" = Option<bool>, Query, description = "Compare and tell, and write nothing"),
    ),
    request_body(description = "The listing", content((String = "application/json"), (String = "application/x-ndjson"))),
    responses(
        (status = 200, description = "The drive is what the listing says", body = SyncAnswer),
        RequestProblems, BodyProblems, DriveProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn sync(
    state: Data<AppState>,
    UserPath(user): UserPath,
    request: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    reject_key_on_stream(&request)?;
    let options = query::<SyncQuery>(&request)?.options()?;
    let mut meter = UploadMeter::new(&state, caller_key(&request, &state.proxies));
    let (_place, body) = open_body(&state, &mut meter, &request, body).await?;
    let (chunks, listing) = mpsc::channel(QUEUE);
    let mut reading = ListingReading { state: &state, meter, user, chunks, faults: ListingFaults::default() };
    let (read, mirrored) =
        tokio::join!(reading.read(body, &options), Box::pin(state.drives.mirror(user, &options, listing)));
    // If the mirror ended first, its reason counts.
    if let Err(Some(problem)) = read {
        return Err(problem);
    }
    let (shard, summary) = match mirrored {
        Ok(done) => done,
        Err(error) => return Err(refused_mirror(error, reading.faults)),
    };
    sync_answer(&options, shard, summary, reading.faults)
}

/// The entries of a listing that cannot be mirrored as they are.
#[derive(Default)]
struct ListingFaults {
    rejected: u64,
    rejections: Vec<RecordFault>,
    warned: u64,
    warnings: Vec<RecordFault>,
}

impl ListingFaults {
    fn reject(&mut self, place: RecordPosition, fault: FieldFault) {
        self.rejected += 1;
        if self.rejections.len() < LISTED_FAULTS {
            self.rejections.push(RecordFault { place, fault });
        }
    }

    /// Rejects the entries whose paths the shard saw to be taken.
    fn refuse(&mut self, entries: Vec<RefusedEntry>) {
        for entry in entries {
            self.reject(entry.place, FieldFault::new("Path", entry.reason));
        }
    }

    fn warn(&mut self, place: RecordPosition, fault: FieldFault) {
        self.warned += 1;
        if self.warnings.len() < LISTED_FAULTS {
            self.warnings.push(RecordFault { place, fault });
        }
    }
}

/// The reading of a listing, chunk by chunk, on its way to the shard.
struct ListingReading<'a> {
    state: &'a Data<AppState>,
    meter: UploadMeter,
    user: UserId,
    chunks: mpsc::Sender<ListingChunk>,
    faults: ListingFaults,
}

impl ListingReading<'_> {
    /// Reads the whole body. The error is `None` if the mirror takes no more.
    async fn read<R: AsyncRead + Unpin>(
        &mut self,
        body: BodyReader<R>,
        options: &MirrorOptions,
    ) -> Result<(), Option<Problem>> {
        let read = self.read_entries(body, options).await;
        match read {
            Ok(last) => {
                for part in last {
                    self.send(ListingChunk::Part(part)).await?;
                }
                self.send(ListingChunk::End(self.faults.rejected > 0)).await
            }
            Err(stop) => {
                // The mirror sees the end of the queue without the end of the listing.
                self.chunks = mpsc::channel(1).0;
                Err(stop)
            }
        }
    }

    async fn read_entries<R: AsyncRead + Unpin>(
        &mut self,
        mut body: BodyReader<R>,
        options: &MirrorOptions,
    ) -> Result<[ListingPart; 2], Option<Problem>> {
        let mut records = RecordReader::new(BodyFormat::Lsjson(self.user), self.state.bulk.record_bytes);
        let mut rows = ListingRows::new(&options.root);
        let mut parsed = Vec::new();
        loop {
            let chunk = self.meter.wait(body.next_chunk()).await.map_err(|slow| Some(slow.into()))?;
            let chunk = chunk.map_err(|fault| Some(fault.into()))?;
            let ids = self.state.files.ids();
            records
                .feed(chunk, ids, |place, record| parsed.push((place, record)))
                .map_err(|fault| Some(fault.into()))?;
            let at_end = chunk.is_empty();
            self.meter.count(chunk.len(), parsed.len()).await;
            for (place, record) in parsed.drain(..) {
                if let Some(full) = self.take(&mut rows, place, record)? {
                    self.send(ListingChunk::Part(full)).await?;
                }
            }
            if at_end && records.is_blank() {
                // A listing that failed may leave an empty file. Such a body must not delete the whole drive.
                let reason = "the body has no listing; the listing of an empty drive is []";
                return Err(Some(Problem::new(ProblemCode::InvalidBody, reason)));
            }
            if at_end {
                return Ok(rows.finish());
            }
        }
    }

    /// Takes an entry; a full part comes back.
    fn take(
        &mut self,
        rows: &mut ListingRows,
        place: RecordPosition,
        record: ParsedRecord,
    ) -> Result<Option<ListingPart>, Option<Problem>> {
        let taken = match record {
            ParsedRecord::Rejected(fault) => {
                self.faults.reject(place, fault);
                return Ok(None);
            }
            ParsedRecord::File(loaded) => {
                if let Err(fault) = rows.check(loaded.file.path().unwrap_or_default()) {
                    self.faults.reject(place, fault);
                    return Ok(None);
                }
                if let Some(fault) = loaded.warning {
                    self.faults.warn(place, fault);
                }
                rows.push_file(place, &loaded.file)
            }
            ParsedRecord::Folder(path) => {
                if let Err(fault) = rows.check(&path.to_string()) {
                    self.faults.reject(place, fault);
                    return Ok(None);
                }
                rows.push_folder(&path)
            }
        };
        taken.map_err(|error| {
            Some(Problem::new(ProblemCode::Internal, "an entry could not be sent to its shard").cause(error))
        })
    }

    async fn send(&self, chunk: ListingChunk) -> Result<(), Option<Problem>> {
        self.chunks.send(chunk).await.map_err(|_| None)
    }
}

/// A mirror that is refused also names the entries whose faults kept it from deleting.
fn refused_mirror(mut error: DriveError, mut faults: ListingFaults) -> Problem {
    #[derive(Serialize)]
    struct RejectedEntries {
        rejected: u64,
        rejections: Vec<FaultyRecord>,
    }
    if let DriveError::KindStays { withheld_for: Some(refused), .. } = &mut error {
        faults.refuse(std::mem::take(refused));
    }
    let problem = Problem::from(error);
    if faults.rejected == 0 {
        return problem;
    }
    problem.progress(&RejectedEntries { rejected: faults.rejected, rejections: listed(faults.rejections) })
}

fn listed(faults: Vec<RecordFault>) -> Vec<FaultyRecord> {
    faults.into_iter().map(FaultyRecord::from).collect()
}

fn sync_answer(
    options: &MirrorOptions,
    shard: ShardId,
    summary: MirrorSummary,
    mut faults: ListingFaults,
) -> Result<HttpResponse, Problem> {
    faults.refuse(summary.refused);
    faults.rejected = faults.rejected.saturating_add(summary.refused_beyond);
    let body = SyncAnswer {
        success: faults.rejected == 0,
        dry_run: options.dry_run,
        shard_id: shard.number(),
        created: summary.created,
        updated: summary.updated,
        unchanged: summary.unchanged,
        deleted: summary.deleted,
        rejected: faults.rejected,
        deletes_withheld: summary.deletes_withheld,
        warned: faults.warned,
        differences: summary.differences,
        rejections: listed(faults.rejections),
        warnings: listed(faults.warnings),
    };
    answer::json(StatusCode::OK, &body, 8192)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked_and_the_usual_ones_are_careful() {
        let read = |root: &str, delete: &str, max_delete: &str, dry_run: &str| {
            let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            let query = SyncQuery {
                root: given(root),
                delete: given(delete),
                max_delete: given(max_delete),
                dry_run: given(dry_run),
            };
            query.options().map_err(|problem| problem.field_name().map(str::to_owned).unwrap_or_default())
        };
        let usual = read("", "", "", "").unwrap();
        assert_eq!((usual.delete, usual.max_delete, usual.dry_run), (DeletePolicy::Trash, USUAL_LIMIT, false));
        let given = read("a/b", "purge", "7", "true").unwrap();
        assert_eq!((given.root.names().len(), given.max_delete), (2, DeleteLimit::Entries(7)));
        assert_eq!(read("a//b", "", "", "").unwrap_err(), "root");
        assert_eq!(read("", "burn", "", "").unwrap_err(), "delete");
        assert_eq!(read("", "", "half", "").unwrap_err(), "max_delete");
        assert_eq!(read("", "", "", "1").unwrap_err(), "dry_run");
    }
}

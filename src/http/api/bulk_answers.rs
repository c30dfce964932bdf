//! Answers of bulk loads: how much was stored, and why the rest was not.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::files::bulk::{LoadSummary, RecordFault};
use crate::http::response::answer;
use crate::http::response::problem::Problem;
use crate::payload::FieldFault;

/// How many rejections, and how many warnings, an answer lists one by one.
pub(super) const LISTED_FAULTS: usize = 100;

/// The answer to a bulk load.
#[derive(Serialize, ToSchema)]
pub(super) struct BulkAnswer {
    /// True if no record was rejected.
    #[schema(example = true)]
    success: bool,
    /// The outcome in words.
    #[schema(example = "Inserted 100 records")]
    message: String,
    #[serde(flatten)]
    done: BulkCounts,
    /// Why records were rejected, the first 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rejections: Vec<FaultyRecord>,
    /// Why fields were not stored with their files, the first 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<FaultyRecord>,
    /// The test files, the first 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<Vec<TestFile>>,
}

/// The numbers of a load, also of a load that broke off.
#[derive(Serialize, ToSchema)]
pub(super) struct BulkCounts {
    /// Files stored.
    #[schema(example = 100)]
    inserted: u64,
    /// Files with ids that were stored before; the stored files do not change.
    #[schema(example = 0)]
    duplicates: u64,
    /// Files of a listing whose paths held files, with changes.
    #[schema(example = 0)]
    updated: u64,
    /// Files of a listing whose paths held files, without changes.
    #[schema(example = 0)]
    unchanged: u64,
    /// Records with faults, which are not stored.
    #[schema(example = 0)]
    rejected: u64,
    /// Files stored without a field: a time was not readable.
    #[schema(example = 0)]
    warned: u64,
    /// Folders that a listing names, made or there already.
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

/// The fault of a record of a body.
#[derive(Serialize, ToSchema)]
pub(super) struct FaultyRecord {
    /// The line on which the record starts, from 1.
    #[schema(example = 3)]
    line: u64,
    /// The number of the record, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 3)]
    record: Option<u64>,
    /// The wrong field; empty if the whole record is wrong.
    #[schema(example = "file_name")]
    field: String,
    /// What must be true of the field.
    #[schema(example = "must not be empty")]
    reason: String,
}

impl FaultyRecord {
    pub(super) fn on_line(line: u64, fault: FieldFault) -> Self {
        Self { line, record: None, field: fault.field.into_owned(), reason: fault.reason.into_owned() }
    }
}

impl From<RecordFault> for FaultyRecord {
    fn from(RecordFault { place, fault }: RecordFault) -> Self {
        Self { record: Some(place.record), ..Self::on_line(place.line, fault) }
    }
}

/// A stored test file.
#[derive(Serialize, ToSchema)]
pub(super) struct TestFile {
    pub(super) file_id: Uuid,
    pub(super) user_id: i64,
    /// The same as a text, for numbers above 2^53 − 1, which readers with doubles would round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_id_text: Option<String>,
    pub(super) file_name: String,
    pub(super) shard_id: u16,
}

pub(super) fn bulk_answer(loaded: LoadSummary, records: Option<Vec<TestFile>>) -> Result<HttpResponse, Problem> {
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
    let records = if loaded.inserted == 1 { "record" } else { "records" };
    let mut message = format!("Inserted {} {records}", loaded.inserted);
    for (number, what) in [(loaded.rejected, "rejected"), (loaded.warned, "with a time that cannot be kept")] {
        if number > 0 {
            message += &format!("; {number} {what}");
        }
    }
    message
}

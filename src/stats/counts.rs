//! The counts of all shards: one statement a shard, by a deadline; the answer names the missing shards.

use std::time::Duration;

use serde::Serialize;
use sqlx::{Connection, PgConnection};
use utoipa::ToSchema;

use crate::shard::{
    Cluster, ScatterBreadth, ScatterLimits, Shard, ShardCall, ShardError, ShardId, ShardState, SlotCoverage, WorkKind,
};

/// Where the numbers come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CountMethod {
    /// The counts that every transaction keeps: exact, and as quick at a hundred million rows as at a thousand.
    Counts,
    /// The rows themselves, with which the counts must agree. Takes as long as reading every row.
    Scan,
}

impl CountMethod {
    /// How long a scan may take.
    pub const SCAN_LIMIT: Duration = Duration::from_mins(5);
}

/// Whether a shard answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ShardStatus {
    /// The shard answered.
    Healthy,
    /// The shard did not answer before the deadline.
    Late,
    /// The shard answered with an error, which stands in the log.
    Failed,
    /// The shard cannot be reached.
    Unreachable,
}

/// One shard's share.
#[derive(Clone, Debug)]
pub struct ShardStats {
    /// The shard.
    pub shard: ShardId,
    /// The name of the database.
    pub database: String,
    /// Whether the shard answered.
    pub status: ShardStatus,
    /// Files in the shard's slots; `None` without an answer.
    pub rows: Option<u64>,
    /// Sum of the known sizes in bytes; at most 2^63 − 1.
    pub bytes: Option<u64>,
    /// Documents in the shard's slots.
    pub documents: Option<u64>,
    /// Sum of the documents' lengths in bytes.
    pub document_bytes: Option<u64>,
    /// Slots of the shard.
    pub slots: Option<u64>,
}

/// All shards' shares.
#[derive(Clone, Debug)]
pub struct ClusterStats {
    /// In the order of the shards' numbers.
    pub shards: Vec<ShardStats>,
    /// True if every shard answered, and exactly one shard counted each slot.
    pub complete: bool,
}

/// The largest sum of sizes in an answer. Clients name the sizes, so that two files may exceed the numbers of JSON
/// readers.
const MOST_BYTES: u64 = i64::MAX.cast_unsigned();

impl ClusterStats {
    /// The files of all shards with an answer.
    #[must_use]
    pub fn total_rows(&self) -> u64 {
        self.shards.iter().filter_map(|shard| shard.rows).fold(0, u64::saturating_add)
    }

    /// The documents of all shards with an answer.
    #[must_use]
    pub fn total_documents(&self) -> u64 {
        self.shards.iter().filter_map(|shard| shard.documents).fold(0, u64::saturating_add)
    }

    /// The bytes of the files of all shards with an answer; at most 2^63 − 1.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        let bytes = self.shards.iter().filter_map(|shard| shard.bytes);
        bytes.fold(0, u64::saturating_add).min(MOST_BYTES)
    }
}

/// Asks every shard, so many at once, for `deadline` at most. While a slot changes hands, asks again until each slot is
/// counted once.
pub async fn count_all(
    cluster: &Cluster,
    method: CountMethod,
    breadth: ScatterBreadth,
    deadline: Duration,
) -> ClusterStats {
    let limits = ScatterLimits { try_limit: deadline, total: deadline };
    let counted = cluster.scatter_until_covered(breadth, &CountRows(method), limits, |counted| counted.coverage).await;
    let answers = counted.answers.into_iter().map(|(_, answer)| answer);
    let shards = cluster.shards().iter().zip(answers).map(|(shard, answer)| share(shard, answer)).collect();
    ClusterStats { shards, complete: counted.is_covered }
}

fn share(shard: &Shard, answer: Result<Option<CountedShard>, ShardError>) -> ShardStats {
    let status = match (&answer, shard.state()) {
        (Ok(Some(_)), _) => ShardStatus::Healthy,
        // The connection may fail before the health probe notices.
        (Err(ShardError::Unavailable { .. }), _) | (_, ShardState::Unreachable) => ShardStatus::Unreachable,
        (Err(error @ (ShardError::RowRefused { .. } | ShardError::Unexpected { .. })), _) => {
            log::warn!("counting on shard {} failed: {error}", shard.id());
            ShardStatus::Failed
        }
        (_, ShardState::Healthy) => ShardStatus::Late,
    };
    let counted = answer.ok().flatten();
    ShardStats {
        shard: shard.id(),
        database: shard.options().database_name().to_owned(),
        status,
        rows: counted.as_ref().map(|counted| counted.rows),
        bytes: counted.as_ref().map(|counted| counted.bytes),
        documents: counted.as_ref().map(|counted| counted.documents),
        document_bytes: counted.as_ref().map(|counted| counted.document_bytes),
        slots: counted.as_ref().map(|counted| count(counted.coverage.slots)),
    }
}

/// A negative sum is a broken count, which `shards verify` finds; the answer shows 0.
fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

struct CountRows(CountMethod);

struct CountedShard {
    coverage: SlotCoverage,
    rows: u64,
    bytes: u64,
    documents: u64,
    document_bytes: u64,
}

/// Coverage, files and bytes of files, documents and bytes of documents.
type CountRow = (i64, i64, i64, i64, i64, i64, i64);

impl ShardCall for CountRows {
    type Output = CountedShard;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<CountedShard>, sqlx::Error> {
        let (slots, digest, others, rows, bytes, documents, document_bytes): CountRow = match self.0 {
            CountMethod::Counts => {
                sqlx::query_as(include_str!("../../sql/stats/count_owned.sql")).fetch_one(connection).await?
            }
            CountMethod::Scan => {
                let mut transaction = connection.begin().await?;
                sqlx::query(include_str!("../../sql/stats/allow_long_scan.sql")).execute(&mut *transaction).await?;
                let statement = sqlx::query_as(include_str!("../../sql/stats/scan_owned.sql"));
                let counted = statement.bind(shard.to_sql()).fetch_one(&mut *transaction).await?;
                transaction.commit().await?;
                counted
            }
        };
        let coverage = SlotCoverage { slots, digest, other_digest: others };
        Ok(Some(CountedShard {
            coverage,
            rows: count(rows),
            bytes: count(bytes),
            documents: count(documents),
            document_bytes: count(document_bytes),
        }))
    }

    fn work_kind(&self) -> WorkKind {
        match self.0 {
            CountMethod::Counts => WorkKind::PointRead,
            CountMethod::Scan => WorkKind::Listing,
        }
    }

    fn time_limit(&self) -> Option<Duration> {
        match self.0 {
            CountMethod::Counts => None,
            CountMethod::Scan => Some(CountMethod::SCAN_LIMIT),
        }
    }
}

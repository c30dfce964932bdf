//! A move as a row of `shardrive.moves`, the events of a move, and the requests of operators.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use utoipa::ToSchema;

use super::stage::MoveStage;
use crate::shard::{ShardId, Slot};

/// A move of slots from one shard to another.
#[derive(Clone, Debug)]
pub struct SlotMove {
    /// The number of the move.
    pub id: i64,
    /// Why: `move`, `drain`, `rebalance`.
    pub kind: String,
    /// The owner at the beginning.
    pub source: ShardId,
    /// The owner at the end.
    pub target: ShardId,
    /// The moving slots, in order.
    pub slots: Vec<Slot>,
    /// The stage of the move.
    pub stage: MoveStage,
    /// The end that the clean-up leads to.
    pub outcome: Option<MoveStage>,
    /// Why the move failed, or ended by itself.
    pub reason: Option<String>,
    /// The request that the coordinator has not fulfilled yet.
    pub request: Option<MoveRequest>,
    /// True if the rows are not to be compared.
    pub skip_verify: bool,
    /// The length of the rollback window, in milliseconds.
    pub rollback_window_ms: i64,
    /// The limit of the copy in rows a second; `None`: no limit.
    pub copy_rate: Option<i32>,
    /// Rows of the slots when the move was made.
    pub total_rows: i64,
    /// Bytes of the slots when the move was made.
    pub total_bytes: i64,
    /// Copied rows.
    pub copied_rows: i64,
    /// Compared rows.
    pub verified_rows: i64,
    /// True once all rows have been compared.
    pub verified: bool,
    /// How long a row takes from the owner to the other shard, measured last.
    pub lag_ms: Option<i64>,
    /// Attempts to change the owner.
    pub cutover_attempts: i32,
    /// The length of the write freeze when the owner changed, in milliseconds.
    pub freeze_ms: Option<f64>,
    /// When the move was registered.
    pub created_at: DateTime<Utc>,
    /// When the row changed last.
    pub updated_at: DateTime<Utc>,
    /// When the target became the owner.
    pub cutover_at: Option<DateTime<Utc>>,
    /// When the move ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// A request of an operator to a move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MoveRequest {
    /// End the move before the cutover, as if it had never been.
    Cancel,
    /// Give the slots back to the source.
    RollBack,
    /// End the rollback window and clean up.
    Finish,
}

impl MoveRequest {
    /// The word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::RollBack => "rollback",
            Self::Finish => "finish",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Cancel, Self::RollBack, Self::Finish].into_iter().find(|request| request.as_str() == text)
    }

    /// The end of a move that has fulfilled the request.
    #[must_use]
    pub fn end(self) -> MoveStage {
        match self {
            Self::Cancel => MoveStage::Cancelled,
            Self::RollBack => MoveStage::RolledBack,
            Self::Finish => MoveStage::Done,
        }
    }

    /// The stages in which a move can fulfil the request.
    #[must_use]
    pub fn stages(self) -> &'static [MoveStage] {
        match self {
            Self::Cancel => {
                &[MoveStage::Plan, MoveStage::Preflight, MoveStage::Copy, MoveStage::CatchUp, MoveStage::Verify]
            }
            Self::RollBack | Self::Finish => &[MoveStage::RollbackWindow],
        }
    }
}

/// An event of a move.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MoveEvent {
    /// When.
    pub at: DateTime<Utc>,
    /// The stage at that time.
    pub stage: String,
    /// What happened.
    pub what: String,
}

fn unreadable(column: &str) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: "not a value of this program".into() }
}

impl FromRow<'_, PgRow> for SlotMove {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let shard = |column| ShardId::from_sql(row.try_get(column)?).ok_or_else(|| unreadable(column));
        let slots: Option<Vec<Slot>> = row.try_get::<Vec<i32>, _>("slots")?.into_iter().map(Slot::from_sql).collect();
        // The comparison of rows relies on the order.
        let slots = slots.map(|mut slots| {
            slots.sort_unstable();
            slots
        });
        let stage = MoveStage::parse(row.try_get("stage")?).ok_or_else(|| unreadable("stage"))?;
        Ok(Self {
            id: row.try_get("id")?,
            kind: row.try_get("kind")?,
            source: shard("source")?,
            target: shard("target")?,
            slots: slots.ok_or_else(|| unreadable("slots"))?,
            stage,
            outcome: row.try_get::<Option<&str>, _>("outcome")?.and_then(MoveStage::parse),
            reason: row.try_get("reason")?,
            request: row.try_get::<Option<&str>, _>("request")?.and_then(MoveRequest::parse),
            skip_verify: row.try_get("skip_verify")?,
            rollback_window_ms: row.try_get("rollback_window_ms")?,
            copy_rate: row.try_get("copy_rate")?,
            total_rows: row.try_get("total_rows")?,
            total_bytes: row.try_get("total_bytes")?,
            copied_rows: row.try_get("copied_rows")?,
            verified_rows: row.try_get("verified_rows")?,
            verified: row.try_get("verified")?,
            lag_ms: row.try_get("lag_ms")?,
            cutover_attempts: row.try_get("cutover_attempts")?,
            freeze_ms: row.try_get("freeze_ms")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            cutover_at: row.try_get("cutover_at")?,
            ended_at: row.try_get("ended_at")?,
        })
    }
}

impl SlotMove {
    /// The slots as PostgreSQL takes them.
    pub(in crate::reshard) fn sql_slots(&self) -> Vec<i32> {
        self.slots.iter().map(|slot| slot.to_sql()).collect()
    }
}

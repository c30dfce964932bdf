//! A move as `shardrive.moves` keeps it, its events, and the requests of operators.

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
    /// Its number.
    pub id: i64,
    /// Why: `move`, `drain`, `rebalance`.
    pub kind: String,
    /// The owner at its beginning.
    pub source: ShardId,
    /// The owner at its end.
    pub target: ShardId,
    /// What moves, in order.
    pub slots: Vec<Slot>,
    /// Where it is.
    pub stage: MoveStage,
    /// Where the clean-up leads.
    pub outcome: Option<MoveStage>,
    /// Why it failed, or ended by itself.
    pub reason: Option<String>,
    /// What somebody asked for that has not been done yet.
    pub wish: Option<MoveRequest>,
    /// True if somebody asked explicitly not to compare the rows.
    pub skip_verify: bool,
    /// How long the way back stays armed, in milliseconds.
    pub keep_ms: i64,
    /// Rows that the copy may bring in a second; `None`: as many as it can.
    pub copy_rate: Option<i32>,
    /// Rows of the slots when the move was made.
    pub total_rows: i64,
    /// Their bytes.
    pub total_bytes: i64,
    /// Rows that have arrived.
    pub copied_rows: i64,
    /// Rows that have been compared.
    pub verified_rows: i64,
    /// True once all rows have been compared.
    pub verified: bool,
    /// How long a row takes from the owner to the other shard, measured last.
    pub lag_ms: Option<i64>,
    /// How often ownership was tried to be changed.
    pub flips_tried: i32,
    /// How long nobody could write to the slots when ownership changed, in milliseconds.
    pub hold_ms: Option<f64>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When something of it changed last.
    pub updated_at: DateTime<Utc>,
    /// When the target became the owner.
    pub flipped_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// What may be asked of a move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MoveRequest {
    /// End it before the flip, as if it had never been.
    Cancel,
    /// Take the flip back.
    RollBack,
    /// Give up the way back and clean up.
    Finish,
}

impl MoveRequest {
    /// Its word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::RollBack => "rollback",
            Self::Finish => "finish",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Cancel, Self::RollBack, Self::Finish].into_iter().find(|wish| wish.as_str() == text)
    }

    /// The stage at which a move ends for which it was fulfilled.
    #[must_use]
    pub fn end(self) -> MoveStage {
        match self {
            Self::Cancel => MoveStage::Cancelled,
            Self::RollBack => MoveStage::RolledBack,
            Self::Finish => MoveStage::Done,
        }
    }

    /// The stages in which it can be fulfilled.
    #[must_use]
    pub fn stages(self) -> &'static [MoveStage] {
        match self {
            Self::Cancel => {
                &[MoveStage::Plan, MoveStage::Preflight, MoveStage::Copy, MoveStage::CatchUp, MoveStage::Verify]
            }
            Self::RollBack | Self::Finish => &[MoveStage::Watch],
        }
    }
}

/// Something that happened in a move.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MoveEvent {
    /// When.
    pub at: DateTime<Utc>,
    /// In which stage.
    pub stage: String,
    /// What.
    pub what: String,
}

fn unreadable(column: &str) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: "not a value of this program".into() }
}

impl FromRow<'_, PgRow> for SlotMove {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let shard = |column| ShardId::from_sql(row.try_get(column)?).ok_or_else(|| unreadable(column));
        let slots: Option<Vec<Slot>> = row.try_get::<Vec<i32>, _>("slots")?.into_iter().map(Slot::from_sql).collect();
        // The comparison of rows relies on their order.
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
            wish: row.try_get::<Option<&str>, _>("wish")?.and_then(MoveRequest::parse),
            skip_verify: row.try_get("skip_verify")?,
            keep_ms: row.try_get("keep_ms")?,
            copy_rate: row.try_get("copy_rate")?,
            total_rows: row.try_get("total_rows")?,
            total_bytes: row.try_get("total_bytes")?,
            copied_rows: row.try_get("copied_rows")?,
            verified_rows: row.try_get("verified_rows")?,
            verified: row.try_get("verified")?,
            lag_ms: row.try_get("lag_ms")?,
            flips_tried: row.try_get("flips_tried")?,
            hold_ms: row.try_get("hold_ms")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            flipped_at: row.try_get("flipped_at")?,
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

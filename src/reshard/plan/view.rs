//! Moves and plans as people and programs see them, in the API and on the command line.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::planned::PlannedMoves;
use super::preflight::{DiskForecast, PreflightFinding};
use crate::reshard::coordinate::slot_move::{MoveEvent, SlotMove};
use crate::reshard::coordinate::stage::MoveStage;
use crate::reshard::slot_set::show_slots;

/// A move of slots.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SlotMove)]
pub struct MoveView {
    /// Its number.
    #[schema(example = 7)]
    pub id: i64,
    /// Why: `move`, `drain` or `rebalance`.
    #[schema(example = "move")]
    pub kind: String,
    /// The shard that owned the slots at its beginning.
    pub source: u16,
    /// The shard that owns them at its end.
    pub target: u16,
    /// What moves, as numbers and ranges.
    #[schema(example = "0-9,12")]
    pub slots: String,
    /// How many slots that are.
    pub slot_count: usize,
    /// Where it is.
    pub stage: MoveStage,
    /// Where it leads, once that is decided.
    pub outcome: Option<MoveStage>,
    /// Why it failed, or ended by itself.
    pub reason: Option<String>,
    /// Rows and bytes of the slots when the move was made.
    pub total_rows: i64,
    /// See `total_rows`.
    pub total_bytes: i64,
    /// Rows that have arrived.
    pub copied_rows: i64,
    /// Rows that have been compared.
    pub verified_rows: i64,
    /// True once every row has been compared.
    pub verified: bool,
    /// How long a row takes to the other shard.
    pub lag_ms: Option<i64>,
    /// How long writes to these slots waited when the owner changed.
    pub hold_ms: Option<f64>,
    /// Rows that the copy may bring in a second, if somebody set a limit.
    pub copy_rate: Option<i32>,
    /// How often changing the owner was tried.
    pub flips_tried: i32,
    /// Seconds until the owner changes, as far as the rows copied so far tell.
    pub eta_seconds: Option<i64>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When the owner changed.
    pub flipped_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// What happened, if one move was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<MoveEvent>,
}

impl MoveView {
    /// A move as it is shown.
    #[must_use]
    pub fn new(shown: SlotMove, events: Vec<MoveEvent>) -> Self {
        let eta_seconds = eta(&shown, Utc::now());
        Self {
            id: shown.id,
            source: shown.source.number(),
            target: shown.target.number(),
            slots: show_slots(&shown.slots),
            slot_count: shown.slots.len(),
            stage: shown.stage,
            outcome: shown.outcome,
            eta_seconds,
            kind: shown.kind,
            reason: shown.reason,
            total_rows: shown.total_rows,
            total_bytes: shown.total_bytes,
            copied_rows: shown.copied_rows,
            verified_rows: shown.verified_rows,
            verified: shown.verified,
            lag_ms: shown.lag_ms,
            hold_ms: shown.hold_ms,
            copy_rate: shown.copy_rate,
            flips_tried: shown.flips_tried,
            created_at: shown.created_at,
            flipped_at: shown.flipped_at,
            ended_at: shown.ended_at,
            events,
        }
    }

    /// Of a copy and a comparison of all rows, how much is done: from 0 to twice the rows.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        let number = |rows: i64| u64::try_from(rows).unwrap_or(0);
        let total = number(self.total_rows) * 2;
        if self.stage >= MoveStage::Flip {
            return (total, total);
        }
        ((number(self.copied_rows) + number(self.verified_rows)).min(total), total)
    }
}

/// By the rate so far: the rows that are left, copied and compared, at the pace of those that are done.
fn eta(shown: &SlotMove, now: DateTime<Utc>) -> Option<i64> {
    if shown.stage >= MoveStage::Watch || shown.stage < MoveStage::Copy {
        return None;
    }
    let done = shown.copied_rows + shown.verified_rows;
    let left = (shown.total_rows * 2 - done).max(0);
    let taken = (now - shown.created_at).num_milliseconds().max(1);
    (done > 0).then(|| left.saturating_mul(taken) / done / 1000)
}

/// A plan, and what speaks against it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Plan)]
pub struct PlanView {
    /// True if nothing was started.
    pub dry_run: bool,
    /// What moves or would move.
    pub moves: Vec<PlannedMove>,
    /// Slots of all moves.
    pub slots: usize,
    /// Their rows.
    pub rows: i64,
    /// Their bytes.
    pub bytes: i64,
    /// A first estimate, from a rate that was measured elsewhere.
    pub estimate_seconds: u64,
    /// What the preflight found.
    pub findings: Vec<PreflightFinding>,
    /// The numbers of the moves, if they were started.
    pub ids: Vec<i64>,
}

/// One move of a plan.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PlannedMove {
    /// From where.
    pub source: u16,
    /// To where.
    pub target: u16,
    /// What, as numbers and ranges.
    pub slots: String,
    /// How many slots that are.
    pub slot_count: usize,
    /// Their rows.
    pub rows: i64,
    /// Their bytes.
    pub bytes: i64,
    /// What they take on the target's disk, and what is free there.
    pub disk: DiskForecast,
}

impl PlanView {
    /// A plan as it is shown; `ids` of the moves that were started, if any were.
    #[must_use]
    pub fn new(planned: &PlannedMoves, ids: Vec<i64>, dry_run: bool) -> Self {
        let (slots, rows, bytes) = planned.totals();
        let moves = planned.moves.iter().map(|new| PlannedMove {
            source: new.source.number(),
            target: new.target.number(),
            slots: show_slots(&new.slots),
            slot_count: new.slots.len(),
            rows: new.rows,
            bytes: new.bytes,
            disk: new.disk,
        });
        Self {
            dry_run,
            moves: moves.collect(),
            slots,
            rows,
            bytes,
            estimate_seconds: planned.estimate().as_secs(),
            findings: planned.findings.clone(),
            ids,
        }
    }
}

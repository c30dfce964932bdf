//! The views of moves and plans, in the API and on the command line.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::planned::{MoveOptions, PlannedMoves, estimate_seconds};
use super::preflight::{DiskForecast, PreflightFinding};
use crate::reshard::coordinate::slot_move::{MoveEvent, SlotMove};
use crate::reshard::coordinate::stage::MoveStage;
use crate::reshard::slot_set::show_slots;

/// A move of slots.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SlotMove)]
pub struct MoveView {
    /// The number of the move.
    #[schema(example = 7)]
    pub id: i64,
    /// Why: `move`, `drain` or `rebalance`.
    #[schema(example = "move")]
    pub kind: String,
    /// The owner of the slots at the beginning.
    pub source: u16,
    /// The owner of the slots at the end.
    pub target: u16,
    /// The slots, as numbers and ranges.
    #[schema(example = "0-9,12")]
    pub slots: String,
    /// The number of slots.
    pub slot_count: usize,
    /// The stage of the move.
    pub stage: MoveStage,
    /// The end that the clean-up leads to, once decided.
    pub outcome: Option<MoveStage>,
    /// Why the move failed, or ended by itself.
    pub reason: Option<String>,
    /// Rows and bytes of the slots when the move was made.
    pub total_rows: i64,
    /// See `total_rows`.
    pub total_bytes: i64,
    /// Copied rows.
    pub copied_rows: i64,
    /// Compared rows.
    pub verified_rows: i64,
    /// True once every row has been compared.
    pub verified: bool,
    /// How long a row takes to the other shard.
    pub lag_ms: Option<i64>,
    /// How long writes to these slots waited when the owner changed.
    pub freeze_ms: Option<f64>,
    /// Rows that the copy may bring in a second, if a limit was set.
    pub copy_rate: Option<i32>,
    /// Attempts to change the owner.
    pub cutover_attempts: i32,
    /// Seconds until the owner changes, as far as the limit of the copy or the rows copied so far tell.
    pub eta_seconds: Option<i64>,
    /// When the move was registered.
    pub created_at: DateTime<Utc>,
    /// When the owner changed.
    pub cutover_at: Option<DateTime<Utc>>,
    /// When the move ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// What happened; only in the answer for one move.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<MoveEvent>,
}

impl MoveView {
    /// The view of a move.
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
            freeze_ms: shown.freeze_ms,
            copy_rate: shown.copy_rate,
            cutover_attempts: shown.cutover_attempts,
            created_at: shown.created_at,
            cutover_at: shown.cutover_at,
            ended_at: shown.ended_at,
            events,
        }
    }

    /// Of a copy and a comparison of all rows, how much is done: from 0 to twice the rows.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        let number = |rows: i64| u64::try_from(rows).unwrap_or(0);
        let total = number(self.total_rows) * 2;
        if self.stage >= MoveStage::Cutover {
            return (total, total);
        }
        ((number(self.copied_rows) + number(self.verified_rows)).min(total), total)
    }
}

/// By the rate so far: the remaining rows, copied and compared, at the pace of the rows before. A copy with a limit goes
/// at the limit, and says nothing of the pace of the comparison.
fn eta(shown: &SlotMove, now: DateTime<Utc>) -> Option<i64> {
    if shown.stage >= MoveStage::RollbackWindow || shown.stage < MoveStage::Copy {
        return None;
    }
    let done = shown.copied_rows + shown.verified_rows;
    let to_copy = (shown.total_rows - shown.copied_rows).max(0);
    let to_compare = if shown.skip_verify { 0 } else { (shown.total_rows - shown.verified_rows).max(0) };
    if shown.copy_rate.is_some() {
        return Some(estimate_seconds(to_copy, to_compare, shown.copy_rate.map(i64::from)));
    }
    let taken = (now - shown.created_at).num_milliseconds().max(1);
    (done > 0).then(|| (to_copy + to_compare).saturating_mul(taken) / done / 1000)
}

/// A plan, with the findings of the preflight.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Plan)]
pub struct PlanView {
    /// True if nothing was started.
    pub dry_run: bool,
    /// The moves of the plan.
    pub moves: Vec<PlannedMove>,
    /// Slots of all moves.
    pub slots: usize,
    /// Rows of the slots.
    pub rows: i64,
    /// Bytes of the slots.
    pub bytes: i64,
    /// A first estimate, from a rate measured elsewhere and the limit of the copy. Rests while others write come on top.
    pub estimate_seconds: u64,
    /// The findings of the preflight.
    pub findings: Vec<PreflightFinding>,
    /// The numbers of the started moves.
    pub ids: Vec<i64>,
}

/// One move of a plan.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PlannedMove {
    /// The source shard.
    pub source: u16,
    /// The target shard.
    pub target: u16,
    /// The slots, as numbers and ranges.
    pub slots: String,
    /// The number of slots.
    pub slot_count: usize,
    /// Rows of the slots.
    pub rows: i64,
    /// Bytes of the slots.
    pub bytes: i64,
    /// The disk space on the target: needed and free.
    pub disk: DiskForecast,
}

impl PlanView {
    /// A plan that was only made.
    #[must_use]
    pub fn dry_run(planned: &PlannedMoves, options: &MoveOptions) -> Self {
        Self { dry_run: true, ..Self::started(planned, options, Vec::new()) }
    }

    /// A plan whose moves were started under these numbers.
    #[must_use]
    pub fn started(planned: &PlannedMoves, options: &MoveOptions, ids: Vec<i64>) -> Self {
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
            dry_run: false,
            moves: moves.collect(),
            slots,
            rows,
            bytes,
            estimate_seconds: planned.estimate(options).as_secs(),
            findings: planned.findings.clone(),
            ids,
        }
    }
}

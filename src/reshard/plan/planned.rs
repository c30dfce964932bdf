//! A plan as it is put to work: its moves, what the preflight found, and the map that it was made on.

use std::num::NonZeroU32;
use std::time::Duration;

use super::pending_changes::PlanScope;
use super::preflight::{DiskForecast, PreflightFinding};
use crate::shard::{ShardId, Slot, SlotMap};

/// Rows that a move copied in a second where it was measured, for a first estimate: see docs/resharding.md.
const ROWS_A_SECOND: i64 = 50_000;

/// A move that is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewMove {
    /// Why.
    pub kind: &'static str,
    /// From where.
    pub source: ShardId,
    /// To where.
    pub target: ShardId,
    /// What.
    pub slots: Vec<Slot>,
    /// Their rows and bytes, as counted.
    pub rows: i64,
    /// See `rows`.
    pub bytes: i64,
    /// What they take on the target's disk, and what is free there.
    pub disk: DiskForecast,
}

/// How a move is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MoveOptions {
    /// How long the way back stays armed after the flip.
    pub keep: Duration,
    /// Do not compare the rows.
    pub skip_verify: bool,
    /// Rows that the copy may bring in a second; `None`: as many as it can.
    pub copy_rate: Option<NonZeroU32>,
}

impl Default for MoveOptions {
    fn default() -> Self {
        Self { keep: Duration::from_mins(10), skip_verify: false, copy_rate: None }
    }
}

/// A plan, and what speaks against it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedMoves {
    /// What would move.
    pub moves: Vec<NewMove>,
    /// What the preflight of each pair of shards found.
    pub findings: Vec<PreflightFinding>,
    /// What it is about.
    pub scope: PlanScope,
    /// The epoch of the map that it was made on.
    pub epoch: i64,
}

impl PlannedMoves {
    /// A plan that moves nothing, and why: all is as it was asked for already.
    pub(super) fn nothing_to_do(scope: PlanScope, map: &SlotMap, reason: String) -> Self {
        let findings = vec![PreflightFinding { fatal: false, what: reason }];
        Self { moves: Vec::new(), findings, scope, epoch: map.epoch() }
    }

    /// Slots, rows and bytes of all moves.
    #[must_use]
    pub fn totals(&self) -> (usize, i64, i64) {
        self.moves.iter().fold((0, 0, 0), |(slots, rows, bytes), new| {
            (slots + new.slots.len(), rows.saturating_add(new.rows), bytes.saturating_add(new.bytes))
        })
    }

    /// About how long it takes, from a rate that was measured elsewhere.
    #[must_use]
    pub fn estimate(&self) -> Duration {
        let (_, rows, _) = self.totals();
        let copying = u64::try_from(rows / ROWS_A_SECOND * 2).unwrap_or(0);
        // Making streams and waiting for their beginnings.
        Duration::from_secs(copying + 5 * u64::try_from(self.moves.len()).unwrap_or(1))
    }
}

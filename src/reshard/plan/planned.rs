//! A plan ready for work: the moves, the findings of the preflight, and the epoch of the map.

use std::num::NonZeroU32;
use std::time::Duration;

use super::pending_changes::PlanScope;
use super::preflight::{DiskForecast, PreflightFinding};
use crate::shard::{ShardId, Slot, SlotMap};

/// Rows that a measured move copied in a second, for a first estimate: see docs/benchmarks.md.
const ROWS_A_SECOND: i64 = 50_000;

/// A move before its registration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewMove {
    /// Why.
    pub kind: &'static str,
    /// The source shard.
    pub source: ShardId,
    /// The target shard.
    pub target: ShardId,
    /// The slots, in order.
    pub slots: Vec<Slot>,
    /// Counted rows of the slots.
    pub rows: i64,
    /// Counted bytes of the slots.
    pub bytes: i64,
    /// The disk space on the target: needed and free.
    pub disk: DiskForecast,
}

/// The options of a move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MoveOptions {
    /// How long the move can be rolled back after its cutover.
    pub rollback_window: Duration,
    /// Do not compare the rows.
    pub skip_verify: bool,
    /// The limit of the copy in rows a second; `None`: no limit.
    pub copy_rate: Option<NonZeroU32>,
}

impl Default for MoveOptions {
    fn default() -> Self {
        Self { rollback_window: Duration::from_mins(10), skip_verify: false, copy_rate: None }
    }
}

/// A plan, with the findings of the preflight.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedMoves {
    /// The moves of the plan.
    pub moves: Vec<NewMove>,
    /// The findings for each pair of shards.
    pub findings: Vec<PreflightFinding>,
    /// The scope of the plan.
    pub scope: PlanScope,
    /// The epoch of the map under the plan.
    pub epoch: i64,
}

impl PlannedMoves {
    /// A plan that moves nothing, because the shards own the wanted slots already.
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

    /// A rough duration under these options, from a rate measured elsewhere.
    #[must_use]
    pub fn estimate(&self, options: &MoveOptions) -> Duration {
        let (_, rows, _) = self.totals();
        let limit = options.copy_rate.map(|rate| i64::from(rate.get()));
        let seconds = estimate_seconds(rows, if options.skip_verify { 0 } else { rows }, limit);
        // Making the streams and waiting for the first rows takes about as long for any move.
        let beginnings = 5 * u64::try_from(self.moves.len()).unwrap_or(1);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0).saturating_add(beginnings))
    }
}

/// The seconds in which so many rows are copied and so many compared. `limit`: of the copy, in rows a second.
pub(super) fn estimate_seconds(to_copy: i64, to_compare: i64, limit: Option<i64>) -> i64 {
    let pace = limit.unwrap_or(ROWS_A_SECOND).clamp(1, ROWS_A_SECOND);
    (to_copy / pace).saturating_add(to_compare / ROWS_A_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_knows_the_limit_and_what_is_compared() {
        for (to_copy, to_compare, limit, seconds) in [
            (0, 0, None, 0),
            (1_000_000, 1_000_000, None, 40),
            (1_000_000, 0, None, 20),
            (1_000_000, 1_000_000, Some(1_000), 1_020),
            // A limit above what a copy reaches changes nothing.
            (1_000_000, 1_000_000, Some(i64::MAX), 40),
            (i64::MAX, i64::MAX, Some(1), i64::MAX),
        ] {
            assert_eq!(estimate_seconds(to_copy, to_compare, limit), seconds, "{to_copy}, {to_compare}, {limit:?}");
        }
    }
}

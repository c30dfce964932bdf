//! The change of the owner: the cutover, and a rollback, which is the same in the reverse direction.

use std::time::Duration;

use tokio::time::Instant;

use super::{ActiveMove, NEXT_ATTEMPT, NextStep, STEP_SLICE};
use crate::reshard::coordinate::decide::{CutoverDecision, CutoverFacts, decide};
use crate::reshard::coordinate::lease::CoordinatorLease;
use crate::reshard::coordinate::stage::MoveStage;
use crate::reshard::error::MoveError;
use crate::reshard::transfer::direction::Direction;
use crate::reshard::transfer::handover::{HandoverOutcome, hand_over, resume};
use crate::reshard::transfer::verify::OwnerCommits;
use crate::reshard::transfer::{stream, verify};

/// How long a write freeze may last before an attempt is given up: in the first attempts, and at most.
const FREEZE_LIMITS: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(1200));
/// Attempts with the first limit. Each later attempt adds the first limit once more, so that a slow machine gets there
/// as well.
const QUICK_ATTEMPTS: i32 = 8;

/// How long the write freeze of the next attempt may last.
fn freeze_limit(attempts: i32) -> Duration {
    let slow = u32::try_from(attempts - QUICK_ATTEMPTS).unwrap_or(0);
    (FREEZE_LIMITS.0 * slow.saturating_add(1).min(8)).min(FREEZE_LIMITS.1)
}

impl ActiveMove {
    /// Makes one attempt to change the owner, if the facts allow an attempt now.
    pub(super) async fn change_owner(
        &mut self,
        lease: &CoordinatorLease,
        direction: Direction,
    ) -> Result<NextStep, MoveError> {
        // An earlier coordinator may have come further than the row of the move says.
        if self.last_attempt.is_none() && resume(&self.slot_move, &mut self.sides, direction).await? {
            let (_, owner) = self.sides.along(direction);
            let what = format!("shard {} owns the slots", owner.id());
            return self.enter_next_stage(lease, direction, &what).await;
        }
        self.check_stream(direction).await?;
        if direction == Direction::Forward {
            stream::skip_old_log(&self.streams.reverse.name, &mut self.sides.target).await?;
        }
        if !self.slot_move.skip_verify {
            let begun = Instant::now();
            while self.compare_changes(direction).await? > 0 && begun.elapsed() < STEP_SLICE {}
        }
        let facts = self.cutover_facts(direction).await?;
        if decide(facts) != CutoverDecision::Begin {
            lease.save_progress(&self.slot_move).await?;
            return Ok(NEXT_ATTEMPT);
        }
        self.last_attempt = Some(Instant::now());
        self.slot_move.cutover_attempts += 1;
        let limit = freeze_limit(self.slot_move.cutover_attempts);
        let outcome = hand_over(&self.slot_move, &mut self.sides, direction, limit, &self.testing).await?;
        self.testing.step(direction.handover_steps().handed_over);
        match outcome {
            HandoverOutcome::Done(frozen, parts) => {
                self.slot_move.freeze_ms = Some(frozen.as_secs_f64() * 1000.0);
                lease.save_progress(&self.slot_move).await?;
                let frozen = frozen.as_millis();
                let what = format!("the owner changed; writes to these slots waited for {frozen} ms ({parts})");
                self.enter_next_stage(lease, direction, &what).await
            }
            HandoverOutcome::Undone(reason, frozen) => {
                lease.save_progress(&self.slot_move).await?;
                let what = format!("the owner did not change: {reason} ({} ms)", frozen.as_millis());
                lease.record_event(&self.slot_move, &what).await?;
                Ok(NEXT_ATTEMPT)
            }
        }
    }

    pub(super) async fn compare_changes(&mut self, direction: Direction) -> Result<usize, MoveError> {
        verify::compare_changes(&self.slot_move, &mut self.sides, direction, OwnerCommits::MayBeUnderWay).await
    }

    async fn cutover_facts(&mut self, direction: Direction) -> Result<CutoverFacts, MoveError> {
        let lag = self.measure_lag(direction).await?.unwrap_or(Duration::MAX);
        let (from, _) = self.sides.along(direction);
        Ok(CutoverFacts {
            lag,
            verified: self.slot_move.verified || self.slot_move.skip_verify,
            pending: verify::pending_changes(from, &self.slot_move).await?,
            healthy: self.sides.are_healthy(),
            since_last_attempt: self.last_attempt.map(|at| at.elapsed()),
            attempts: self.slot_move.cutover_attempts,
        })
    }

    async fn enter_next_stage(
        &mut self,
        lease: &CoordinatorLease,
        direction: Direction,
        what: &str,
    ) -> Result<NextStep, MoveError> {
        match direction {
            Direction::Forward => self.enter_stage(lease, MoveStage::RollbackWindow, what).await,
            Direction::Reverse => self.begin_clean_up(lease, MoveStage::RolledBack, what).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_freeze_is_short_at_first_and_bounded_always() {
        let limits: Vec<_> = [0, 1, 8, 9, 10, 100, i32::MAX].map(|attempts| freeze_limit(attempts).as_millis()).into();
        assert_eq!(limits, [300, 300, 300, 600, 900, 1200, 1200]);
    }
}

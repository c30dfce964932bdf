//! The cutover and the steps after it: the rollback window, rollback, clean-up.

use std::time::Duration;

use chrono::Utc;
use tokio::time::Instant;

use super::{ActiveMove, BUSY, LATER, NextStep, SHORTLY, SLICE, StreamNames, WAY_BACK_ARMED};
use crate::reshard::coordinate::decide::{CutoverDecision, CutoverFacts, decide};
use crate::reshard::coordinate::lease::CoordinatorLease;
use crate::reshard::coordinate::stage::MoveStage;
use crate::reshard::coordinate::store::MoveRequest;
use crate::reshard::error::MoveError;
use crate::reshard::transfer::handover::{HandoverOutcome, hand_over, release_again, resume};
use crate::reshard::transfer::{clean_up, stream, verify};

/// How long writers of moving slots may wait before a try is given up: for the first tries, and the longest.
const HOLD_LIMITS: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(1200));
/// Tries with the first of these; then it grows by as much with each, so that a slow machine gets there as well.
const QUICK_TRIES: i32 = 8;
/// How long the next try may hold the slots.
fn freeze_limit(tries: i32) -> Duration {
    let slow = u32::try_from(tries - QUICK_TRIES).unwrap_or(0);
    (HOLD_LIMITS.0 * slow.saturating_add(1).min(8)).min(HOLD_LIMITS.1)
}

impl ActiveMove {
    pub(super) async fn flip(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        if self.last_try.is_none() {
            // Perhaps another process was here before and came further than its row says.
            if resume(&self.job, &mut self.source, &mut self.target).await? {
                return self.to(lease, MoveStage::Watch, "the target owns the slots").await;
            }
        }
        self.check_stream(true).await?;
        stream::advance(&self.names.back, &mut self.target).await?;
        if !self.job.skip_verify {
            let begun = Instant::now();
            while verify::compare_changes(&self.job, &mut self.source, &mut self.target, true, false).await? > 0
                && begun.elapsed() < SLICE
            {}
        }
        let lag = self.measure_lag(true).await?;
        let facts = CutoverFacts {
            lag: lag.unwrap_or(Duration::MAX),
            verified: self.job.verified || self.job.skip_verify,
            pending: verify::pending_changes(&mut self.source, &self.job).await?,
            healthy: self.is_healthy(),
            since_last_try: self.last_try.map(|at| at.elapsed()),
            tries: self.job.flips_tried,
        };
        if decide(facts) != CutoverDecision::Flip {
            lease.save_progress(&self.job).await?;
            return Ok(SHORTLY);
        }
        self.last_try = Some(Instant::now());
        self.job.flips_tried += 1;
        let tried = hand_over(
            &self.job,
            &mut self.source,
            &mut self.target,
            true,
            freeze_limit(self.job.flips_tried),
            &self.testing,
        )
        .await?;
        self.testing.step("taken");
        self.note_try(lease, tried, MoveStage::Watch).await
    }

    pub(super) async fn note_try(
        &mut self,
        lease: &CoordinatorLease,
        tried: HandoverOutcome,
        then: MoveStage,
    ) -> Result<NextStep, MoveError> {
        match tried {
            HandoverOutcome::Done(held, parts) => {
                self.job.hold_ms = Some(held.as_secs_f64() * 1000.0);
                lease.save_progress(&self.job).await?;
                let what =
                    format!("the owner changed; writes to these slots waited for {} ms ({parts})", held.as_millis());
                if then == MoveStage::CleanUp {
                    return self.end(lease, MoveStage::RolledBack, &what).await;
                }
                self.to(lease, then, &what).await
            }
            HandoverOutcome::Undone(reason, held) => {
                lease.save_progress(&self.job).await?;
                lease.note(&self.job, &format!("the owner did not change: {reason} ({} ms)", held.as_millis())).await?;
                Ok(SHORTLY)
            }
        }
    }

    /// The forward stream ends, the reverse one begins, and both shards stay the same until the way back is given up.
    pub(super) async fn watch(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        if !self.armed {
            release_again(&self.job, &mut self.target, &mut self.source).await?;
            let StreamNames { there, back } = &self.names;
            clean_up::remove_objects(lease, &self.job, &mut self.source, &mut self.target, Some(there)).await?;
            self.testing.step("forward_gone");
            stream::start_reverse(back, &self.job, &mut self.target, &mut self.source).await?;
            self.armed = true;
            self.last_try = None;
            lease.note(&self.job, WAY_BACK_ARMED).await?;
            self.testing.step("armed");
        }
        let flipped = self.job.flipped_at.unwrap_or_else(Utc::now);
        let kept = (Utc::now() - flipped).num_milliseconds();
        match self.job.wish {
            Some(MoveRequest::Finish) => {
                return self.end(lease, MoveStage::Done, "the way back is given up, as somebody asked").await;
            }
            Some(MoveRequest::RollBack) => {
                self.job.flips_tried = 0;
                return self.to(lease, MoveStage::Return, "going back, as somebody asked").await;
            }
            None if kept >= self.job.keep_ms => {
                return self.end(lease, MoveStage::Done, "the way back was armed for its time").await;
            }
            Some(MoveRequest::Cancel) | None => {}
        }
        self.check_stream(false).await?;
        let lag = self.measure_lag(false).await?;
        lease.save_progress(&self.job).await?;
        if lag.is_some() && !self.job.skip_verify {
            verify::compare_changes(&self.job, &mut self.target, &mut self.source, false, false).await?;
        }
        Ok(LATER)
    }

    pub(super) async fn go_back(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        if self.last_try.is_none() && resume(&self.job, &mut self.target, &mut self.source).await? {
            return self.end(lease, MoveStage::RolledBack, "the source owns the slots again").await;
        }
        self.check_stream(false).await?;
        if !self.job.skip_verify {
            let begun = Instant::now();
            while verify::compare_changes(&self.job, &mut self.target, &mut self.source, false, false).await? > 0
                && begun.elapsed() < SLICE
            {}
        }
        let facts = CutoverFacts {
            lag: self.measure_lag(false).await?.unwrap_or(Duration::MAX),
            verified: true,
            pending: verify::pending_changes(&mut self.target, &self.job).await?,
            healthy: self.is_healthy(),
            since_last_try: self.last_try.map(|at| at.elapsed()),
            tries: self.job.flips_tried,
        };
        if decide(facts) != CutoverDecision::Flip {
            return Ok(SHORTLY);
        }
        self.last_try = Some(Instant::now());
        self.job.flips_tried += 1;
        let tried = hand_over(
            &self.job,
            &mut self.target,
            &mut self.source,
            false,
            freeze_limit(self.job.flips_tried),
            &self.testing,
        )
        .await?;
        self.testing.step("taken_back");
        self.note_try(lease, tried, MoveStage::CleanUp).await
    }

    /// Streams first, so that nothing of the clean-up is sent to the owner; then marks, rows and counts.
    pub(super) async fn clean_up(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        let outcome = self.job.outcome.unwrap_or(MoveStage::Failed);
        clean_up::remove_objects(lease, &self.job, &mut self.source, &mut self.target, None).await?;
        self.testing.step("objects_gone");
        let (owner, other) = if outcome == MoveStage::Done {
            (&mut self.target, &mut self.source)
        } else {
            (&mut self.source, &mut self.target)
        };
        clean_up::unmark(self.job.id, owner).await?;
        other.read_in_order(true).await?;
        let until = Instant::now() + SLICE;
        // A move that failed before its copy began has no rows of its own on the target.
        let swept = loop {
            let begun = Instant::now();
            if clean_up::sweep(&mut self.sweep, &self.job, other).await? {
                break true;
            }
            let took = begun.elapsed();
            if took > BUSY {
                return Ok(NextStep::After(took * 2));
            }
            if Instant::now() >= until {
                break false;
            }
        };
        if !swept {
            return Ok(SHORTLY);
        }
        other.read_in_order(false).await?;
        self.testing.step("swept");
        clean_up::clear_counts(&self.job, other).await?;
        clean_up::unmark(self.job.id, other).await?;
        let what = match outcome {
            MoveStage::Done => format!("shard {} owns the slots; nothing of the move is left", self.job.target),
            _ => format!("shard {} owns the slots; nothing of the move is left", self.job.source),
        };
        self.to(lease, outcome, &what).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_short_at_first_and_bounded_always() {
        let limits: Vec<_> = [0, 1, 8, 9, 10, 100, i32::MAX].map(|tries| freeze_limit(tries).as_millis()).into();
        assert_eq!(limits, [300, 300, 300, 600, 900, 1200, 1200]);
    }
}

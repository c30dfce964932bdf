//! The steps after the cutover: the rollback window, and the clean-up, which every move comes to.

use chrono::Utc;
use tokio::time::Instant;

use super::{ActiveMove, BUSY, NEXT_ATTEMPT, NEXT_CHECK, NextStep, ROLLBACK_READY, STEP_SLICE};
use crate::reshard::coordinate::lease::CoordinatorLease;
use crate::reshard::coordinate::slot_move::MoveRequest;
use crate::reshard::coordinate::stage::MoveStage;
use crate::reshard::error::MoveError;
use crate::reshard::transfer::direction::Direction;
use crate::reshard::transfer::handover::release_again;
use crate::reshard::transfer::side::ReadPlan;
use crate::reshard::transfer::{clean_up, stream};

impl ActiveMove {
    /// The forward stream ends, the reverse stream begins, and both shards stay the same until the rollback window
    /// ends.
    pub(super) async fn keep_rollback_window(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        if !self.reverse_started {
            self.start_reverse(lease).await?;
        }
        let cutover = self.slot_move.cutover_at.unwrap_or_else(Utc::now);
        let elapsed = (Utc::now() - cutover).num_milliseconds();
        match self.slot_move.request {
            Some(MoveRequest::Finish) => {
                return self
                    .begin_clean_up(lease, MoveStage::Done, "the rollback window ends, as an operator requested")
                    .await;
            }
            Some(MoveRequest::RollBack) => {
                self.slot_move.cutover_attempts = 0;
                return self.enter_stage(lease, MoveStage::Rollback, "rolling back, as an operator requested").await;
            }
            None if elapsed >= self.slot_move.rollback_window_ms => {
                return self.begin_clean_up(lease, MoveStage::Done, "the rollback window has ended").await;
            }
            Some(MoveRequest::Cancel) | None => {}
        }
        self.check_stream(Direction::Reverse).await?;
        let lag = self.measure_lag(Direction::Reverse).await?;
        lease.save_progress(&self.slot_move).await?;
        if lag.is_some() && !self.slot_move.skip_verify {
            self.compare_changes(Direction::Reverse).await?;
        }
        Ok(NEXT_CHECK)
    }

    async fn start_reverse(&mut self, lease: &CoordinatorLease) -> Result<(), MoveError> {
        release_again(&self.slot_move, &mut self.sides).await?;
        let forward = Some(self.streams.forward.name.as_str());
        clean_up::remove_objects(lease, &self.slot_move, &mut self.sides, forward).await?;
        self.testing.step("forward_removed");
        stream::start_reverse(&self.streams.reverse.name, &self.slot_move, &mut self.sides).await?;
        self.reverse_started = true;
        self.last_attempt = None;
        lease.record_event(&self.slot_move, ROLLBACK_READY).await?;
        self.testing.step("reverse_started");
        Ok(())
    }

    /// Removes the streams first, so that no change of the clean-up reaches the owner; then change tracking, rows and
    /// counts.
    pub(super) async fn clean_up(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        let outcome = self.slot_move.outcome.unwrap_or(MoveStage::Failed);
        clean_up::remove_objects(lease, &self.slot_move, &mut self.sides, None).await?;
        self.testing.step("objects_removed");
        let last_change = if outcome == MoveStage::Done { Direction::Forward } else { Direction::Reverse };
        let (_, owner) = self.sides.along(last_change);
        let owner_id = owner.id();
        clean_up::stop_change_tracking(self.slot_move.id, owner).await?;
        if let Some(pause) = self.remove_rows(last_change).await? {
            return Ok(pause);
        }
        self.testing.step("rows_removed");
        let (other, _) = self.sides.along(last_change);
        clean_up::clear_counts(&self.slot_move, other).await?;
        clean_up::stop_change_tracking(self.slot_move.id, other).await?;
        let what = format!(
            "shard {owner_id} owns the slots; shard {} has no rows of these slots, and the primaries of both shards have no \
             stream of the move",
            other.id()
        );
        self.enter_stage(lease, outcome, &what).await
    }

    /// Removes rows on the shard that does not own the slots; `None` once no row is left. A move that failed before its
    /// copy began has no rows there.
    pub(super) async fn remove_rows(&mut self, last_change: Direction) -> Result<Option<NextStep>, MoveError> {
        let (other, _) = self.sides.along(last_change);
        other.read_by(ReadPlan::OrderedIndex).await?;
        let until = Instant::now() + STEP_SLICE;
        loop {
            let begun = Instant::now();
            let limit = self.pace.part_rows(clean_up::BATCH);
            if clean_up::remove_next_rows(&mut self.removed, &self.slot_move, other, limit).await? {
                break;
            }
            let took = begun.elapsed();
            if took > BUSY {
                return Ok(Some(NextStep::After(took * 2)));
            }
            self.pace.rest_after(took, other).await?;
            if Instant::now() >= until {
                return Ok(Some(NEXT_ATTEMPT));
            }
        }
        other.read_by(ReadPlan::Planner).await?;
        Ok(None)
    }
}

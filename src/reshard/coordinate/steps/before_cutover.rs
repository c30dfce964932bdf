//! The steps while the source owns the slots: preflight, copy, catch-up, comparison.

use std::time::Duration;

use tokio::time::Instant;

use super::{ActiveMove, BUSY, NEXT_CHECK, NextStep, STEP_SLICE};
use crate::reshard::coordinate::lease::CoordinatorLease;
use crate::reshard::coordinate::stage::MoveStage;
use crate::reshard::error::MoveError;
use crate::reshard::plan::preflight;
use crate::reshard::slot_set::mask;
use crate::reshard::transfer::direction::Direction;
use crate::reshard::transfer::side::ReadPlan;
use crate::reshard::transfer::{copy, stream, verify};

/// How long earlier writers may take to end when change tracking begins.
const WRITERS_LIMIT: Duration = Duration::from_secs(30);

impl ActiveMove {
    pub(super) async fn preflight(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        let found = preflight::inspect(&self.slot_move.slots, &mut self.sides).await?;
        let fatal: Vec<_> =
            found.findings.iter().filter(|finding| finding.fatal).map(|finding| finding.what.as_str()).collect();
        if !fatal.is_empty() {
            return Err(MoveError::Refused(fatal.join("; ")));
        }
        self.enter_stage(lease, MoveStage::Copy, "the rows begin to go over").await
    }

    /// Starts change tracking, then the forward stream, and waits until the stream has copied all rows.
    pub(super) async fn copy(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        if !self.forward_made {
            self.start_change_tracking().await?;
            self.testing.step("tracking");
            let name = &self.streams.forward.name;
            copy::subscribe(lease, &self.slot_move, name, &mut self.sides).await?;
            self.testing.step("subscribed");
            copy::start(name, &mut self.sides).await?;
            self.forward_made = true;
            self.testing.step("forward_made");
        }
        if let Some(next) = self.end_lost_copy(lease).await? {
            return Ok(next);
        }
        // The errors of a lost copy are no refusals.
        if self.lost_since.is_none() {
            self.check_stream(Direction::Forward).await?;
        }
        if copy::is_done(&mut self.sides.target, &self.streams.forward.name).await? {
            self.slot_move.copied_rows = self.slot_move.total_rows;
            lease.save_progress(&self.slot_move).await?;
            return self
                .enter_stage(lease, MoveStage::CatchUp, "all rows have been copied; what changed since follows")
                .await;
        }
        let was_on = self.throttle.is_pausing();
        if self.should_wait(lease).await? || was_on {
            self.throttle.apply(&self.slot_move, &mut self.sides.target).await?;
        }
        let copied = copy::count_rows(&mut self.sides.target).await?;
        self.slot_move.copied_rows = self.slot_move.copied_rows.max(copied.min(self.slot_move.total_rows));
        lease.save_progress(&self.slot_move).await?;
        Ok(NextStep::After(Duration::from_millis(100)))
    }

    /// From here on every writer records its changes of the slots' rows, on both shards.
    pub(super) async fn start_change_tracking(&mut self) -> Result<(), MoveError> {
        let mask = mask(&self.slot_move.slots);
        for side in [&mut self.sides.source, &mut self.sides.target] {
            let failed = side.failed();
            let start = sqlx::query(include_str!("../../../../sql/reshard/start_change_tracking.sql"))
                .bind(self.slot_move.id)
                .bind(&mask)
                .bind(self.slot_move.copy_rate);
            start.execute(&mut side.db).await.map_err(failed)?;
        }
        if self.sides.source.wait_for_writers(Instant::now() + WRITERS_LIMIT).await? {
            Ok(())
        } else {
            Err(MoveError::Late("the end of transactions that write"))
        }
    }

    /// Makes the reverse stream before a rollback could need the stream.
    pub(super) async fn catch_up(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        let name = &self.streams.reverse.name;
        stream::make_reverse(lease, &self.slot_move, name, &mut self.sides).await?;
        self.testing.step("reverse_made");
        stream::skip_old_log(name, &mut self.sides.target).await?;
        self.check_stream(Direction::Forward).await?;
        let lag = self.measure_lag(Direction::Forward).await?;
        lease.save_progress(&self.slot_move).await?;
        match lag {
            Some(lag) if lag < BUSY => self.enter_stage(lease, MoveStage::Verify, "comparing all rows").await,
            _ => Ok(NEXT_CHECK),
        }
    }

    /// All rows, then what changed meanwhile.
    pub(super) async fn verify(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        if self.slot_move.skip_verify || self.slot_move.verified {
            return self.enter_stage(lease, MoveStage::Cutover, "waiting for a good moment to change the owner").await;
        }
        self.check_stream(Direction::Forward).await?;
        if self.should_wait(lease).await? {
            return Ok(NEXT_CHECK);
        }
        self.sides.read_by(ReadPlan::OrderedIndex).await?;
        let next = self.compare_parts(lease).await?;
        self.sides.read_by(ReadPlan::Planner).await?;
        Ok(next)
    }

    pub(super) async fn compare_parts(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        let until = Instant::now() + STEP_SLICE;
        let pass = self.pass.get_or_insert_default();
        loop {
            let begun = Instant::now();
            let limit = self.pace.part_rows(verify::PART);
            let done = verify::next_part(pass, &self.slot_move, &mut self.sides, limit).await?;
            self.slot_move.verified_rows = pass.rows;
            if done {
                self.slot_move.verified = true;
                lease.save_progress(&self.slot_move).await?;
                let what = format!("{} rows of both shards are the same; what changed since is compared", pass.rows);
                return self.enter_stage(lease, MoveStage::Cutover, &what).await;
            }
            // A part that took long means a busy shard: others come first.
            let took = begun.elapsed();
            if took > BUSY * 4 {
                lease.save_progress(&self.slot_move).await?;
                return Ok(NextStep::After(took));
            }
            self.pace.rest_after(pass.busy, &mut self.sides.source).await?;
            if Instant::now() >= until {
                break;
            }
        }
        lease.save_progress(&self.slot_move).await?;
        Ok(NextStep::Now)
    }
}

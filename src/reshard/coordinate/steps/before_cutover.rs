//! The steps while the source owns the slots: preflight, copy, catch-up, comparison.

use std::time::Duration;

use tokio::time::Instant;

use super::{ActiveMove, BUSY, LATER, NextStep, SLICE};
use crate::reshard::coordinate::lease::CoordinatorLease;
use crate::reshard::coordinate::stage::MoveStage;
use crate::reshard::error::MoveError;
use crate::reshard::plan::preflight;
use crate::reshard::slot_set::mask;
use crate::reshard::transfer::direction::Direction;
use crate::reshard::transfer::side::ReadPlan;
use crate::reshard::transfer::{stream, verify};

/// How long writers of before may take to end when a move begins to note changes.
const MARK_LIMIT: Duration = Duration::from_secs(30);

impl ActiveMove {
    pub(super) async fn preflight(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        let found = preflight::inspect(&self.slot_move.slots, &mut self.sides).await?;
        let fatal: Vec<_> =
            found.findings.iter().filter(|finding| finding.fatal).map(|finding| finding.what.as_str()).collect();
        if !fatal.is_empty() {
            return Err(MoveError::Refused(fatal.join("; ")));
        }
        self.to(lease, MoveStage::Copy, "the rows begin to go over").await
    }

    /// Marks, then the forward stream, then waiting until it has copied.
    pub(super) async fn copy(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        if !self.forward_made {
            self.mark().await?;
            self.testing.step("marked");
            let name = &self.streams.forward.name;
            stream::make_stream(lease, &self.slot_move, name, &mut self.sides, Direction::Forward).await?;
            self.forward_made = true;
            self.testing.step("streaming");
        }
        self.check_stream(Direction::Forward).await?;
        if stream::is_copied(&mut self.sides.target, &self.streams.forward.name).await? {
            self.slot_move.copied_rows = self.slot_move.total_rows;
            lease.save_progress(&self.slot_move).await?;
            return self.to(lease, MoveStage::CatchUp, "all rows have been copied; what changed since follows").await;
        }
        let was_on = self.throttle.is_on();
        if self.should_wait(lease).await? || was_on {
            self.throttle.apply(&self.slot_move, &mut self.sides.target).await?;
        }
        let copied = stream::copied_rows(&mut self.sides.target).await?;
        self.slot_move.copied_rows = self.slot_move.copied_rows.max(copied.min(self.slot_move.total_rows));
        lease.save_progress(&self.slot_move).await?;
        Ok(NextStep::After(Duration::from_millis(100)))
    }

    /// From here on changes of the slots' rows are noted on both shards, by every writer.
    pub(super) async fn mark(&mut self) -> Result<(), MoveError> {
        let mask = mask(&self.slot_move.slots);
        for side in [&mut self.sides.source, &mut self.sides.target] {
            let failed = side.failed();
            let mark = sqlx::query(include_str!("../../../../sql/reshard/mark_local.sql"))
                .bind(self.slot_move.id)
                .bind(&mask)
                .bind(self.slot_move.copy_rate);
            mark.execute(&mut side.db).await.map_err(failed)?;
        }
        if self.sides.source.wait_for_writers(Instant::now() + MARK_LIMIT).await? {
            Ok(())
        } else {
            Err(MoveError::Late("the end of transactions that write"))
        }
    }

    /// The way back is made ready, before anybody could need it.
    pub(super) async fn catch_up(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        let name = &self.streams.reverse.name;
        stream::make_stream(lease, &self.slot_move, name, &mut self.sides, Direction::Reverse).await?;
        self.testing.step("way_back");
        stream::advance(name, &mut self.sides.target).await?;
        self.check_stream(Direction::Forward).await?;
        let lag = self.measure_lag(Direction::Forward).await?;
        lease.save_progress(&self.slot_move).await?;
        match lag {
            Some(lag) if lag < BUSY => self.to(lease, MoveStage::Verify, "comparing all rows").await,
            _ => Ok(LATER),
        }
    }

    /// All rows, then what changed meanwhile.
    pub(super) async fn verify(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        if self.slot_move.skip_verify || self.slot_move.verified {
            return self.to(lease, MoveStage::Flip, "waiting for a good moment to change the owner").await;
        }
        self.check_stream(Direction::Forward).await?;
        if self.should_wait(lease).await? {
            return Ok(LATER);
        }
        self.sides.read_by(ReadPlan::OrderedIndex).await?;
        let next = self.compare_parts(lease).await?;
        self.sides.read_by(ReadPlan::Planner).await?;
        Ok(next)
    }

    pub(super) async fn compare_parts(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        let until = Instant::now() + SLICE;
        let pass = self.pass.get_or_insert_default();
        loop {
            let begun = Instant::now();
            let done = verify::next_part(pass, &self.slot_move, &mut self.sides).await?;
            self.slot_move.verified_rows = pass.rows;
            if done {
                self.slot_move.verified = true;
                lease.save_progress(&self.slot_move).await?;
                let what = format!("{} rows of both shards are the same; what changed since is compared", pass.rows);
                return self.to(lease, MoveStage::Flip, &what).await;
            }
            // A part that took long found a busy shard: others come first.
            let took = begun.elapsed();
            if took > BUSY * 4 {
                lease.save_progress(&self.slot_move).await?;
                return Ok(NextStep::After(took));
            }
            if Instant::now() >= until {
                break;
            }
        }
        lease.save_progress(&self.slot_move).await?;
        Ok(NextStep::Now)
    }
}

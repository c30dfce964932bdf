//! The steps while the source owns the slots: preflight, copy, catch-up, comparison.

use std::time::Duration;

use tokio::time::Instant;

use super::{ActiveMove, BUSY, LATER, NextStep, SLICE};
use crate::reshard::coordinate::lease::CoordinatorLease;
use crate::reshard::coordinate::stage::MoveStage;
use crate::reshard::error::MoveError;
use crate::reshard::plan::preflight;
use crate::reshard::slot_set::mask;
use crate::reshard::transfer::{stream, verify};

/// How long writers of before may take to end when a move begins to note changes.
const MARK_LIMIT: Duration = Duration::from_secs(30);

impl ActiveMove {
    pub(super) async fn preflight(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        let found = preflight::inspect(&self.job.slots, &mut self.source, &mut self.target).await?;
        let fatal: Vec<_> =
            found.findings.iter().filter(|finding| finding.fatal).map(|finding| finding.what.as_str()).collect();
        if !fatal.is_empty() {
            return Err(MoveError::Refused(fatal.join("; ")));
        }
        self.to(lease, MoveStage::Copy, "the rows begin to go over").await
    }

    /// Marks, then the forward stream, then waiting until it has copied.
    pub(super) async fn copy(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        if !self.streaming {
            self.mark().await?;
            self.testing.step("marked");
            stream::make_stream(lease, &self.job, &self.names.there, &mut self.source, &mut self.target, true).await?;
            self.streaming = true;
            self.testing.step("streaming");
        }
        self.check_stream(true).await?;
        if stream::is_copied(&mut self.target, &self.names.there).await? {
            self.job.copied_rows = self.job.total_rows;
            lease.save_progress(&self.job).await?;
            return self.to(lease, MoveStage::CatchUp, "all rows have been copied; what changed since follows").await;
        }
        let was_on = self.brake.is_on();
        if self.should_wait(lease).await? || was_on {
            self.brake.apply(&self.job, &mut self.target).await?;
        }
        let copied = stream::copied_rows(&mut self.target).await?;
        self.job.copied_rows = self.job.copied_rows.max(copied.min(self.job.total_rows));
        lease.save_progress(&self.job).await?;
        Ok(NextStep::After(Duration::from_millis(100)))
    }

    /// From here on changes of the slots' rows are noted on both shards, by every writer.
    pub(super) async fn mark(&mut self) -> Result<(), MoveError> {
        let mask = mask(&self.job.slots);
        for side in [&mut self.source, &mut self.target] {
            let failed = side.failed();
            let mark = sqlx::query(include_str!("../../../../sql/reshard/mark_local.sql"))
                .bind(self.job.id)
                .bind(&mask)
                .bind(self.job.copy_rate);
            mark.execute(&mut side.db).await.map_err(failed)?;
        }
        if self.source.wait_for_writers(Instant::now() + MARK_LIMIT).await? {
            Ok(())
        } else {
            Err(MoveError::Late("the end of transactions that write"))
        }
    }

    /// The way back is made ready, before anybody could need it.
    pub(super) async fn catch_up(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        let name = self.names.back.clone();
        stream::make_stream(lease, &self.job, &name, &mut self.target, &mut self.source, false).await?;
        self.testing.step("way_back");
        stream::advance(&name, &mut self.target).await?;
        self.check_stream(true).await?;
        let lag = self.measure_lag(true).await?;
        lease.save_progress(&self.job).await?;
        match lag {
            Some(lag) if lag < BUSY => self.to(lease, MoveStage::Verify, "comparing all rows").await,
            _ => Ok(LATER),
        }
    }

    /// All rows, then what changed meanwhile.
    pub(super) async fn verify(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        if self.job.skip_verify || self.job.verified {
            return self.to(lease, MoveStage::Flip, "waiting for a good moment to change the owner").await;
        }
        self.check_stream(true).await?;
        if self.should_wait(lease).await? {
            return Ok(LATER);
        }
        self.read_in_order(true).await?;
        let next = self.compare_parts(lease).await?;
        self.read_in_order(false).await?;
        Ok(next)
    }

    pub(super) async fn read_in_order(&mut self, in_order: bool) -> Result<(), MoveError> {
        self.source.read_in_order(in_order).await?;
        self.target.read_in_order(in_order).await
    }

    pub(super) async fn compare_parts(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        let until = Instant::now() + SLICE;
        let pass = self.pass.get_or_insert_default();
        loop {
            let begun = Instant::now();
            let done = verify::next_part(pass, &self.job, &mut self.source, &mut self.target, true).await?;
            self.job.verified_rows = pass.rows;
            if done {
                self.job.verified = true;
                lease.save_progress(&self.job).await?;
                let what = format!("{} rows of both shards are the same; what changed since is compared", pass.rows);
                return self.to(lease, MoveStage::Flip, &what).await;
            }
            // A part that took long found a busy shard: others come first.
            let took = begun.elapsed();
            if took > BUSY * 4 {
                lease.save_progress(&self.job).await?;
                return Ok(NextStep::After(took));
            }
            if Instant::now() >= until {
                break;
            }
        }
        lease.save_progress(&self.job).await?;
        Ok(NextStep::Now)
    }
}

//! What is done in each stage of a move: one bounded step at a time, each of which can be done again.

use std::time::Duration;

use chrono::Utc;
use tokio::time::Instant;

use super::clean::{self, Sweep};
use super::decide::{Decision, FlipFacts, decide};
use super::handover::{Handover, hand_over, resume};
use super::lease::Lease;
use super::side::Side;
use super::slots::mask;
use super::store::{Move, Wish};
use super::stream;
use super::verify::{self, Pass};
use super::{MoveError, Stage, Testing, preflight};
use crate::shard::{Cluster, ShardState};

/// How long writers of moving slots may wait before a try is given up: for the first tries, and the longest.
const HOLD_LIMITS: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(1200));
/// Tries with the first of these; then it grows by as much with each, so that a slow machine gets there as well.
const QUICK_TRIES: i32 = 8;
/// How long writers of before may take to end when a move begins to note changes.
const MARK_LIMIT: Duration = Duration::from_secs(30);
/// How long a beat may take before the stream counts as late; the step is tried again.
const BEAT_LIMIT: Duration = Duration::from_secs(2);
/// Errors of a subscription after which the move is given up: the target refuses the rows.
const REFUSALS: i64 = 5;
/// A slot that keeps more of the log than this is given up.
const KEPT_LOG_LIMIT: i64 = 4 << 30;
/// A row that takes longer than this to the other shard, or a commit that does, makes the move wait: others come first.
const BUSY: Duration = Duration::from_millis(500);
/// How long one step goes on with parts of a comparison or a clean-up.
const SLICE: Duration = Duration::from_millis(500);

/// The event from which on a move can be taken back.
pub const WAY_BACK_ARMED: &str = "the way back is armed";

/// When the next step is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// At once.
    Now,
    /// After a pause.
    After(Duration),
}

const SHORTLY: Next = Next::After(Duration::from_millis(20));
const LATER: Next = Next::After(Duration::from_millis(250));

/// The names of the two streams.
struct Names {
    there: String,
    back: String,
}

/// A move in the hands of this process. What is not in its row here is lost with the process, and needs nobody.
pub(super) struct Work {
    pub(super) job: Move,
    source: Side,
    target: Side,
    names: Names,
    /// Errors of the two subscriptions when this process first looked.
    refusals: (Option<i64>, Option<i64>),
    pass: Option<Pass>,
    sweep: Sweep,
    last_try: Option<Instant>,
    /// True once this process has seen to it that the forward stream is there.
    streaming: bool,
    /// True once this process has seen to it that the reverse stream runs.
    armed: bool,
    testing: Testing,
}

/// How long the next try may hold the slots.
fn hold_limit(tries: i32) -> Duration {
    let slow = u32::try_from(tries - QUICK_TRIES).unwrap_or(0);
    (HOLD_LIMITS.0 * slow.saturating_add(1).min(8)).min(HOLD_LIMITS.1)
}

impl Work {
    /// Connects to both shards.
    pub(super) async fn open(cluster: &Cluster, lease: &Lease, job: Move, testing: Testing) -> Result<Self, MoveError> {
        let shard = |id| cluster.shard(id).ok_or(MoveError::Late("knowing the shards of the move"));
        let source = Side::open(shard(job.source)?, lease.token()).await?;
        let target = Side::open(shard(job.target)?, lease.token()).await?;
        let name = |forward| stream::stream_name(cluster.id(), job.id, forward);
        let names = Names { there: name(true), back: name(false) };
        Ok(Self {
            job,
            source,
            target,
            names,
            refusals: (None, None),
            pass: None,
            sweep: Sweep::default(),
            last_try: None,
            streaming: false,
            armed: false,
            testing,
        })
    }

    /// The two shards' health, to end a wait for one that has gone.
    pub(super) fn is_healthy(&self) -> bool {
        [&self.source, &self.target].iter().all(|side| side.shard.state() == ShardState::Healthy)
    }

    /// Does the next step of the stage that the move is in.
    ///
    /// # Errors
    /// See [`MoveError`]. After `Refused` the caller calls [`Work::give_up`]; after all others the connections are to be
    /// dropped, and the step is done again with new ones. So it is if the future is dropped.
    pub(super) async fn step(&mut self, lease: &Lease) -> Result<Next, MoveError> {
        self.testing.step(self.job.stage.as_str());
        if self.job.wish == Some(Wish::Cancel) && self.job.stage.is_before_flip() {
            lease.clear_wish(&mut self.job).await?;
            return self.end(lease, Stage::Cancelled, "cancelled, as somebody asked").await;
        }
        match self.job.stage {
            Stage::Plan => self.to(lease, Stage::Preflight, "looking whether all is there that is needed").await,
            Stage::Preflight => self.preflight(lease).await,
            Stage::Copy => self.copy(lease).await,
            Stage::CatchUp => self.catch_up(lease).await,
            Stage::Verify => self.verify(lease).await,
            Stage::Flip => self.flip(lease).await,
            Stage::Watch => self.watch(lease).await,
            Stage::Return => self.go_back(lease).await,
            Stage::CleanUp => self.clean_up(lease).await,
            Stage::Done | Stage::Cancelled | Stage::RolledBack | Stage::Failed => Ok(LATER),
        }
    }

    async fn to(&mut self, lease: &Lease, stage: Stage, what: &str) -> Result<Next, MoveError> {
        lease.set_stage(&mut self.job, stage, what).await?;
        Ok(Next::Now)
    }

    async fn end(&mut self, lease: &Lease, outcome: Stage, what: &str) -> Result<Next, MoveError> {
        self.job.outcome = Some(outcome);
        self.to(lease, Stage::CleanUp, what).await
    }

    /// Something is wrong that stays wrong. Before the flip the move has failed; afterwards the target owns the slots,
    /// and only the way back is lost.
    pub(super) async fn give_up(&mut self, lease: &Lease, reason: &str) -> Result<(), MoveError> {
        self.job.reason = Some(reason.to_owned());
        match self.job.stage {
            Stage::Watch => self.end(lease, Stage::Done, &format!("the way back is given up: {reason}")).await?,
            Stage::Return => self.to(lease, Stage::Watch, &format!("could not be taken back: {reason}")).await?,
            Stage::CleanUp => {
                lease.note(&self.job, &format!("the clean-up waits: {reason}")).await?;
                LATER
            }
            // Nothing was touched yet, and what is there is somebody else's.
            Stage::Plan | Stage::Preflight => self.to(lease, Stage::Failed, reason).await?,
            _ => self.end(lease, Stage::Failed, reason).await?,
        };
        Ok(())
    }

    async fn preflight(&mut self, lease: &Lease) -> Result<Next, MoveError> {
        let findings = preflight::look(&self.job.slots, &mut self.source, &mut self.target).await?;
        let fatal: Vec<_> =
            findings.iter().filter(|finding| finding.fatal).map(|finding| finding.what.as_str()).collect();
        if !fatal.is_empty() {
            return Err(MoveError::Refused(fatal.join("; ")));
        }
        self.to(lease, Stage::Copy, "the rows begin to go over").await
    }

    /// Marks, then the forward stream, then waiting until it has copied.
    async fn copy(&mut self, lease: &Lease) -> Result<Next, MoveError> {
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
            return self.to(lease, Stage::CatchUp, "all rows have been copied; what changed since follows").await;
        }
        let copied = stream::copied_rows(&mut self.target).await?;
        self.job.copied_rows = self.job.copied_rows.max(copied.min(self.job.total_rows));
        lease.save_progress(&self.job).await?;
        Ok(Next::After(Duration::from_millis(100)))
    }

    /// From here on changes of the slots' rows are noted on both shards, by every writer.
    async fn mark(&mut self) -> Result<(), MoveError> {
        let mask = mask(&self.job.slots);
        for side in [&mut self.source, &mut self.target] {
            let failed = side.failed();
            let mark = sqlx::query(include_str!("../../sql/reshard/mark_local.sql")).bind(self.job.id).bind(&mask);
            mark.execute(&mut side.db).await.map_err(failed)?;
        }
        if self.source.wait_for_writers(Instant::now() + MARK_LIMIT).await? {
            Ok(())
        } else {
            Err(MoveError::Late("the end of transactions that write"))
        }
    }

    /// The slot is there and keeps a bounded part of the log, and the other side refuses nothing.
    async fn check_stream(&mut self, forward: bool) -> Result<(), MoveError> {
        let name = if forward { &self.names.there } else { &self.names.back };
        let (from, to) =
            if forward { (&mut self.source, &mut self.target) } else { (&mut self.target, &mut self.source) };
        match stream::kept_log(name, from).await? {
            None => return Err(MoveError::Refused("the server gave the stream's slot up".to_owned())),
            Some(bytes) if bytes > KEPT_LOG_LIMIT => {
                return Err(MoveError::Refused("the stream keeps too much of the server's log".to_owned()));
            }
            Some(_) => {}
        }
        // While a server is away its subscribers count errors as well. Both are there for as long as this process has
        // its connections; errors since then are the rows'.
        let refusals = stream::count_refusals(to, name).await?;
        let before = if forward { &mut self.refusals.0 } else { &mut self.refusals.1 };
        if refusals >= *before.get_or_insert(refusals) + REFUSALS {
            return Err(MoveError::Refused(format!(
                "shard {} refuses rows of the stream; its server's log says which (two files with one id, perhaps: \
                 \"shardrive shards verify\" finds them)",
                to.id()
            )));
        }
        Ok(())
    }

    /// How long a row takes to the other side. `None`: longer than is worth waiting for.
    async fn measure_lag(&mut self, forward: bool) -> Result<Option<Duration>, MoveError> {
        let (from, to) =
            if forward { (&mut self.source, &mut self.target) } else { (&mut self.target, &mut self.source) };
        let begun = Instant::now();
        let beat = stream::beat(from, &self.job, forward).await?;
        let arrived = stream::await_beat(to, &self.job, forward, beat, begun + BEAT_LIMIT).await?;
        let lag = begun.elapsed();
        self.job.lag_ms = i64::try_from(lag.as_millis()).ok();
        Ok(arrived.then_some(lag))
    }

    /// The way back is made ready, before anybody could need it.
    async fn catch_up(&mut self, lease: &Lease) -> Result<Next, MoveError> {
        let name = self.names.back.clone();
        stream::make_stream(lease, &self.job, &name, &mut self.target, &mut self.source, false).await?;
        self.testing.step("way_back");
        stream::advance(&name, &mut self.target).await?;
        self.check_stream(true).await?;
        let lag = self.measure_lag(true).await?;
        lease.save_progress(&self.job).await?;
        match lag {
            Some(lag) if lag < BUSY => self.to(lease, Stage::Verify, "comparing all rows").await,
            _ => Ok(LATER),
        }
    }

    /// All rows, then what changed meanwhile.
    async fn verify(&mut self, lease: &Lease) -> Result<Next, MoveError> {
        if self.job.skip_verify || self.job.verified {
            return self.to(lease, Stage::Flip, "waiting for a good moment to change the owner").await;
        }
        self.check_stream(true).await?;
        self.read_by_key(true).await?;
        let next = self.compare_parts(lease).await?;
        self.read_by_key(false).await?;
        Ok(next)
    }

    async fn read_by_key(&mut self, by_key: bool) -> Result<(), MoveError> {
        self.source.read_by_key(by_key).await?;
        self.target.read_by_key(by_key).await
    }

    async fn compare_parts(&mut self, lease: &Lease) -> Result<Next, MoveError> {
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
                return self.to(lease, Stage::Flip, &what).await;
            }
            // A part that took long found a busy shard: others come first.
            let took = begun.elapsed();
            if took > BUSY * 4 {
                lease.save_progress(&self.job).await?;
                return Ok(Next::After(took));
            }
            if Instant::now() >= until {
                break;
            }
        }
        lease.save_progress(&self.job).await?;
        Ok(Next::Now)
    }

    async fn flip(&mut self, lease: &Lease) -> Result<Next, MoveError> {
        if self.last_try.is_none() {
            // Perhaps another process was here before and came further than its row says.
            if resume(&self.job, &mut self.source, &mut self.target).await? {
                return self.to(lease, Stage::Watch, "the target owns the slots").await;
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
        let facts = FlipFacts {
            lag: lag.unwrap_or(Duration::MAX),
            verified: self.job.verified || self.job.skip_verify,
            pending: verify::pending_changes(&mut self.source, &self.job).await?,
            healthy: self.is_healthy(),
            since_last_try: self.last_try.map(|at| at.elapsed()),
            tries: self.job.flips_tried,
        };
        if decide(facts) != Decision::Flip {
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
            hold_limit(self.job.flips_tried),
            &self.testing,
        )
        .await?;
        self.testing.step("taken");
        self.note_try(lease, tried, Stage::Watch).await
    }

    async fn note_try(&mut self, lease: &Lease, tried: Handover, then: Stage) -> Result<Next, MoveError> {
        match tried {
            Handover::Done(held, parts) => {
                self.job.hold_ms = Some(held.as_secs_f64() * 1000.0);
                lease.save_progress(&self.job).await?;
                let what =
                    format!("the owner changed; writes to these slots waited for {} ms ({parts})", held.as_millis());
                if then == Stage::CleanUp {
                    return self.end(lease, Stage::RolledBack, &what).await;
                }
                self.to(lease, then, &what).await
            }
            Handover::Undone(reason, held) => {
                lease.save_progress(&self.job).await?;
                lease.note(&self.job, &format!("the owner did not change: {reason} ({} ms)", held.as_millis())).await?;
                Ok(SHORTLY)
            }
        }
    }

    /// The forward stream ends, the reverse one begins, and both shards stay the same until the way back is given up.
    async fn watch(&mut self, lease: &Lease) -> Result<Next, MoveError> {
        if !self.armed {
            let Names { there, back } = &self.names;
            clean::remove_objects(lease, &self.job, &mut self.source, &mut self.target, Some(there)).await?;
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
            Some(Wish::Finish) => {
                lease.clear_wish(&mut self.job).await?;
                return self.end(lease, Stage::Done, "the way back is given up, as somebody asked").await;
            }
            Some(Wish::RollBack) => {
                lease.clear_wish(&mut self.job).await?;
                self.job.flips_tried = 0;
                return self.to(lease, Stage::Return, "going back, as somebody asked").await;
            }
            Some(Wish::Cancel) => lease.clear_wish(&mut self.job).await?,
            None if kept >= self.job.keep_ms => {
                return self.end(lease, Stage::Done, "the way back was armed for its time").await;
            }
            None => {}
        }
        self.check_stream(false).await?;
        let lag = self.measure_lag(false).await?;
        lease.save_progress(&self.job).await?;
        if lag.is_some() && !self.job.skip_verify {
            verify::compare_changes(&self.job, &mut self.target, &mut self.source, false, false).await?;
        }
        Ok(LATER)
    }

    async fn go_back(&mut self, lease: &Lease) -> Result<Next, MoveError> {
        if self.last_try.is_none() && resume(&self.job, &mut self.target, &mut self.source).await? {
            return self.end(lease, Stage::RolledBack, "the source owns the slots again").await;
        }
        self.check_stream(false).await?;
        if !self.job.skip_verify {
            let begun = Instant::now();
            while verify::compare_changes(&self.job, &mut self.target, &mut self.source, false, false).await? > 0
                && begun.elapsed() < SLICE
            {}
        }
        let facts = FlipFacts {
            lag: self.measure_lag(false).await?.unwrap_or(Duration::MAX),
            verified: true,
            pending: verify::pending_changes(&mut self.target, &self.job).await?,
            healthy: self.is_healthy(),
            since_last_try: self.last_try.map(|at| at.elapsed()),
            tries: self.job.flips_tried,
        };
        if decide(facts) != Decision::Flip {
            return Ok(SHORTLY);
        }
        self.last_try = Some(Instant::now());
        self.job.flips_tried += 1;
        let tried = hand_over(
            &self.job,
            &mut self.target,
            &mut self.source,
            false,
            hold_limit(self.job.flips_tried),
            &self.testing,
        )
        .await?;
        self.testing.step("taken_back");
        self.note_try(lease, tried, Stage::CleanUp).await
    }

    /// Streams first, so that nothing of the clean-up is sent to the owner; then marks, rows and counts.
    async fn clean_up(&mut self, lease: &Lease) -> Result<Next, MoveError> {
        let outcome = self.job.outcome.unwrap_or(Stage::Failed);
        clean::remove_objects(lease, &self.job, &mut self.source, &mut self.target, None).await?;
        self.testing.step("objects_gone");
        let (owner, other) = if outcome == Stage::Done {
            (&mut self.target, &mut self.source)
        } else {
            (&mut self.source, &mut self.target)
        };
        clean::unmark(self.job.id, owner).await?;
        other.read_by_key(true).await?;
        let until = Instant::now() + SLICE;
        // A move that failed before its copy began has no rows of its own on the target.
        let swept = loop {
            let begun = Instant::now();
            if clean::sweep(&mut self.sweep, &self.job, other).await? {
                break true;
            }
            let took = begun.elapsed();
            if took > BUSY {
                return Ok(Next::After(took * 2));
            }
            if Instant::now() >= until {
                break false;
            }
        };
        if !swept {
            return Ok(SHORTLY);
        }
        other.read_by_key(false).await?;
        self.testing.step("swept");
        clean::clear_counts(&self.job, other).await?;
        clean::unmark(self.job.id, other).await?;
        let what = match outcome {
            Stage::Done => format!("shard {} owns the slots; nothing of the move is left", self.job.target),
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
        let limits: Vec<_> = [0, 1, 8, 9, 10, 100, i32::MAX].map(|tries| hold_limit(tries).as_millis()).into();
        assert_eq!(limits, [300, 300, 300, 600, 900, 1200, 1200]);
    }
}

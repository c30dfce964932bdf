//! The steps of each stage of a move: bounded, and safe to repeat.
//!
//! `before`: while the source owns the slots. `owner`: the change of the owner, and what is behind it.

use std::time::Duration;

use tokio::time::Instant;

use super::lease::CoordinatorLease;
use super::stage::MoveStage;
use super::store::{MoveRequest, SlotMove};
use super::testing::TestStop;
use crate::reshard::error::MoveError;
use crate::reshard::transfer::clean_up::CleanUpPosition;
use crate::reshard::transfer::pressure::{CopyThrottle, ThrottleChange};
use crate::reshard::transfer::side::MoveSide;
use crate::reshard::transfer::stream;
use crate::reshard::transfer::verify::ComparisonPass;
use crate::shard::{Cluster, ShardState};

mod before;
mod owner;

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
pub(in crate::reshard) enum NextStep {
    /// At once.
    Now,
    /// After a pause.
    After(Duration),
}

const SHORTLY: NextStep = NextStep::After(Duration::from_millis(20));
const LATER: NextStep = NextStep::After(Duration::from_millis(250));

/// The names of the two streams.
struct StreamNames {
    there: String,
    back: String,
}

/// A move in the hands of this process. What is not in its row here is lost with the process, and needs nobody.
pub(in crate::reshard) struct ActiveMove {
    pub(in crate::reshard) job: SlotMove,
    source: MoveSide,
    target: MoveSide,
    names: StreamNames,
    /// Errors of the two subscriptions when this process first looked.
    refusals: (Option<i64>, Option<i64>),
    pass: Option<ComparisonPass>,
    sweep: CleanUpPosition,
    brake: CopyThrottle,
    last_try: Option<Instant>,
    /// True once this process has seen to it that the forward stream is there.
    streaming: bool,
    /// True once this process has seen to it that the reverse stream runs.
    armed: bool,
    testing: TestStop,
}

impl ActiveMove {
    /// Connects to both shards.
    pub(in crate::reshard) async fn open(
        cluster: &Cluster,
        lease: &CoordinatorLease,
        job: SlotMove,
        testing: TestStop,
    ) -> Result<Self, MoveError> {
        let shard = |id| cluster.shard(id).ok_or(MoveError::Late("knowing the shards of the move"));
        let source = MoveSide::open(shard(job.source)?, lease.token()).await?;
        let target = MoveSide::open(shard(job.target)?, lease.token()).await?;
        let name = |forward| stream::stream_name(cluster.id(), job.id, forward);
        let names = StreamNames { there: name(true), back: name(false) };
        Ok(Self {
            job,
            source,
            target,
            names,
            refusals: (None, None),
            pass: None,
            sweep: CleanUpPosition::default(),
            brake: CopyThrottle::default(),
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
    /// See [`MoveError`]. After `Refused` the caller calls [`ActiveMove::give_up`]; after all others the connections are to be
    /// dropped, and the step is done again with new ones. So it is if the future is dropped.
    pub(in crate::reshard) async fn step(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        self.testing.step(self.job.stage.as_str());
        if self.job.wish == Some(MoveRequest::Cancel) && self.job.stage.is_before_flip() {
            return self.end(lease, MoveStage::Cancelled, "cancelled, as somebody asked").await;
        }
        match self.job.stage {
            MoveStage::Plan => {
                self.to(lease, MoveStage::Preflight, "looking whether all is there that is needed").await
            }
            MoveStage::Preflight => self.preflight(lease).await,
            MoveStage::Copy => self.copy(lease).await,
            MoveStage::CatchUp => self.catch_up(lease).await,
            MoveStage::Verify => self.verify(lease).await,
            MoveStage::Flip => self.flip(lease).await,
            MoveStage::Watch => self.watch(lease).await,
            MoveStage::Return => self.go_back(lease).await,
            MoveStage::CleanUp => self.clean_up(lease).await,
            MoveStage::Done | MoveStage::Cancelled | MoveStage::RolledBack | MoveStage::Failed => Ok(LATER),
        }
    }

    async fn to(&mut self, lease: &CoordinatorLease, stage: MoveStage, what: &str) -> Result<NextStep, MoveError> {
        // When an operator has asked for something meanwhile, the same stage sees the request in its next step.
        let _has_changed = lease.set_stage(&mut self.job, stage, what).await?;
        Ok(NextStep::Now)
    }

    async fn end(&mut self, lease: &CoordinatorLease, outcome: MoveStage, what: &str) -> Result<NextStep, MoveError> {
        let before = self.job.outcome.replace(outcome);
        if !lease.set_stage(&mut self.job, MoveStage::CleanUp, what).await? {
            self.job.outcome = before;
        }
        Ok(NextStep::Now)
    }

    /// Something is wrong that stays wrong. Before the flip the move has failed; afterwards the target owns the slots,
    /// and only the way back is lost.
    pub(in crate::reshard) async fn give_up(
        &mut self,
        lease: &CoordinatorLease,
        reason: &str,
    ) -> Result<(), MoveError> {
        self.job.reason = Some(reason.to_owned());
        match self.job.stage {
            MoveStage::Watch => {
                self.end(lease, MoveStage::Done, &format!("the way back is given up: {reason}")).await?
            }
            MoveStage::Return => {
                self.to(lease, MoveStage::Watch, &format!("could not be taken back: {reason}")).await?
            }
            MoveStage::CleanUp => {
                lease.note(&self.job, &format!("the clean-up waits: {reason}")).await?;
                LATER
            }
            // Nothing was touched yet, and what is there is somebody else's.
            MoveStage::Plan | MoveStage::Preflight => self.to(lease, MoveStage::Failed, reason).await?,
            _ => self.end(lease, MoveStage::Failed, reason).await?,
        };
        Ok(())
    }

    /// Others first: true while the move should wait for them.
    async fn should_wait(&mut self, lease: &CoordinatorLease) -> Result<bool, MoveError> {
        match self.brake.look(&self.source, &mut self.target).await? {
            Some(ThrottleChange::Waits(reason)) => lease.note(&self.job, &format!("waiting: {reason}")).await?,
            Some(ThrottleChange::GoesOn) => lease.note(&self.job, "going on").await?,
            None => {}
        }
        Ok(self.brake.is_on())
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
        let beat = stream::send_heartbeat(from, &self.job, forward).await?;
        let arrived = stream::await_heartbeat(to, &self.job, forward, beat, begun + BEAT_LIMIT).await?;
        let lag = begun.elapsed();
        self.job.lag_ms = i64::try_from(lag.as_millis()).ok();
        Ok(arrived.then_some(lag))
    }
}

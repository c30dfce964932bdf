//! The steps of each stage of a move: bounded, and safe to repeat.
//!
//! `before_cutover`: while the source owns the slots; `copy_again`: if its copy is lost. `owner_change`: the cutover,
//! and a rollback. `after_cutover`: the rollback window and the clean-up.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::lease::CoordinatorLease;
use super::slot_move::{MoveRequest, SlotMove};
use super::stage::MoveStage;
use super::testing::TestStop;
use crate::reshard::error::MoveError;
use crate::reshard::transfer::clean_up::CleanUpPosition;
use crate::reshard::transfer::direction::Direction;
use crate::reshard::transfer::pace::WorkPace;
use crate::reshard::transfer::pressure::{CopyThrottle, ThrottleChange};
use crate::reshard::transfer::side::MoveSides;
use crate::reshard::transfer::stream;
use crate::reshard::transfer::verify::ComparisonPass;
use crate::shard::Cluster;

mod after_cutover;
mod before_cutover;
mod copy_again;
mod owner_change;

/// How long a heartbeat may take before the stream counts as late; the step is repeated.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(2);
/// Errors of a subscription after which the move is given up: the target refuses the rows.
const REFUSALS: i64 = 5;
/// The move gives up a replication slot that keeps more of the log.
const KEPT_LOG_LIMIT: i64 = 4 << 30;
/// A row or a commit that takes longer makes the move wait: others come first.
const BUSY: Duration = Duration::from_millis(500);
/// How long one step goes on with parts of a comparison or a clean-up.
const STEP_SLICE: Duration = Duration::from_millis(500);

/// The event from which on a move can be rolled back.
pub const ROLLBACK_READY: &str = "reverse replication runs; the move can be rolled back";

/// When the next step is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::reshard) enum NextStep {
    /// At once.
    Now,
    /// After a pause.
    After(Duration),
}

/// Before the next attempt of a short step.
const NEXT_ATTEMPT: NextStep = NextStep::After(Duration::from_millis(20));
/// Before the next check of something that takes its time.
const NEXT_CHECK: NextStep = NextStep::After(Duration::from_millis(250));

/// One of the two streams, as this process knows it.
struct MoveStream {
    name: String,
    /// Errors of the subscription when this process first counted them.
    first_refusals: Option<i64>,
}

/// Both streams of a move.
struct MoveStreams {
    forward: MoveStream,
    reverse: MoveStream,
}

impl MoveStreams {
    fn new(cluster: Uuid, move_id: i64) -> Self {
        let stream =
            |direction: Direction| MoveStream { name: direction.stream_name(cluster, move_id), first_refusals: None };
        Self { forward: stream(Direction::Forward), reverse: stream(Direction::Reverse) }
    }

    fn along(&mut self, direction: Direction) -> &mut MoveStream {
        match direction {
            Direction::Forward => &mut self.forward,
            Direction::Reverse => &mut self.reverse,
        }
    }
}

/// A move in the hands of this process. What is not in its row is lost with the process, and needs nobody.
pub(in crate::reshard) struct ActiveMove {
    pub(in crate::reshard) slot_move: SlotMove,
    sides: MoveSides,
    streams: MoveStreams,
    /// How far all rows have been compared.
    pass: Option<ComparisonPass>,
    /// How far the clean-up has removed rows.
    removed: CleanUpPosition,
    throttle: CopyThrottle,
    /// Of comparisons and clean-ups.
    pace: WorkPace,
    last_attempt: Option<Instant>,
    /// True once this process knows that the forward stream is there.
    forward_made: bool,
    /// Since when a copied table has lacked its slot.
    lost_since: Option<Instant>,
    /// True once this process knows that the reverse stream runs.
    reverse_started: bool,
    testing: TestStop,
}

impl ActiveMove {
    /// Connects to both shards.
    pub(in crate::reshard) async fn open(
        cluster: &Cluster,
        lease: &CoordinatorLease,
        slot_move: SlotMove,
        testing: TestStop,
    ) -> Result<Self, MoveError> {
        Ok(Self {
            sides: MoveSides::open(cluster, &slot_move, lease.token()).await?,
            streams: MoveStreams::new(cluster.id(), slot_move.id),
            slot_move,
            pass: None,
            removed: CleanUpPosition::default(),
            throttle: CopyThrottle::default(),
            pace: WorkPace::default(),
            last_attempt: None,
            forward_made: false,
            lost_since: None,
            reverse_started: false,
            testing,
        })
    }

    /// Does the next step of the stage that the move is in.
    ///
    /// # Errors
    /// See [`MoveError`]. After `Refused` the caller calls [`ActiveMove::abandon_stage`]. After all other errors, and
    /// after a drop of the future, the caller drops the connections and repeats the step with new ones.
    pub(in crate::reshard) async fn step(&mut self, lease: &CoordinatorLease) -> Result<NextStep, MoveError> {
        self.testing.step(self.slot_move.stage.as_str());
        if self.slot_move.request == Some(MoveRequest::Cancel) && self.slot_move.stage.is_before_cutover() {
            return self.begin_clean_up(lease, MoveStage::Cancelled, "cancelled, as an operator requested").await;
        }
        match self.slot_move.stage {
            MoveStage::Plan => {
                self.enter_stage(lease, MoveStage::Preflight, "checking whether the move has everything it needs").await
            }
            MoveStage::Preflight => self.preflight(lease).await,
            MoveStage::Copy => self.copy(lease).await,
            MoveStage::CatchUp => self.catch_up(lease).await,
            MoveStage::Verify => self.verify(lease).await,
            MoveStage::Cutover => self.change_owner(lease, Direction::Forward).await,
            MoveStage::RollbackWindow => self.keep_rollback_window(lease).await,
            MoveStage::Rollback => self.change_owner(lease, Direction::Reverse).await,
            MoveStage::CleanUp => self.clean_up(lease).await,
            MoveStage::Done | MoveStage::Cancelled | MoveStage::RolledBack | MoveStage::Failed => Ok(NEXT_CHECK),
        }
    }

    async fn enter_stage(
        &mut self,
        lease: &CoordinatorLease,
        stage: MoveStage,
        what: &str,
    ) -> Result<NextStep, MoveError> {
        // When an operator has asked for something meanwhile, the same stage sees the request in its next step.
        let _has_changed = lease.set_stage(&mut self.slot_move, stage, what).await?;
        Ok(NextStep::Now)
    }

    async fn begin_clean_up(
        &mut self,
        lease: &CoordinatorLease,
        outcome: MoveStage,
        what: &str,
    ) -> Result<NextStep, MoveError> {
        let before = self.slot_move.outcome.replace(outcome);
        if !lease.set_stage(&mut self.slot_move, MoveStage::CleanUp, what).await? {
            self.slot_move.outcome = before;
        }
        Ok(NextStep::Now)
    }

    /// Ends a stage in which a fault stays. Before the cutover the move has failed; afterwards the target owns the
    /// slots, and only the rollback is lost.
    pub(in crate::reshard) async fn abandon_stage(
        &mut self,
        lease: &CoordinatorLease,
        reason: &str,
    ) -> Result<(), MoveError> {
        self.slot_move.reason = Some(reason.to_owned());
        match self.slot_move.stage {
            MoveStage::RollbackWindow => {
                self.begin_clean_up(lease, MoveStage::Done, &format!("the rollback window ends early: {reason}"))
                    .await?
            }
            MoveStage::Rollback => {
                self.enter_stage(lease, MoveStage::RollbackWindow, &format!("the rollback failed: {reason}")).await?
            }
            MoveStage::CleanUp => {
                lease.record_event(&self.slot_move, &format!("the clean-up waits: {reason}")).await?;
                NEXT_CHECK
            }
            // The move has touched nothing yet.
            MoveStage::Plan | MoveStage::Preflight => self.enter_stage(lease, MoveStage::Failed, reason).await?,
            _ => self.begin_clean_up(lease, MoveStage::Failed, reason).await?,
        };
        Ok(())
    }

    /// Others first: true while the move should wait for them.
    async fn should_wait(&mut self, lease: &CoordinatorLease) -> Result<bool, MoveError> {
        match self.throttle.sample(&self.sides.source, &mut self.sides.target).await? {
            Some(ThrottleChange::Waits(reason)) => {
                lease.record_event(&self.slot_move, &format!("waiting: {reason}")).await?
            }
            Some(ThrottleChange::GoesOn) => lease.record_event(&self.slot_move, "going on").await?,
            None => {}
        }
        Ok(self.throttle.is_pausing())
    }

    /// The slot is there and keeps a bounded part of the log, and the receiving shard refuses nothing.
    async fn check_stream(&mut self, direction: Direction) -> Result<(), MoveError> {
        let stream = self.streams.along(direction);
        let (from, to) = self.sides.along(direction);
        match stream::measure_kept_log(&stream.name, from).await? {
            None => return Err(MoveError::Refused("the server gave the stream's slot up".to_owned())),
            Some(bytes) if bytes > KEPT_LOG_LIMIT => {
                return Err(MoveError::Refused("the stream keeps too much of the server's log".to_owned()));
            }
            Some(_) => {}
        }
        // A subscription also counts errors while a server is away. Both servers have been there since this process
        // connected: later errors come from the rows.
        let refusals = stream::count_refusals(to, &stream.name).await?;
        if refusals >= *stream.first_refusals.get_or_insert(refusals) + REFUSALS {
            return Err(MoveError::Refused(format!(
                "shard {} refuses rows of the stream; its server's log says which (two files with one id, perhaps: \
                 \"shardrive shards verify\" finds them)",
                to.id()
            )));
        }
        Ok(())
    }

    /// How long a row takes to the other side. `None`: longer than is worth waiting for.
    async fn measure_lag(&mut self, direction: Direction) -> Result<Option<Duration>, MoveError> {
        let (from, to) = self.sides.along(direction);
        let begun = Instant::now();
        let beat = stream::send_heartbeat(from, &self.slot_move, direction).await?;
        let arrived = stream::await_heartbeat(to, &self.slot_move, direction, beat, begun + HEARTBEAT_LIMIT).await?;
        let lag = begun.elapsed();
        self.slot_move.lag_ms = i64::try_from(lag.as_millis()).ok();
        Ok(arrived.then_some(lag))
    }
}

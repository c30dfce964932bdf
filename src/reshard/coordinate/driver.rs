//! The coordinator's loop: the process with the lease takes every open move a step further, again and again.
//!
//! Every API process tries to take the lease now and then, and so does a command that waits for its move. All state
//! that a coordinator needs stands in the databases.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::lease::CoordinatorLease;
use super::slot_move::{MoveRequest, SlotMove};
use super::stage::MoveStage;
use super::steps::{ActiveMove, NextStep};
use super::store::open_moves;
use super::testing::TestStop;
use crate::reshard::error::MoveError;
use crate::reshard::transfer::side::MoveSide;
use crate::reshard::transfer::stream::ObjectKind;
use crate::reshard::transfer::{clean_up, standby_slots, stream};
use crate::shard::{Cluster, ShardId, ShardState};

/// Between two tries to take the lease.
const LEASE_PAUSE: Duration = Duration::from_secs(1);
/// Between two rounds over the open moves.
const ROUND_PAUSE: Duration = Duration::from_millis(20);
/// Between two rounds while no move is open.
const IDLE_PAUSE: Duration = Duration::from_millis(250);
/// How long a step may take. Long work is cut into short steps; the limit is for servers that do not answer.
const STEP_LIMIT: Duration = Duration::from_secs(90);
/// Refusals after which a step counts as impossible.
const MOST_REFUSALS: u32 = 5;
/// The pause after an error grows up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After a step the coordinator rests for as long as the step took, up to this: others come first.
const LONGEST_REST: Duration = Duration::from_millis(100);
/// How often the coordinator removes orphans: objects and change tracking without an open move.
const ORPHAN_INTERVAL: Duration = Duration::from_secs(30);
/// The same while there are no moves and every shard is clean.
const LONGEST_ORPHAN_INTERVAL: Duration = Duration::from_mins(5);

/// Starts the task that coordinates whenever no other process does. The task ends when the cluster shuts down; a step
/// that changes owners is finished first.
pub fn drive_in_background(cluster: &Arc<Cluster>, testing: TestStop) {
    let driven = Arc::clone(cluster);
    cluster.spawn(async move {
        let stop = driven.stop_token().clone();
        while !stop.is_cancelled() {
            match Box::pin(CoordinatorLease::take(&driven)).await {
                Ok(Some(lease)) => Box::pin(coordinate(&driven, &lease, &testing)).await,
                Ok(None) => {}
                Err(error) => log::debug!("the lease of the moves: {}", error.show()),
            }
            stop.run_until_cancelled(tokio::time::sleep(LEASE_PAUSE)).await;
        }
    });
}

/// The memory of this process about a move, beyond the row.
#[derive(Default)]
struct DriverMemory {
    active: Option<ActiveMove>,
    due: Option<Instant>,
    refusals: u32,
    failures: u32,
}

/// Drives all moves until the lease is lost, or an error while an owner changes asks for a new token.
async fn coordinate(cluster: &Cluster, lease: &CoordinatorLease, testing: &TestStop) {
    let mut memories: HashMap<i64, DriverMemory> = HashMap::new();
    let (mut orphans_due, mut orphan_interval) = (Instant::now(), ORPHAN_INTERVAL);
    while !cluster.stop_token().is_cancelled() && !lease.lost().is_cancelled() {
        let Ok(moves) = open_moves(&mut *lease.db().await).await else { return };
        if !moves.is_empty() {
            orphan_interval = ORPHAN_INTERVAL;
            orphans_due = orphans_due.min(Instant::now() + ORPHAN_INTERVAL);
        }
        if Instant::now() >= orphans_due {
            let are_all_clean = remove_orphans(cluster, lease, &moves).await;
            if !are_all_clean {
                orphan_interval = ORPHAN_INTERVAL;
            }
            orphans_due = Instant::now() + orphan_interval;
            orphan_interval = (orphan_interval * 2).min(LONGEST_ORPHAN_INTERVAL);
        }
        memories.retain(|id, _| moves.iter().any(|open| open.id == *id));
        let busy = moves
            .iter()
            .find(|open| open.stage.is_busy())
            .or_else(|| moves.iter().find(|open| open.stage == MoveStage::Plan));
        let busy = busy.map(|open| open.id);
        let mut worked = false;
        for open in &moves {
            // One move at a time copies and changes owners; a waiting move can still be cancelled.
            if open.stage == MoveStage::Plan && busy != Some(open.id) && open.request != Some(MoveRequest::Cancel) {
                continue;
            }
            let memory = memories.entry(open.id).or_default();
            if memory.due.is_some_and(|due| due > Instant::now()) {
                continue;
            }
            worked = true;
            if advance_move(cluster, lease, testing, open, memory).await.is_err() {
                return;
            }
        }
        let pause = if moves.is_empty() { IDLE_PAUSE } else { ROUND_PAUSE };
        if !worked {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = lease.lost().cancelled() => return,
                () = cluster.stop_token().cancelled() => return,
            }
        }
    }
}

/// The lease is to be given back.
struct LeaseEnds;

/// Takes a move one step further.
async fn advance_move(
    cluster: &Cluster,
    lease: &CoordinatorLease,
    testing: &TestStop,
    open: &SlotMove,
    memory: &mut DriverMemory,
) -> Result<(), LeaseEnds> {
    let changes_owner = matches!(open.stage, MoveStage::Cutover | MoveStage::Rollback);
    let begun = Instant::now();
    let step = async {
        if memory.active.is_none() {
            memory.active = Some(ActiveMove::open(cluster, lease, open.clone(), testing.clone()).await?);
        }
        let Some(active) = &mut memory.active else { return Err(MoveError::Overtaken) };
        // The row has what others write: a request, and the time of the cutover by the database's clock.
        active.slot_move.request = open.request;
        active.slot_move.cutover_at = open.cutover_at;
        Box::pin(active.step(lease)).await
    };
    let (source, target) = (cluster.shard(open.source), cluster.shard(open.target));
    let guarded = async {
        let (Some(source), Some(target)) = (source, target) else {
            return Err(MoveError::Late("knowing the shards of the move"));
        };
        let within =
            source.while_healthy_for(Some(STEP_LIMIT), target.while_healthy_for(Some(STEP_LIMIT), Box::pin(step)));
        match Box::pin(within).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(MoveError::Away(open.target)),
            Err(_) => Err(MoveError::Away(open.source)),
        }
    };
    let result = tokio::select! {
        biased;
        () = lease.lost().cancelled() => return Err(LeaseEnds),
        // A stop waits for a change of owners, which is short.
        () = cluster.stop_token().cancelled(), if !changes_owner => return Err(LeaseEnds),
        result = Box::pin(guarded) => result,
    };
    let error = match result {
        Ok(next) => {
            (memory.refusals, memory.failures) = (0, 0);
            let pause = match next {
                NextStep::Now => begun.elapsed().min(LONGEST_REST),
                NextStep::After(pause) => pause,
            };
            memory.due = Some(Instant::now() + pause);
            return Ok(());
        }
        Err(MoveError::Overtaken) => return Err(LeaseEnds),
        Err(error) => error,
    };
    log::warn!("move {}: {}: {}", open.id, open.stage.as_str(), error.show());
    if let MoveError::Shard { source, .. } = &error {
        log::debug!("move {}: {source}", open.id);
    }
    memory.refusals += u32::from(error.is_refusal());
    memory.failures += 1;
    let is_hopeless = matches!(error, MoveError::Refused(_)) || memory.refusals >= MOST_REFUSALS;
    if is_hopeless && let Some(active) = &mut memory.active {
        memory.refusals = 0;
        if active.abandon_stage(lease, &error.show()).await.is_err() {
            return Err(LeaseEnds);
        }
    }
    // A statement may still be under way on a connection that is dropped here. While owners change that matters: the
    // shards refuse the statement after the new token.
    memory.active = None;
    memory.due = Some(Instant::now() + (ROUND_PAUSE * 10 * memory.failures).min(LONGEST_PAUSE));
    if changes_owner { Err(LeaseEnds) } else { Ok(()) }
}

/// Removes orphans: change tracking on the shards without an open move, and objects of ended moves. A shard that is
/// away has its turn in the next round. True if no shard was away, and none had an orphan.
async fn remove_orphans(cluster: &Cluster, lease: &CoordinatorLease, moves: &[SlotMove]) -> bool {
    let mut are_all_clean = true;
    for shard in cluster.shards() {
        if shard.state() != ShardState::Healthy {
            are_all_clean = false;
            continue;
        }
        let removal = async {
            standby_slots::remove_ended(cluster, shard, moves).await;
            let mut tracked = clean_up::list_local_moves(shard).await?;
            tracked.retain(|id| !moves.iter().any(|open| open.id == *id));
            let objects = orphans(lease, shard.id()).await?;
            let found = tracked.len() + objects.len();
            if found == 0 {
                return Ok::<_, MoveError>(0);
            }
            let mut side = MoveSide::open(shard, lease.token()).await?;
            for id in tracked {
                log::warn!("shard {} tracked changes for move {id}, which has ended", shard.id());
                clean_up::stop_change_tracking(id, &mut side).await?;
            }
            for (kind, name) in objects {
                log::warn!("shard {} had a {} of a move that has ended", shard.id(), kind.as_str());
                stream::remove_object(lease, &mut side, kind, &name).await?;
            }
            Ok(found)
        };
        match Box::pin(shard.while_healthy_for(Some(STEP_LIMIT), removal)).await {
            Ok(Ok(found)) => are_all_clean &= found == 0,
            Err(_) => are_all_clean = false,
            Ok(Err(error)) => {
                are_all_clean = false;
                log::warn!("removing what ended moves left on shard {}: {}", shard.id(), error.show());
            }
        }
    }
    are_all_clean
}

async fn orphans(lease: &CoordinatorLease, shard: ShardId) -> Result<Vec<(ObjectKind, String)>, MoveError> {
    let rows: Vec<(String, String)> = sqlx::query_as(include_str!("../../../sql/reshard/list_orphans.sql"))
        .bind(shard.to_sql())
        .fetch_all(&mut *lease.db().await)
        .await
        .map_err(|_| MoveError::Overtaken)?;
    Ok(rows.into_iter().filter_map(|(kind, name)| Some((ObjectKind::parse(&kind)?, name))).collect())
}

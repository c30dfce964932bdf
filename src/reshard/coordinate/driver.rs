//! The coordinator: the process with the lease takes every open move one step further, again and again.
//!
//! Every API process tries to take the lease now and then, and so does a command that waits for its move. All that it
//! needs to go on stands in the databases.

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
/// Between two looks at the open moves.
const TURN: Duration = Duration::from_millis(20);
/// The same when there are none.
const IDLE_TURN: Duration = Duration::from_millis(250);
/// How long one step may take. What takes long is cut into short steps; this is for servers that say nothing.
const STEP_LIMIT: Duration = Duration::from_secs(90);
/// Refusals of the same step after which it counts as impossible.
const MOST_REFUSALS: u32 = 5;
/// The pause after an error grows up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After a step the coordinator rests for as long as the step took, up to this: others come first.
const LONGEST_REST: Duration = Duration::from_millis(100);
/// How often what no move owns is looked for.
const REAP_INTERVAL: Duration = Duration::from_secs(30);

/// Starts the task that coordinates whenever no other process does; it ends when the cluster shuts down, after the step
/// that it is at if that one changes owners.
pub fn drive_in_background(cluster: &Arc<Cluster>, testing: TestStop) {
    let driven = Arc::clone(cluster);
    cluster.spawn(async move {
        let stop = driven.stopping().clone();
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

/// What this process knows of a move beyond its row.
#[derive(Default)]
struct DriverMemory {
    work: Option<ActiveMove>,
    due: Option<Instant>,
    refusals: u32,
    failures: u32,
}

/// Drives all moves until the lease is lost, or an error while an owner changes asks for a new token.
async fn coordinate(cluster: &Cluster, lease: &CoordinatorLease, testing: &TestStop) {
    let mut held: HashMap<i64, DriverMemory> = HashMap::new();
    let mut reaped: Option<Instant> = None;
    while !cluster.stopping().is_cancelled() && !lease.lost().is_cancelled() {
        let Ok(moves) = open_moves(&mut *lease.db().await).await else { return };
        if reaped.is_none_or(|at| at.elapsed() >= REAP_INTERVAL) {
            reap(cluster, lease, &moves).await;
            reaped = Some(Instant::now());
        }
        held.retain(|id, _| moves.iter().any(|open| open.id == *id));
        let busy = moves
            .iter()
            .find(|open| open.stage.is_busy())
            .or_else(|| moves.iter().find(|open| open.stage == MoveStage::Plan));
        let busy = busy.map(|open| open.id);
        let mut worked = false;
        for open in &moves {
            // One move at a time copies and flips; those that wait can still be cancelled.
            if open.stage == MoveStage::Plan && busy != Some(open.id) && open.wish != Some(MoveRequest::Cancel) {
                continue;
            }
            let mine = held.entry(open.id).or_default();
            if mine.due.is_some_and(|due| due > Instant::now()) {
                continue;
            }
            worked = true;
            if advance(cluster, lease, testing, open, mine).await.is_err() {
                return;
            }
        }
        let pause = if moves.is_empty() { IDLE_TURN } else { TURN };
        if !worked {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = lease.lost().cancelled() => return,
                () = cluster.stopping().cancelled() => return,
            }
        }
    }
}

/// The lease is to be given back.
struct LeaseEnds;

/// One step of one move.
async fn advance(
    cluster: &Cluster,
    lease: &CoordinatorLease,
    testing: &TestStop,
    open: &SlotMove,
    held: &mut DriverMemory,
) -> Result<(), LeaseEnds> {
    let changes_owner = matches!(open.stage, MoveStage::Flip | MoveStage::Return);
    let begun = Instant::now();
    let step = async {
        if held.work.is_none() {
            held.work = Some(ActiveMove::open(cluster, lease, open.clone(), testing.clone()).await?);
        }
        let Some(work) = &mut held.work else { return Err(MoveError::Overtaken) };
        work.slot_move.wish = open.wish;
        Box::pin(work.step(lease)).await
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
            Ok(Err(_)) | Err(_) => Err(MoveError::Late("a shard that is away or says nothing")),
        }
    };
    let result = tokio::select! {
        biased;
        () = lease.lost().cancelled() => return Err(LeaseEnds),
        // A change of owners is not left half done for the sake of a stop; it is short.
        () = cluster.stopping().cancelled(), if !changes_owner => return Err(LeaseEnds),
        result = Box::pin(guarded) => result,
    };
    let error = match result {
        Ok(next) => {
            (held.refusals, held.failures) = (0, 0);
            let pause = match next {
                NextStep::Now => begun.elapsed().min(LONGEST_REST),
                NextStep::After(pause) => pause,
            };
            held.due = Some(Instant::now() + pause);
            return Ok(());
        }
        Err(MoveError::Overtaken) => return Err(LeaseEnds),
        Err(error) => error,
    };
    log::warn!("move {}: {}: {}", open.id, open.stage.as_str(), error.show());
    if let MoveError::Shard { source, .. } = &error {
        log::debug!("move {}: {source}", open.id);
    }
    held.refusals += u32::from(error.is_refusal());
    held.failures += 1;
    let is_hopeless = matches!(error, MoveError::Refused(_)) || held.refusals >= MOST_REFUSALS;
    if is_hopeless && let Some(work) = &mut held.work {
        held.refusals = 0;
        if work.give_up(lease, &error.show()).await.is_err() {
            return Err(LeaseEnds);
        }
    }
    // A statement may still be under way on a connection that is dropped here. While owners change that matters: with
    // a new token it is refused.
    held.work = None;
    held.due = Some(Instant::now() + (TURN * 10 * held.failures).min(LONGEST_PAUSE));
    if changes_owner { Err(LeaseEnds) } else { Ok(()) }
}

/// Removes what no open move owns: marks on the shards, and objects whose move has ended. A shard that is away is looked
/// at in the next round.
async fn reap(cluster: &Cluster, lease: &CoordinatorLease, moves: &[SlotMove]) {
    for shard in cluster.shards().iter().filter(|shard| shard.state() == ShardState::Healthy) {
        let reaping = async {
            let mut side = MoveSide::open(shard, lease.token()).await?;
            for id in clean_up::marks(&mut side).await? {
                if !moves.iter().any(|open| open.id == id) {
                    log::warn!("shard {} had marks of move {id}, which has ended", shard.id());
                    clean_up::unmark(id, &mut side).await?;
                }
            }
            for (kind, name) in orphans(lease, shard.id()).await? {
                log::warn!("shard {} had a {} of a move that has ended", shard.id(), kind.as_str());
                stream::remove(lease, &mut side, kind, &name).await?;
            }
            standby_slots::reap(cluster, shard, moves).await;
            Ok::<_, MoveError>(())
        };
        match Box::pin(shard.while_healthy_for(Some(STEP_LIMIT), reaping)).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => log::warn!("looking for what moves left on shard {}: {}", shard.id(), error.show()),
        }
    }
}

async fn orphans(lease: &CoordinatorLease, shard: ShardId) -> Result<Vec<(ObjectKind, String)>, MoveError> {
    let rows: Vec<(String, String)> = sqlx::query_as(include_str!("../../../sql/reshard/list_orphans.sql"))
        .bind(shard.to_sql())
        .fetch_all(&mut *lease.db().await)
        .await
        .map_err(|_| MoveError::Overtaken)?;
    Ok(rows.into_iter().filter_map(|(kind, name)| Some((ObjectKind::parse(&kind)?, name))).collect())
}

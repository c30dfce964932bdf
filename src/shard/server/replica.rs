//! Standbys that answer reads which may be a little old.
//!
//! Ten times a second this process asks the primary for its log position, and each replica for the replayed position.
//! A replica that has replayed the primary's position of some moment shows all that was acknowledged before that
//! moment. Such a replica is **fresh** until `SHARDRIVE_REPLICA_MAX_LAG_MS` after the moment.
//!
//! A replica on another timeline than the primary's is never fresh: a failover may have dropped some of its rows. Nor
//! is a replica fresh while it may not know a change of owners which this process knows. So the moment must lie after
//! the change of the map.
//!
//! An answer is thus at most that old. A slot's former owner can answer for the slot no longer than that, even if
//! this process has not learned of the change. Whatever a replica cannot answer, the primary does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use sqlx::PgConnection;

use super::options::ShardOptions;
use super::pool::{BorrowedConnection, RequiredRole, ShardIdentity, ShardLimits, ShardPool, new_pool};
use super::shard::{ServerSession, Shard};
use crate::shard::call::ShardCall;
use crate::shard::cluster::routing::Cluster;
use crate::shard::slot::ShardId;

/// How old the answer to a read may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReadConsistency {
    /// The answer shows every write that was acknowledged before the read began.
    #[default]
    Strict,
    /// The answer may lack the writes of the last `SHARDRIVE_REPLICA_MAX_LAG_MS`, and of the time of the read itself.
    Eventual,
}

/// The most moments kept while no replica has reached them.
const MAX_MARKS: usize = 64;
/// How long a replica gets no reads after a failed read.
const PENALTY: Duration = Duration::from_secs(1);

/// Where the primary was at a moment.
#[derive(Clone, Copy, Debug)]
struct PrimaryMark {
    at: Instant,
    timeline: i32,
    position: i64,
    /// How often the map had changed by then.
    map_changes: u64,
}

/// The replicas of one shard.
pub struct ShardReplicas {
    replicas: Vec<KnownReplica>,
    limits: ShardLimits,
    next: AtomicUsize,
}

struct KnownReplica {
    pool: ShardPool,
    /// The latest moment whose position the replica has reached.
    reached: ArcSwapOption<PrimaryMark>,
    /// The time of the last failed read on the replica.
    failed: ArcSwapOption<Instant>,
}

impl KnownReplica {
    fn is_fresh(&self, map_changes: u64, max_lag: Duration) -> bool {
        let failed = self.failed.load().as_deref().is_some_and(|at| at.elapsed() < PENALTY);
        !failed && self.reached.load().as_deref().is_some_and(|mark| mark.is_usable(map_changes, max_lag))
    }
}

impl PrimaryMark {
    fn is_usable(&self, map_changes: u64, max_lag: Duration) -> bool {
        self.map_changes == map_changes && self.at.elapsed() < max_lag
    }
}

impl ShardReplicas {
    /// The replicas that the options name. Their connections belong to the caller's runtime.
    pub(in crate::shard) fn new(options: &ShardOptions, identity: ShardIdentity, limits: ShardLimits) -> Self {
        let identity = ShardIdentity { role: RequiredRole::Standby, ..identity };
        let replica = |options: &ShardOptions| KnownReplica {
            pool: new_pool(options.clone(), identity, limits, limits.pool_max),
            reached: ArcSwapOption::empty(),
            failed: ArcSwapOption::empty(),
        };
        Self { replicas: options.replicas().iter().map(replica).collect(), limits, next: AtomicUsize::new(0) }
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.replicas.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.replicas.len()
    }

    /// How many replicas answer reads now, judged by lag and recent failures.
    #[must_use]
    pub fn fresh_count(&self) -> usize {
        let in_time = |replica: &&KnownReplica| {
            replica
                .reached
                .load()
                .as_deref()
                .is_some_and(|mark| replica.is_fresh(mark.map_changes, self.limits.replica_max_lag))
        };
        self.replicas.iter().filter(in_time).count()
    }

    /// Reads on a fresh replica, in turn. `None` without a fresh replica, after a failed read, or if the replica does
    /// not own the slot.
    pub(in crate::shard) async fn read<C: ShardCall>(
        &self,
        call: &C,
        shard: ShardId,
        map_changes: u64,
    ) -> Option<C::Output> {
        // Relaxed: the turn orders nothing.
        let turn = if self.is_empty() { return None } else { self.next.fetch_add(1, Ordering::Relaxed) };
        let (late, early) = self.replicas.split_at_checked(turn % self.replicas.len())?;
        let fresh = |replica: &&KnownReplica| replica.is_fresh(map_changes, self.limits.replica_max_lag);
        let replica = early.iter().chain(late).find(fresh)?;
        let read = async {
            let mut connection = BorrowedConnection::new(replica.pool.get().await.ok()?);
            let answer = call.call(&mut connection, shard).await.ok()?;
            connection.give_back();
            Some(answer)
        };
        if let Ok(Some(answer)) = tokio::time::timeout(self.limits.health_timeout, read).await {
            return answer;
        }
        replica.failed.store(Some(Arc::new(Instant::now())));
        None
    }

    pub(in crate::shard) fn close(&self) {
        self.replicas.iter().for_each(|replica| replica.pool.close());
    }
}

/// Follows how far a shard's replicas have come, until the cluster shuts down.
pub(in crate::shard) async fn follow_replicas(cluster: Arc<Cluster>, shard: Arc<Shard>) {
    let mut primary = None;
    let mut standbys: Vec<Option<PgConnection>> = shard.replicas.replicas.iter().map(|_| None).collect();
    let mut marks = VecDeque::with_capacity(MAX_MARKS);
    let stop = cluster.stop_token().clone();
    while stop.run_until_cancelled(tokio::time::sleep(shard.replicas.limits.health_interval)).await.is_some() {
        let round = update_replicas(&cluster, &shard, &mut primary, &mut standbys, &mut marks);
        stop.run_until_cancelled(round).await;
    }
}

async fn update_replicas(
    cluster: &Cluster,
    shard: &Shard,
    primary: &mut Option<ServerSession>,
    standbys: &mut [Option<PgConnection>],
    marks: &mut VecDeque<PrimaryMark>,
) {
    let limit = shard.replicas.limits.health_timeout;
    // Before the question to the primary: the primary's position then covers everything acknowledged by this moment.
    let (at, map_changes) = (Instant::now(), cluster.map_changes());
    match tokio::time::timeout(limit, primary_position(shard, primary)).await {
        Ok(Ok(Some((timeline, position)))) => {
            // On another timeline the same positions mean something else.
            marks.retain(|mark| mark.timeline == timeline);
            if marks.len() == MAX_MARKS {
                // Drops every second mark, so that even a replica far behind can reach one.
                let mut keep = false;
                marks.retain(|_| {
                    keep = !keep;
                    keep
                });
            }
            marks.push_back(PrimaryMark { at, timeline, position, map_changes });
        }
        // Without a primary there is nothing new to compare with; the replicas stop being fresh in time.
        _ => *primary = None,
    }
    let probes = shard.replicas.replicas.iter().zip(standbys).map(|(replica, connection)| {
        let marks = &*marks;
        async move {
            let found = tokio::time::timeout(limit, replayed_position(replica, connection)).await;
            let Ok(Ok(Some((timeline, position)))) = found else {
                *connection = None;
                return;
            };
            let reached = marks.iter().rev().find(|mark| mark.timeline == timeline && mark.position <= position);
            match reached {
                Some(mark) => replica.reached.store(Some(Arc::new(*mark))),
                // The replica is on another timeline, or behind all kept marks.
                None => replica.reached.store(None),
            }
        }
    });
    futures_util::future::join_all(probes).await;
}

type LogPosition = Option<(i32, i64)>;

async fn primary_position(shard: &Shard, connection: &mut Option<ServerSession>) -> Result<LogPosition, sqlx::Error> {
    let mut open = ServerSession::reuse_or_connect(shard, connection.take()).await?;
    let found = sqlx::query_as(include_str!("../../../sql/shard/primary_position.sql"))
        .fetch_optional(&mut open.connection)
        .await?;
    *connection = Some(open);
    Ok(found)
}

async fn replayed_position(
    replica: &KnownReplica,
    connection: &mut Option<PgConnection>,
) -> Result<LogPosition, sqlx::Error> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => replica.pool.manager().connect().await?,
    };
    let found =
        sqlx::query_as(include_str!("../../../sql/shard/replayed_position.sql")).fetch_optional(&mut open).await?;
    *connection = Some(open);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_serves_while_it_is_fresh_and_knows_the_map() {
        let lag = Duration::from_secs(60);
        let mark = PrimaryMark { at: Instant::now(), timeline: 1, position: 7, map_changes: 3 };
        assert!(mark.is_usable(3, lag));
        assert!(!mark.is_usable(4, lag), "slots have changed hands since");
        assert!(!mark.is_usable(3, Duration::ZERO));
    }
}

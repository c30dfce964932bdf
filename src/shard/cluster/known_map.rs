//! The slot map as this process knows it: read again at intervals, and when a shard refuses a slot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use sqlx::PgConnection;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::routing::Cluster;
use super::scatter::ScatterBreadth;
use crate::shard::call::ShardCall;
use crate::shard::error::ShardError;
use crate::shard::map::SlotMap;
use crate::shard::server::pool::ShardLimits;
use crate::shard::slot::{ShardId, Slot};

/// How often the map is read again, whole, even if nobody was refused.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long reading the map may take on any one shard.
const DEADLINE: Duration = Duration::from_secs(1);
/// Between two tries for a slot that nobody owns at the moment: starts here and doubles up to the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(8));

/// The version of each shard's copy of the map that has been taken in.
type MapVersions = BTreeMap<ShardId, i64>;

/// The map, and how often it was read and was new.
pub(in crate::shard) struct KnownMap {
    map: ArcSwap<SlotMap>,
    /// Held by whoever reads it again.
    turn: Mutex<MapVersions>,
    readings: AtomicU64,
    changes: AtomicU64,
}

impl KnownMap {
    pub(in crate::shard) fn new(map: SlotMap) -> Self {
        Self {
            map: ArcSwap::from_pointee(map),
            turn: Mutex::default(),
            readings: AtomicU64::new(0),
            changes: AtomicU64::new(0),
        }
    }

    pub(in crate::shard) fn load(&self) -> Guard<Arc<SlotMap>> {
        self.map.load()
    }

    /// How often this process has met a newer map.
    pub(in crate::shard) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// The right to read what shards say of each other: one task at a time.
    pub(in crate::shard) async fn turn(&self) -> MutexGuard<'_, MapVersions> {
        self.turn.lock().await
    }
}

impl Cluster {
    /// Reads the map from every shard that answers and takes the newer owner of each slot. Callers that come while
    /// one is reading share its result.
    pub async fn refresh_map(&self) {
        let known = self.known_map();
        let seen = known.readings.load(Ordering::Acquire);
        let mut versions = known.turn().await;
        // Whoever finished while we waited began after we asked only if two have finished since.
        if known.readings.load(Ordering::Acquire) < seen + 2 {
            self.read_map(ScatterBreadth::All, &mut versions).await;
        }
    }

    /// Reads the copies whose version is not known.
    async fn read_map(&self, breadth: ScatterBreadth, versions: &mut MapVersions) {
        let known = self.known_map();
        let mut map = SlotMap::clone(&known.load());
        let gathered = self.scatter_by(breadth, &LoadNewMap { known: versions }, DEADLINE).await;
        let answers = gathered.answers.into_iter().filter_map(|(shard, answer)| Some((shard, answer.ok()??)));
        let mut read = Vec::new();
        for (shard, (version, copy)) in answers {
            if let Some(copy) = copy {
                map.merge(&copy);
            }
            read.push((shard, version));
        }
        // A shard is known before the map that names it, or its users would meet "no such shard".
        if map.highest_owner().index() >= self.shards().len() {
            self.learn_shards(breadth).await;
        }
        if map != **known.load() {
            log::info!("slot map is at epoch {}", map.epoch());
            // Counted first: whoever sees the number asks the replicas for no less than what this map was read from.
            known.changes.fetch_add(1, Ordering::SeqCst);
            known.map.store(Arc::new(map));
        }
        // Last: a reading that is given up on its way has taken nothing in.
        versions.extend(read);
        known.readings.fetch_add(1, Ordering::Release);
    }
}

/// The wait of one call for a slot whose owner is changing.
pub(crate) struct MovingSlot {
    slot: Slot,
    until: Instant,
    pause: Duration,
}

impl MovingSlot {
    pub(crate) fn new(slot: Slot, limits: &ShardLimits) -> Self {
        Self { slot, until: Instant::now() + limits.move_timeout, pause: PAUSE.0 }
    }

    /// After `refused` said that it does not own the slot: returns when it is worth trying again.
    pub(crate) async fn wait_for_owner(&mut self, cluster: &Cluster, refused: ShardId) -> Result<(), ShardError> {
        if Instant::now() >= self.until {
            return Err(ShardError::Moving);
        }
        // Boxed: rare, and large enough to slow down every request that might need it.
        Box::pin(cluster.refresh_map()).await;
        if cluster.map().owner(self.slot) == refused {
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(PAUSE.1);
        }
        Ok(())
    }
}

/// A shard's copy of the map, and its version, which grows with each change; no copy if the version is known.
struct LoadNewMap<'a> {
    known: &'a MapVersions,
}

impl ShardCall for LoadNewMap<'_> {
    type Output = (i64, Option<SlotMap>);

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        let known = self.known.get(&shard).copied();
        let statement = sqlx::query_as(include_str!("../../../sql/shard/load_new_map.sql")).bind(known);
        let (version, owners, epochs): (i64, _, _) = statement.fetch_one(connection).await?;
        Ok(Some((version, whole_map(owners, epochs))))
    }
}

/// The copy of the map in the database that `connection` leads to, if it is whole.
pub(in crate::shard) async fn load_map(connection: &mut PgConnection) -> Result<Option<SlotMap>, sqlx::Error> {
    let (owners, epochs) =
        sqlx::query_as(include_str!("../../../sql/shard/load_map.sql")).fetch_one(connection).await?;
    Ok(whole_map(owners, epochs))
}

fn whole_map(owners: Option<Vec<i32>>, epochs: Option<Vec<i64>>) -> Option<SlotMap> {
    owners.zip(epochs).and_then(|(owners, epochs)| SlotMap::from_columns(&owners, &epochs))
}

/// Reads the map again, and which shards there are, until the cluster shuts down.
pub(super) async fn keep_map_fresh(cluster: Arc<Cluster>) {
    let stop = cluster.stopping();
    while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        // Dropping the reading at the stop is safe: it changes nothing before its end.
        let reading = async {
            cluster.refresh_shards(ScatterBreadth::Few).await;
            let mut versions = cluster.known_map().turn().await;
            // A standby that lags may have been promoted, and be at a version by another way than the one before it.
            versions.clear();
            cluster.read_map(ScatterBreadth::Few, &mut versions).await;
        };
        stop.run_until_cancelled(reading).await;
    }
}

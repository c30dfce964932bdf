//! The slot map as this process knows the map: read again at intervals, and when a shard refuses a slot.

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
use crate::shard::map::SlotMap;
use crate::shard::slot::ShardId;

/// How often the shards are asked for a newer map, even if no call was refused.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);
/// In every so many of these readings, each shard sends the whole copy: somebody may have put an old backup in place of
/// a database.
const WHOLE_READING: u32 = 12;
/// How long one shard may take to send its copy of the map.
const READ_DEADLINE: Duration = Duration::from_secs(1);

/// The copies that this process has merged.
pub(in crate::shard) type MergedCopies = BTreeMap<ShardId, MergedCopy>;

/// A shard's copy of the map.
pub(in crate::shard) struct MergedCopy {
    version: i64,
    /// When its reading began.
    read: Instant,
}

/// The map, how often it was read, and how often a read brought a change.
pub(in crate::shard) struct KnownMap {
    map: ArcSwap<SlotMap>,
    /// Held during a read: a single task reads at a time.
    merged: Mutex<MergedCopies>,
    readings: AtomicU64,
    changes: AtomicU64,
}

impl KnownMap {
    pub(in crate::shard) fn new(map: SlotMap) -> Self {
        Self {
            map: ArcSwap::from_pointee(map),
            merged: Mutex::default(),
            readings: AtomicU64::new(0),
            changes: AtomicU64::new(0),
        }
    }

    pub(in crate::shard) fn load(&self) -> Guard<Arc<SlotMap>> {
        self.map.load()
    }

    /// How often this process has met a newer map.
    pub(in crate::shard) fn change_count(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Waits for the right to read the shards' copies and lists: a single task at a time.
    pub(in crate::shard) async fn lock_for_reading(&self) -> MutexGuard<'_, MergedCopies> {
        self.merged.lock().await
    }
}

impl Cluster {
    /// Reads the map from every shard that answers, and takes the newer owner of each slot. Callers that arrive
    /// during a read share the next result.
    pub async fn refresh_map(&self) {
        let known = self.known_map();
        let seen = known.readings.load(Ordering::Acquire);
        let mut merged = known.lock_for_reading().await;
        // The first read that ended meanwhile may have begun before this call. Only the second one surely began
        // after.
        if known.readings.load(Ordering::Acquire) < seen + 2 {
            self.read_map(ScatterBreadth::All, &mut merged).await;
        }
    }

    /// Reads the copies whose version is not known.
    async fn read_map(&self, breadth: ScatterBreadth, merged: &mut MergedCopies) {
        // A failover may promote a lagging standby, and then the same version number can stand for other contents.
        merged
            .retain(|shard, copy| self.shard(*shard).is_some_and(|shard| shard.leads_to_primary(copy.read.into_std())));
        let began = Instant::now();
        let known = self.known_map();
        let mut map = SlotMap::clone(&known.load());
        let gathered = self.scatter_by(breadth, &LoadNewMap { known: merged }, READ_DEADLINE).await;
        let answers = gathered.answers.into_iter().filter_map(|(shard, answer)| Some((shard, answer.ok()??)));
        let mut read = Vec::new();
        let mut last_shard = ShardId::default();
        for (shard, answer) in answers {
            if let Some(copy) = answer.copy {
                map.merge(&copy);
            }
            last_shard = last_shard.max(answer.last_shard);
            read.push((shard, MergedCopy { version: answer.version, read: began }));
        }
        // The process must know a shard before the map names that shard; else its users would get an error.
        if last_shard.max(map.highest_owner()).index() >= self.shards().len() {
            self.discover_shards(breadth).await;
        }
        if map != **known.load() {
            log::info!("slot map is at epoch {}", map.epoch());
            // The counter grows before the map is stored: a reader of the new number demands replicas that know the
            // change.
            known.changes.fetch_add(1, Ordering::SeqCst);
            known.map.store(Arc::new(map));
        }
        // Last, so that a cancelled read records no version.
        merged.extend(read);
        known.readings.fetch_add(1, Ordering::Release);
    }
}

/// Reads a shard's copy of the map and the copy's version. The version grows with each change; a known version brings
/// no copy.
struct LoadNewMap<'a> {
    known: &'a MergedCopies,
}

/// A shard's answer to [`LoadNewMap`].
struct NewMap {
    version: i64,
    copy: Option<SlotMap>,
    /// The last shard that the list of shards names and that may be used.
    last_shard: ShardId,
}

impl ShardCall for LoadNewMap<'_> {
    type Output = NewMap;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<NewMap>, sqlx::Error> {
        let known = self.known.get(&shard).map(|copy| copy.version);
        let statement = sqlx::query_as(include_str!("../../../sql/shard/load_new_map.sql")).bind(known);
        let (version, last_shard, owners, epochs): (_, Option<i32>, _, _) = statement.fetch_one(connection).await?;
        let last_shard = last_shard.and_then(ShardId::from_sql).unwrap_or_default();
        Ok(Some(NewMap { version, copy: whole_map(owners, epochs), last_shard }))
    }
}

/// The copy of the map in the connected database, if whole.
pub(crate) async fn load_map(connection: &mut PgConnection) -> Result<Option<SlotMap>, sqlx::Error> {
    let (owners, epochs) =
        sqlx::query_as(include_str!("../../../sql/shard/load_map.sql")).fetch_one(connection).await?;
    Ok(whole_map(owners, epochs))
}

fn whole_map(owners: Option<Vec<i32>>, epochs: Option<Vec<i64>>) -> Option<SlotMap> {
    owners.zip(epochs).and_then(|(owners, epochs)| SlotMap::from_columns(&owners, &epochs))
}

/// Reads the map again, and whether there are new shards, until the cluster shuts down.
pub(super) async fn keep_map_fresh(cluster: Arc<Cluster>) {
    let stop = cluster.stop_token();
    let mut readings: u32 = 0;
    while stop.run_until_cancelled(tokio::time::sleep(REFRESH_INTERVAL)).await.is_some() {
        readings = readings.wrapping_add(1);
        // A cancelled read has no effect: only the end of a read changes the state.
        let reading = async {
            let mut merged = cluster.known_map().lock_for_reading().await;
            if readings.is_multiple_of(WHOLE_READING) {
                merged.clear();
            }
            cluster.read_map(ScatterBreadth::Few, &mut merged).await;
        };
        stop.run_until_cancelled(reading).await;
    }
}

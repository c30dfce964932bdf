//! All shards and the slot map.
//!
//! `impl Cluster` stands in these files, each with one duty:
//!
//! - `cluster/routing.rs` (here): the shards, the owner of a slot, background tasks
//! - `cluster/known_map.rs`: reads the slot map again
//! - `cluster/moving_slot.rs`: calls the owner of a slot
//! - `cluster/scatter.rs`: asks every shard at once
//! - `cluster/periodic.rs`: runs a task on every shard again and again
//! - `cluster/registry.rs`: writes the list of shards to every shard
//! - `setup/start_checks/mod.rs`: opens the cluster
//! - `idempotency/mod.rs`: runs a call once for each idempotency key

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::append_only::{PerShard, ShardList};
use super::known_map::{KnownMap, keep_map_fresh};
use super::registry::{ListShards, RegisteredShard};
use super::scatter::ScatterBreadth;
use super::write_freeze::WriteFreeze;
use crate::shard::error::ShardError;
use crate::shard::map::SlotMap;
use crate::shard::server::health::{ProbeSchedule, ShardState, watch_other_hosts, watch_shard};
use crate::shard::server::look_pace::LookPace;
use crate::shard::server::pool::{RequiredRole, ShardIdentity, ShardLimits};
use crate::shard::server::replica::follow_replicas;
use crate::shard::server::shard::Shard;
use crate::shard::slot::{ShardId, Slot, shard_id};

/// How long one shard may take to send its list of shards.
const LIST_DEADLINE: Duration = Duration::from_secs(1);
/// How long a shutdown waits for the background tasks: longer than any task waits.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// The shards and the owner of each slot.
pub struct Cluster {
    id: Uuid,
    shards: ShardList,
    map: KnownMap,
    freezes: PerShard<WriteFreeze>,
    /// The number of shards; a change wakes [`Cluster::for_each_shard`].
    shard_count: watch::Sender<usize>,
    schema_version: Option<i64>,
    limits: ShardLimits,
    stop: CancellationToken,
    background_tasks: TaskTracker,
    runtime: Handle,
}

impl Cluster {
    /// Assembles the cluster and starts its tasks: the health probes of each shard, and the reads of the map.
    pub(in crate::shard) async fn assemble(
        identity: (Uuid, Option<i64>),
        shards: Vec<Arc<Shard>>,
        map: SlotMap,
        limits: ShardLimits,
    ) -> Arc<Self> {
        let (id, schema_version) = identity;
        let cluster = Arc::new(Self {
            id,
            shard_count: watch::channel(shards.len()).0,
            schema_version,
            shards: ShardList::new(shards),
            map: KnownMap::new(map),
            freezes: PerShard::new(),
            limits,
            stop: CancellationToken::new(),
            background_tasks: TaskTracker::new(),
            runtime: Handle::current(),
        });
        for shard in cluster.shards() {
            cluster.start_health_probes(shard);
            if !shard.replicas().is_empty() {
                cluster.background_tasks.spawn(follow_replicas(Arc::clone(&cluster), Arc::clone(shard)));
            }
            if shard.state() == ShardState::Healthy {
                shard.warm_up().await;
            }
        }
        cluster.background_tasks.spawn(keep_map_fresh(Arc::clone(&cluster)));
        cluster
    }

    /// The cluster's id, which each shard's database stores.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// All shards, in the order of their numbers.
    #[must_use]
    pub fn shards(&self) -> &[Arc<Shard>] {
        self.shards.current_shards()
    }

    /// Calls `each` once for each shard until the cluster shuts down, also for shards that join later.
    pub fn for_each_shard(self: &Arc<Self>, mut each: impl FnMut(&Arc<Shard>) + Send + 'static) {
        let (list, mut grown, stop) = (Arc::downgrade(self), self.shard_count.subscribe(), self.stop.clone());
        let mut done = 0;
        self.spawn(async move {
            loop {
                let Some(cluster) = list.upgrade() else { return };
                for shard in cluster.shards().iter().skip(done) {
                    each(shard);
                    done += 1;
                }
                drop(cluster);
                match stop.run_until_cancelled(grown.changed()).await {
                    Some(Ok(())) => {}
                    _ => return,
                }
            }
        });
    }

    /// The map as this process knows the map. A shard may have a newer copy.
    #[must_use]
    pub fn map(&self) -> Arc<SlotMap> {
        Arc::clone(&self.map.load())
    }

    /// The owner of a slot, as far as this process knows.
    ///
    /// # Errors
    /// `Moving` if this process does not know the owner's address.
    pub fn owner(&self, slot: Slot) -> Result<&Arc<Shard>, ShardError> {
        let owner = self.map.load().owner(slot);
        self.shards().get(owner.index()).ok_or(ShardError::Moving)
    }

    /// The shard with this number.
    #[must_use]
    pub fn shard(&self, id: ShardId) -> Option<&Arc<Shard>> {
        self.shards().get(id.index())
    }

    /// Reads the list of shards from every shard that answers, and begins to use new shards. The caller holds the
    /// lock of the map, so that one task at a time adds shards.
    pub(super) async fn discover_shards(&self, breadth: ScatterBreadth) {
        // Hundreds of shards would each send hundreds of entries that this process knows.
        let unknown = ListShards(shard_id(self.shards().len()));
        let gathered = self.scatter_by(breadth, &unknown, LIST_DEADLINE).await;
        let mut found: Vec<RegisteredShard> = gathered.into_answers().flatten().flatten().collect();
        found.sort_by_key(|registered| registered.shard);
        for registered in found {
            // Every shard lists all shards; the first entry for the next number counts.
            if registered.active && registered.shard.index() == self.shards().len() {
                self.add_registered(registered);
            }
        }
    }

    /// Begins to use a shard. The shard serves as soon as its health probe has found the right database.
    fn add_registered(&self, registered: RegisteredShard) {
        let (shard, schema_version) = (registered.shard, self.schema_version);
        let identity = ShardIdentity { cluster_id: self.id, shard, schema_version, role: RequiredRole::Primary };
        let Some(first) = self.shards().first() else { return };
        let options =
            first.options().options_for_registered(&registered.options).with_session_settings(self.limits.call_timeout);
        log::info!("shard {} at {} joins", registered.shard, options.address());
        let shard = self.in_runtime(|| Shard::new(options, identity, self.limits, ShardState::Healthy));
        let shard = Arc::new(shard);
        if self.shards.push(Arc::clone(&shard)) {
            self.start_health_probes(&shard);
            self.shard_count.send_replace(self.shards().len());
        }
    }

    /// A shard's connections belong to the runtime that creates the shard, so that runtime must be the cluster's.
    fn in_runtime<T>(&self, make: impl FnOnce() -> T) -> T {
        let _entered = self.runtime.enter();
        make()
    }

    fn start_health_probes(&self, shard: &Arc<Shard>) {
        let pace = LookPace::new(self.limits.health_interval, self.shards().len());
        let watch = ProbeSchedule { pace, timeout: self.limits.health_timeout };
        self.background_tasks.spawn_on(watch_shard(Arc::clone(shard), watch, self.stop.clone()), &self.runtime);
        if !shard.options().has_one_host() {
            let (shard, stop) = (Arc::clone(shard), self.stop.clone());
            self.background_tasks.spawn_on(watch_other_hosts(shard, watch, stop), &self.runtime);
        }
    }

    /// The map with its lock and counters.
    pub(in crate::shard) fn known_map(&self) -> &KnownMap {
        &self.map
    }

    /// The frozen slots of a shard, as this process knows them.
    pub(super) fn freeze(&self, shard: ShardId) -> &WriteFreeze {
        self.freezes.get_or_make(shard, WriteFreeze::default)
    }

    /// How often this process has met a newer map.
    pub(in crate::shard) fn map_changes(&self) -> u64 {
        self.map.change_count()
    }

    /// Reads the list of shards now rather than at the next interval.
    pub async fn refresh_shards(&self, breadth: ScatterBreadth) {
        let _turn = self.map.lock_for_reading().await;
        self.discover_shards(breadth).await;
    }

    /// Ends the tasks and closes the pools. Calls in progress end with an error; stop serving first.
    pub async fn shut_down(&self) {
        self.stop.cancel();
        self.background_tasks.close();
        if tokio::time::timeout(STOP_LIMIT, self.background_tasks.wait()).await.is_err() {
            log::error!(
                "{} background tasks did not end in {} s and are abandoned",
                self.background_tasks.len(),
                STOP_LIMIT.as_secs()
            );
        }
        self.shards().iter().for_each(|shard| shard.close());
    }

    /// Cancelled when the cluster shuts down.
    #[must_use]
    pub fn stop_token(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs a background task that ends at [`Cluster::stop_token`]; `shut_down` waits for the task.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.background_tasks.spawn_on(task, &self.runtime);
    }

    /// As [`Cluster::spawn`], on the caller's runtime. The task may end with that runtime.
    pub(crate) fn spawn_on_current_runtime(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.background_tasks.spawn(task);
    }

    /// The runtime of the background tasks, which outlives the threads of the requests.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(crate) fn limits(&self) -> &ShardLimits {
        &self.limits
    }
}

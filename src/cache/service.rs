//! The cache as its callers see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::background::{BackgroundSender, background_queue};
use super::codec::CacheFormat;
use super::fence_watcher::watch_fences;
use super::known_fences::KnownFences;
use super::settings::{CacheSettings, CacheUrl};
use super::shared_connection::LinkConnector;
use super::single_flight::PendingLoads;
use crate::shard::{Cluster, ShardId};

/// The state of the cache, as far as this process knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheState {
    /// The server answers.
    Healthy,
    /// The server does not answer. The shards answer every read meanwhile.
    Unhealthy,
    /// This process has no cache.
    Disabled,
}

impl CacheState {
    /// The word in `/health`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Disabled => "disabled",
        }
    }
}

/// What the cache has done for this process since its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheCounts {
    /// Reads that the cache answered.
    pub hits: u64,
    /// Reads that the cache was asked for and could not answer.
    pub misses: u64,
    /// Keys in the server's database, a few seconds old at most: the entries of every process, with leases and
    /// tombstones, and other keys that are kept there. `None` while the server does not answer.
    pub keys: Option<u64>,
}

/// A value, and where the value came from.
#[derive(Clone, Debug)]
pub struct CachedValue<T> {
    /// The shard that owns the value's slot.
    pub shard: ShardId,
    /// The value.
    pub value: T,
    /// True if no shard was asked.
    pub from_cache: bool,
}

/// The number of the next `Cache`: each has its own.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// The cache of one process. Without a configured server every read goes to a shard, and writes still make sure that no
/// other process shows an older value.
pub struct Cache {
    /// The number by which threads find their lanes.
    pub(super) number: usize,
    pub(super) cluster: Arc<Cluster>,
    pub(super) connector: Arc<LinkConnector>,
    pub(super) fences: Arc<KnownFences>,
    pub(super) pending_loads: Arc<PendingLoads>,
    pub(super) background: BackgroundSender,
    pub(super) writers: TaskTracker,
    /// Where the server is, for lanes.
    pub(super) url: Option<CacheUrl>,
    /// Cancelled when the cache's tasks are to end.
    pub(super) end: CancellationToken,
    pub(super) is_configured: bool,
    pub(super) ttl: Duration,
    pub(super) formats: &'static [CacheFormat],
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
}

impl Cache {
    /// Starts the cache's tasks, which end when the cluster shuts down. Does not wait for the server: until the server
    /// answers, and for half a second after that, the shards answer every read.
    #[must_use]
    pub fn start(cluster: Arc<Cluster>, settings: CacheSettings) -> Arc<Self> {
        let connector = Arc::new(LinkConnector::new(settings.url.is_some(), settings.formats));
        // Writers that still have to be answered when the service stops need the fences and the link to the end.
        let (writers, end) = (TaskTracker::new(), CancellationToken::new());
        cluster.spawn(end_after(cluster.stop_token().clone(), writers.clone(), end.clone()));
        let fences = watch_fences(&cluster, &connector.state(), &end);
        let (background, queue) = background_queue();
        let is_configured = settings.url.is_some();
        if let Some(url) = settings.url.clone() {
            cluster.spawn(Arc::clone(&connector).run(url, end.clone()));
            cluster.spawn(queue.run(end.clone()));
        }
        Arc::new(Self {
            // Relaxed: the number orders nothing.
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            cluster,
            connector,
            fences,
            pending_loads: Arc::default(),
            background,
            writers,
            url: settings.url,
            end,
            is_configured,
            ttl: settings.ttl,
            formats: settings.formats,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        })
    }

    /// A writer that goes on after the cluster begins to stop: the cache's tasks run until the token is dropped.
    pub fn writer(&self) -> TaskTrackerToken {
        self.writers.token()
    }

    /// The state of the cache, as its task found it last.
    #[must_use]
    pub fn state(&self) -> CacheState {
        match self.connector.link() {
            _ if !self.is_configured => CacheState::Disabled,
            Some(_) => CacheState::Healthy,
            None => CacheState::Unhealthy,
        }
    }

    /// What the cache has done so far.
    #[must_use]
    pub fn counts(&self) -> CacheCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheCounts { hits: read(&self.hits), misses: read(&self.misses), keys: self.connector.keys() }
    }
}

/// Cancels `end` when the service stops and no writer is left.
async fn end_after(stop: CancellationToken, writers: TaskTracker, end: CancellationToken) {
    stop.cancelled().await;
    writers.close();
    writers.wait().await;
    end.cancel();
}

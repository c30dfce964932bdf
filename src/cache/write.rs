//! Writes beside a cache: a tombstone bars the value before the database changes, and the write is acknowledged after
//! it is gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::background::BackgroundAction;
use super::key::CacheKey;
use super::service::Cache;
use crate::shard::{ShardError, WriteMark};

/// Between two looks whether a write can be settled, if no fence was looked at meanwhile.
const PAUSE: Duration = Duration::from_millis(10);
/// How long keys are barred at least while a write is on its way.
const LEAST_BAR: Duration = Duration::from_secs(10);

/// A write that is on its way. What is to be done with it depends on what the database says:
///
/// - it is committed: [`PendingWrite::settle`], and only then may anybody be told;
/// - it has certainly changed nothing: [`PendingWrite::release`];
/// - nobody knows: drop the mark. The values stay out of the cache until the write can no longer happen.
#[must_use = "a write is acknowledged only once its mark is settled"]
pub struct PendingWrite {
    cache: Arc<Cache>,
    keys: Vec<CacheKey>,
    is_done: bool,
    _writer: TaskTrackerToken,
}

impl Cache {
    /// To be called before a write is sent to the database, with the keys of every value that it may change. Nobody
    /// puts anything into the cache under these keys until the mark is settled, released, or dropped and forgotten.
    ///
    /// Never fails, and waits for a moment at most: a cache that does not answer is dealt with by [`PendingWrite::settle`].
    /// Cancel safe.
    pub async fn before_write(self: &Arc<Self>, keys: Vec<CacheKey>) -> PendingWrite {
        let mark = self.mark(keys);
        if let Some((link, names)) = self.names(&mark.keys) {
            // Only for the case that this process ends between the commit and the removal; whether it worked or not,
            // the removal is what counts.
            link.bar(&names, self.bar_time()).await;
        }
        mark
    }

    /// As [`Cache::before_write`], but the keys are known only now that the database has answered.
    pub fn mark(self: &Arc<Self>, mut keys: Vec<CacheKey>) -> PendingWrite {
        if keys.len() > 1 {
            keys.sort_unstable();
            keys.dedup();
        }
        PendingWrite { cache: Arc::clone(self), keys, is_done: false, _writer: self.writer() }
    }

    /// The keys as our server knows them, of those for which it is in force.
    fn names(&self, keys: &[CacheKey]) -> Option<(Arc<super::shared_connection::ServerLink>, Vec<String>)> {
        let link = self.connector.link()?;
        let name = |key: &CacheKey| {
            let place = self.fences.latest(key.slot())?;
            (place.server() == Some(&link.server)).then(|| key.under(&place.view.prefix, place.epoch))
        };
        let names: Vec<_> = keys.iter().filter_map(name).collect();
        (!names.is_empty()).then_some((link, names))
    }

    /// Longer than a statement whose outcome nobody knows may still run on its shard.
    fn bar_time(&self) -> Duration {
        LEAST_BAR.max(self.cluster.limits().call_timeout * 2)
    }

    /// One try to make sure that nobody shows a value of these keys from before now.
    async fn settle(&self, keys: &[CacheKey]) -> bool {
        if self.fences.are_all_closed() {
            return true;
        }
        let link = self.connector.link();
        let mut names = Vec::with_capacity(keys.len());
        for key in keys {
            let Some((place, before)) = self.fences.relied_on(key.slot()) else { return false };
            for place in [Some(place), before].into_iter().flatten() {
                let Some(server) = place.server() else { continue };
                if link.as_ref().is_none_or(|link| link.server != *server) {
                    return false;
                }
                names.push(key.under(&place.view.prefix, place.epoch));
            }
        }
        match link.filter(|_| !names.is_empty()) {
            Some(link) => link.remove(&names).await.is_some(),
            None => true,
        }
    }
}

impl PendingWrite {
    /// After the commit: returns once no process can show a value from before it. Mostly that is one command to the
    /// cache's server, and nothing at all where no cache is used; when a cache fails it is a wait of half a second.
    ///
    /// # Errors
    /// `Timeout` if that could not be had within the time of a call, `Unavailable` if the shard went away meanwhile.
    /// The write is made all the same, but must not be acknowledged.
    pub async fn settle(mut self) -> Result<(), ShardError> {
        let Some(first) = self.keys.first() else {
            self.is_done = true;
            return Ok(());
        };
        if self.cache.settle(&self.keys).await {
            self.is_done = true;
            return Ok(());
        }
        let began = Instant::now();
        let shard = Arc::clone(self.cache.cluster.owner(first.slot())?);
        let mut pulse = self.cache.fences.pulse();
        let waiting = async {
            loop {
                // An error of the pulse means that nobody looks any more: the service stops, and the wait has an end.
                let _ = tokio::time::timeout(PAUSE, pulse.changed()).await;
                if self.cache.settle(&self.keys).await {
                    return;
                }
            }
        };
        // Boxed: rare, and large enough to slow down every request that might need it.
        Box::pin(shard.while_healthy(waiting)).await?;
        log::debug!("a write waited {} ms for the cache's fence", began.elapsed().as_millis());
        self.is_done = true;
        Ok(())
    }

    /// The database has certainly changed nothing: the values may be cached again.
    pub fn release(mut self) {
        self.is_done = true;
        if let Some((link, names)) = self.names() {
            self.cache.errands.send(&link, BackgroundAction::Remove(names));
        }
    }

    fn names(&self) -> Option<(Arc<super::shared_connection::ServerLink>, Vec<String>)> {
        if self.cache.fences.are_all_closed() { None } else { self.cache.names(&self.keys) }
    }
}

impl WriteMark for PendingWrite {
    async fn settle(self) -> Result<(), ShardError> {
        Self::settle(self).await
    }

    fn release(self) {
        Self::release(self);
    }
}

impl Drop for PendingWrite {
    fn drop(&mut self) {
        if !self.is_done
            && let Some((link, names)) = self.names()
        {
            let time = self.cache.bar_time();
            self.cache.errands.send(&link, BackgroundAction::Bar(names, time));
        }
    }
}

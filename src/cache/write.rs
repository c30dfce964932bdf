//! Writes beside a cache: a tombstone bars the value before the database changes, and the write is acknowledged after
//! it is gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::background::BackgroundAction;
use super::key::CacheKey;
use super::service::Cache;
use super::shared_connection::ServerLink;
use crate::shard::ShardError;

/// Between two looks whether a write can be settled, if no fence was looked at meanwhile.
const PAUSE: Duration = Duration::from_millis(10);
/// How long keys are barred at least while a write is on its way.
const LEAST_BAR: Duration = Duration::from_secs(10);

/// What the database has done of a write, as far as this process knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteEffect {
    /// The write is committed, now or by an earlier request.
    Committed,
    /// The database has certainly changed nothing.
    Nothing,
    /// Nobody knows, and the statement may still run.
    Unknown,
}

impl Cache {
    /// Runs `work`, which changes rows in the database, and keeps every older value of `keys` from readers. This is the
    /// only way to write beside the cache; `docs/decisions/0011-cache.md` proves that its steps suffice:
    ///
    /// 1. A tombstone bars each value before `work` begins.
    /// 2. `effect` says what `work` has done.
    /// 3. After a commit the values are removed, and only then does this return. Where nothing was changed, the values
    ///    may be cached again. Where nobody knows, the tombstones stay until the statement can no longer run; so they
    ///    do if this is dropped.
    ///
    /// # Errors
    /// `Timeout` if the values could not be removed within the time of a call, `Unavailable` if the shard went away
    /// meanwhile. The write is made all the same, but must not be acknowledged.
    pub async fn write<T>(
        self: &Arc<Self>,
        keys: Vec<CacheKey>,
        work: impl Future<Output = T>,
        effect: impl FnOnce(&T) -> WriteEffect,
    ) -> Result<T, ShardError> {
        self.write_within(self.cluster.limits().call_timeout, keys, work, effect).await
    }

    /// As [`Cache::write`], for work that may take so long.
    ///
    /// # Errors
    /// As [`Cache::write`].
    pub async fn write_within<T>(
        self: &Arc<Self>,
        limit: Duration,
        keys: Vec<CacheKey>,
        work: impl Future<Output = T>,
        effect: impl FnOnce(&T) -> WriteEffect,
    ) -> Result<T, ShardError> {
        let pending = self.bar(keys, limit).await;
        let outcome = work.await;
        match effect(&outcome) {
            WriteEffect::Committed => pending.remove().await?,
            WriteEffect::Nothing => pending.release(),
            WriteEffect::Unknown => drop(pending),
        }
        Ok(outcome)
    }

    /// Bars the values of these keys. Never fails, and waits for a moment at most: [`PendingWrite::remove`] deals with
    /// a cache that does not answer. Cancel safe.
    async fn bar(self: &Arc<Self>, mut keys: Vec<CacheKey>, limit: Duration) -> PendingWrite {
        // Without a server nothing is done for a key, and a batch of a load has thousands of keys.
        if keys.len() > 1 && self.connector.link().is_some() {
            keys.sort_unstable();
            keys.dedup();
        }
        // Longer than a statement whose outcome nobody knows may still run on its shard.
        let time = LEAST_BAR.max(limit * 2);
        let pending = PendingWrite { cache: Arc::clone(self), keys, time, is_done: false, _writer: self.writer() };
        if let Some((link, names)) = self.names(&pending.keys) {
            // Only for the case that this process ends between the commit and the removal; whether it worked or not,
            // the removal is what counts.
            link.bar(&names, time).await;
        }
        pending
    }

    /// The keys as our server knows them, of those for which it is in force.
    fn names(&self, keys: &[CacheKey]) -> Option<(Arc<ServerLink>, Vec<String>)> {
        let link = self.connector.link()?;
        let name = |key: &CacheKey| {
            let slot_view = self.fences.latest(key.slot())?;
            (slot_view.server() == Some(&link.server)).then(|| key.under(&slot_view.view.prefix, slot_view.epoch))
        };
        let names: Vec<_> = keys.iter().filter_map(name).collect();
        (!names.is_empty()).then_some((link, names))
    }

    /// One try to make sure that nobody shows a value of these keys from before now.
    async fn remove(&self, keys: &[CacheKey]) -> bool {
        if self.fences.are_all_closed() {
            return true;
        }
        let link = self.connector.link();
        let mut names = Vec::with_capacity(keys.len());
        for key in keys {
            let Some((slot_view, before)) = self.fences.relied_on(key.slot()) else { return false };
            for slot_view in [Some(slot_view), before].into_iter().flatten() {
                let Some(server) = slot_view.server() else { continue };
                if link.as_ref().is_none_or(|link| link.server != *server) {
                    return false;
                }
                names.push(key.under(&slot_view.view.prefix, slot_view.epoch));
            }
        }
        match link.filter(|_| !names.is_empty()) {
            Some(link) => link.remove(&names).await.is_some(),
            None => true,
        }
    }
}

/// A write that is on its way. Dropping it leaves tombstones for as long as the write may still happen.
struct PendingWrite {
    cache: Arc<Cache>,
    keys: Vec<CacheKey>,
    /// How long the keys are barred at most.
    time: Duration,
    is_done: bool,
    _writer: TaskTrackerToken,
}

impl PendingWrite {
    /// Returns once no process can show a value from before the commit. Mostly that is one command to the cache's
    /// server, and nothing at all where no cache is used; when a cache fails it is a wait of half a second.
    async fn remove(mut self) -> Result<(), ShardError> {
        let Some(first) = self.keys.first() else {
            self.is_done = true;
            return Ok(());
        };
        if self.cache.remove(&self.keys).await {
            self.is_done = true;
            return Ok(());
        }
        let began = Instant::now();
        let shard = Arc::clone(self.cache.cluster.owner(first.slot())?);
        let mut pulse = self.cache.fences.pulse();
        let waiting = async {
            loop {
                self.cache.fences.refresh(&shard);
                // An error of the pulse means that nobody looks any more: the service stops, and the wait has an end.
                let _ = tokio::time::timeout(PAUSE, pulse.changed()).await;
                if self.cache.remove(&self.keys).await {
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

    /// Takes the tombstones away, in the background.
    fn release(mut self) {
        self.is_done = true;
        if let Some((link, names)) = self.names() {
            self.cache.background.send(&link, BackgroundAction::Remove(names));
        }
    }

    fn names(&self) -> Option<(Arc<ServerLink>, Vec<String>)> {
        if self.cache.fences.are_all_closed() { None } else { self.cache.names(&self.keys) }
    }
}

impl Drop for PendingWrite {
    fn drop(&mut self) {
        if !self.is_done
            && let Some((link, names)) = self.names()
        {
            self.cache.background.send(&link, BackgroundAction::Bar(names, self.time));
        }
    }
}

//! Cached reads: the value from the cache, or from the database and then into the cache.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::background::BackgroundAction;
use super::codec::ValueCodec;
use super::commands::{FillCommand, FillLease, LookupResult, entry_of, value_in};
use super::key::CacheKey;
use super::known_fences::SettledSlot;
use super::service::{Cache, CachedValue};
use super::shared_connection::ServerLink;
use super::single_flight::PendingLoad;
use crate::shard::{ShardError, ShardId};

/// How long a reader waits for another process that is reading the value.
const PATIENCE: Duration = Duration::from_millis(200);
/// The first pause between two looks whether the other process is done; each pause is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// Larger values are not kept: each would hold up the answers behind it on the same connection.
const LARGEST: usize = 512 << 10;
/// How long an absence is kept at most.
const ABSENCE_TTL: Duration = Duration::from_secs(30);

/// What the cache said.
enum ReadAnswer<T> {
    Hit(ShardId, T),
    /// Load from the database, and put the value where our lease is.
    LoadAndFill(FillGuard),
    /// Load from the database.
    Bypass,
}

/// A lease of this reader. Dropping it gives the lease back.
struct FillGuard {
    cache: Arc<Cache>,
    link: Arc<ServerLink>,
    slot_view: SettledSlot,
    pending: Option<PendingLoad>,
}

impl FillGuard {
    /// Hands the value to the cache.
    fn fill(mut self, value: &[u8], ttl: Duration) {
        if let Some(pending) = self.pending.take() {
            let entry = entry_of(value, LARGEST);
            let fill = FillCommand { key: Arc::clone(pending.key()), lease: pending.lease(), entry, ttl };
            self.cache.fill(&self.link, pending, fill);
        }
    }
}

impl Drop for FillGuard {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.cache
                .background
                .send(&self.link, BackgroundAction::Release(Arc::clone(pending.key()), pending.lease()));
        }
    }
}

impl Cache {
    /// The value of `key`: from the cache, or else by `load`, whose value is then kept for the next reader. Readers of
    /// a key that come while `load` runs wait for its value, so that the database is asked once.
    ///
    /// `load` must read rows of the key's slot only, by statements that are sent after the first poll, and give the
    /// shard that answered. `load` is polled only if the cache has no answer. Cancel safe.
    ///
    /// # Errors
    /// The errors of `load`. When the cache fails, the database answers.
    pub async fn read<C: ValueCodec>(
        self: &Arc<Self>,
        key: &CacheKey,
        codec: &C,
        load: impl Future<Output = Result<(ShardId, C::Value), ShardError>>,
    ) -> Result<CachedValue<C::Value>, ShardError> {
        // Processes that do not know the format would not remove the value.
        let is_known = key.format() == C::FORMAT && self.formats.contains(&C::FORMAT);
        debug_assert!(is_known || !self.is_configured, "{} is not among the formats of the settings", C::FORMAT);
        if !self.is_configured || !is_known {
            let (shard, value) = load.await?;
            return Ok(CachedValue { shard, value, from_cache: false });
        }
        let guard = match self.ask_cache(key, codec).await {
            ReadAnswer::Hit(shard, value) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                if let Some(shard) = self.cluster.shard(shard) {
                    shard.record_use(std::time::Instant::now());
                }
                return Ok(CachedValue { shard, value, from_cache: true });
            }
            ReadAnswer::LoadAndFill(guard) => Some(guard),
            ReadAnswer::Bypass => None,
        };
        let (shard, value) = load.await?;
        self.misses.fetch_add(1, Ordering::Relaxed);
        // A value from another shard belongs to an ownership that this process has not heard of yet.
        if let Some(guard) = guard.filter(|guard| guard.slot_view.owner == shard) {
            let ttl = if codec.is_absence(&value) { self.ttl.min(ABSENCE_TTL) } else { self.ttl };
            guard.fill(&codec.encode(&value), ttl);
        }
        Ok(CachedValue { shard, value, from_cache: false })
    }

    async fn ask_cache<C: ValueCodec>(self: &Arc<Self>, key: &CacheKey, codec: &C) -> ReadAnswer<C::Value> {
        let Some(link) = self.connector.link() else { return ReadAnswer::Bypass };
        let slot_view = self.fences.settled(key.slot()).filter(|slot_view| slot_view.server() == Some(&link.server));
        let Some(slot_view) = slot_view else { return ReadAnswer::Bypass };
        let name: Arc<str> = key.under(&slot_view.view.prefix, slot_view.epoch).into();
        let (until, mut pause) = (Instant::now() + PATIENCE, FIRST_PAUSE);
        loop {
            let lease = FillLease::new();
            // In every case the lease is given back.
            let guard = |slot_view| {
                let pending = self.pending_loads.begin(&name, lease);
                ReadAnswer::LoadAndFill(FillGuard {
                    cache: Arc::clone(self),
                    link: Arc::clone(&link),
                    slot_view,
                    pending: Some(pending),
                })
            };
            let lookup = PendingLookup { cache: self, link: &link, name: &name, lease, is_answered: false };
            let found = lookup.run().await;
            match found {
                None => return ReadAnswer::Bypass,
                Some(LookupResult::Barred) => return ReadAnswer::Bypass,
                Some(LookupResult::Nothing) => return guard(slot_view),
                Some(LookupResult::Value(entry)) => {
                    if let Some(value) = self.use_entry(key, codec, &slot_view, &entry) {
                        return ReadAnswer::Hit(slot_view.owner, value);
                    }
                    if !self.is_still_settled(key, &slot_view) {
                        return ReadAnswer::Bypass;
                    }
                    // The entry does not answer this question; the value that does may take its place.
                    let guard = guard(slot_view);
                    return if link.replace_by_lease(&name, lease).await == Some(true) {
                        guard
                    } else {
                        ReadAnswer::Bypass
                    };
                }
                Some(LookupResult::Leased) => {}
            }
            if let Some(outcome) = self.pending_loads.join(&name) {
                let entry = outcome.await;
                let value = entry.and_then(|entry| self.use_entry(key, codec, &slot_view, &entry));
                return value.map_or(ReadAnswer::Bypass, |value| ReadAnswer::Hit(slot_view.owner, value));
            }
            if Instant::now() >= until {
                return ReadAnswer::Bypass;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// The value in an entry, if readers may use the value at this very moment.
    fn use_entry<C: ValueCodec>(
        &self,
        key: &CacheKey,
        codec: &C,
        slot_view: &SettledSlot,
        entry: &Bytes,
    ) -> Option<C::Value> {
        let value = codec.decode(&value_in(entry)?)?;
        self.is_still_settled(key, slot_view).then_some(value)
    }

    /// True if the settled view of the key has not changed.
    fn is_still_settled(&self, key: &CacheKey, slot_view: &SettledSlot) -> bool {
        self.fences.settled(key.slot()).is_some_and(|now| now.is_same(slot_view))
    }
}

/// A lookup on its way. Without its answer nobody knows whether the lease was put there.
struct PendingLookup<'a> {
    cache: &'a Arc<Cache>,
    link: &'a Arc<ServerLink>,
    name: &'a Arc<str>,
    lease: FillLease,
    is_answered: bool,
}

impl PendingLookup<'_> {
    async fn run(mut self) -> Option<LookupResult> {
        let found = self.cache.look_up(self.link, self.name, self.lease).await;
        self.is_answered = found.is_some();
        found
    }
}

impl Drop for PendingLookup<'_> {
    fn drop(&mut self) {
        if !self.is_answered && self.link.is_live() {
            self.cache.background.send(self.link, BackgroundAction::Release(Arc::clone(self.name), self.lease));
        }
    }
}

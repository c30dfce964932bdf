//! Cached reads: the value from the cache, or from the database and then into the cache.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::background::BackgroundAction;
use super::codec::ValueCodec;
use super::commands::{FillCommand, FillLease, LookupResult, entry_of, value_in};
use super::fence_watcher::SettledSlot;
use super::key::CacheKey;
use super::service::{Cache, CachedValue};
use super::shared_connection::ServerLink;
use super::single_flight::PendingLoad;
use crate::shard::{ShardError, ShardId};

/// How long a reader waits for another process that is reading the value.
const PATIENCE: Duration = Duration::from_millis(200);
/// Between two looks whether that one is done: starts here and doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// Larger values are not kept: each would hold up the answers behind it on the one connection.
const LARGEST: usize = 512 << 10;
/// How long it is kept at most that there is nothing.
const ABSENCE_TTL: Duration = Duration::from_secs(30);

/// What the cache said.
enum ReadAnswer<T> {
    Hit(ShardId, T),
    /// Read the database, and put the value where our lease is.
    Lead(FillGuard),
    /// Read the database.
    Pass,
}

/// A lease that is ours. Dropping it gives it back.
struct FillGuard {
    cache: Arc<Cache>,
    link: Arc<ServerLink>,
    place: SettledSlot,
    flight: Option<PendingLoad>,
}

impl FillGuard {
    /// Hands the value to the cache.
    fn fill(mut self, value: &[u8], ttl: Duration) {
        if let Some(flight) = self.flight.take() {
            let entry = Arc::new(entry_of(value, LARGEST));
            let fill = FillCommand { key: Arc::clone(flight.key()), lease: flight.lease(), entry, ttl };
            self.cache.fill(&self.link, flight, fill);
        }
    }
}

impl Drop for FillGuard {
    fn drop(&mut self) {
        if let Some(flight) = self.flight.take() {
            self.cache.errands.send(&self.link, BackgroundAction::Release(Arc::clone(flight.key()), flight.lease()));
        }
    }
}

impl Cache {
    /// The value of `key`: from the cache, or else by `load`, which is then kept for the next reader. Readers of one
    /// key that come while it is being loaded wait for that, so that the database is asked once.
    ///
    /// `load` must read rows of the key's slot only, by statements that are sent after it is first polled, and give
    /// the shard that answered. It is polled only if the cache has no answer. Cancel safe.
    ///
    /// # Errors
    /// Those of `load`. A cache that fails is none: the database answers instead.
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
        let turn = match self.ask(key, codec).await {
            ReadAnswer::Hit(shard, value) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                return Ok(CachedValue { shard, value, from_cache: true });
            }
            ReadAnswer::Lead(turn) => Some(turn),
            ReadAnswer::Pass => None,
        };
        self.misses.fetch_add(1, Ordering::Relaxed);
        let (shard, value) = load.await?;
        // A value that another shard gave belongs to an ownership that this process has not heard of yet.
        if let Some(turn) = turn.filter(|turn| turn.place.owner == shard) {
            let ttl = if codec.is_absence(&value) { self.ttl.min(ABSENCE_TTL) } else { self.ttl };
            turn.fill(&codec.encode(&value), ttl);
        }
        Ok(CachedValue { shard, value, from_cache: false })
    }

    async fn ask<C: ValueCodec>(self: &Arc<Self>, key: &CacheKey, codec: &C) -> ReadAnswer<C::Value> {
        let Some(link) = self.connector.link() else { return ReadAnswer::Pass };
        let place = self.fences.settled(key.slot()).filter(|place| place.server() == Some(&link.server));
        let Some(place) = place else { return ReadAnswer::Pass };
        let name: Arc<str> = key.under(&place.view.prefix, place.epoch).into();
        let (until, mut pause) = (Instant::now() + PATIENCE, FIRST_PAUSE);
        loop {
            let lease = FillLease::new();
            // Whatever becomes of it, the lease is given back.
            let turn = |place| {
                let flight = self.flights.begin(&name, lease);
                ReadAnswer::Lead(FillGuard {
                    cache: Arc::clone(self),
                    link: Arc::clone(&link),
                    place,
                    flight: Some(flight),
                })
            };
            let guard = PendingLookup { cache: self, link: &link, name: &name, lease, is_answered: false };
            let seen = guard.look_up().await;
            match seen {
                None => return ReadAnswer::Pass,
                Some(LookupResult::Barred) => return ReadAnswer::Pass,
                Some(LookupResult::Nothing) => return turn(place),
                Some(LookupResult::Value(entry)) => {
                    if let Some(value) = self.use_entry(key, codec, &place, &entry) {
                        return ReadAnswer::Hit(place.owner, value);
                    }
                    if !self.holds(key, &place) {
                        return ReadAnswer::Pass;
                    }
                    // It does not answer this question; what does may take its place.
                    let turn = turn(place);
                    return if link.take(&name, lease).await == Some(true) { turn } else { ReadAnswer::Pass };
                }
                Some(LookupResult::Leased) => {}
            }
            if let Some(landing) = self.flights.join(&name) {
                let entry = landing.await;
                let value = entry.and_then(|entry| self.use_entry(key, codec, &place, &entry));
                return value.map_or(ReadAnswer::Pass, |value| ReadAnswer::Hit(place.owner, value));
            }
            if Instant::now() >= until {
                return ReadAnswer::Pass;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// The value in an entry, if it may be used at this very moment.
    fn use_entry<C: ValueCodec>(
        &self,
        key: &CacheKey,
        codec: &C,
        place: &SettledSlot,
        entry: &[u8],
    ) -> Option<C::Value> {
        let value = codec.decode(value_in(entry)?)?;
        self.holds(key, place).then_some(value)
    }

    /// True if what was settled for the key still is.
    fn holds(&self, key: &CacheKey, place: &SettledSlot) -> bool {
        self.fences.settled(key.slot()).is_some_and(|now| now.is_same(place))
    }
}

/// A lookup on its way. If its answer does not come, nobody knows whether the lease was put there.
struct PendingLookup<'a> {
    cache: &'a Arc<Cache>,
    link: &'a Arc<ServerLink>,
    name: &'a Arc<str>,
    lease: FillLease,
    is_answered: bool,
}

impl PendingLookup<'_> {
    async fn look_up(mut self) -> Option<LookupResult> {
        let seen = self.cache.look_up(self.link, self.name, self.lease).await;
        self.is_answered = seen.is_some();
        seen
    }
}

impl Drop for PendingLookup<'_> {
    fn drop(&mut self) {
        if !self.is_answered && self.link.is_live() {
            self.cache.errands.send(self.link, BackgroundAction::Release(Arc::clone(self.name), self.lease));
        }
    }
}

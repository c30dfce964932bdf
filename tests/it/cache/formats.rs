//! A rolling update: for a while processes run that cache in different ways. They never show each other's values, and
//! never one that a write of the other should have removed; once those of one way are left, the cache is used again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use shardrive::cache::{Cache, CacheFormat, CacheKey, CacheSettings, CacheUrl, CachedValue, ValueCodec, WriteEffect};
use shardrive::shard::{Cluster, ShardId, Slot};

use crate::support::cache::TestCache;
use crate::support::poll;
use crate::support::servers::TestCluster;

/// A number as the release before writes it, under the only kind that it knows.
struct OldCount;
/// The same kind in the new release, which writes a field more.
struct NewCount;
/// A kind that only the new release knows.
struct NewSum;

const OLD: &[CacheFormat] = &[OldCount::FORMAT];
const NEW: &[CacheFormat] = &[NewCount::FORMAT, NewSum::FORMAT];

impl ValueCodec for OldCount {
    type Value = i64;
    const FORMAT: CacheFormat = CacheFormat { kind: "count", version: 1 };

    fn encode(&self, value: &i64) -> Vec<u8> {
        value.to_le_bytes().to_vec()
    }

    fn decode(&self, bytes: &Bytes) -> Option<i64> {
        // As one who trusts what is there: more bytes are no reason to doubt.
        bytes.first_chunk().map(|bytes| i64::from_le_bytes(*bytes))
    }
}

impl ValueCodec for NewCount {
    type Value = i64;
    const FORMAT: CacheFormat = CacheFormat { kind: "count", version: 2 };

    fn encode(&self, value: &i64) -> Vec<u8> {
        [7_i64, *value].iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    fn decode(&self, bytes: &Bytes) -> Option<i64> {
        bytes.last_chunk().map(|bytes| i64::from_le_bytes(*bytes))
    }
}

impl ValueCodec for NewSum {
    type Value = i64;
    const FORMAT: CacheFormat = CacheFormat { kind: "sum", version: 1 };

    fn encode(&self, value: &i64) -> Vec<u8> {
        value.to_le_bytes().to_vec()
    }

    fn decode(&self, bytes: &Bytes) -> Option<i64> {
        bytes.as_ref().try_into().map(i64::from_le_bytes).ok()
    }
}

/// A process of a release.
struct Process {
    cluster: Arc<Cluster>,
    cache: Arc<Cache>,
}

impl Process {
    async fn start(cluster: &TestCluster, server: &TestCache, formats: &'static [CacheFormat]) -> Self {
        let cluster = cluster.open().await;
        let url = Some(CacheUrl::parse(&server.url()).unwrap());
        let settings = CacheSettings { url, ttl: Duration::from_secs(60), formats };
        Self { cache: Cache::start(Arc::clone(&cluster), settings), cluster }
    }

    /// Reads what is in the database, through the cache.
    async fn read<C: ValueCodec<Value = i64>>(&self, codec: &C, database: &AtomicI64) -> CachedValue<i64> {
        let load = async { Ok((ShardId::default(), database.load(Ordering::SeqCst))) };
        self.cache.read(&key(C::FORMAT), codec, load).await.unwrap()
    }

    /// Changes what is in the database, as a process does that knows these formats.
    async fn write(&self, formats: &[CacheFormat], database: &AtomicI64) {
        let keys = formats.iter().map(|format| key(*format)).collect();
        let work = async { database.fetch_add(1, Ordering::SeqCst) };
        self.cache.write(keys, work, |_| WriteEffect::Committed).await.unwrap();
    }

    async fn until_cached<C: ValueCodec<Value = i64>>(&self, codec: &C, database: &AtomicI64) {
        poll::until("a hit", async || {
            let found = self.read(codec, database).await;
            if found.from_cache { Ok(()) } else { Err(found) }
        })
        .await;
    }
}

fn key(format: CacheFormat) -> CacheKey {
    CacheKey::new(Slot::of_user(1), format, 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_that_cache_in_different_ways_do_not_share_a_cache() {
    let (cluster, server) = (TestCluster::migrated(1).await, TestCache::start().await);
    let database = AtomicI64::new(1000);
    let old = Process::start(&cluster, &server, OLD).await;
    old.until_cached(&OldCount, &database).await;
    // The update begins. The new process must not see the value that is there, nor leave one of its own behind.
    let new = Process::start(&cluster, &server, NEW).await;
    for round in 0..150 {
        let now = database.load(Ordering::SeqCst);
        assert_eq!(new.read(&NewCount, &database).await.value, now, "round {round}");
        assert_eq!(new.read(&NewSum, &database).await.value, now, "round {round}");
        assert_eq!(old.read(&OldCount, &database).await.value, now, "round {round}");
        if round % 3 == 0 {
            old.write(OLD, &database).await
        } else {
            poll::short_pause().await
        }
        if round % 5 == 0 {
            new.write(NEW, &database).await;
        }
    }
    // The old ones are gone, and the cache is used again: by two of the new release together.
    old.cluster.shut_down().await;
    let second = Process::start(&cluster, &server, NEW).await;
    new.until_cached(&NewSum, &database).await;
    second.until_cached(&NewSum, &database).await;
    second.write(NEW, &database).await;
    assert_eq!(new.read(&NewSum, &database).await.value, database.load(Ordering::SeqCst));
    new.cluster.shut_down().await;
    second.cluster.shut_down().await;
}

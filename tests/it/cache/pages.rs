//! Pages from the cache: hits, misses, what every kind of write does to them, and what a move does.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shardrive::cache::{Cache, CacheFormat, CacheKey, CacheSettings, CacheUrl, ValueCodec, WriteEffect};
use shardrive::shard::{Cluster, ShardId, Slot};

use crate::support::api::{Api, json as read};
use crate::support::cache::{TestCache, hits, misses, until_in_use, until_says};
use crate::support::moves::Move;
use crate::support::poll;
use crate::support::proxy::{Mode, Proxy};
use crate::support::servers::TestCluster;

async fn store(api: &Api, user: i64, name: &str) -> String {
    let (status, stored) = api.post_json("/ingest", &json!({"user_id": user, "file_name": name})).await;
    assert_eq!(status, StatusCode::CREATED, "{stored}");
    stored["data"]["file_id"].as_str().unwrap().to_owned()
}

async fn page(api: &Api, path: &str) -> Value {
    let (status, page) = api.get_json(path).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    page
}

async fn names(api: &Api, user: i64) -> Vec<String> {
    let page = page(api, &format!("/query/{user}")).await;
    page["files"].as_array().unwrap().iter().map(|file| file["file_name"].as_str().unwrap().to_owned()).collect()
}

async fn change(api: &Api, method: Method, id: &str, body: Value) -> StatusCode {
    read(api.request(method, &format!("/files/{id}")).json(&body).send().await.unwrap()).await.0
}

#[tokio::test]
async fn a_page_that_was_read_is_answered_from_the_cache_until_anybody_writes() {
    let (cluster, cache) = (TestCluster::migrated(2).await, TestCache::start().await);
    let with_cache = [("REDIS_URL", cache.url())];
    let with_cache = with_cache.each_ref().map(|(name, value)| (*name, value.as_str()));
    let (one, two) = (Api::start_with(&cluster, &with_cache).await, Api::start_with(&cluster, &with_cache).await);
    until_says(&one, "healthy").await;
    for user in [42, 43] {
        let first = store(&one, user, "first").await;
        until_in_use(&one, user).await;
        until_in_use(&two, user).await;
        assert_eq!(names(&two, user).await, ["first"]);

        // A page says the same from the cache as from the shard.
        let second = store(&two, user, "second").await;
        let (from_shard, from_cache) =
            (page(&one, &format!("/query/{user}")).await, page(&two, &format!("/query/{user}")).await);
        assert_eq!(from_shard, from_cache);
        assert_eq!(names(&one, user).await, ["second", "first"]);

        let patch = json!({"file_name": "changed", "size_bytes": 7, "modified_at": "2024-01-02T03:04:05.678901Z"});
        assert_eq!(change(&one, Method::PATCH, &first, patch).await, StatusCode::OK);
        assert_eq!(names(&two, user).await, ["second", "changed"]);
        until_in_use(&two, user).await;
        assert_eq!(page(&one, &format!("/query/{user}")).await["files"][1]["size_bytes"], 7);

        assert_eq!(change(&two, Method::DELETE, &second, Value::Null).await, StatusCode::OK);
        assert_eq!(names(&one, user).await, ["changed"]);
        until_in_use(&one, user).await;
        assert_eq!(change(&two, Method::DELETE, &second, Value::Null).await, StatusCode::NOT_FOUND);
        assert_eq!(change(&two, Method::PATCH, &second, json!({"size_bytes": 1})).await, StatusCode::NOT_FOUND);

        let lines =
            format!("{{\"user_id\":{user},\"file_name\":\"bulk\"}}\n{{\"user_id\":{user},\"file_name\":\"load\"}}\n");
        let (status, _) = read(one.send("/ingest/bulk", "application/x-ndjson", lines).await).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(names(&two, user).await, ["load", "bulk", "changed"]);
    }
    let (_, stats) = one.get_json("/stats").await;
    assert_eq!((&stats["cache_available"], &stats["num_shards"]), (&json!(true), &json!(2)));
    let (hits, misses) = (stats["cache_hits"].as_u64().unwrap(), stats["cache_misses"].as_u64().unwrap());
    assert!(hits > 0 && misses > 0, "{stats}");
    assert!(stats["cache_hit_rate"].as_f64().unwrap() > 0.0 && stats["cache_hit_rate"].as_f64().unwrap() < 100.0);
    assert!(stats["shard_pool_sizes"]["shard_0"].as_u64().unwrap() >= 1, "{stats}");
    poll::until_true("the keys to be counted", async || {
        one.get_json("/stats").await.1["cache_keys"].as_u64() > Some(0)
    })
    .await;
}

#[tokio::test]
async fn a_page_answers_for_every_size_that_it_holds() {
    const LIMITS: [u16; 5] = [1, 2, 3, 4, 1000];
    let path = |limit: u16| format!("/query/5?limit={limit}");
    let (cluster, cache) = (TestCluster::migrated(1).await, TestCache::start().await);
    // Without a cache first, and alone: while it runs, nobody uses one.
    let plain = Api::start(&cluster).await;
    for name in ["a", "b", "c"] {
        store(&plain, 5, name).await;
    }
    let mut expected = Vec::new();
    for limit in LIMITS {
        expected.push(page(&plain, &path(limit)).await);
    }
    drop(plain);
    let api = Api::start_with(&cluster, &[("REDIS_URL", &cache.url())]).await;
    until_in_use(&api, 5).await;
    for (limit, expected) in LIMITS.into_iter().zip(expected) {
        poll::until("a hit", async || {
            let before = hits(&api).await;
            assert_eq!(page(&api, &path(limit)).await, expected, "{limit}");
            if hits(&api).await > before { Ok(()) } else { Err(limit) }
        })
        .await;
    }
    // A cursor goes on from the cached page, by the shard.
    let first = page(&api, "/query/5?limit=1").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_eq!(page(&api, &format!("/query/5?limit=1&cursor={cursor}")).await["files"][0]["file_name"], "b");
    // What was kept for a smaller page gives way to the larger one.
    store(&api, 5, "d").await;
    page(&api, "/query/5?limit=1").await;
    assert_eq!(page(&api, "/query/5").await["file_count"], 4);
    until_in_use(&api, 5).await;
}

#[tokio::test]
async fn what_nobody_told_the_service_shows_after_the_time_to_live() {
    let (cluster, cache) = (TestCluster::migrated(1).await, TestCache::start().await);
    let api = Api::start_with(&cluster, &[("REDIS_URL", &cache.url()), ("CACHE_TTL", "2")]).await;
    store(&api, 5, "before").await;
    until_in_use(&api, 5).await;
    cluster.psql(0, "UPDATE file_metadata SET file_name = 'by hand'").await.unwrap();
    poll::until("the row that was changed by hand", async || {
        let names = names(&api, 5).await;
        if names == ["by hand"] { Ok(()) } else { Err(names) }
    })
    .await;
}

#[tokio::test]
async fn a_page_that_is_too_large_is_read_from_the_shard() {
    let (cluster, cache) = (TestCluster::migrated(1).await, TestCache::start().await);
    let api = Api::start_with(&cluster, &[("REDIS_URL", &cache.url())]).await;
    store(&api, 6, "small").await;
    until_in_use(&api, 6).await;
    let sql = "INSERT INTO file_metadata (user_id, file_name)
               SELECT 5, repeat('x', 900) || n FROM generate_series(1, 1000) AS n";
    cluster.psql(0, sql).await.unwrap();
    for _ in 0..3 {
        let before = misses(&api).await;
        assert_eq!(page(&api, "/query/5").await["file_count"], 1000);
        assert_eq!(misses(&api).await, before + 1);
    }
    assert_eq!(page(&api, "/query/5?limit=1").await["file_count"], 1);
}

#[tokio::test]
async fn a_slot_that_changes_hands_takes_nothing_along() {
    let (cluster, cache) = (TestCluster::migrated(2).await, TestCache::start().await);
    let url = cache.url();
    let settings = [("REDIS_URL", url.as_str())];
    let (one, two) = (Api::start_with(&cluster, &settings).await, Api::start_with(&cluster, &settings).await);
    let id = store(&one, 7, "first").await;
    let mut size = 0;
    for (from, to) in [(1, 0), (0, 1)] {
        until_in_use(&one, 7).await;
        until_in_use(&two, 7).await;
        Move::new(&cluster, &[7], from, to).await.run().await;
        // The one may not have heard of the move yet; a write by the other one shows there at once all the same.
        for (writer, reader) in [(&one, &two), (&two, &one)] {
            size += 1;
            assert_eq!(change(writer, Method::PATCH, &id, json!({"size_bytes": size})).await, StatusCode::OK);
            let found = page(reader, "/query/7").await;
            assert_eq!(found["files"][0]["size_bytes"], size, "{found}");
        }
    }
}

/// It relies on what it saw of the old owner for the length of a lease, while the other one's writes wait for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_heard_of_a_change_of_hands_shows_nothing_old() {
    let (cluster, cache) = (TestCluster::migrated(2).await, TestCache::start().await);
    let proxies = [Proxy::start(cluster.port(0)).await, Proxy::start(cluster.port(1)).await];
    let urls = [0, 1].map(|shard| {
        cluster.url(shard).replace(&format!(":{}/", cluster.port(shard)), &format!(":{}/", proxies[shard].port()))
    });
    let url = cache.url();
    let writer = Api::start_with(&cluster, &[("REDIS_URL", &url)]).await;
    let reader =
        Api::start_with(&cluster, &[("REDIS_URL", &url), ("SHARD_0_URL", &urls[0]), ("SHARD_1_URL", &urls[1])]).await;
    let id = store(&writer, 7, "first").await;
    for round in 1..=6 {
        let (from, to) = if round % 2 == 1 { (1, 0) } else { (0, 1) };
        for api in [&writer, &reader] {
            until_in_use(api, 7).await;
        }
        page(&reader, "/query/7").await;
        let mut change = Move::new(&cluster, &[7], from, to).await;
        change.copy().await;
        for proxy in &proxies {
            proxy.set_mode(Mode::BlackHole);
        }
        change.hand_over().await;
        assert_eq!(self::change(&writer, Method::PATCH, &id, json!({"size_bytes": round})).await, StatusCode::OK);
        // It may know no better than to ask the shard, which it cannot reach; it must not answer what was.
        let asked = tokio::time::timeout(Duration::from_millis(200), page(&reader, "/query/7")).await;
        for proxy in &proxies {
            proxy.set_mode(Mode::Pass);
        }
        let found = match asked {
            Ok(found) => found,
            Err(_) => page(&reader, "/query/7").await,
        };
        assert_eq!(found["files"][0]["size_bytes"], round, "{found}");
        change.clean().await;
    }
}

/// A text is its own bytes.
struct Text;

impl ValueCodec for Text {
    type Value = String;

    const FORMAT: CacheFormat = CacheFormat { kind: "test", version: 1 };

    fn encode(&self, value: &String) -> Vec<u8> {
        value.clone().into_bytes()
    }

    fn decode(&self, bytes: &Bytes) -> Option<String> {
        String::from_utf8(bytes.to_vec()).ok()
    }
}

/// Two processes' clusters with their caches.
async fn processes(cluster: &TestCluster, cache: &TestCache) -> Vec<(Arc<Cluster>, Arc<Cache>)> {
    let mut processes = Vec::new();
    for _ in 0..2 {
        let opened = cluster.open().await;
        let url = Some(CacheUrl::parse(&cache.url()).unwrap());
        let settings = CacheSettings { url, ttl: Duration::from_secs(60), formats: &[Text::FORMAT] };
        processes.push((Arc::clone(&opened), Cache::start(opened, settings)));
    }
    let key = CacheKey::new(Slot::of_user(1), Text::FORMAT, "warm");
    for (_, cache) in &processes {
        poll::until_true("a hit", async || {
            let load = async { Ok((ShardId::default(), "warm".to_owned())) };
            cache.read(&key, &Text, load).await.unwrap().from_cache
        })
        .await;
    }
    processes
}

#[tokio::test]
async fn a_cold_key_is_read_once_however_many_ask() {
    let (cluster, server) = (TestCluster::migrated(1).await, TestCache::start().await);
    let processes = processes(&cluster, &server).await;
    let round = AtomicUsize::new(0);
    // On a machine that stands still for a moment the cache answers too late, and everybody reads by himself.
    poll::until("one reading for all", async || {
        let round = i64::try_from(round.fetch_add(1, Ordering::Relaxed)).unwrap();
        let (loads, key) = (AtomicUsize::new(0), CacheKey::new(Slot::of_user(1), Text::FORMAT, round));
        let reads = (0..200).map(|number| {
            let (cache, loads, key) = (&processes[number % 2].1, &loads, &key);
            async move {
                let load = async {
                    loads.fetch_add(1, Ordering::Relaxed);
                    poll::short_pause().await; // while the database answers, all others come
                    Ok((ShardId::default(), format!("value {round}")))
                };
                cache.read(key, &Text, load).await.unwrap().value
            }
        });
        assert!(join_all(reads).await.iter().all(|value| *value == format!("value {round}")));
        let loads = loads.into_inner();
        if loads == 1 { Ok(()) } else { Err(loads) }
    })
    .await;
    for (cluster, _) in processes {
        cluster.shut_down().await;
    }
}

#[tokio::test]
async fn what_was_read_before_a_write_is_not_kept_after_it() {
    let (cluster, server) = (TestCluster::migrated(1).await, TestCache::start().await);
    let processes = processes(&cluster, &server).await;
    let (one, two) = (&processes[0].1, &processes[1].1);
    let key = CacheKey::new(Slot::of_user(1), Text::FORMAT, "raced");
    let value = |text: &str| Ok((ShardId::default(), text.to_owned()));
    // The one reads the old value; before it is brought into the cache, the other one writes.
    let load = async {
        let work = async {
            let barred = two.read(&key, &Text, async { value("old") }).await.unwrap();
            assert!(!barred.from_cache);
        };
        two.write(vec![key.clone()], work, |()| WriteEffect::Committed).await.unwrap();
        value("old")
    };
    assert_eq!(one.read(&key, &Text, load).await.unwrap().value, "old");
    // Whoever begins now must not see what the one brings.
    poll::until("a hit", async || {
        let found = two.read(&key, &Text, async { value("new") }).await.unwrap();
        assert_eq!(found.value, "new");
        if found.from_cache { Ok(()) } else { Err(()) }
    })
    .await;
    // A write that came to nothing frees the key; one of which nobody knows keeps it barred.
    one.write(vec![key.clone()], ready(()), |()| WriteEffect::Nothing).await.unwrap();
    poll::until_true("a hit", async || two.read(&key, &Text, async { value("new") }).await.unwrap().from_cache).await;
    one.write(vec![key.clone()], ready(()), |()| WriteEffect::Unknown).await.unwrap();
    for _ in 0..20 {
        assert!(!two.read(&key, &Text, async { value("new") }).await.unwrap().from_cache);
    }
    for (cluster, _) in processes {
        cluster.shut_down().await;
    }
}

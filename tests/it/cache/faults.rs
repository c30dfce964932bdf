//! A cache server that dies, hangs, forgets everything or comes back with what it once knew; and programs without one.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::api::Api;
use crate::support::cache::{TestCache, until_in_use, until_says, url_of};
use crate::support::poll;
use crate::support::proxy::{Mode, Proxy};
use crate::support::race::Race;
use crate::support::servers::TestCluster;

async fn store(api: &Api, user: i64) -> String {
    let (status, stored) = api.post_json("/ingest", &json!({"user_id": user, "file_name": "a"})).await;
    assert_eq!(status, StatusCode::CREATED, "{stored}");
    stored["data"]["file_id"].as_str().unwrap().to_owned()
}

async fn set_size(api: &Api, id: &str, size: i64) {
    let request = api.request(Method::PATCH, &format!("/files/{id}")).json(&json!({"size_bytes": size}));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
}

async fn size(api: &Api, user: i64) -> serde_json::Value {
    api.get_json(&format!("/query/{user}")).await.1["files"][0]["size_bytes"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_hangs_or_forgets_costs_no_request() {
    let (cluster, mut cache) = (TestCluster::migrated(2).await, TestCache::start().await);
    let url = cache.url();
    let settings = [("REDIS_URL", url.as_str())];
    let apis = [Api::start_with(&cluster, &settings).await, Api::start_with(&cluster, &settings).await];
    let bases = apis.each_ref().map(|api| api.base().to_owned());
    let race = Race::start(&bases, 0..4).await;
    until_in_use(&apis[0], 9).await;
    race.wait_for_answers(300).await;

    cache.server.kill();
    until_says(&apis[0], "unhealthy").await;
    race.wait_for_writes(50).await;
    assert_eq!(apis[0].get_json("/stats").await.1["cache_keys"], json!(null));
    cache.server.start().await.unwrap();
    until_says(&apis[0], "healthy").await;
    until_in_use(&apis[1], 9).await;
    race.wait_for_answers(300).await;

    cache.server.pause();
    until_says(&apis[1], "unhealthy").await;
    race.wait_for_writes(50).await;
    // Known to hang: nobody waits for it any more.
    let asked = Instant::now();
    for _ in 0..20 {
        assert_eq!(apis[1].get("/query/9").await.status(), StatusCode::OK);
    }
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    cache.server.resume();
    until_says(&apis[1], "healthy").await;
    until_in_use(&apis[0], 9).await;

    for _ in 0..10 {
        cache.server.command("FLUSHALL").unwrap();
        race.wait_for_answers(50).await;
    }
    let seen = race.stop().await;
    seen.assert_never_stale();
    seen.assert_no_failure();
    for api in &apis {
        assert!(!api.log().contains("panicked"), "{}", api.log());
    }
}

/// Also at the start, and with a rate limit that all processes share.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_cable_to_the_server_slows_nobody() {
    let (cluster, cache) = (TestCluster::migrated(1).await, TestCache::start().await);
    let proxy = Proxy::start(cache.server.port()).await;
    proxy.set_mode(Mode::BlackHole);
    let url = url_of(proxy.port());
    let api = Api::start_with(&cluster, &[("REDIS_URL", &url), ("SHARDRIVE_RATE_LIMIT_PER_S", "100000")]).await;
    let requests = async || {
        let begun = Instant::now();
        for user in 0..50 {
            store(&api, user).await;
            assert_eq!(api.get(&format!("/query/{user}")).await.status(), StatusCode::OK);
        }
        // A wait for the server by each of them would be far longer.
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    };
    requests().await;
    proxy.set_mode(Mode::Pass);
    until_in_use(&api, 5).await;
    for mode in [Mode::BlackHole, Mode::Refuse] {
        proxy.set_mode(mode);
        requests().await;
        until_says(&api, "unhealthy").await;
        requests().await;
        proxy.set_mode(Mode::Pass);
        until_in_use(&api, 5).await;
    }
}

#[tokio::test]
async fn what_an_old_dump_brings_back_is_not_shown() {
    let (cluster, mut cache) = (TestCluster::migrated(1).await, TestCache::start().await);
    let api = Api::start_with(&cluster, &[("REDIS_URL", &cache.url())]).await;
    let id = store(&api, 5).await;
    set_size(&api, &id, 1).await;
    until_in_use(&api, 5).await;
    assert!(cache.server.command("SAVE").unwrap().contains("OK"));
    cache.server.kill();
    set_size(&api, &id, 2).await;
    cache.server.start().await.unwrap();
    let keys = cache.server.command("KEYS *").unwrap();
    assert!(keys.contains(":page:5"), "the dump brought the page back: {keys}");
    until_in_use(&api, 5).await;
    assert_eq!(size(&api, 5).await, 2);
}

#[tokio::test]
async fn a_program_without_the_setting_is_not_deceived_and_deceives_nobody() {
    let (cluster, cache) = (TestCluster::migrated(1).await, TestCache::start().await);
    let with = Api::start_with(&cluster, &[("REDIS_URL", &cache.url())]).await;
    let id = store(&with, 5).await;
    until_in_use(&with, 5).await;
    let mut without = Api::start(&cluster).await;
    for number in 1..20 {
        set_size(&without, &id, number).await;
        assert_eq!(size(&with, 5).await, number);
    }
    assert_eq!(without.get_json("/health").await.1["cache"], "disabled");
    poll::until_true("the warning", async || without.log().contains("has no REDIS_URL")).await;
    until_says(&with, "healthy").await;
    without.sigterm();
    assert!(without.wait_for_exit().await, "{}", without.log());
    until_in_use(&with, 5).await;
}

#[tokio::test]
async fn programs_with_different_servers_use_none() {
    let (cluster, one, two) = (TestCluster::migrated(1).await, TestCache::start().await, TestCache::start().await);
    let first = Api::start_with(&cluster, &[("REDIS_URL", &one.url())]).await;
    let id = store(&first, 5).await;
    until_in_use(&first, 5).await;
    let second = Api::start_with(&cluster, &[("REDIS_URL", &two.url())]).await;
    for number in 1..30 {
        let (writer, reader) = if number % 2 == 0 { (&first, &second) } else { (&second, &first) };
        set_size(writer, &id, number).await;
        assert_eq!(size(reader, 5).await, number);
    }
}

#[tokio::test]
async fn a_server_that_will_not_do_is_said_and_not_used() {
    let (cluster, cache) = (TestCluster::migrated(1).await, TestCache::start().await);
    let replica = TestCache::start().await;
    let port = cache.server.port();
    assert!(replica.server.command(&format!("REPLICAOF 127.0.0.1 {port}")).unwrap().contains("OK"));
    let api = Api::start_with(&cluster, &[("REDIS_URL", &replica.url().replace("//", "//:secret@"))]).await;
    poll::until_true("the reason", async || api.log().contains("cannot be used")).await;
    let id = store(&api, 5).await;
    set_size(&api, &id, 3).await;
    assert_eq!(size(&api, 5).await, 3);
    assert_eq!(api.get_json("/health").await.1["cache"], "unhealthy");
    assert!(!api.log().contains("secret"), "{}", api.log());

    let nobody = Api::start_with(&cluster, &[("REDIS_URL", &url_of(1))]).await;
    until_says(&nobody, "unhealthy").await;
    set_size(&nobody, &id, 4).await;
    assert_eq!(size(&nobody, 5).await, 4);
}

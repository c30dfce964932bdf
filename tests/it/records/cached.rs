//! Documents from the cache: hits, misses, and every kind of change seen at once by every process.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::api::{Api, json as parts};
use crate::support::cache::{TestCache, hits, misses};
use crate::support::poll;
use crate::support::servers::TestCluster;

async fn call(api: &Api, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
    parts(api.request(method, path).json(body).send().await.unwrap()).await
}

/// Two processes with one cache, which answers both.
async fn two(cluster: &TestCluster, cache: &TestCache) -> [Api; 2] {
    let url = cache.url();
    let settings = [("REDIS_URL", url.as_str())];
    let apis = [Api::start_with(cluster, &settings).await, Api::start_with(cluster, &settings).await];
    apis[0].post_json("/write", &json!({"key": "warm", "value": 1})).await;
    for api in &apis {
        poll::until("a hit", async || {
            let (_, found) = api.get_json("/read/warm").await;
            if found["from_cache"] == true { Ok(()) } else { Err(found) }
        })
        .await;
    }
    apis
}

#[tokio::test]
async fn a_second_read_comes_from_the_cache_until_somebody_writes() {
    let (cluster, cache) = (TestCluster::migrated(2).await, TestCache::start().await);
    let [first, second] = two(&cluster, &cache).await;
    let read = async |api: &Api, key: &str| {
        let (status, found) = api.get_json(&format!("/read/{key}")).await;
        (status, found["value"].clone(), found["from_cache"].clone())
    };
    for number in 0..20 {
        first.post_json("/write", &json!({"key": "user:123", "value": number})).await;
        let (status, value, _) = read(&second, "user:123").await;
        assert_eq!((status, value), (StatusCode::OK, json!(number)));
        second.post_json("/write", &json!({"key": "user:123", "value": -number})).await;
        assert_eq!(read(&first, "user:123").await.1, json!(-number));
    }
    poll::until("a hit", async || {
        let found = read(&first, "user:123").await;
        if found == (StatusCode::OK, json!(-19), json!(true)) { Ok(()) } else { Err(found) }
    })
    .await;
    let (_, cached) = first.get_json("/read/user:123").await;
    let (_, record) = second.get_json("/records/kv/user:123").await;
    assert_eq!((&cached["created_at"], &cached["updated_at"]), (&record["created_at"], &record["updated_at"]));
    assert_eq!((&record["from_cache"], &record["shard_id"]), (&json!(true), &json!(1)), "the same document: {record}");
    let stats = first.get_json("/stats").await.1;
    assert_eq!(stats["cache_available"], true);
    assert!(hits(&first).await > 0 && misses(&first).await > 0 && stats["cache_hit_rate"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn every_kind_of_change_is_seen_at_once() {
    let (cluster, cache) = (TestCluster::migrated(2).await, TestCache::start().await);
    let [first, second] = two(&cluster, &cache).await;
    let path = "/records/kv/doc";
    let seen = async || {
        // Twice, so that the next change finds it cached.
        second.get_json(path).await;
        let (status, found) = second.get_json(path).await;
        (status, found["document"].clone())
    };
    for round in 0..10 {
        // That there is nothing is cached, too.
        assert_eq!(seen().await.0, StatusCode::NOT_FOUND, "round {round}");
        let request = first.request(Method::PUT, path).header("if-none-match", "*").json(&json!({"a": 1}));
        let (status, created) = parts(request.send().await.unwrap()).await;
        assert_eq!(status, StatusCode::CREATED);
        assert_eq!(seen().await, (StatusCode::OK, json!({"a": 1})), "round {round}");
        call(&first, Method::PATCH, path, &json!({"b": 2})).await;
        assert_eq!(seen().await, (StatusCode::OK, json!({"a": 1, "b": 2})), "round {round}");
        let old = first.request(Method::PUT, path).header("if-match", format!("\"{}\"", created["version"]));
        assert_eq!(old.json(&json!(0)).send().await.unwrap().status(), StatusCode::PRECONDITION_FAILED);
        assert_eq!(seen().await.1, json!({"a": 1, "b": 2}), "round {round}");
        call(&first, Method::PUT, path, &json!("put")).await;
        assert_eq!(seen().await.1, json!("put"), "round {round}");
        call(&first, Method::DELETE, path, &json!(null)).await;
    }
    let body = "{\"userId\": 7, \"data\": \"from a stream\"}\n";
    call(&first, Method::PUT, "/records/store/7", &json!({"userId": 7, "data": 1})).await;
    second.get_json("/store/7").await;
    second.get_json("/store/7").await;
    assert_eq!(first.send("/records/store", "application/x-ndjson", body).await.status(), StatusCode::OK);
    assert_eq!(second.get_json("/store/7").await.1["data"], "from a stream");
}

#[tokio::test]
async fn a_lost_cache_makes_documents_slower_and_nothing_else() {
    let (cluster, mut cache) = (TestCluster::migrated(1).await, TestCache::start().await);
    let [first, second] = two(&cluster, &cache).await;
    cache.server.kill();
    for number in 0..30 {
        let (status, answer) = first.post_json("/write", &json!({"key": "warm", "value": number})).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let (status, found) = second.get_json("/read/warm").await;
        assert_eq!((status, &found["value"], &found["from_cache"]), (StatusCode::OK, &json!(number), &json!(false)));
    }
    cache.server.start().await.unwrap();
    poll::until("a hit", async || {
        let (status, found) = second.get_json("/read/warm").await;
        assert_eq!((status, &found["value"]), (StatusCode::OK, &json!(29)));
        if found["from_cache"] == true { Ok(()) } else { Err(found) }
    })
    .await;
}

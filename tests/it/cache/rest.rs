//! Shards at rest: in a cluster of many shards, a shard that no request needs is looked at once a second, so that what a
//! process knows of the shard's fence is mostly too old to rely on.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shardrive::local_servers::database_name;
use shardrive::shard::{ShardOptions, migrate};

use crate::support::api::{Api, json as read};
use crate::support::cache::{TestCache, until_in_use, until_says};
use crate::support::poll;
use crate::support::servers::{CONNECT, TestCluster, value};

/// One more than the shards that never rest.
const SHARDS: usize = 33;
const SERVERS: usize = 6;

/// The URLs of so many databases on the cluster's servers, each of them a shard.
async fn many_shards(cluster: &TestCluster) -> Vec<String> {
    let mut urls = Vec::new();
    for shard in 0..SHARDS {
        let server = shard % SERVERS;
        let name = format!("rest_{shard}");
        cluster.psql(server, &format!("CREATE DATABASE {name}")).await.unwrap();
        urls.push(cluster.url(server).replace(&database_name(server), &name));
    }
    let options: Vec<ShardOptions> = urls.iter().map(|url| ShardOptions::parse(url).unwrap()).collect();
    migrate(&options, CONNECT).await.unwrap();
    urls
}

/// Waits until no process has read the fence of this user's shard for longer than such a reading is relied on.
async fn until_at_rest(cluster: &TestCluster, user: i64) {
    let shard = usize::try_from(user).unwrap() % SHARDS;
    let last = format!(
        "SELECT coalesce(max(query_start) < clock_timestamp() - interval '450 milliseconds', true) FROM pg_stat_activity \
         WHERE datname = 'rest_{shard}' AND query LIKE '%cache_fence%'"
    );
    let mut session = cluster.connect(shard % SERVERS).await;
    poll::until_true("a shard at rest", async || value(&mut session, &last).await).await;
}

async fn names(api: &Api, user: i64) -> Vec<Value> {
    let (status, page) = api.get_json(&format!("/query/{user}")).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    page["files"].as_array().unwrap().iter().map(|file| file["file_name"].clone()).collect()
}

#[tokio::test]
async fn a_shard_at_rest_takes_writes_and_shows_nothing_old() {
    let (cluster, cache) = (TestCluster::start(SERVERS).await, TestCache::start().await);
    let urls = many_shards(&cluster).await;
    let url = cache.url();
    let settings = [("REDIS_URL", url.as_str()), ("DB_POOL_MIN_SIZE", "0"), ("DB_POOL_MAX_SIZE", "3")];
    let (one, two) = (Api::start_on(&urls, &settings).await, Api::start_on(&urls, &settings).await);
    until_says(&one, "healthy").await;
    let user = 32;
    let (status, stored) = one.post_json("/ingest", &json!({"user_id": user, "file_name": "0"})).await;
    assert_eq!(status, StatusCode::CREATED, "{stored}");
    let path = format!("/files/{}", stored["data"]["file_id"].as_str().unwrap());
    // Both processes hold the page in the cache.
    until_in_use(&one, user).await;
    until_in_use(&two, user).await;
    for name in ["1", "2"] {
        until_at_rest(&cluster, user).await;
        let change = one.request(Method::PATCH, &path).json(&json!({"file_name": name}));
        let (status, changed) = read(change.send().await.unwrap()).await;
        assert_eq!(status, StatusCode::OK, "{changed}");
        // Twice: the first read may find the fence too old, and go to the shard.
        assert_eq!([names(&two, user).await, names(&two, user).await], [[name], [name]]);
    }
    until_at_rest(&cluster, user).await;
    assert_eq!(names(&one, user).await, ["2"]);
    // The read brings the cache back into use.
    until_in_use(&one, user).await;
}

//! Reads that may be a little old, on a real streaming standby whose replay can be held.
//!
//! With two shards, even users are on shard 0 and odd ones on shard 1. Shard 0 has the replica.

use reqwest::StatusCode;
use serde_json::{Value, json};
use shardrive::local_servers::{PostgresServer, database_name};

use crate::support::api::Api;
use crate::support::moves::Move;
use crate::support::poll;
use crate::support::servers::{TestCluster, run, value};

/// A lag that no test reaches, and one that each does.
const ANY_LAG: &str = "600000";
const LITTLE_LAG: &str = "300";

struct Setting {
    cluster: TestCluster,
    standby: PostgresServer,
}

async fn start() -> Setting {
    let cluster = TestCluster::migrated(2).await;
    let standby = cluster.standby(0).await;
    Setting { cluster, standby }
}

impl Setting {
    async fn api(&self, max_lag: &str) -> Api {
        let replica = self.standby.url(&database_name(0));
        let settings = [
            ("SHARDRIVE_SHARD_0_REPLICA_URLS", replica.as_str()),
            ("SHARDRIVE_REPLICA_MAX_LAG_MS", max_lag),
            // A replica's age is known from the first probe on that finds it at a place of the primary: before its
            // replay is held.
            ("SHARDRIVE_HEALTH_INTERVAL_MS", "20"),
        ];
        Api::start_with(&self.cluster, &settings).await
    }

    async fn hold_replay(&self, hold: bool) {
        let mut db = self.standby.connect(&database_name(0)).await.unwrap();
        let sql = if hold { "SELECT pg_wal_replay_pause()" } else { "SELECT pg_wal_replay_resume()" };
        run(&mut db, sql).await.unwrap();
        if hold {
            poll::until_true("the replay to be held", async || {
                value::<String>(&mut db, "SELECT pg_get_wal_replay_pause_state()").await == "paused"
            })
            .await;
        }
    }

    /// What the standby itself shows.
    async fn on_standby(&self, user: i64) -> i64 {
        let mut db = self.standby.connect(&database_name(0)).await.unwrap();
        value(&mut db, &format!("SELECT count(*) FROM file_metadata WHERE user_id = {user}")).await
    }
}

async fn store(api: &Api, user: i64) {
    let (status, answer) = api.post_json("/ingest", &json!({"user_id": user, "file_name": "a"})).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
}

async fn count(api: &Api, user: i64, consistency: &str) -> u64 {
    let (status, page) = api.get_json(&format!("/query/{user}?consistency={consistency}")).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    page["file_count"].as_u64().unwrap()
}

/// Waits until eventual reads of the user come from the replica: its replay is held, and they lack what was stored
/// since.
async fn until_from_replica(api: &Api, user: i64, count_there: u64) {
    poll::until("a read on the replica", async || match count(api, user, "eventual").await {
        found if found == count_there => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_reads_that_say_so_may_be_old_and_by_no_more_than_allowed() {
    let setting = start().await;
    let (any, little) = (setting.api(ANY_LAG).await, setting.api(LITTLE_LAG).await);
    store(&any, 42).await;
    poll::until_true("the standby to follow", async || setting.on_standby(42).await == 1).await;
    setting.hold_replay(true).await;
    store(&any, 42).await;
    until_from_replica(&any, 42, 1).await;
    for _ in 0..20 {
        assert_eq!(count(&any, 42, "strict").await, 2, "a strict read is never old");
        assert_eq!(any.get_json("/query/42").await.1["file_count"], 2, "nor one that says nothing");
        assert_eq!(count(&any, 42, "eventual").await, 1);
    }
    // Streams and short pages, too.
    let stream =
        any.request(reqwest::Method::GET, "/query/42?consistency=eventual").header("Accept", "application/x-ndjson");
    assert_eq!(stream.send().await.unwrap().text().await.unwrap().lines().count(), 1);
    // Where less is allowed, the primary answers from then on.
    poll::until("the lagging replica to be left out", async || match count(&little, 42, "eventual").await {
        2 => Ok(()),
        other => Err(other),
    })
    .await;
    for _ in 0..20 {
        store(&little, 44).await;
        let stored = count(&little, 44, "strict").await;
        assert_eq!(count(&little, 44, "eventual").await, stored);
    }
    setting.hold_replay(false).await;
    poll::until_true("the replica to catch up", async || count(&any, 42, "eventual").await == 2).await;

    let (status, problem) = any.get_json("/query/42?consistency=maybe").await;
    assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!("consistency")));
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_may_come_from_a_replica() {
    let setting = start().await;
    let api = setting.api(ANY_LAG).await;
    let declared = json!({"shard_key": "user_id", "key_type": "integer", "records_per_key": "many"});
    let declare = api.request(reqwest::Method::PUT, "/collections/orders").json(&declared).send().await.unwrap();
    assert!(declare.status().is_success(), "{}", declare.text().await.unwrap());
    let (_, first) = api.post_json("/records/orders", &json!({"user_id": 42, "n": 1})).await;
    let path = format!("/records/orders/{}", first["key"].as_str().unwrap());
    poll::until_true("the standby to follow", async || {
        let mut db = setting.standby.connect(&database_name(0)).await.unwrap();
        value::<i64>(&mut db, "SELECT count(*) FROM records WHERE collection = 'orders'").await == 1
    })
    .await;
    setting.hold_replay(true).await;
    let changed = api.request(reqwest::Method::PUT, &path).json(&json!({"user_id": 42, "n": 2})).send().await.unwrap();
    assert!(changed.status().is_success(), "{}", changed.text().await.unwrap());
    api.post_json("/records/orders", &json!({"user_id": 42, "n": 3})).await;
    let n = async |query: &str| -> Value { api.get_json(&format!("{path}{query}")).await.1["document"]["n"].clone() };
    let list = async |query: &str| -> Value {
        api.get_json(&format!("/records/orders?shard_key=42{query}")).await.1["record_count"].clone()
    };
    poll::until_true("a read on the replica", async || n("?consistency=eventual").await == 1).await;
    assert_eq!(list("&consistency=eventual").await, 1);
    assert_eq!((n("").await, n("?consistency=strict").await), (json!(2), json!(2)));
    assert_eq!(list("").await, 2);
    setting.hold_replay(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_does_not_answer_for_a_slot_that_changed_hands() {
    let setting = start().await;
    // The first has heard of the moves; the second goes by how old the replica is.
    let (told, untold) = (setting.api(ANY_LAG).await, setting.api(LITTLE_LAG).await);
    store(&told, 0).await;
    store(&told, 42).await;
    poll::until_true("the standby to follow", async || setting.on_standby(42).await == 1).await;
    setting.hold_replay(true).await;
    store(&told, 42).await;
    until_from_replica(&told, 42, 1).await;
    // Away and back: the replica sees the shard as the owner all the time, with the rows of before.
    Move::new(&setting.cluster, &[0], 0, 1).await.run().await;
    store(&told, 0).await;
    assert_eq!(count(&told, 0, "eventual").await, 2, "the new owner answers");
    Move::new(&setting.cluster, &[0], 1, 0).await.run().await;
    store(&told, 0).await;
    for _ in 0..20 {
        assert_eq!(count(&told, 0, "eventual").await, 3, "the replica knows of none of this");
    }
    poll::until_true("the second process to leave the replica out", async || count(&untold, 0, "eventual").await == 3)
        .await;
    for _ in 0..20 {
        assert_eq!(count(&untold, 0, "eventual").await, 3);
    }
    setting.hold_replay(false).await;
    poll::until_true("the standby to follow", async || setting.on_standby(0).await == 3).await;
    assert_eq!(count(&told, 0, "eventual").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_away_or_was_promoted_is_left_out() {
    let mut setting = start().await;
    let api = setting.api(ANY_LAG).await;
    store(&api, 42).await;
    poll::until_true("the standby to follow", async || setting.on_standby(42).await == 1).await;
    setting.standby.kill().await;
    store(&api, 42).await;
    for _ in 0..20 {
        assert_eq!(count(&api, 42, "eventual").await, 2);
    }
    setting.standby.start().await.unwrap();
    poll::until_true("the standby to follow", async || setting.on_standby(42).await == 2).await;
    // Promoted behind the service's back, it holds a history of its own.
    let mut db = setting.standby.connect(&database_name(0)).await.unwrap();
    assert!(value::<bool>(&mut db, "SELECT pg_promote(true, 60)").await);
    store(&api, 42).await;
    poll::until("the promoted one to be left out", async || match count(&api, 42, "eventual").await {
        3 => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(count(&api, 42, "strict").await, 3);
}

//! Sizes are what clients say: no sum of them stops the counts, the statistics, an audit, a move or a DELETE.

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::poll;
use crate::support::program::shardrive;
use crate::support::servers::TestCluster;

/// As a provider's fault listed it.
const LISTING: &str = r#"[
{"Path":"bogus-a","Name":"bogus-a","Size":9223372036854775807,"MimeType":"a/b","ModTime":"2024-01-01T00:00:00Z","IsDir":false},
{"Path":"bogus-b","Name":"bogus-b","Size":9223372036854775807,"MimeType":"a/b","ModTime":"2024-01-01T00:00:00Z","IsDir":false}
]"#;

/// A busy machine is no fault of a shard here.
const PATIENT: [(&str, &str); 4] = [
    ("SHARDRIVE_HEALTH_TIMEOUT_MS", "20000"),
    ("SHARDRIVE_CONNECT_TIMEOUT_MS", "20000"),
    ("SHARDRIVE_MOVE_TIMEOUT_MS", "30000"),
    ("SHARDRIVE_STATS_TIMEOUT_MS", "30000"),
];

async fn shards(cluster: &TestCluster, arguments: &[&str]) -> Value {
    let all = [&["shards"], arguments, &["--json"]].concat();
    let variables: Vec<_> = cluster
        .variables()
        .into_iter()
        .chain(PATIENT.map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect();
    let done = shardrive(&all, &variables).await;
    assert_eq!(done.code, 0, "{arguments:?}: {done:?}");
    done.json()
}

async fn until_folded(cluster: &TestCluster, shard: usize) {
    poll::until("the deltas to be folded", async || {
        let left =
            "SELECT (SELECT count(*) FROM shardrive.slot_deltas) + (SELECT count(*) FROM shardrive.record_deltas)";
        let left: i64 = cluster.value(shard, left).await;
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
}

async fn expect_totals(api: &Api, records: u64, bytes: i64) {
    for path in ["/stats", "/stats?exact=scan"] {
        let (status, stats) = api.get_json(path).await;
        assert_eq!((status.as_u16(), &stats["complete"]), (200, &json!(true)), "{path}: {stats}");
        let totals = (&stats["total_records"], &stats["total_bytes"]);
        assert_eq!(totals, (&json!(records), &json!(bytes)), "{path}: {stats}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_of_any_sizes_hold() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start_with(&cluster, &PATIENT).await;
    // Three users of one slot and one of the other shard.
    for user in [0, 5040, 1] {
        let file = json!({"user_id": user, "file_name": "huge", "size_bytes": i64::MAX});
        assert_eq!(api.post_json("/ingest", &file).await.0, 201);
    }
    let (status, loaded) = {
        let answer = api.send("/ingest/bulk?format=lsjson&user_id=10080", "application/json", LISTING).await;
        crate::support::api::json(answer).await
    };
    assert_eq!((status.as_u16(), &loaded["inserted"]), (200, &json!(2)), "{loaded}");
    api.post_json("/store", &json!({"userId": 2, "data": "a document"})).await;
    until_folded(&cluster, 0).await;
    let kept: String = cluster.value(0, "SELECT bytes::text FROM shardrive.slot_counts WHERE slot = 0").await;
    assert_eq!(kept, "36893488147419103228", "four times 2^63 - 1");
    // What an answer can hold.
    expect_totals(&api, 5, i64::MAX).await;

    shards(&cluster, &["verify"]).await;
    let moved = shards(&cluster, &["move", "--slots", "0", "--to", "1", "--rollback-window", "0"]).await;
    assert_eq!(moved[0]["stage"], "done", "{moved}");
    assert_eq!(shards(&cluster, &["verify"]).await["ok"], true);
    until_folded(&cluster, 1).await;
    assert_eq!(cluster.psql(1, "DELETE FROM file_metadata").await.unwrap(), 5);
    until_folded(&cluster, 1).await;
    expect_totals(&api, 0, 0).await;
    shards(&cluster, &["verify"]).await;
}

#[tokio::test]
async fn what_stops_the_counts_of_files_does_not_stop_those_of_documents() {
    let cluster = TestCluster::migrated(1).await;
    cluster.psql(0, "ALTER TABLE shardrive.slot_counts ADD CONSTRAINT full_up CHECK (rows < 1)").await.unwrap();
    let api = Api::start(&cluster).await;
    api.post_json("/ingest", &json!({"user_id": 1, "file_name": "a", "size_bytes": 7})).await;
    api.post_json("/store", &json!({"userId": 1, "data": "a document"})).await;
    poll::until("the documents' deltas to be folded", async || {
        let left: i64 = cluster.value(0, "SELECT count(*) FROM shardrive.record_deltas").await;
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
    // Nothing of the answer is missing or late.
    let (_, stats) = api.get_json("/stats").await;
    assert_eq!((&stats["complete"], &stats["total_bytes"]), (&json!(true), &json!(7)), "{stats}");
    assert_eq!(stats["shards"][0]["status"], "healthy", "{stats}");
}

#[tokio::test]
async fn a_shard_that_fails_is_not_said_to_be_late() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    cluster.psql(0, "ALTER TABLE shardrive.coverage RENAME TO lost").await.unwrap();
    let (_, stats) = api.get_json("/stats").await;
    assert_eq!((&stats["complete"], &stats["shards"][0]["status"]), (&json!(false), &json!("failed")), "{stats}");
    poll::until("the fault in the log", async || {
        if api.log().contains("counting on shard 0 failed") { Ok(()) } else { Err(api.log()) }
    })
    .await;
}

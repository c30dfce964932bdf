//! What a plan says before anything moves, and what a rebalance makes of users whose numbers come in steps.

use serde_json::Value;

use super::shards;
use crate::support::api::Api;
use crate::support::servers::TestCluster;

#[tokio::test]
async fn a_plan_counts_the_disk_of_rows_that_came_just_now() {
    let cluster = TestCluster::migrated(2).await;
    // Nobody folds the counts: there is no API process.
    let rows =
        "INSERT INTO file_metadata (user_id, file_name) SELECT n * 2, 'file ' || n FROM generate_series(1, 451) AS n";
    cluster.psql(0, rows).await.unwrap();
    let plan = shards(&cluster, &["move", "--slots", "0-902", "--to", "1", "--dry-run"]).await.json();
    assert_eq!(plan["rows"], 451, "{plan}");
    let size: i64 = cluster.value(0, "SELECT pg_total_relation_size('file_metadata')").await;
    let needed = plan["moves"][0]["disk"]["needed_bytes"].as_i64().unwrap();
    assert!(needed >= size, "{needed} of {size}: all rows of the table are in these slots");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_in_steps_begin_on_one_shard_and_are_evened_out() {
    let cluster = TestCluster::migrated(2).await;
    let rows =
        "INSERT INTO file_metadata (user_id, file_name) SELECT n::bigint << 22, 'a' FROM generate_series(1, 2000) AS n";
    cluster.psql(0, rows).await.unwrap();
    let api = Api::start(&cluster).await;
    let (_, analysis) = api.get_json("/admin/analysis?shards=2").await;
    assert_eq!(analysis["slots_in_use"], 315, "{analysis}");
    let note = analysis["note"].as_str().unwrap_or_else(|| panic!("{analysis}"));
    assert!(note.contains("shard 0 holds 100 %") && note.contains("steps of 16"), "{note}");
    let done = shards(&cluster, &["rebalance", "--rollback-window", "0"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    for shard in 0..2 {
        let count = "SELECT count(*) FROM file_metadata AS f JOIN shardrive.slot_map AS m ON m.slot = f.user_id % 5040 \
                     WHERE m.owner = (SELECT shard_id FROM shardrive.identity)";
        let rows: i64 = cluster.value(shard, count).await;
        assert!((900..=1100).contains(&rows), "shard {shard} has {rows} of 2000");
    }
    let (_, analysis) = api.get_json("/admin/analysis?shards=2").await;
    assert_eq!(analysis["note"], Value::Null, "{analysis}");
}

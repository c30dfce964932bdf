//! `shardrive shards verify`: content with a sound cluster, and not with faults that were planted.

use shardrive::shard::{IdClock, Slot};

use crate::support::api::Api;
use crate::support::program::{CommandOutput, shardrive};
use crate::support::servers::TestCluster;

async fn verify(cluster: &TestCluster) -> CommandOutput {
    shardrive(&["shards", "verify", "--json"], &cluster.variables()).await
}

/// Verifies, and expects these findings and no others.
async fn expect(cluster: &TestCluster, findings: &[&str]) {
    let done = verify(cluster).await;
    let found = done.json();
    let listed: Vec<_> = found["findings"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(listed, findings, "{done:?}");
    assert_eq!(found["total_findings"], findings.len());
    assert_eq!((found["ok"].as_bool(), done.code), (Some(findings.is_empty()), i32::from(!findings.is_empty())));
}

#[tokio::test]
async fn a_sound_cluster_is_content() {
    let cluster = TestCluster::migrated(2).await;
    expect(&cluster, &[]).await;
    for shard in 0..2 {
        let sql = format!(
            "INSERT INTO file_metadata (user_id, file_name, size_bytes) SELECT 2 * n + {shard}, 'n', n FROM generate_series(1, 3000) AS n"
        );
        cluster.psql(shard, &sql).await.unwrap();
        cluster.psql(shard, "DELETE FROM file_metadata WHERE user_id < 10").await.unwrap();
    }
    expect(&cluster, &[]).await;
    let done = shardrive(&["shards", "verify"], &cluster.variables()).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("shard 0: 2,996 files, 0 folders and 0 documents, each on its owner"), "{done:?}");
}

#[tokio::test]
async fn a_stray_row_is_found() {
    let cluster = TestCluster::migrated(2).await;
    let plant =
        "SET session_replication_role = replica; INSERT INTO file_metadata (user_id, file_name) VALUES (43, 'x')";
    cluster.psql(0, plant).await.unwrap();
    expect(
        &cluster,
        &[
            "shard 0 holds 1 rows of file_metadata in slot 43, which it does not own",
            "shard 0, slot 43: 1 rows of file_metadata and 0 bytes are there, the counts say 0 and 0",
        ],
    )
    .await;
    let done = shardrive(&["shards", "verify"], &cluster.variables()).await;
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.out.contains("WRONG: shard 0 holds 1 rows of file_metadata in slot 43"), "{done:?}");
}

#[tokio::test]
async fn a_changed_count_is_found() {
    let cluster = TestCluster::migrated(2).await;
    cluster.psql(1, "INSERT INTO file_metadata (user_id, file_name, size_bytes) VALUES (43, 'x', 10)").await.unwrap();
    cluster.psql(1, "UPDATE shardrive.slot_counts SET rows = rows + 2, bytes = 5 WHERE slot = 45").await.unwrap();
    expect(&cluster, &["shard 1, slot 45: 0 rows of file_metadata and 0 bytes are there, the counts say 2 and 5"])
        .await;
}

#[tokio::test]
async fn a_changed_count_of_a_shard_is_found() {
    let cluster = TestCluster::migrated(2).await;
    cluster.psql(1, "UPDATE shardrive.shard_counts SET bytes = 5 WHERE kind = 'documents'").await.unwrap();
    let differs = "shard 1: its counts say 0 rows of records and 5 bytes, the counts of its slots 0 and 0 together";
    expect(&cluster, &[differs]).await;
}

#[tokio::test]
async fn wrong_documents_are_found() {
    let cluster = TestCluster::migrated(2).await;
    for key in ["a", "user:123", "product:456"] {
        let shard = usize::from(key != "product:456");
        let sql = format!("INSERT INTO records (collection, key, document) VALUES ('kv', '{key}', '1')");
        cluster.psql(shard, &sql).await.unwrap();
    }
    cluster.psql(1, "INSERT INTO records (collection, key, document) VALUES ('store', '-1', '\"x\"')").await.unwrap();
    expect(&cluster, &[]).await;
    let plant = "SET session_replication_role = replica; INSERT INTO records (collection, key, slot, document) VALUES ";
    cluster.psql(0, &format!("{plant} ('kv', 'a', 43, '1')")).await.unwrap();
    cluster
        .psql(1, "INSERT INTO records (collection, key, slot, document) VALUES ('store', '7', 9, '1')")
        .await
        .unwrap();
    expect(
        &cluster,
        &[
            "shard 0 holds 1 rows of records in slot 43, which it does not own",
            "shard 0 holds 1 documents in slot 43 whose keys belong to other slots",
            "shard 0, slot 43: 1 rows of records and 1 bytes are there, the counts say 0 and 0",
            "shard 1 holds 1 documents in slot 9 whose keys belong to other slots",
        ],
    )
    .await;
}

#[tokio::test]
async fn an_id_that_carries_another_slot_is_found() {
    let cluster = TestCluster::migrated(2).await;
    let ids = IdClock::default();
    for slot in [0, 42, 43, 5039] {
        let id = ids.mint(Slot::new(slot).unwrap());
        let sql = format!("INSERT INTO file_metadata (user_id, file_id, file_name) VALUES ({slot}, '{id}', 'x')");
        cluster.psql(usize::from(slot % 2), &sql).await.unwrap();
        let carried: i32 = cluster.value(0, &format!("SELECT shardrive.slot_in('{id}')")).await;
        assert_eq!(carried, i32::from(slot), "{id}");
    }
    // Ids of other makers are any user's, on whichever shards their users live.
    for user in [42, 43, 44] {
        let sql = format!(
            "INSERT INTO file_metadata (user_id, file_id, file_name) VALUES ({user}, '3e9fb2a6-3a1f-4b5c-9d52-0a1b2c3d4e5f', 'x')"
        );
        cluster.psql(user % 2, &sql).await.unwrap();
    }
    expect(&cluster, &[]).await;
    let copy = "INSERT INTO file_metadata (user_id, file_id, file_name)
                SELECT 44, file_id, 'copied by hand' FROM file_metadata WHERE user_id = 42 AND shardrive.slot_in(file_id) = 42";
    cluster.psql(0, copy).await.unwrap();
    expect(&cluster, &["shard 0 holds 1 files in slot 44 whose ids belong to other slots"]).await;
}

#[tokio::test]
async fn a_slot_with_two_owners_and_one_with_none_are_found() {
    let cluster = TestCluster::migrated(2).await;
    cluster.psql(1, "UPDATE shardrive.slot_map SET owner = 1 WHERE slot = 42").await.unwrap();
    cluster.psql(1, "UPDATE shardrive.slot_map SET owner = 0 WHERE slot = 43").await.unwrap();
    expect(&cluster, &["slot 42 is claimed by the shards 0, 1", "slot 43 has no owner"]).await;
}

#[tokio::test]
async fn a_coverage_that_the_map_does_not_know_is_found() {
    let cluster = TestCluster::migrated(2).await;
    let behind_the_triggers =
        "SET session_replication_role = replica; UPDATE shardrive.slot_map SET owner = 1 WHERE slot = 42";
    cluster.psql(0, behind_the_triggers).await.unwrap();
    let differs = "shard 0: the map and the coverage differ in who owns slot 42";
    expect(&cluster, &[differs, "slot 42 has no owner"]).await;
}

#[tokio::test]
async fn every_shard_must_be_there() {
    let mut cluster = TestCluster::migrated(2).await;
    cluster.server(1).stop().await;
    let done = verify(&cluster).await;
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("shard 1"), "{done:?}");
}

#[tokio::test]
async fn broken_trees_are_found() {
    let cluster = TestCluster::migrated(2).await;
    let make = "SELECT shardrive.make_folders(42, '{a,b,c}'), shardrive.make_folders(42, '{a,d}')";
    cluster.psql(0, make).await.unwrap();
    let file = "INSERT INTO file_metadata (user_id, file_name, folder_id)
                SELECT 42, 'f', folder_id FROM folders WHERE folder_name IN ('c', 'd')";
    cluster.psql(0, file).await.unwrap();
    expect(&cluster, &[]).await;
    assert_eq!(verify(&cluster).await.json()["folders"]["0"], 4);
    // By hand, with the triggers off: a circle, a folder without a parent, files without a folder, one name twice,
    // another's folder.
    for plant in [
        "UPDATE folders SET parent_id = (SELECT folder_id FROM folders WHERE folder_name = 'c') WHERE folder_name = 'b'",
        "UPDATE folders SET parent_id = gen_random_uuid() WHERE folder_name = 'd'",
        "INSERT INTO file_metadata (user_id, file_name, folder_id) VALUES (44, 'x', gen_random_uuid()), (44, 'y', gen_random_uuid())",
        "INSERT INTO file_metadata (user_id, file_name, folder_id) VALUES (42, 'a', '00000000-0000-0000-0000-000000000000')",
        "SELECT shardrive.make_folders(43, '{x}')",
    ] {
        // The triggers refuse all of these.
        cluster.psql(0, &format!("SET session_replication_role = replica; {plant}")).await.unwrap();
    }
    expect(
        &cluster,
        &[
            // The triggers did not count.
            "shard 0, slot 42: 3 rows of file_metadata and 0 bytes are there, the counts say 2 and 0",
            "shard 0, slot 44: 2 rows of file_metadata and 0 bytes are there, the counts say 0 and 0",
            "shard 0, slot 42: 3 folders that no way from the root leads to",
            "shard 0, slot 42: 1 names that a file and a folder share",
            "shard 0, slot 43: 1 folders on a shard that does not own the slot",
            "shard 0, slot 44: 2 files whose folder is missing",
        ],
    )
    .await;
    // A circle ends each walk; its files have no path, and count as trash.
    let api = Api::start(&cluster).await;
    let (status, page) = api.get_json("/query/42").await;
    assert_eq!(status, 200, "{page}");
    let circle: String = cluster.value(0, "SELECT folder_id::text FROM folders WHERE folder_name = 'b'").await;
    let (status, folder) = api.get_json(&format!("/folders/{circle}?user_id=42")).await;
    assert_eq!((status.as_u16(), &folder["data"]["trashed"]), (200, &serde_json::json!(true)), "{folder}");
}

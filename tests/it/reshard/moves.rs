//! Slots move between shards under load, there and back: nobody notices, nothing is lost, and nothing is left over.
//!
//! With two shards, even users are on shard 0 and odd ones on shard 1.

use serde_json::{Value, json};

use super::{EVEN, PATIENT, moved, shards, start};
use crate::support::api::Api;
use crate::support::load::Load;
use crate::support::moved::{assert_moves_unnoticed, assert_nothing_left};
use crate::support::poll;
use crate::support::program::shardrive;
use crate::support::servers::{TestCluster, run, sqlstate};

const ALL: [i32; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 100, 101];

#[tokio::test(flavor = "multi_thread")]
async fn slots_move_under_load_and_nobody_notices() {
    let cluster = TestCluster::migrated(2).await;
    let (apis, bases) = start(&cluster, 2).await;
    let load = Load::start(&bases, 4, &ALL);
    load.wait_for_answers(60).await;
    let there = moved(&cluster, &["move", "--slots", EVEN, "--to", "1", "--rollback-window", "0"]).await;
    assert_eq!((&there["stage"], &there["verified"]), (&json!("done"), &json!(true)), "{there}");
    load.wait_for_answers(40).await;
    let back = moved(&cluster, &["move", "--slots", "0-7", "--to", "0", "--rollback-window", "0"]).await;
    assert_eq!(back["stage"], "done", "{back}");
    load.wait_for_answers(40).await;
    assert_moves_unnoticed(&cluster, &apis[0], load, 2).await;
    assert_nothing_left(&cluster, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_can_be_rolled_back_with_all_that_was_written_since() {
    let cluster = TestCluster::migrated(2).await;
    let (apis, bases) = start(&cluster, 2).await;
    let load = Load::start(&bases, 4, &ALL);
    load.wait_for_answers(40).await;
    let open = moved(&cluster, &["move", "--slots", EVEN, "--to", "1"]).await;
    assert_eq!((&open["stage"], &open["slots"]), (&json!("rollback_window"), &json!(EVEN)), "{open}");
    load.wait_for_answers(60).await;
    // Both directions are refused by the database until they are right.
    let insert = "INSERT INTO file_metadata (user_id, file_name) VALUES (2, 'by hand')";
    assert_eq!(sqlstate(cluster.psql(0, insert).await), "SD001");
    let again = shards(&cluster, &["move", "--slots", "2", "--to", "0"]).await;
    assert!(again.code == 1 && again.err.contains("slot 2 is part of move"), "{again:?}");

    let id = open["id"].to_string();
    let back = moved(&cluster, &["rollback", &id]).await;
    assert_eq!((&back["stage"], &back["outcome"]), (&json!("rolled_back"), &json!("rolled_back")), "{back}");
    // Taken back at once, as the statistics that the load watches would tell of the row.
    cluster
        .psql(0, "BEGIN; INSERT INTO file_metadata (user_id, file_name) VALUES (2, 'by hand'); ROLLBACK")
        .await
        .unwrap();
    load.wait_for_answers(40).await;
    // At once again, and this time for good.
    let open = moved(&cluster, &["move", "--slots", EVEN, "--to", "1"]).await;
    load.wait_for_answers(20).await;
    let done = moved(&cluster, &["finish", &open["id"].to_string()]).await;
    assert_eq!(done["stage"], "done", "{done}");
    let late = shards(&cluster, &["rollback", &open["id"].to_string()]).await;
    assert!(late.code == 1 && late.err.contains("is at done"), "{late:?}");
    assert_moves_unnoticed(&cluster, &apis[1], load, 2).await;
    assert_nothing_left(&cluster, 2).await;
}

/// The release does not wait for the disk, so that a server may come back with the write freeze.
#[tokio::test(flavor = "multi_thread")]
async fn slots_that_a_crash_freezes_again_are_released_again() {
    let cluster = TestCluster::migrated(2).await;
    let (mut apis, _) = start(&cluster, 1).await;
    moved(&cluster, &["move", "--slots", EVEN, "--to", "1"]).await;
    let write = json!({"user_id": 2, "file_name": "f"});
    cluster.psql(1, "UPDATE shardrive.local_moves SET frozen = true").await.unwrap();
    let refused = cluster.psql(1, "INSERT INTO file_metadata (user_id, file_name) VALUES (2, 'f')").await;
    assert_eq!(sqlstate(refused), "SD001");
    // A crash of the server ends the coordinator's sessions; so does the end of the coordinator.
    apis.clear();
    let (apis, _) = start(&cluster, 1).await;
    poll::until("the slots to be released", async || {
        let (status, answer) = apis[0].post_json("/ingest", &write).await;
        if status == 201 { Ok(()) } else { Err((status, answer)) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_differs_stops_the_move_and_is_named() {
    a_spoiled_row_is_found(3_000).await;
}

/// So large that it is compared in the order of its keys, and in more than one part.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_differs_in_a_huge_slot_is_found_as_well() {
    a_spoiled_row_is_found(70_000).await;
}

async fn a_spoiled_row_is_found(rows: u32) {
    let cluster = TestCluster::migrated(2).await;
    let fill = format!(
        "INSERT INTO file_metadata (user_id, file_name) SELECT 2 + 5040 * n, 'f' FROM generate_series(1, {rows}) AS n"
    );
    cluster.psql(0, &fill).await.unwrap();
    let (apis, _) = start(&cluster, 1).await;
    // A row that the target changes as it arrives, as a fault of the disk or a foreign trigger might.
    cluster
        .psql(
            1,
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS
                 $$BEGIN IF NEW.user_id = 5042 THEN NEW.file_name := 'other'; END IF; RETURN NEW; END$$;
             CREATE TRIGGER spoil BEFORE INSERT ON file_metadata FOR EACH ROW EXECUTE FUNCTION spoil();
             ALTER TABLE file_metadata ENABLE REPLICA TRIGGER spoil",
        )
        .await
        .unwrap();
    let stopped = shards(&cluster, &["move", "--slots", "2", "--to", "1"]).await;
    assert_eq!(stopped.code, 1, "{stopped:?}");
    assert!(stopped.err.contains("1 rows of file_metadata differ") && stopped.err.contains("5042 "), "{stopped:?}");
    let (_, stats) = apis[0].get_json("/stats").await;
    assert_eq!((&stats["total_records"], &stats["shards"][0]["slots"]), (&json!(rows), &json!(2520)), "{stats}");
    assert_nothing_left(&cluster, 2).await;
    let audit = shardrive(&["shards", "verify"], &cluster.variables()).await;
    assert_eq!(audit.code, 0, "{audit:?}");
}
#[tokio::test(flavor = "multi_thread")]
async fn a_third_shard_fills_and_empties_again_under_load() {
    let cluster = TestCluster::start(3).await;
    shardrive::shard::migrate(&cluster.options()[..2], crate::support::servers::CONNECT).await.unwrap();
    let mut apis = Vec::new();
    for _ in 0..2 {
        apis.push(Api::start_on(&cluster.urls()[..2], &PATIENT).await);
    }
    let bases: Vec<_> = apis.iter().map(|api| api.base().to_owned()).collect();
    let slots: Vec<i32> = (0..24).map(|number| number * 209).collect();
    let load = Load::start(&bases, 4, &slots);
    // Enough for 20 users, which are a whole sample.
    load.wait_for_answers(400).await;

    let (status, added) = apis[0].post_json("/admin/shards", &json!({"url": cluster.url(2)})).await;
    assert_eq!((status.as_u16(), &added["shard_id"], &added["was_there"]), (200, &json!(2), &json!(false)), "{added}");
    assert!(!added.to_string().contains("shard_pass"), "{added}");
    let (_, analysis) = apis[1].get_json("/admin/analysis?shards=3").await;
    let costs: Vec<_> = analysis["strategies"].as_array().unwrap().iter().map(|cost| cost["slots"].clone()).collect();
    assert_eq!(costs[..2], [json!(1680), json!(3360)], "{analysis}");
    assert!(analysis["sample"].as_array().unwrap().len() == 20 && costs[2].as_u64().unwrap() > 1000, "{analysis}");
    assert!(analysis["strategies"][1]["users"].as_i64().unwrap() > 0, "{analysis}");

    let (_, dry) = apis[0].post_json("/admin/rebalance", &json!({"dry_run": true})).await;
    assert_eq!((&dry["slots"], &dry["ids"]), (&json!(1680), &json!([])), "{dry}");
    let (status, plan) = apis[0].post_json("/admin/rebalance", &json!({"rollback_window_seconds": 0})).await;
    assert_eq!((status.as_u16(), plan["ids"].as_array().unwrap().len()), (202, 2), "{plan}");
    let (status, second) = apis[1].post_json("/admin/drain", &json!({"shard": 0})).await;
    assert_eq!((status.as_u16(), &second["code"]), (409, &json!("move_conflict")), "{second}");
    until_all_ended(&apis[1], "done").await;
    let (_, stats) = apis[1].get_json("/stats").await;
    let owned: Vec<_> = stats["shards"].as_array().unwrap().iter().map(|shard| shard["slots"].clone()).collect();
    assert_eq!((owned, &stats["complete"]), (vec![json!(1680); 3], &json!(true)), "{stats}");

    load.wait_for_answers(40).await;
    let drained = shards(&cluster, &["drain", "2", "--rollback-window", "0"]).await;
    assert_eq!(drained.code, 0, "{drained:?}");
    let (_, stats) = apis[0].get_json("/stats").await;
    assert_eq!((&stats["shards"][2]["slots"], &stats["shards"][2]["record_count"]), (&json!(0), &json!(0)), "{stats}");
    load.wait_for_answers(40).await;
    assert_moves_unnoticed(&cluster, &apis[0], load, 3).await;
    assert_nothing_left(&cluster, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_go_on_at_each_step_of_a_change_of_owners_and_writes_wait_for_its_end() {
    let cluster = TestCluster::migrated(2).await;
    // The lease, so that nobody else coordinates.
    let mut lease = cluster.connect(0).await;
    run(&mut lease, "SELECT pg_advisory_lock(5040, 5)").await.unwrap();
    let api = Api::start_with(&cluster, &PATIENT).await;
    let (_, stored) = api.post_json("/ingest", &json!({ "user_id": 2, "file_name": "before" })).await;
    let id = stored["data"]["file_id"].as_str().unwrap();
    // What a coordinator does, step by step.
    let mask = "set_bit(decode(repeat('00', 630), 'hex'), 2, 1)";
    for shard in [0, 1] {
        cluster
            .psql(shard, &format!("INSERT INTO shardrive.local_moves (move_id, slots) VALUES (1, {mask})"))
            .await
            .unwrap();
    }
    let copied = format!(
        "SET session_replication_role = replica; INSERT INTO file_metadata (user_id, file_id, file_name) VALUES (2, '{id}', 'before')"
    );
    cluster.psql(1, &copied).await.unwrap();
    let reads = async |step: &str| {
        let (status, page) = api.get_json("/query/2").await;
        assert_eq!((status.as_u16(), &page["files"][0]["file_name"]), (200, &json!("before")), "{step}: {page}");
        let (status, found) = api.get_json(&format!("/files/{id}")).await;
        assert_eq!((status.as_u16(), &found["data"]["user_id"]), (200, &json!(2)), "{step}: {found}");
    };
    cluster.psql(0, "UPDATE shardrive.local_moves SET frozen = true").await.unwrap();
    let write = {
        let order = api.request(reqwest::Method::POST, "/ingest");
        tokio::spawn(order.json(&json!({ "user_id": 2, "file_name": "meanwhile" })).send())
    };
    reads("frozen").await;
    let counts = r#"[{"counts": "shardrive.slot_counts", "deltas": "shardrive.slot_deltas", "slots": [2], "rows": [1], "bytes": [0]}]"#;
    let taken = format!("SELECT shardrive.take_slots(1, '{{2}}', '{{1}}', 1, 2, 0, '{counts}', 0, 1000)");
    assert_eq!(cluster.value::<i32>(1, &taken).await, 1);
    reads("both own it").await;
    let by_hand = "INSERT INTO file_metadata (user_id, file_name) VALUES (2, 'by hand')";
    for shard in [0, 1] {
        assert_eq!(sqlstate(cluster.psql(shard, by_hand).await), "SD001", "shard {shard}");
    }
    assert_eq!(cluster.value::<i32>(0, "SELECT shardrive.give_up_slots(1, '{2}', 1, 2, 0)").await, 1);
    reads("given up").await;
    assert!(!write.is_finished());
    cluster.psql(1, "UPDATE shardrive.local_moves SET frozen = false").await.unwrap();
    assert_eq!(write.await.unwrap().unwrap().status(), 201);
    let (_, stats) = api.get_json("/stats").await;
    assert_eq!((&stats["complete"], &stats["total_records"]), (&json!(true), &json!(2)), "{stats}");
    assert_eq!(cluster.value::<i64>(1, "SELECT count(*) FROM file_metadata").await, 2);
}

async fn until_all_ended(api: &Api, stage: &str) {
    poll::until("all moves to end", async || {
        let (_, list) = api.get_json("/admin/moves").await;
        let ended = list["moves"].as_array().is_some_and(|moves| moves.iter().all(|found| found["stage"] == stage));
        if ended { Ok(()) } else { Err(list) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_slept_through_a_move_is_refused_and_goes_on() {
    let cluster = TestCluster::migrated(2).await;
    let (apis, bases) = start(&cluster, 2).await;
    let load = Load::start(&bases, 4, &ALL);
    for round in 0..4 {
        load.wait_for_answers(20).await;
        // Also the coordinator, whichever of the two that is: its session ends with its silence.
        apis[round % 2].pause();
        let to = (1 - round % 2).to_string();
        let there = moved(&cluster, &["move", "--slots", EVEN, "--to", &to, "--rollback-window", "0"]).await;
        assert_eq!(there["stage"], "done", "{there}");
        apis[round % 2].resume();
    }
    load.wait_for_answers(40).await;
    assert_moves_unnoticed(&cluster, &apis[0], load, 2).await;
    assert_nothing_left(&cluster, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_loads_go_on_while_their_slots_move() {
    let cluster = TestCluster::migrated(2).await;
    let (apis, _) = start(&cluster, 2).await;
    let rows = 60_000;
    let lines: String =
        (0..rows).map(|row| format!("{{\"user_id\": {}, \"file_name\": \"bulk\"}}\n", row % 5040)).collect();
    let loading = async {
        let answer = apis[0].send("/ingest/bulk", "application/x-ndjson", lines).await;
        crate::support::api::json(answer).await
    };
    let moving = async {
        let mut frozen: Vec<f64> = Vec::new();
        for to in ["1", "0", "1"] {
            let there =
                moved(&cluster, &["move", "--slots", "0,2,4,6,8,10", "--to", to, "--rollback-window", "0"]).await;
            frozen.push(there["freeze_ms"].as_f64().unwrap());
        }
        frozen
    };
    let ((status, answer), frozen) = tokio::join!(loading, moving);
    assert_eq!((status.as_u16(), &answer["inserted"]), (200, &json!(rows)), "{answer}");
    assert!(frozen.iter().all(|ms| *ms < 500.0), "{frozen:?}");
    let (_, stats) = apis[1].get_json("/stats").await;
    assert_eq!((&stats["total_records"], &stats["complete"]), (&json!(rows), &json!(true)), "{stats}");
    let audit = shardrive(&["shards", "verify"], &cluster.variables()).await;
    assert_eq!(audit.code, 0, "{audit:?}");
    assert_nothing_left(&cluster, 2).await;
}

/// Documents of every kind of key go with their slots, with what is written to them meanwhile, and are counted where
/// they are.
#[tokio::test(flavor = "multi_thread")]
async fn documents_move_with_the_files() {
    let cluster = TestCluster::migrated(2).await;
    let (apis, _) = start(&cluster, 2).await;
    let put = async |key: usize, value: Value| {
        let api = &apis[key % 2];
        let (status, answer) = api.post_json("/write", &json!({"key": format!("user:{key}"), "value": value})).await;
        assert_eq!(status, 200, "{answer}");
    };
    for key in 0..200 {
        put(key, json!({"round": 0, "exact": 9.50})).await;
        let (status, answer) = apis[0].post_json("/data", &json!({"number": key})).await;
        assert_eq!(status, 201, "{answer}");
    }
    let moving = async {
        let there = moved(&cluster, &["drain", "0", "--rollback-window", "0"]).await;
        assert_eq!((&there["stage"], &there["verified"]), (&json!("done"), &json!(true)), "{there}");
    };
    let writing = async {
        for round in 1..=10 {
            for key in 0..200 {
                put(key, json!({"round": round, "exact": 9.50})).await;
            }
        }
    };
    tokio::join!(moving, writing);
    assert_nothing_left(&cluster, 2).await;
    for (shard, rows) in [(0, 0), (1, 400)] {
        assert_eq!(cluster.value::<i64>(shard, "SELECT count(*) FROM records").await, rows, "on shard {shard}");
    }
    for key in 0..200 {
        let (status, found) = apis[key % 2].get_json(&format!("/read/user:{key}")).await;
        let expected = (json!({"round": 10, "exact": 9.50}), json!(1));
        assert_eq!((status, (found["value"].clone(), found["shard_id"].clone())), (200.try_into().unwrap(), expected));
    }
    let mut totals = Vec::new();
    for path in ["/stats", "/stats?exact=scan"] {
        let (_, stats) = apis[1].get_json(path).await;
        assert_eq!((&stats["complete"], &stats["total_documents"]), (&json!(true), &json!(400)), "{stats}");
        totals.push(stats["shards"].clone());
    }
    assert_eq!(totals[0], totals[1]);
    let audit = shardrive(&["shards", "verify"], &cluster.variables()).await;
    assert_eq!(audit.code, 0, "{audit:?}");
}

//! What operators ask for while slots move: requests to a move, wrong requests, plans, and a migration at the same
//! time.

use serde_json::json;
use shardrive::reshard::{MoveOptions, MoveService, RequestError, parse_slots};
use shardrive::shard::ShardId;

use super::{EVEN, moved, shards, start};
use crate::support::moved::assert_nothing_left;
use crate::support::poll;
use crate::support::servers::{TestCluster, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_cancelled_before_its_cutover_as_if_it_had_never_been() {
    let cluster = TestCluster::migrated(2).await;
    cluster
        .psql(0, "INSERT INTO file_metadata (user_id, file_name) SELECT 2 + 5040 * n, 'f' FROM generate_series(1, 3000) AS n")
        .await
        .unwrap();
    // A transaction that writes and does not end delays the move before its cutover, until the transaction ends.
    let mut writer = cluster.connect(0).await;
    let (apis, _) = start(&cluster, 1).await;
    let plan = shards(&cluster, &["move", "--slots", "2", "--to", "1", "--detach"]).await;
    let id = plan.json()["ids"][0].to_string();
    poll::until("the copy to end", async || {
        let (_, found) = apis[0].get_json(&format!("/admin/moves/{id}")).await;
        // A comparison may have ended between two looks.
        let is_before = ["plan", "preflight", "copy"].contains(&found["stage"].as_str().unwrap());
        if is_before { Err(found) } else { Ok(()) }
    })
    .await;
    run(&mut writer, "BEGIN; INSERT INTO file_metadata (user_id, file_name) VALUES (4, 'x')").await.unwrap();
    let (status, asked) = apis[0].post_json(&format!("/admin/moves/{id}/cancel"), &json!({})).await;
    // The clean-up waits for transactions that write, so this one ends before anybody waits for the move.
    drop(writer);
    // The move may have come to its cutover before the request; then it cannot be cancelled.
    if status.is_success() {
        let ended = shards(&cluster, &["cancel", &id]).await;
        assert_eq!((ended.code, &ended.json()[0]["stage"]), (0, &json!("cancelled")), "{ended:?}");
        assert_nothing_left(&cluster, 2).await;
        assert_eq!(cluster.value::<i64>(1, "SELECT count(*) FROM file_metadata").await, 0);
    } else {
        assert!(asked["detail"].as_str().unwrap().contains("cancel can be done at"), "{asked}");
    }
}

/// An operator asks while the coordinator is about to go on: the trigger asks in the middle of the coordinator's last
/// statement before the next stage, which is the worst moment.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_between_two_stages_is_not_passed_over() {
    let cluster = TestCluster::migrated(2).await;
    cluster.psql(0, "INSERT INTO file_metadata (user_id, file_name) VALUES (2, 'f')").await.unwrap();
    cluster
        .psql(
            0,
            "CREATE FUNCTION ask_to_cancel() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN NEW.request := 'cancel'; RETURN NEW; END $$; \
             CREATE TRIGGER ask_to_cancel BEFORE UPDATE ON shardrive.moves FOR EACH ROW \
             WHEN (OLD.stage = 'verify' AND NEW.stage = 'verify' AND NEW.verified) EXECUTE FUNCTION ask_to_cancel()",
        )
        .await
        .unwrap();
    let (_apis, _) = start(&cluster, 1).await;
    let ended = shards(&cluster, &["move", "--slots", "2", "--to", "1"]).await;
    assert_eq!((ended.code, &ended.json()[0]["stage"]), (1, &json!("cancelled")), "{ended:?}");
    assert!(ended.err.contains("ended otherwise"), "{ended:?}");
    assert_nothing_left(&cluster, 2).await;
    assert_eq!(cluster.value::<i64>(1, "SELECT count(*) FROM file_metadata").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_request_is_refused_before_anything_is_touched() {
    let mut cluster = TestCluster::migrated(2).await;
    for (arguments, reason) in [
        (&["move", "--slots", "5040", "--to", "1"][..], "is no slot"),
        (&["move", "--slots", "0", "--to", "7"], "there is no shard 7"),
        (&["drain", "9"], "there is no shard 9"),
        (&["cancel", "99"], "there is no move 99"),
    ] {
        let refused = shards(&cluster, arguments).await;
        assert!(refused.code != 0 && refused.err.contains(reason), "{arguments:?}: {refused:?}");
    }
    // What is as it was asked for already is done, and not refused.
    for (arguments, reason) in [
        (&["rebalance"][..], "within 10 %"),
        (&["move", "--slots", "1,3", "--to", "1"], "shard 1 owns these slots already"),
    ] {
        let done = shards(&cluster, arguments).await;
        let plan = done.json();
        assert_eq!((done.code, &plan["slots"], &plan["ids"]), (0, &json!(0), &json!([])), "{arguments:?}: {done:?}");
        assert!(plan["findings"][0]["what"].as_str().unwrap().contains(reason), "{plan}");
        let noted = shards(&cluster, &["audit", "--limit", "1"]).await;
        assert_eq!(noted.json()["outcome"], "accepted", "{noted:?}");
    }
    // Slots that are there already stay, and the others move.
    let mixed = shards(&cluster, &["move", "--slots", "0-3", "--to", "1", "--dry-run"]).await;
    assert_eq!((mixed.code, &mixed.json()["slots"]), (0, &json!(2)), "{mixed:?}");
    let plain = shards(&cluster, &["move", "--slots", EVEN, "--to", "1", "--dry-run"]).await;
    assert_eq!((plain.code, &plain.json()["slots"], &plain.json()["ids"]), (0, &json!(4), &json!([])), "{plain:?}");
    let stray =
        "SET session_replication_role = replica; INSERT INTO file_metadata (user_id, file_name) VALUES (2, 's')";
    cluster.psql(1, stray).await.unwrap();
    let foreign = shards(&cluster, &["move", "--slots", EVEN, "--to", "1"]).await;
    assert!(foreign.code == 1 && foreign.err.contains("holds rows of these slots"), "{foreign:?}");
    let dry = shards(&cluster, &["move", "--slots", EVEN, "--to", "1", "--dry-run"]).await;
    assert!(dry.code == 1 && dry.out.contains("holds rows of these slots"), "{dry:?}");
    assert_eq!(cluster.value::<i64>(0, "SELECT count(*) FROM shardrive.moves").await, 0);
    assert_eq!(cluster.value::<i64>(1, "SELECT count(*) FROM file_metadata").await, 1);
    cluster.server(1).stop().await;
    let away = shards(&cluster, &["move", "--slots", EVEN, "--to", "1"]).await;
    assert!(away.code == 1 && away.err.contains("shard 1 is not available"), "{away:?}");
    assert_nothing_left(&cluster, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_what_may_bring_slots_back() {
    let cluster = TestCluster::migrated(2).await;
    let (apis, _) = start(&cluster, 1).await;
    let api = &apis[0];
    for user in 0..8 {
        api.post("/ingest", &json!({"user_id": user, "file_name": "f"})).await;
    }
    let open = moved(&cluster, &["move", "--slots", EVEN, "--to", "1"]).await;
    let id = open["id"].to_string();
    for body in [json!({"shard": 0}), json!({"shard": 0, "dry_run": true})] {
        let (status, refused) = api.post_json("/admin/drain", &body).await;
        assert_eq!((status.as_u16(), &refused["code"]), (409, &json!("move_conflict")), "{refused}");
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains("can still be rolled back") && detail.contains(&format!("finish {id}")), "{detail}");
    }
    let (status, asked) = api.post_json(&format!("/admin/moves/{id}/rollback"), &json!({})).await;
    assert!(status.is_success(), "{asked}");
    let mut waited = 0;
    poll::until("the end of the rollback", async || {
        let (status, answer) = api.post_json("/admin/drain", &json!({"shard": 0, "rollback_window_seconds": 0})).await;
        if status.is_success() {
            return Ok(());
        }
        let detail = answer["detail"].as_str().unwrap_or_default();
        let is_told = detail.contains("brings slots back to shard 0") || detail.contains("which has not ended");
        assert!(status.as_u16() == 409 && is_told, "{answer}");
        waited += usize::from(detail.contains("brings slots back to shard 0"));
        Err(answer)
    })
    .await;
    assert!(waited > 0, "no drain was asked for while the rollback was under way");
    poll::until("the drain", async || {
        let open: i64 = cluster.value(0, "SELECT count(*) FROM shardrive.moves WHERE ended_at IS NULL").await;
        if open == 0 { Ok(()) } else { Err(open) }
    })
    .await;
    for shard in 0..2 {
        let left: i64 = cluster.value(shard, "SELECT count(*) FROM shardrive.slot_map WHERE owner = 0").await;
        assert_eq!(left, 0, "slots of the drained shard, as shard {shard} says");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_made_on_another_map_is_not_put_to_work() {
    let cluster = TestCluster::migrated(2).await;
    let opened = cluster.open().await;
    let requests = MoveService::new(std::sync::Arc::clone(&opened));
    let planned = requests.plan_move(&parse_slots("0").unwrap(), ShardId::new(1)).await.unwrap();
    moved(&cluster, &["move", "--slots", "2", "--to", "1", "--rollback-window", "0"]).await;
    let late = requests.start(&planned, MoveOptions::default()).await.unwrap_err();
    assert!(matches!(late, RequestError::Conflict(_)) && late.to_string().contains("plan again"), "{late}");
    let planned = requests.plan_move(&parse_slots("0").unwrap(), ShardId::new(1)).await.unwrap();
    requests.start(&planned, MoveOptions::default()).await.unwrap();
    opened.shut_down().await;
}

/// The process that changed the owner also sees the end of the window.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_window_ends_by_itself() {
    let cluster = TestCluster::migrated(2).await;
    let (apis, _) = start(&cluster, 1).await;
    let order = json!({"slots": "2", "to": 1, "rollback_window_seconds": 1});
    let begun = apis[0].post("/admin/moves", &order).await;
    assert_eq!(begun.status(), 202);
    let path = begun.headers()["location"].to_str().unwrap().to_owned();
    let begun: serde_json::Value = begun.json().await.unwrap();
    assert_eq!(path, format!("/admin/moves/{}", begun["ids"][0]));
    let ended = poll::until("the end of the window", async || {
        let (_, found) = apis[0].get_json(&path).await;
        if found["stage"] == "done" { Ok(found) } else { Err(found) }
    })
    .await;
    let events = ended["events"].to_string();
    assert!(events.contains("the rollback window has ended"), "{events}");
}

/// A set-up has the lock from before its look at the open moves until its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_does_not_start_while_a_migration_runs() {
    let cluster = TestCluster::migrated(2).await;
    let mut setup = cluster.connect(0).await;
    run(&mut setup, "SELECT pg_advisory_lock(5040, 2)").await.unwrap();
    let order = ["move", "--slots", "0", "--to", "1", "--detach"];
    let refused = shards(&cluster, &order).await;
    assert!(refused.code == 1 && refused.err.contains("shardrive migrate"), "{refused:?}");
    assert_eq!(cluster.value::<i64>(0, "SELECT count(*) FROM shardrive.moves").await, 0);
    run(&mut setup, "SELECT pg_advisory_unlock(5040, 2)").await.unwrap();
    let started = shards(&cluster, &order).await;
    assert_eq!(started.code, 0, "{started:?}");
}

//! Others come first: a copy keeps to its rate, waits when it is told to, and needs a disk that takes it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{moved, shards};
use crate::support::api::Api;
use crate::support::load::Load;
use crate::support::moved::assert_nothing_left;
use crate::support::poll;
use crate::support::proxy::{Mode, Proxy};
use crate::support::servers::{TestCluster, run};

/// How many workers of a move wait in the throttle.
const SLEEPING_WORKERS: &str = "SELECT count(*) FROM pg_stat_activity
     WHERE backend_type LIKE 'logical replication%' AND wait_event = 'PgSleep' AND datname = current_database()";

/// Slot 2 with this many files, on shard 0.
async fn with_rows(rows: u32) -> TestCluster {
    let cluster = TestCluster::migrated(2).await;
    let fill = format!(
        "INSERT INTO file_metadata (user_id, file_name) SELECT 2 + 5040 * n, 'f' FROM generate_series(1, {rows}) AS n"
    );
    cluster.psql(0, &fill).await.unwrap();
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_keeps_to_its_rate() {
    const ROWS: u32 = 12_000;
    const RATE: u32 = 4_000;
    let cluster = with_rows(ROWS).await;
    let begun = Instant::now();
    let rate = RATE.to_string();
    let moved =
        shards(&cluster, &["move", "--slots", "2", "--to", "1", "--rollback-window", "0", "--rate", &rate]).await;
    assert_eq!(moved.code, 0, "{moved:?}");
    assert_eq!(moved.json()[0]["copy_rate"], RATE);
    // A row of 256 looks at the clock, which ones depends on their ids: so much less than three seconds.
    assert!(begun.elapsed() > Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(cluster.value::<i64>(1, "SELECT count(*) FROM file_metadata").await, i64::from(ROWS));
    assert_nothing_left(&cluster, 2).await;
    for (option, value) in [("--rate", "0"), ("--rollback-window", "99999999999")] {
        let nonsense = shards(&cluster, &["move", "--slots", "2", "--to", "0", option, value]).await;
        assert!(nonsense.code == 2 && nonsense.err.contains(option), "{nonsense:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_copy_of_a_paused_move_waits() {
    let cluster = with_rows(5000).await;
    // A move whose rollback window is open.
    moved(&cluster, &["move", "--slots", "4", "--to", "1"]).await;
    cluster.psql(1, "UPDATE shardrive.local_moves SET copy_paused_until = 'infinity'").await.unwrap();
    // Neither do clients wait, nor who writes in the way of a worker without being one.
    let many = "INSERT INTO file_metadata (user_id, file_name) SELECT 4, 'f' FROM generate_series(1, 5000)";
    let mut client = cluster.connect(1).await;
    run(&mut client, "SET statement_timeout = '20s'").await.unwrap();
    run(&mut client, many).await.unwrap();
    run(&mut client, "SET session_replication_role = replica").await.unwrap();
    run(&mut client, many).await.unwrap();
    // Nor does the copy of another move.
    moved(&cluster, &["move", "--slots", "2", "--to", "1", "--rollback-window", "0"]).await;
    assert_eq!(cluster.value::<i64>(1, "SELECT count(*) FROM file_metadata WHERE user_id % 5040 = 2").await, 5000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_paused_goes_on_by_itself() {
    let cluster = with_rows(20_000).await;
    let api = Api::start(&cluster).await;
    let plan = shards(
        &cluster,
        &["move", "--slots", "2", "--to", "1", "--rollback-window", "0", "--rate", "1000", "--detach"],
    )
    .await;
    let id = plan.json()["ids"][0].to_string();
    let stage = async |wanted: &str| {
        poll::until("the move to get on", async || {
            let (_, found) = api.get_json(&format!("/admin/moves/{id}")).await;
            if found["stage"] == wanted { Ok(()) } else { Err(found) }
        })
        .await;
    };
    stage("copy").await;
    let pause = async |until: &str| {
        let statement = format!("UPDATE shardrive.local_moves SET copy_rate = NULL, copy_paused_until = {until}");
        cluster.psql(1, &statement).await.unwrap();
    };
    pause("'infinity'").await;
    // The rate's last sleep is short: a worker that sleeps at each of many looks sleeps for the pause.
    let mut looks = 0;
    poll::until("the copy to wait", async || {
        looks = if cluster.value::<i64>(1, SLEEPING_WORKERS).await > 0 { looks + 1 } else { 0 };
        if looks >= 20 { Ok(()) } else { Err(looks) }
    })
    .await;
    // What a coordinator leaves that dies after it has paused the copy.
    pause("clock_timestamp() + interval '1 s'").await;
    stage("done").await;
    assert_eq!(cluster.value::<i64>(1, "SELECT count(*) FROM file_metadata").await, 20_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_without_a_rate_rests_while_others_write() {
    let cluster = with_rows(40_000).await;
    let api = Api::start(&cluster).await;
    // Whatever else the server writes: one transaction after the other.
    let mut writer = cluster.connect(1).await;
    let writes = tokio::spawn(async move {
        run(&mut writer, "DO $$ BEGIN LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$").await
    });
    let order = json!({ "slots": "2", "to": 1, "rollback_window_seconds": 0 });
    let (_, plan) = api.post_json("/admin/moves", &order).await;
    let path = format!("/admin/moves/{}", plan["ids"][0]);
    poll::until("the copy to rest", async || match cluster.value::<i64>(1, SLEEPING_WORKERS).await {
        0 => Err(()),
        _ => Ok(()),
    })
    .await;
    let stop = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DO %'";
    cluster.psql(1, stop).await.unwrap();
    writes.await.unwrap().unwrap_err();
    poll::until("the move to end", async || {
        let (_, found) = api.get_json(&path).await;
        if found["stage"] == "done" { Ok(()) } else { Err(found) }
    })
    .await;
    assert_eq!(cluster.value::<i64>(1, "SELECT count(*) FROM file_metadata WHERE user_id % 5040 = 2").await, 40_000);
    assert_nothing_left(&cluster, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_waits_while_requests_take_longer_than_usual() {
    let cluster = with_rows(40_000).await;
    let proxy = Proxy::start(cluster.port(0)).await;
    let through = cluster.url(0).replace(&format!(":{}/", cluster.port(0)), &format!(":{}/", proxy.port()));
    let settings = [("SHARDRIVE_HEALTH_TIMEOUT_MS", "20000"), ("SHARDRIVE_CONNECT_TIMEOUT_MS", "20000")];
    let api = Api::start_on(&[through, cluster.url(1)], &settings).await;
    let load = Load::start(&[api.base().to_owned()], 16, &[0, 2, 4, 6]);
    load.wait_for_answers(1000).await;
    // For a second program the command would look after the move.
    let order = json!({ "slots": "2", "to": 1, "rollback_window_seconds": 0, "copy_rate": 1000 });
    let (_, plan) = api.post_json("/admin/moves", &order).await;
    let path = format!("/admin/moves/{}", plan["ids"][0]);
    let noted = async |wanted: &str| {
        poll::until("the event", async || {
            let (_, found) = api.get_json(&path).await;
            let events = found["events"].as_array().cloned().unwrap_or_default();
            if events.iter().any(|event| event["what"].as_str().is_some_and(|what| what.starts_with(wanted))) {
                Ok(())
            } else {
                Err(found)
            }
        })
        .await;
    };
    noted("the rows begin to go over").await;
    let (_, begun) = api.get_json(&path).await;
    let eta = begun["eta_seconds"].as_i64().unwrap();
    assert_eq!(eta, (begun["total_rows"].as_i64().unwrap() - begun["copied_rows"].as_i64().unwrap()) / 1000, "{begun}");
    // The first look is at what is usual.
    load.wait_for_answers(500).await;
    proxy.set_mode(Mode::Slow(400));
    noted("waiting: requests take longer than usual").await;
    proxy.set_mode(Mode::Pass);
    noted("going on").await;
    let (status, _) = api.post_json(&format!("{path}/cancel"), &json!({})).await;
    assert_eq!(status, 202);
    noted("shard 0 owns the slots; shard 1 has no rows of these slots").await;
    drop(load);
    assert_nothing_left(&cluster, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_the_disk_that_it_takes_and_that_there_is() {
    let cluster = with_rows(10_000).await;
    cluster
        .psql(0, "INSERT INTO file_metadata (user_id, file_name) SELECT 4, 'f' FROM generate_series(1, 10000)")
        .await
        .unwrap();
    // Counts are folded by a service.
    let api = Api::start(&cluster).await;
    poll::until("the counts to be folded", async || {
        let waiting: i64 = cluster.value(0, "SELECT count(*) FROM shardrive.slot_deltas").await;
        if waiting == 0 { Ok(()) } else { Err(json!(waiting)) }
    })
    .await;
    drop(api);
    let dry = shards(&cluster, &["move", "--slots", "2", "--to", "1", "--dry-run"]).await;
    assert_eq!(dry.code, 0, "{dry:?}");
    let disk: Value = dry.json()["moves"][0]["disk"].clone();
    let all: i64 = cluster.value(0, "SELECT pg_total_relation_size('file_metadata')").await;
    let needed = disk["needed_bytes"].as_i64().unwrap();
    // Half of the files; of tables without counts one slot's share.
    let keys: i64 = cluster.value(0, "SELECT pg_total_relation_size('shardrive.idempotency_keys')").await;
    let folders: i64 = cluster.value(0, "SELECT pg_total_relation_size('folders')").await;
    assert_eq!(needed, all / 2 + keys / 5040 + folders / 5040, "{disk}");
    assert!(disk["free_bytes"].as_i64().unwrap() > 1 << 20, "{disk}");
    // The rest of the estimate is the beginning of a move.
    assert_eq!(dry.json()["estimate_seconds"], 5, "{dry:?}");
    let slow = shards(&cluster, &["move", "--slots", "2", "--to", "1", "--dry-run", "--rate", "100"]).await;
    assert_eq!(slow.json()["estimate_seconds"], 10_000 / 100 + 5, "{slow:?}");
}

//! A shard's server dies and a standby takes its place: with real streaming replication, seen through the running
//! program.
//!
//! With two shards, even users are on shard 0 and odd ones on shard 1. Shard 1 is the one that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;
use shardrive::local_servers::{PostgresServer, database_name};
use uuid::Uuid;

use crate::support::api::{AS_SHIPPED, Api, client};
use crate::support::load::Load;
use crate::support::servers::{TestCluster, run, value};
use crate::support::{pace, poll};

/// What a machine under load may need for what takes some milliseconds.
const GENEROUS: Duration = Duration::from_secs(20);

/// The URL of shard 1 with both of its servers.
fn both(cluster: &TestCluster, standby: &PostgresServer) -> String {
    let host = |port: u16| format!("127.0.0.1:{port}");
    cluster.url(1).replace(&host(cluster.port(1)), &format!("{},{}", host(cluster.port(1)), host(standby.port())))
}

/// Commits on shard 1 wait for its standby.
async fn make_synchronous(cluster: &TestCluster) {
    for sql in ["ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"] {
        cluster.psql(1, sql).await.unwrap();
    }
    poll::until_true("the standby to be synchronous", async || {
        cluster.value::<i64>(1, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'").await == 1
    })
    .await;
}

async fn promote(standby: &PostgresServer) {
    let mut db = standby.connect("postgres").await.unwrap();
    assert!(value::<bool>(&mut db, "SELECT pg_promote(true, 60)").await);
}

async fn store(api: &Api, user: i64) -> StatusCode {
    let response =
        api.post("/ingest", &json!({"user_id": user, "file_name": format!("probe-{}", Uuid::new_v4())})).await;
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        assert!(response.headers().contains_key("Retry-After"));
    }
    response.status()
}

async fn until_stored(api: &Api, user: i64) {
    poll::until("a write", async || match store(api, user).await {
        StatusCode::CREATED => Ok(()),
        other => Err(other),
    })
    .await;
}

/// Users of the other shard, who must never notice anything; how long each of their requests took.
async fn others(base: String, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let (client, mut times) = (client(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let file = json!({"user_id": 42, "file_name": format!("other-{}", Uuid::new_v4())});
        let stored = client.post(format!("{base}/ingest")).json(&file).send().await.unwrap();
        assert_eq!(stored.status(), StatusCode::CREATED);
        times.push(begun.elapsed());
        pace::between_requests().await;
    }
    times
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_takes_over_and_nothing_acknowledged_is_lost() {
    let mut cluster = TestCluster::migrated(2).await;
    let standby = cluster.standby(1).await;
    make_synchronous(&cluster).await;
    let api = Api::start_on(&[cluster.url(0), both(&cluster, &standby)], &AS_SHIPPED).await;
    let hurt = Load::start(&[api.base().to_owned()], 6, &[1, 3, 5]);
    let stop = Arc::new(AtomicBool::new(false));
    let others = tokio::spawn(others(api.base().to_owned(), Arc::clone(&stop)));
    hurt.wait_for_answers(100).await;

    let killed = Instant::now();
    cluster.server(1).kill().await;
    poll::until_true("the circuit to open", async || {
        let (_, health) = api.get_json("/health").await;
        health["circuits"] == json!({"shard_0": "closed", "shard_1": "open"})
            && health["shards"]["shard_1"] == "unreachable"
    })
    .await;
    eprintln!("the loss was seen {:?} after the kill began", killed.elapsed());
    let begun = Instant::now();
    assert_eq!(store(&api, 43).await, StatusCode::SERVICE_UNAVAILABLE);
    let refused = begun.elapsed();
    promote(&standby).await;
    let promoted = Instant::now();
    until_stored(&api, 43).await;
    eprintln!("refused within {refused:?}; the first good write {:?} after the promotion", promoted.elapsed());
    assert!(promoted.elapsed() < GENEROUS);

    hurt.wait_for_answers(100).await;
    let old = cluster.replace_server(1, standby);
    let seen = hurt.stop().await;
    eprintln!("users of the shard: {:?}", seen.outcomes());
    assert_eq!(seen.find_wrong_rows(&cluster, 2).await, Vec::<String>::new());
    // The others' files are counted, too, and the load knows nothing of them.
    let wrong: Vec<_> = seen.violations().into_iter().filter(|text| !text.starts_with("/stats says")).collect();
    assert_eq!(wrong, Vec::<String>::new());
    stop.store(true, Ordering::Relaxed);
    let mut times = others.await.unwrap();
    times.sort();
    eprintln!("users of the other shard: {} requests, the longest {:?}", times.len(), times.last().unwrap());
    assert_eq!(api.get_json("/stats").await.1, api.get_json("/stats?exact=scan").await.1);
    drop(old);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_primary_that_comes_back_is_not_used() {
    let mut cluster = TestCluster::migrated(2).await;
    let standby = cluster.standby(1).await;
    let url = both(&cluster, &standby);
    let api = Api::start_on(&[cluster.url(0), url.clone()], &AS_SHIPPED).await;
    until_stored(&api, 43).await;
    let caught_up = async || {
        let mut db = standby.connect(&database_name(1)).await.unwrap();
        value::<i64>(&mut db, "SELECT count(*) FROM file_metadata").await == 1
    };
    poll::until_true("the standby to follow", caught_up).await;
    // Nobody stops the old primary: both take writes, and both answer.
    promote(&standby).await;
    poll::until_true("the new primary to be found", async || {
        store(&api, 45).await;
        let mut db = standby.connect(&database_name(1)).await.unwrap();
        value::<i64>(&mut db, "SELECT count(*) FROM file_metadata WHERE user_id = 45").await > 0
    })
    .await;
    let on_old = async || cluster.value::<i64>(1, "SELECT count(*) FROM file_metadata").await;
    let before = on_old().await;
    // A process that begins now has no memory of who was the primary.
    let second = Api::start_on(&[cluster.url(0), url], &AS_SHIPPED).await;
    for user in (47..147).step_by(2) {
        assert_eq!(store(&api, user).await, StatusCode::CREATED);
        assert_eq!(store(&second, user).await, StatusCode::CREATED);
    }
    assert_eq!(on_old().await, before, "writes went to the former primary");
    // Not even when it is the only one left.
    let old = cluster.replace_server(1, standby);
    cluster.server(1).kill().await;
    poll::until_true("the shard to be away", async || store(&api, 43).await == StatusCode::SERVICE_UNAVAILABLE).await;
    for _ in 0..20 {
        assert_eq!(store(&api, 43).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    drop(old);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_answers_reads_and_refuses_writes_at_once() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start_with(&cluster, &AS_SHIPPED).await;
    until_stored(&api, 43).await;
    for round in 0..2 {
        for sql in ["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"] {
            cluster.psql(1, sql).await.unwrap();
        }
        poll::until_true("writes to be refused", async || store(&api, 43).await == StatusCode::SERVICE_UNAVAILABLE)
            .await;
        for _ in 0..20 {
            let begun = Instant::now();
            assert_eq!(store(&api, 43).await, StatusCode::SERVICE_UNAVAILABLE);
            assert!(begun.elapsed() < GENEROUS / 10, "refused after {:?}", begun.elapsed());
            assert_eq!(store(&api, 42).await, StatusCode::CREATED, "round {round}");
            let (status, page) = api.get_json("/query/43").await;
            assert_eq!((status, page["files"].as_array().map(|files| !files.is_empty())), (StatusCode::OK, Some(true)));
        }
        let (_, health) = api.get_json("/health").await;
        assert_eq!((&health["status"], &health["warnings"][0]["code"]), (&json!("degraded"), &json!("read_only")));
        poll::until_true("the log to say so", async || {
            api.log().contains("shard 1") && api.log().contains("is read-only")
        })
        .await;
        let mut db = cluster.connect(1).await;
        run(&mut db, "SET default_transaction_read_only = off").await.unwrap();
        for sql in ["ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"] {
            run(&mut db, sql).await.unwrap();
        }
        until_stored(&api, 43).await;
        poll::until_true("a healthy service", async || api.get_json("/health").await.1["status"] == "healthy").await;
    }
}

/// A switchover while slots move: what was the primary follows as a standby from here on, with the move's replication
/// slots.
#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_server_keeps_no_slot_of_a_move_that_has_ended() {
    let mut cluster = TestCluster::migrated(2).await;
    let standby = cluster.standby(1).await;
    let settings = [("SHARDRIVE_HEALTH_TIMEOUT_MS", "20000"), ("SHARDRIVE_CONNECT_TIMEOUT_MS", "20000")];
    let api = Api::start_on(&[cluster.url(0), both(&cluster, &standby)], &settings).await;
    let (status, plan) =
        api.post_json("/admin/moves", &json!({"slots": "0,2", "to": 1, "rollback_window_seconds": 3600})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{plan}");
    let logical = "SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'logical'";
    let ready =
        format!("SELECT count(*) FROM shardrive.move_events WHERE what = '{}'", shardrive::reshard::ROLLBACK_READY);
    poll::until_true("the rollback window to open", async || cluster.value::<i64>(0, &ready).await == 1).await;
    assert_eq!(cluster.value::<i64>(1, logical).await, 1, "the reverse stream reads from shard 1");

    cluster.server(1).stop().await;
    promote(&standby).await;
    let mut demoted = cluster.replace_server(1, standby);
    let mut follow =
        std::fs::OpenOptions::new().append(true).open(demoted.data_folder().join("postgresql.auto.conf")).unwrap();
    std::io::Write::write_all(&mut follow, format!("primary_conninfo = '{}'\n", cluster.url(1)).as_bytes()).unwrap();
    std::fs::write(demoted.data_folder().join("standby.signal"), "").unwrap();
    demoted.start().await.unwrap();
    let mut db = demoted.connect(&database_name(1)).await.unwrap();
    assert!(value::<bool>(&mut db, "SELECT pg_is_in_recovery()").await);
    assert_eq!(value::<i64>(&mut db, logical).await, 1, "it kept the slot, and with it its log");

    until_stored(&api, 43).await;
    // It may have ended by itself already, as the new primary has not the slot.
    let id = plan["ids"][0].to_string();
    api.post_json(&format!("/admin/moves/{id}/finish"), &json!({})).await;
    poll::until("the end of the move", async || {
        let stage: String = cluster.value(0, "SELECT stage FROM shardrive.moves").await;
        if stage == "done" { Ok(()) } else { Err((stage, api.log())) }
    })
    .await;
    poll::until("the slot to go", async || {
        let left: i64 = value(&mut db, logical).await;
        if left == 0 { Ok(()) } else { Err(api.log()) }
    })
    .await;
    poll::until("the log to name it", async || {
        let log = api.log();
        if log.contains("a standby of shard 1, kept") { Ok(()) } else { Err(log) }
    })
    .await;
    drop(demoted);
}

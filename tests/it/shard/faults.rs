//! A shard that is away costs only its own users, and heals by itself: seen through the running program.
//!
//! With two shards, even users are on shard 0 and odd ones on shard 1. Shard 1 is the one that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::api::{AS_SHIPPED, Api, client, json};
use crate::support::load::Load;
use crate::support::poll;
use crate::support::proxy::{Mode, Proxy};
use crate::support::servers::TestCluster;
use crate::telemetry::metrics::samples;

/// How long a user of a shard that is away may have to wait.
const FAST: Duration = Duration::from_secs(1);

/// A client of the shard that works: it goes on all the time, and must never notice anything.
struct Bystander {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<Duration>>,
}

impl Bystander {
    fn start(api: &Api) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, base, client) = (Arc::clone(&stop), api.base().to_owned(), client());
        let task = tokio::spawn(async move {
            let mut times = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let file = json!({"user_id": 42, "file_name": "bystander"});
                let stored = client.post(format!("{base}/ingest")).json(&file).send().await.unwrap();
                assert_eq!(stored.status(), StatusCode::CREATED);
                let listed = client.get(format!("{base}/query/42?limit=5")).send().await.unwrap();
                assert_eq!(listed.status(), StatusCode::OK);
                times.push(begun.elapsed());
            }
            times
        });
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let mut times = self.task.await.unwrap();
        times.sort();
        let (median, longest) = (times[times.len() / 2], times.last().unwrap());
        eprintln!("others: {} rounds of two requests, median {median:?}, longest {longest:?}", times.len());
        assert!(median < FAST / 4, "others waited {median:?}");
    }
}

/// A program with one file on each shard, and the ids of the files.
async fn start(urls: &[String]) -> (Api, [String; 2]) {
    let api = Api::start_on(urls, &AS_SHIPPED).await;
    let mut ids = Vec::new();
    for user in [42, 43] {
        let (status, stored) = api.post_json("/ingest", &json!({"user_id": user, "file_name": "a"})).await;
        assert_eq!(status, StatusCode::CREATED);
        ids.push(stored["data"]["file_id"].as_str().unwrap().to_owned());
    }
    (api, ids.try_into().unwrap())
}

fn is_refused_for_now(response: &Response) {
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let retry: u32 = response.headers()["Retry-After"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&retry));
    assert_eq!(response.headers()["Content-Type"], "application/problem+json");
}

/// Everything that users of shard 1 may ask, all at once: each gets its 503 in time.
async fn users_of_the_shard_are_told(api: &Api, id: &str) {
    let stored_by_client = uuid::Uuid::new_v4();
    let file = json!({"user_id": 43, "file_name": "b"});
    let requests = [
        api.request(Method::GET, "/query/43"),
        api.request(Method::POST, "/ingest").json(&file),
        api.request(Method::POST, "/ingest/bulk").json(&json!([file])),
        api.request(Method::GET, &format!("/files/{id}")),
        api.request(Method::PATCH, &format!("/files/{id}")).json(&json!({"file_name": "c"})),
        api.request(Method::DELETE, "/files/00000000-0000-4000-8000-000000000000"),
        // An id that any shard may hold: nobody can say that it is not there.
        api.request(Method::GET, &format!("/files/{stored_by_client}")),
    ];
    join_all(requests.into_iter().map(|request| async {
        let begun = Instant::now();
        let response = request.send().await.unwrap();
        let time = begun.elapsed();
        is_refused_for_now(&response);
        assert!(time <= FAST, "{} took {time:?}", response.url());
    }))
    .await;
}

async fn while_away(api: &Api, ids: &[String; 2]) {
    let begun = Instant::now();
    let (answer, ()) = tokio::join!(api.get_json("/stats"), users_of_the_shard_are_told(api, &ids[1]));
    let (status, stats) = answer;
    assert!(begun.elapsed() < FAST * 2, "/stats took {:?}", begun.elapsed());
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&stats["complete"], &stats["shards"][1]["record_count"]), (&json!(false), &Value::Null), "{stats}");
    assert_ne!(stats["shards"][1]["status"], "healthy", "{stats}");
    assert_eq!(stats["shards"][1]["shard_id"], 1);
    assert_eq!(stats["shards"][0]["record_count"], stats["total_records"], "{stats}");
    assert!(stats["total_records"].as_u64().unwrap() > 0);

    // A request may meet the dead shard a moment before the health check does.
    poll::until_true("the health check", async || api.get_json("/health").await.1["status"] == "degraded").await;
    assert!(begun.elapsed() < FAST * 2, "the health check took {:?}", begun.elapsed());
    for _ in 0..3 {
        users_of_the_shard_are_told(api, &ids[1]).await;
        let begun = Instant::now();
        let (status, health) = api.get_json("/health").await;
        assert_eq!((status, &health["status"]), (StatusCode::OK, &json!("degraded")), "{health}");
        assert_eq!(health["shards"], json!({"shard_0": "healthy", "shard_1": "unreachable"}));
        assert_eq!(api.get("/health/ready").await.status(), StatusCode::OK);
        assert_eq!(api.get("/health/live").await.status(), StatusCode::OK);
        assert!(begun.elapsed() < FAST, "probes took {:?}", begun.elapsed());
    }
    // Of a shard that answers one can say what is there and what is not.
    assert_eq!(api.get(&format!("/files/{}", ids[0])).await.status(), StatusCode::OK);
    let (_, stored) = api.post_json("/ingest", &json!({"user_id": 44, "file_name": "short-lived"})).await;
    let path = format!("/files/{}", stored["data"]["file_id"].as_str().unwrap());
    assert!(api.request(Method::DELETE, &path).send().await.unwrap().status().is_success());
    let (status, problem) = api.get_json(&path).await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("file_not_found")));
}

async fn until_healed(api: &Api, ids: &[String; 2]) {
    poll::until("the shard's users to be served", async || {
        let (status, answer) = api.get_json("/query/43").await;
        if status == StatusCode::OK { Ok(()) } else { Err(answer) }
    })
    .await;
    assert_eq!(api.get(&format!("/files/{}", ids[1])).await.status(), StatusCode::OK);
    let (status, _) = api.post_json("/ingest", &json!({"user_id": 43, "file_name": "again"})).await;
    assert_eq!(status, StatusCode::CREATED);
    let (_, stats) = api.get_json("/stats").await;
    assert_eq!(stats["complete"], true, "{stats}");
    let (_, health) = api.get_json("/health").await;
    assert_eq!(health["status"], "healthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_shard_costs_only_its_own_users() {
    let mut cluster = TestCluster::migrated(2).await;
    let (api, ids) = start(&cluster.urls()).await;
    for hard in [false, true] {
        let bystander = Bystander::start(&api);
        if hard {
            cluster.server(1).kill().await;
        } else {
            cluster.server(1).stop().await;
        }
        while_away(&api, &ids).await;
        cluster.server(1).start().await.unwrap();
        until_healed(&api, &ids).await;
        bystander.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_shard_costs_only_its_own_users() {
    let mut cluster = TestCluster::migrated(2).await;
    let (api, ids) = start(&cluster.urls()).await;
    for _ in 0..2 {
        let bystander = Bystander::start(&api);
        cluster.server(1).pause();
        while_away(&api, &ids).await;
        cluster.server(1).resume();
        until_healed(&api, &ids).await;
        bystander.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_behind_a_broken_network_costs_only_its_own_users() {
    let cluster = TestCluster::migrated(2).await;
    let proxy = Proxy::start(cluster.port(1)).await;
    let through = cluster.url(1).replace(&format!(":{}/", cluster.port(1)), &format!(":{}/", proxy.port()));
    let (api, ids) = start(&[cluster.url(0), through]).await;
    for mode in [Mode::BlackHole, Mode::Refuse, Mode::BlackHole] {
        let bystander = Bystander::start(&api);
        proxy.set_mode(mode);
        while_away(&api, &ids).await;
        proxy.set_mode(Mode::Pass);
        until_healed(&api, &ids).await;
        bystander.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_all_shards_away_the_service_says_so_and_lives() {
    let mut cluster = TestCluster::migrated(2).await;
    let (api, ids) = start(&cluster.urls()).await;
    cluster.server(0).stop().await;
    cluster.server(1).stop().await;
    poll::until("the service to be unhealthy", async || {
        let (status, health) = api.get_json("/health").await;
        let expected = (StatusCode::SERVICE_UNAVAILABLE, json!("unhealthy"));
        if (status, health["status"].clone()) == expected { Ok(()) } else { Err(health) }
    })
    .await;
    is_refused_for_now(&api.get("/health/ready").await);
    assert_eq!(api.get("/health/live").await.status(), StatusCode::OK);
    // Whichever way a call takes, its refusal counts as a call that failed.
    let file = json!({"user_id": 42, "file_name": "b"});
    let refused = [
        api.request(Method::GET, "/query/42"),
        api.request(Method::GET, "/query/42?limit=1000"),
        api.request(Method::GET, &format!("/files/{}", ids[0])),
        api.request(Method::POST, "/ingest").json(&file),
    ];
    let failures = async || samples(&api).await[r#"shardrive_shard_failures_total{shard="0"}"#];
    for (number, request) in refused.into_iter().enumerate() {
        let before = failures().await;
        is_refused_for_now(&request.send().await.unwrap());
        assert!(failures().await > before, "refusal {number} was not counted");
    }
    let (status, stats) = api.get_json("/stats").await;
    assert_eq!(
        (status, &stats["success"], &stats["complete"]),
        (StatusCode::OK, &json!(false), &json!(false)),
        "{stats}"
    );
    for shard in [0, 1] {
        cluster.server(shard).start().await.unwrap();
    }
    until_healed(&api, &ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_comes_late_is_served_when_it_is_there() {
    let mut cluster = TestCluster::migrated(2).await;
    drop(start(&cluster.urls()).await);
    cluster.server(1).stop().await;
    let api = Api::start_with(&cluster, &AS_SHIPPED).await;
    assert_eq!(api.get("/query/42").await.status(), StatusCode::OK);
    is_refused_for_now(&api.get("/query/43").await);
    cluster.server(1).start().await.unwrap();
    poll::until("the late shard's users", async || {
        let (status, answer) = api.get_json("/query/43").await;
        if status == StatusCode::OK && answer["file_count"] == 1 { Ok(()) } else { Err(answer) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_shard_that_is_another_database_is_never_served() {
    let mut cluster = TestCluster::migrated(2).await;
    drop(start(&cluster.urls()).await);
    let change = |sql: &'static str| sql;
    for (wrong, right) in [
        // Another shard's database, one of another cluster, one that is not set up to its end, one of an older schema.
        (change("UPDATE shardrive.identity SET shard_id = 0"), change("UPDATE shardrive.identity SET shard_id = 1")),
        ("UPDATE shardrive.identity SET cluster_id = overlay(cluster_id::text PLACING '0000' FROM 1)::uuid", ""),
    ] {
        let id: uuid::Uuid = cluster.value(1, "SELECT cluster_id FROM shardrive.identity").await;
        let port = cluster.port(1);
        cluster.server(1).stop().await;
        let api = Api::start_with(&cluster, &AS_SHIPPED).await;
        // While the service waits for it, the database is changed on a port that the service does not know.
        cluster.server(1).set_port(shardrive::local_servers::free_port().unwrap());
        cluster.server(1).start().await.unwrap();
        cluster.psql(1, wrong).await.unwrap();
        cluster.server(1).stop().await;
        cluster.server(1).set_port(port);
        cluster.server(1).start().await.unwrap();
        // The service has looked at it: its log says what it found.
        poll::until_true("a look at the wrong database", async || {
            cluster.value::<i64>(1, "SELECT sessions FROM pg_stat_database WHERE datname = 'drive_shard_1'").await > 20
        })
        .await;
        for _ in 0..20 {
            is_refused_for_now(&api.get("/query/43").await);
            is_refused_for_now(&api.post("/ingest", &json!({"user_id": 43, "file_name": "lost"})).await);
        }
        assert_eq!(cluster.value::<i64>(1, "SELECT count(*) FROM file_metadata").await, 1);
        let back = format!("UPDATE shardrive.identity SET cluster_id = '{id}'; {right}");
        cluster.psql(1, &back).await.unwrap();
        poll::until_true("the right database", async || api.get("/query/43").await.status() == StatusCode::OK).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_every_request_in_flight() {
    let cluster = TestCluster::migrated(2).await;
    let mut api = Api::start_with(&cluster, &[("SHARDRIVE_MAX_BULK_LOADS", "20")]).await;
    // Writes of all kinds wait in the database, each on its own HTTP connection.
    let mut holds = Vec::new();
    for shard in 0..2 {
        let mut hold = cluster.connect(shard).await;
        crate::support::servers::run(&mut hold, "BEGIN; SELECT pg_advisory_xact_lock(5040, 1)").await.unwrap();
        holds.push(hold);
    }
    let requests: Vec<_> = (0..40)
        .map(|number| {
            let file = json!({"user_id": number, "file_name": format!("n{number}")});
            let request = if number % 4 == 0 {
                api.request(Method::POST, "/ingest/bulk").json(&json!([file]))
            } else {
                api.request(Method::POST, "/ingest").json(&file)
            };
            tokio::spawn(async move { json(request.send().await.unwrap()).await })
        })
        .collect();
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    for shard in 0..2 {
        // The first single write of the shard, and at least one of the loads.
        poll::until_true("the writes", async || {
            cluster.value::<i64>(shard, waiting).await >= if shard == 0 { 2 } else { 1 }
        })
        .await;
    }
    api.sigterm();
    poll::until_true("the stop to begin", async || api.log().contains("finishing the requests in progress")).await;
    drop(holds);
    for (number, request) in requests.into_iter().enumerate() {
        let (status, answer) = request.await.unwrap();
        assert!(status.is_success(), "request {number}: {status}: {answer}");
    }
    assert!(api.wait_for_exit().await);
    let stored = cluster.value::<i64>(0, "SELECT count(*) FROM file_metadata").await
        + cluster.value::<i64>(1, "SELECT count(*) FROM file_metadata").await;
    assert_eq!(stored, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_of_load_loses_nothing() {
    let cluster = TestCluster::migrated(2).await;
    let mut api = Api::start_with(&cluster, &AS_SHIPPED).await;
    let load = Load::start(&[api.base().to_owned()], 16, &[0, 1, 2, 3]);
    load.wait_for_answers(300).await;
    api.sigterm();
    assert!(api.wait_for_exit().await);
    let seen = load.stop().await;
    assert_eq!(seen.find_wrong_rows(&cluster, 2).await, Vec::<String>::new());
    assert_eq!(seen.violations(), Vec::<String>::new());
    let broken: Vec<_> = seen.outcomes().into_iter().filter(|(kind, _)| kind.contains("broken answer")).collect();
    assert_eq!(broken, []);
}

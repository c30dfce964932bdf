//! A server that has run out of something is not away: what it can still do goes on, and `/health`, the log and the
//! metrics name what is missing. Shard 1, where odd users are, is the one with the trouble.

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::api::{Api, json};
use crate::support::poll;
use crate::support::servers::TestCluster;
use crate::support::small_disk::SmallDisk;

/// A file whose name takes room.
fn file(user: i64, letter: &str) -> Value {
    json!({"user_id": user, "file_name": letter.repeat(800)})
}

async fn store(api: &Api, user: i64) -> (StatusCode, Value) {
    api.post_json("/ingest", &file(user, "x")).await
}

async fn warnings(api: &Api) -> (Value, Vec<(String, String)>) {
    let (_, health) = api.get_json("/health").await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let found = health["warnings"].as_array().cloned().unwrap_or_default();
    (health, found.iter().map(|warning| (text(&warning["about"]), text(&warning["code"]))).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_reads_go_on_and_writes_are_told_which_disk() {
    let mut cluster = TestCluster::start(2).await;
    let folder = cluster.server(1).data_folder().parent().unwrap().join("small");
    let Some(disk) = SmallDisk::mount(&folder, "64m") else {
        eprintln!("skipped: this machine does not let the test mount a small file system");
        return;
    };
    let mut psql = cluster.server(1).connect("postgres").await.unwrap();
    for sql in [
        format!("CREATE TABLESPACE small LOCATION '{}'", folder.display()),
        "ALTER DATABASE drive_shard_1 SET TABLESPACE small".to_owned(),
    ] {
        crate::support::servers::run(&mut psql, &sql).await.unwrap();
    }
    cluster.migrate().await;
    let api = Api::start(&cluster).await;
    let mut stored = 0;
    for user in [42, 43, 43] {
        assert_eq!(store(&api, user).await.0, StatusCode::CREATED);
        stored += user % 2;
    }

    disk.fill();
    // There is some space left in the table's own pages.
    let problem = poll::until("the full disk", async || match store(&api, 43).await {
        (StatusCode::CREATED, _) => {
            stored += 1;
            Err(stored)
        }
        refused => Ok(refused),
    })
    .await;
    assert_eq!((problem.0.as_u16(), &problem.1["code"]), (507, &json!("shard_storage_full")), "{problem:?}");
    assert_eq!(problem.1["shard"], 1);
    let detail = problem.1["detail"].as_str().unwrap();
    assert!(detail.contains("disk") && !detail.contains("extend") && !detail.contains('"'), "{detail}");
    // Whatever is asked, by many at once: nobody who reads notices, nor does a user of another shard.
    for round in 0..20 {
        let lines = format!("{}\n", file(43, "y")).repeat(50);
        let bulk = api.send("/ingest/bulk", "application/x-ndjson", lines);
        let (write, bulk, reads) = tokio::join!(
            store(&api, 43),
            bulk,
            join_all((0..10).map(|number| {
                let api = &api;
                async move {
                    api.get(&format!("/query/{}?limit={}", 42 + number % 2, if number < 5 { 5 } else { 500 }))
                        .await
                        .status()
                }
            }))
        );
        assert!([201, 507].contains(&write.0.as_u16()), "round {round}: {write:?}");
        stored += i64::from(write.0 == StatusCode::CREATED);
        assert!([200, 507].contains(&bulk.status().as_u16()), "round {round}: {}", bulk.status());
        assert_eq!(reads, [StatusCode::OK; 10], "round {round}");
        assert_eq!(store(&api, 42).await.0, StatusCode::CREATED, "another shard");
    }
    let retry = api.post("/ingest", &file(43, "z")).await;
    if retry.status().as_u16() == 507 {
        assert!(retry.headers().contains_key("Retry-After"));
    } else {
        stored += 1;
    }
    let (health, found) = warnings(&api).await;
    assert_eq!(found, [("shard_1".to_owned(), "disk".to_owned())], "{health}");
    assert_eq!((&health["status"], &health["circuits"]["shard_1"]), (&json!("degraded"), &json!("closed")), "{health}");
    assert!(api.log().contains("no space left on its disk"));
    let metrics = api.get("/metrics").await.text().await.unwrap();
    let counted =
        |text: &str| metrics.lines().any(|line| line.strip_prefix(text).is_some_and(|rest| rest.trim() != "0"));
    assert!(counted("shardrive_shard_exhausted_total{shard=\"1\",resource=\"disk\"}"), "{metrics}");
    assert!(!counted("shardrive_shard_exhausted_total{shard=\"0\",resource=\"disk\"}"), "{metrics}");

    disk.free();
    let healed = store(&api, 43).await;
    assert_eq!(healed.0, StatusCode::CREATED, "{healed:?}");
    stored += 1;
    let rows: i64 = cluster.value(1, "SELECT count(*) FROM file_metadata WHERE file_name ~ '^[xz]'").await;
    assert_eq!(rows, stored, "acknowledged and stored");
    drop(api);
    cluster.server(1).stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_connections_is_served_by_those_that_are_there() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    // Before the first read and the first write, with the writers' connections there.
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shardrive'";
    poll::until_true("the service's connections", async || cluster.value::<i64>(1, sessions).await >= 5).await;
    let mut others = Vec::new();
    let server = shardrive::shard::ShardOptions::parse(&cluster.url(1)).unwrap();
    // A few times more: the service itself may have let one go.
    for _ in 0..3 {
        while let Ok(other) = server.connect(crate::support::servers::CONNECT).await {
            others.push(other);
        }
        poll::short_pause().await;
    }
    let calls = (0..60).map(|number| {
        let api = &api;
        async move {
            let (user, file) = (43 + 2 * number, json!({"user_id": 43 + 2 * number, "file_name": "f"}));
            match number % 4 {
                0 => json(api.request(Method::POST, "/ingest").json(&file).send().await.unwrap()).await,
                1 => api.post_json("/store", &json!({"userId": user, "data": number})).await,
                2 => api.get_json(&format!("/query/{user}?limit=500")).await,
                _ => api.get_json(&format!("/query/{user}")).await,
            }
        }
    });
    for (status, answer) in join_all(calls).await {
        assert!(status.is_success(), "{status}: {answer}");
    }
    let (health, found) = warnings(&api).await;
    assert_eq!(found, [("shard_1".to_owned(), "connections".to_owned())], "{health}");
    assert_eq!((&health["status"], &health["circuits"]["shard_1"]), (&json!("degraded"), &json!("closed")), "{health}");
    assert!(api.log().contains("no connection left"), "{}", api.log());

    drop(others);
    poll::until("no warning", async || {
        let (health, found) = warnings(&api).await;
        if found.is_empty() && health["status"] == "healthy" { Ok(()) } else { Err(health) }
    })
    .await;
}

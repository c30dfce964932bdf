//! One row that many callers change: nobody is sent away, and the shard's other rows notice nothing.

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::api::{Api, json as parts};
use crate::support::poll;
use crate::support::servers::{TestCluster, run};
use crate::telemetry::metrics::samples;

/// More callers than the pool of a shard has connections.
const CALLERS: usize = 40;
const POOL: (&str, &str) = ("DB_POOL_MAX_SIZE", "4");

async fn call(api: &Api, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    parts(api.request(method, path).json(&body).send().await.unwrap()).await
}

/// Holds a row as a transaction in psql does.
async fn hold(cluster: &TestCluster, select: &str) -> PgConnection {
    let mut holder = cluster.connect(0).await;
    run(&mut holder, &format!("BEGIN; {select} FOR UPDATE")).await.unwrap();
    holder
}

async fn someone_waits(cluster: &TestCluster) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    poll::until_true("a change that waits for the row", async || cluster.value::<i64>(0, waiting).await > 0).await;
}

#[tokio::test]
async fn changes_of_one_document_leave_connections_to_the_others() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &[POOL]).await;
    for path in ["/records/kv/hot", "/records/kv/other"] {
        assert_eq!(call(&api, Method::PUT, path, json!({"keep": 1})).await.0, StatusCode::CREATED);
    }
    let mut holder = hold(&cluster, "SELECT FROM records WHERE key = 'hot'").await;
    let hot =
        join_all((0..CALLERS).map(|n| call(&api, Method::PATCH, "/records/kv/hot", json!({ format!("f{n}"): n }))));
    let others = async {
        someone_waits(&cluster).await;
        for number in 0..10 {
            let (status, answer) = call(&api, Method::PATCH, "/records/kv/other", json!({"n": number})).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
        }
        let replace = api.request(Method::PUT, "/records/kv/other").header("if-match", "*").json(&json!(1));
        assert_eq!(replace.send().await.unwrap().status(), StatusCode::OK);
        assert_eq!(call(&api, Method::DELETE, "/records/kv/other", json!(null)).await.0, StatusCode::OK);
        run(&mut holder, "COMMIT").await.unwrap();
    };
    let (hot, ()) = tokio::join!(hot, others);
    for (status, answer) in hot {
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    let (_, found) = api.get_json("/records/kv/hot").await;
    assert_eq!(found["document"].as_object().unwrap().len(), CALLERS + 1);
}

#[tokio::test]
async fn changes_of_one_file_leave_connections_to_the_others() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &[POOL]).await;
    let mut paths = Vec::new();
    for name in ["hot", "other"] {
        let (_, stored) = api.post_json("/ingest", &json!({"user_id": 1, "file_name": name})).await;
        paths.push(format!("/files/{}", stored["data"]["file_id"].as_str().unwrap()));
    }
    let mut holder = hold(&cluster, "SELECT FROM file_metadata WHERE file_name = 'hot'").await;
    let hot = join_all((0..CALLERS).map(|size| call(&api, Method::PATCH, &paths[0], json!({"size_bytes": size}))));
    let others = async {
        someone_waits(&cluster).await;
        for size in 0..10 {
            let (status, answer) = call(&api, Method::PATCH, &paths[1], json!({"size_bytes": size})).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
        }
        assert_eq!(call(&api, Method::DELETE, &paths[1], json!(null)).await.0, StatusCode::OK);
        run(&mut holder, "COMMIT").await.unwrap();
    };
    let (hot, ()) = tokio::join!(hot, others);
    for (status, answer) in hot {
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
}

#[tokio::test]
async fn the_change_of_a_client_that_went_away_is_not_made() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &[POOL]).await;
    call(&api, Method::PUT, "/records/kv/hot", json!({"keep": 1})).await;
    let mut holder = hold(&cluster, "SELECT FROM records WHERE key = 'hot'").await;
    let mut clients = Vec::new();
    for number in 0..10 {
        let mut client = TcpStream::connect(api.base().strip_prefix("http://").unwrap()).await.unwrap();
        let body = format!("{{\"gone{number}\":1}}");
        let head = "PATCH /records/kv/hot HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        client.write_all(request.as_bytes()).await.unwrap();
        clients.push(client);
    }
    someone_waits(&cluster).await;
    drop(clients);
    // The row is still held: only callers that leave the queue make room.
    poll::until_true("nobody to use a connection", async || {
        samples(&api).await[r#"shardrive_shard_pool_connections{shard="0",state="in_use"}"#] == 0.0
    })
    .await;
    run(&mut holder, "COMMIT").await.unwrap();
    let (status, answer) = call(&api, Method::PATCH, "/records/kv/hot", json!({"live": 1})).await;
    assert_eq!((status, &answer["document"]), (StatusCode::OK, &json!({"keep": 1, "live": 1})));
}

#[tokio::test]
async fn a_patch_with_a_key_is_made_once_beside_many_others() {
    let cluster = TestCluster::migrated(1).await;
    let apis = [Api::start(&cluster).await, Api::start(&cluster).await];
    call(&apis[0], Method::PUT, "/records/kv/hot", json!({})).await;
    let patch = async |number: usize, round: usize| {
        let request = apis[(number + round) % 2].request(Method::PATCH, "/records/kv/hot");
        let request =
            request.header("idempotency-key", format!("k{number}")).json(&json!({ format!("f{number}"): number }));
        parts(request.send().await.unwrap()).await
    };
    let first = join_all((0..30).map(|number| patch(number, 0))).await;
    let again = join_all((0..30).map(|number| patch(number, 1))).await;
    for ((status, made), again) in first.into_iter().zip(again) {
        assert_eq!(status, StatusCode::OK, "{made}");
        assert_eq!((again.0, &again.1["version"], &again.1["document"]), (status, &made["version"], &made["document"]));
    }
    let (_, found) = apis[0].get_json("/records/kv/hot").await;
    assert_eq!(found["document"].as_object().unwrap().len(), 30);
}

//! Slow calls hold a part of a shard's pool: others always get a connection, and so do the calls of other callers.

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::PgConnection;
use tokio::task::JoinHandle;

use crate::support::api::{Api, client};
use crate::support::poll;
use crate::support::servers::{TestCluster, run};

/// Answers of listings: the status, the problem's code, and whether `Retry-After` is there.
type Answers = Vec<JoinHandle<(StatusCode, String, bool)>>;

/// A listing of large documents by this caller, who comes through a proxy.
fn list(api: &Api, caller: &str, times: usize) -> Answers {
    (0..times)
        .map(|_| {
            let listing = client()
                .get(format!("{}/records/notes?shard_key=1", api.base()))
                .header("X-Forwarded-For", caller.to_owned());
            tokio::spawn(async move {
                let answer = listing.send().await.unwrap();
                let (status, retry) = (answer.status(), answer.headers().contains_key("Retry-After"));
                let body: serde_json::Value = answer.json().await.unwrap();
                (status, body["code"].as_str().unwrap_or_default().to_owned(), retry)
            })
        })
        .collect()
}

async fn start(cluster: &TestCluster) -> (Api, String) {
    let api = Api::start_with(
        cluster,
        &[
            ("SHARDRIVE_TRUSTED_PROXIES", "127.0.0.1/32"),
            ("SHARDRIVE_SHARD_TIMEOUT_MS", TIMEOUT_MS),
            ("SHARDRIVE_DB_POOL_MAX_SIZE", "8"),
        ],
    )
    .await;
    let collection = json!({"shard_key": "k", "records_per_key": "many", "key_type": "integer"});
    let declared = api.request(Method::PUT, "/collections/notes").json(&collection).send().await.unwrap();
    assert!(declared.status().is_success(), "{}", declared.text().await.unwrap());
    let (status, note) = api.post_json("/records/notes", &json!({"k": 1})).await;
    assert!(status.is_success(), "{note}");
    let (_, file) = api.post_json("/ingest", &json!({"user_id": 1, "file_name": "f"})).await;
    (api, file["data"]["file_id"].as_str().unwrap().to_owned())
}

/// A listing waits for its turn for half of this, and then for the table for the other half: time enough on a slow
/// machine for what a test does between the two.
const TIMEOUT_MS: &str = "40000";

/// Sessions that wait for the table.
const WAITING: &str = "SELECT count(*) FROM pg_locks WHERE relation = 'records'::regclass AND NOT granted";

async fn waiting(observer: &mut PgConnection) -> i64 {
    sqlx::query_scalar(WAITING).fetch_one(observer).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_listings_leave_connections_to_others() {
    let cluster = TestCluster::migrated(1).await;
    let (api, file) = start(&cluster).await;
    // Listings wait for the table of documents for as long as this holds it.
    let mut hold = cluster.connect(0).await;
    run(&mut hold, "BEGIN; LOCK TABLE records IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut observer = cluster.connect(0).await;
    let callers: Vec<_> = (1..=12).map(|number| list(&api, &format!("203.0.113.{number}"), 1)).collect();
    // Half of the pool waits in the database, and the others for their turn, until they are told to come again.
    poll::until("listings that are refused", async || {
        let refused = callers.iter().flatten().filter(|listing| listing.is_finished()).count();
        let waiting = waiting(&mut observer).await;
        if waiting >= 8 || (waiting == 4 && refused == 8) { Ok(()) } else { Err((waiting, refused)) }
    })
    .await;
    for name in ["a", "b", "c"] {
        let path = format!("/files/{file}");
        let changed = api.request(Method::PATCH, &path).json(&json!({"file_name": name})).send().await.unwrap();
        assert_eq!(changed.status(), StatusCode::OK, "{}", changed.text().await.unwrap());
        assert_eq!(api.get(&path).await.status(), StatusCode::OK);
        assert_eq!(api.get("/query/1").await.status(), StatusCode::OK);
        let (status, stored) = api.post_json("/ingest", &json!({"user_id": 1, "file_name": name})).await;
        assert_eq!(status, StatusCode::CREATED, "{stored}");
        let (status, stats) = api.get_json("/stats").await;
        assert_eq!((status, &stats["complete"]), (StatusCode::OK, &json!(true)), "{stats}");
    }
    let health = api.get_json("/health").await.1;
    assert_eq!((&health["status"], &health["circuits"]["shard_0"]), (&json!("healthy"), &json!("closed")), "{health}");
    run(&mut hold, "ROLLBACK").await.unwrap();
    let answers = join_all(callers.into_iter().flatten()).await;
    let (mut served, mut refused) = (0, 0);
    for answer in answers {
        match answer.unwrap() {
            (StatusCode::OK, ..) => served += 1,
            (StatusCode::SERVICE_UNAVAILABLE, code, true) if code == "shard_overloaded" => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((served, refused), (4, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_caller_leaves_places_to_others() {
    let cluster = TestCluster::migrated(1).await;
    let (api, _) = start(&cluster).await;
    let mut hold = cluster.connect(0).await;
    run(&mut hold, "BEGIN; LOCK TABLE records IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut observer = cluster.connect(0).await;
    let greedy = list(&api, "203.0.113.1", 40);
    poll::until("the greedy caller's share", async || {
        let waiting = waiting(&mut observer).await;
        let refused = greedy.iter().filter(|listing| listing.is_finished()).count();
        if waiting >= 8 || (waiting == 3 && refused == 37) { Ok(()) } else { Err((waiting, refused)) }
    })
    .await;
    let modest = list(&api, "203.0.113.2", 1);
    poll::until("the modest caller's listing", async || {
        let waiting = waiting(&mut observer).await;
        if waiting == 4 { Ok(()) } else { Err(waiting) }
    })
    .await;
    run(&mut hold, "ROLLBACK").await.unwrap();
    for listing in modest {
        assert_eq!(listing.await.unwrap().0, StatusCode::OK);
    }
    let (mut served, mut refused) = (0, 0);
    for listing in greedy {
        match listing.await.unwrap() {
            (StatusCode::OK, ..) => served += 1,
            (StatusCode::TOO_MANY_REQUESTS, code, true) if code == "too_many_own_calls" => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((served, refused), (3, 37));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_read_leaves_a_connection_to_the_small_reads_of_its_thread() {
    let cluster = TestCluster::migrated(1).await;
    let settings = [("SHARDRIVE_HTTP_WORKERS", "1"), ("SHARDRIVE_SHARD_TIMEOUT_MS", TIMEOUT_MS)];
    let api = Api::start_with(&cluster, &settings).await;
    let (status, stored) = api.post_json("/write", &json!({"key": "a", "value": 1})).await;
    assert!(status.is_success(), "{stored}");
    let mut hold = cluster.connect(0).await;
    run(&mut hold, "BEGIN; LOCK TABLE file_metadata IN ACCESS EXCLUSIVE MODE").await.unwrap();
    // A page that is too large for a batch takes the connection of its thread, and waits for the table.
    let page = tokio::spawn(api.request(Method::GET, "/query/1?limit=1000").send());
    let waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'file_metadata'::regclass AND NOT granted";
    poll::until_true("a page that waits", async || cluster.value::<i64>(0, waiting).await == 1).await;
    assert_eq!(thread_connections(&api).await, 1.0);
    let (status, read) = api.get_json("/read/a").await;
    assert_eq!((status, &read["value"]), (StatusCode::OK, &json!(1)), "{read}");
    assert!(!page.is_finished());
    run(&mut hold, "ROLLBACK").await.unwrap();
    assert_eq!(page.await.unwrap().unwrap().status(), StatusCode::OK);
}

async fn thread_connections(api: &Api) -> f64 {
    let text = api.get("/metrics").await.text().await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(r#"shardrive_shard_thread_connections{shard="0"} "#));
    value.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

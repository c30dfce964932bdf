//! Loads into folders: what a load remembers of folders is never wrong, and the planner hears of new rows.

use futures_util::stream::unfold;
use reqwest::{Body, Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::call;
use crate::support::api::{Api, json as parts};
use crate::support::poll;
use crate::support::servers::TestCluster;

const FILES: &str = "SELECT count(*) FROM file_metadata WHERE user_id = 42";

fn line(folder: &str, name: impl std::fmt::Display) -> String {
    json!({"user_id": 42, "file_name": name.to_string(), "path": format!("{folder}/{name}")}).to_string() + "\n"
}

/// A load whose body comes piece by piece.
struct SlowLoad {
    pieces: mpsc::Sender<Result<String, std::io::Error>>,
    sending: JoinHandle<(StatusCode, Value)>,
}

impl SlowLoad {
    fn begin(api: &Api) -> Self {
        let (pieces, receiver) = mpsc::channel(1);
        let body = unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
        let request = api.request(Method::POST, "/ingest/bulk").header("Content-Type", "application/x-ndjson");
        let request = request.body(Body::wrap_stream(body));
        Self { pieces, sending: tokio::spawn(async move { parts(request.send().await.unwrap()).await }) }
    }

    /// Sends lines, and waits until so many files are stored in all.
    async fn store(&self, cluster: &TestCluster, lines: String, stored: i64) {
        self.pieces.send(Ok(lines)).await.unwrap();
        poll::until_true("the lines are stored", async || cluster.value::<i64>(0, FILES).await == stored).await;
    }

    async fn end(self, inserted: u64) {
        drop(self.pieces);
        let (status, answer) = self.sending.await.unwrap();
        assert_eq!(
            (status, &answer["inserted"], &answer["rejected"]),
            (StatusCode::OK, &json!(inserted), &json!(0)),
            "{answer}"
        );
    }
}

async fn file_status(api: &Api, path: &str) -> StatusCode {
    api.get_json(&format!("/drives/42/path/{path}")).await.0
}

#[tokio::test]
async fn a_load_follows_what_happens_to_its_folders() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let load = SlowLoad::begin(&api);
    load.store(&cluster, [line("d", 1), line("other", 1)].concat(), 2).await;

    let (_, folder) = api.get_json("/drives/42/path/d").await;
    let id = folder["data"]["folder_id"].as_str().unwrap();
    assert_eq!(call(&api, Method::PATCH, &format!("/folders/{id}"), json!({"folder_name": "renamed"})).await.0, 200);
    load.store(&cluster, [line("d", 2), line("other", 2)].concat(), 4).await;
    for path in ["renamed/1", "d/2", "other/1", "other/2"] {
        assert_eq!(file_status(&api, path).await, StatusCode::OK, "{path}");
    }

    let (status, _) = call(&api, Method::DELETE, "/drives/42/path/d?purge=true", json!({})).await;
    assert_eq!(status, 200);
    poll::until_true("the folder is gone", async || cluster.value::<i64>(0, FILES).await == 3).await;
    load.store(&cluster, line("d", 3), 4).await;
    assert_eq!(file_status(&api, "d/3").await, StatusCode::OK);

    // As after a failover that has lost the folder: its row is gone, and nothing else tells.
    cluster.psql(0, "DELETE FROM file_metadata WHERE file_name = '3'").await.unwrap();
    cluster.psql(0, "DELETE FROM folders WHERE folder_name = 'd'").await.unwrap();
    load.store(&cluster, line("d", 4), 4).await;
    assert_eq!(file_status(&api, "d/4").await, StatusCode::OK);
    load.end(6).await;
}

#[tokio::test]
async fn a_name_is_found_by_its_index_before_the_table_has_statistics() {
    let cluster = TestCluster::migrated(1).await;
    let make = "SELECT shardrive.make_folders_at(array_fill(42::bigint, '{2000}'), \
                (SELECT array_agg('f' || n) FROM generate_series(1, 2000) AS n))";
    cluster.psql(0, make).await.unwrap();
    for found in ["shardrive.find_folder(42, '{f7}')", "shardrive.list_tree(42, '', '', false, 10)"] {
        cluster.psql(0, &format!("SELECT * FROM {found}")).await.unwrap();
    }
    let plan = "EXPLAIN (FORMAT JSON) SELECT * FROM shardrive.find_folder(42, '{f7}')";
    let plan = cluster.value::<Value>(0, plan).await.to_string();
    assert!(plan.contains("folders_name_idx") && !plan.contains("folders_tree_idx"), "{plan}");
}

#[tokio::test]
async fn a_load_into_an_emptied_shard_tells_the_planner() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    // Sessions plan for the empty tables, and autovacuum does not come.
    for table in ["file_metadata", "folders"] {
        cluster.psql(0, &format!("ALTER TABLE {table} SET (autovacuum_enabled = off)")).await.unwrap();
        cluster.psql(0, &format!("VACUUM ANALYZE {table}")).await.unwrap();
    }
    let lines = |range: std::ops::Range<usize>| range.map(|n| line(&format!("d{}", n % 2000), n)).collect::<String>();
    let load = SlowLoad::begin(&api);
    load.store(&cluster, lines(0..10), 10).await;
    load.store(&cluster, lines(10..30_000), 30_000).await;
    load.end(30_000).await;
    for table in ["file_metadata", "folders"] {
        let known = format!("SELECT reltuples::float8 FROM pg_class WHERE oid = '{table}'::regclass");
        assert!(cluster.value::<f64>(0, &known).await >= 1000.0, "{table}");
    }
}

#[tokio::test]
async fn a_load_of_many_users_puts_each_file_into_the_folder_of_its_user() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let line = |user: usize| json!({"user_id": user, "file_name": "a", "path": format!("d{}/a", user % 3)}).to_string();
    let body: String = (0..1200).map(|user| line(user) + "\n").collect();
    let answer = api.send("/ingest/bulk", "application/x-ndjson", body).await.json::<Value>().await.unwrap();
    assert_eq!((&answer["inserted"], &answer["rejected"]), (&json!(1200), &json!(0)), "{answer}");
    let right = "SELECT count(*) FROM files WHERE path = 'd' || user_id % 3 || '/a' AND NOT trashed";
    assert_eq!(cluster.value::<i64>(0, right).await, 1200);
}

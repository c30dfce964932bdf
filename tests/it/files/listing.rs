//! The real thing: what rclone lists of this machine's /usr goes in twice, and comes out whole.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::files::query::{all_pages, streamed};
use crate::support::api::{Api, json};
use crate::support::program::shardrive;
use crate::support::servers::TestCluster;
use crate::support::tools::find_or_skip;

/// Lists /usr into a file; false where rclone is missing.
fn list_usr(to: &Path) -> bool {
    let Some(rclone) = find_or_skip("rclone") else { return false };
    let listing = Command::new(rclone)
        .args(["lsjson", "-R", "--max-depth", "3", "--files-only", "/usr"])
        .stdin(Stdio::null())
        .stdout(File::create(to).unwrap())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    // Some files of /usr may be for root alone; what is listed is listed well.
    assert!(listing.code().is_some(), "{listing}");
    true
}

fn sorted_paths(files: &[Value], field: &str) -> BTreeSet<String> {
    let paths: BTreeSet<_> = files.iter().map(|file| file[field].as_str().unwrap().to_owned()).collect();
    assert_eq!(paths.len(), files.len(), "a path is there twice");
    paths
}

#[tokio::test]
async fn a_real_listing_is_there_once_however_often_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("usr.json");
    if !list_usr(&path) {
        return;
    }
    let text = std::fs::read(&path).unwrap();
    let entries: Vec<Value> = serde_json::from_slice(&text).unwrap();
    let expected = sorted_paths(&entries, "Path");
    let bytes: i64 = entries.iter().map(|entry| entry["Size"].as_i64().unwrap().max(0)).sum();
    let count = expected.len();
    assert!(count > 1000, "{count} files are no test");

    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    // By HTTP for user 42, by the command for user 1042: both on shard 0.
    for stored in [count, 0] {
        let request = api
            .request(Method::POST, "/ingest/bulk?format=lsjson&user_id=42")
            .timeout(Duration::from_mins(3))
            .body(text.clone());
        let command = ["import", "--url", api.base(), "--user-id", "1042", "--json", path.to_str().unwrap()];
        let (sent, imported) = tokio::join!(request.send(), shardrive(&command, &[]));
        let (status, answer) = json(sent.unwrap()).await;
        assert_eq!((status, imported.code), (StatusCode::OK, 0), "{answer} {imported:?}");
        for answer in [answer, imported.json()] {
            assert_eq!(answer["rejected"], 0, "{answer}");
            assert_eq!((&answer["inserted"], &answer["unchanged"]), (&json!(stored), &json!(count - stored)));
            assert_eq!(answer["distribution"], json!({"0": stored, "1": 0}));
        }
    }

    let (paged, once, other) =
        tokio::join!(all_pages(&api, 42, 1000), streamed(&api, "/query/42"), streamed(&api, "/query/1042"));
    assert!(sorted_paths(&paged, "path") == expected, "the pages list something else");
    assert!(once == paged, "the stream lists something else");
    assert!(sorted_paths(&other, "path") == expected, "the import left something else");
    let (_, stats) = api.get_json("/stats").await;
    assert_eq!((&stats["total_records"], &stats["total_bytes"]), (&json!(2 * count), &json!(2 * bytes)));
    assert_eq!(
        (&stats["shards"][0]["record_count"], &stats["shards"][1]["record_count"]),
        (&json!(2 * count), &json!(0))
    );
    let done = shardrive(&["shards", "verify", "--json"], &cluster.variables()).await;
    assert_eq!((done.code, &done.json()["rows"]), (0, &json!({"0": 2 * count, "1": 0})), "{done:?}");
}

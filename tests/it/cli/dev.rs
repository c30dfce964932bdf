//! The command `dev` from end to end: servers of its own, found again at every later start.

use std::path::PathBuf;
use std::process::Command;

use reqwest::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::api::Api;
use crate::support::cache::until_says;
use crate::support::folders::scratch_folder;
use crate::support::poll;

/// A folder for the servers, which their user can reach. Dropping it stops servers that are still there.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    async fn new() -> Self {
        let folder = scratch_folder().await;
        Self { folder }
    }

    async fn dev(&self, shards: &str) -> Result<Api, String> {
        let data = self.folder.path().join("data");
        let arguments = ["dev", "--dir", data.to_str().unwrap(), "--shards", shards, "--bind", "127.0.0.1:0"];
        Api::try_command(&arguments, &[]).await
    }

    /// The notes that running servers leave in their folders.
    fn notes(&self) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(self.folder.path().join("data")).into_iter().flatten().flatten();
        folders.map(|folder| folder.path().join("data/postmaster.pid")).filter(|note| note.exists()).collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for note in self.notes() {
            let text = std::fs::read_to_string(note).unwrap_or_default();
            if let Some(pid) = text.lines().next() {
                let _ = Command::new("kill").args(["-s", "QUIT", pid]).status();
            }
        }
    }
}

async fn total(api: &Api) -> serde_json::Value {
    api.get_json("/stats").await.1["total_records"].clone()
}

#[tokio::test]
async fn everything_starts_stops_and_is_found_again() {
    let home = Home::new().await;
    let mut api = home.dev("2").await.unwrap();
    let welcome = format!("  API      {}\n", api.base());
    poll::until("the welcome with the real address", async || {
        let log = api.log();
        if log.contains(&welcome) { Ok(()) } else { Err(log) }
    })
    .await;
    until_says(&api, "healthy").await;
    assert!(api.log().contains("  cache    redis://127.0.0.1:"), "{}", api.log());
    let (status, loaded) = api.post_json("/ingest/bulk?count=100", &json!({})).await;
    assert_eq!((status, &loaded["distribution"]), (StatusCode::OK, &json!({"0": 50, "1": 50})));
    assert_eq!(home.notes().len(), 2);
    let in_use = home.dev("2").await.err().expect("a second one in the same folder");
    assert!(in_use.contains("in use"), "{in_use}");

    api.sigterm();
    assert!(api.wait_for_exit().await, "{}", api.log());
    assert_eq!(home.notes(), Vec::<PathBuf>::new(), "the servers are stopped");

    let refused = home.dev("3").await.err().expect("another number of shards");
    assert!(refused.contains("--shards 2"), "{refused}");

    let mut api = home.dev("2").await.unwrap();
    assert_eq!(total(&api).await, 100);
    let (status, _) = api.post_json("/ingest", &json!({"user_id": 7, "file_name": "late.txt"})).await;
    assert_eq!(status, StatusCode::CREATED);
    api.kill9();

    let mut api = home.dev("2").await.unwrap();
    assert_eq!(total(&api).await, 101);
    assert_eq!(api.get_json("/query/7").await.1["file_count"], 2);
    api.sigterm();
    assert!(api.wait_for_exit().await, "{}", api.log());
    assert_eq!(home.notes(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_server_that_ends_is_told_of_and_comes_back_with_the_next_start() {
    let home = Home::new().await;
    let mut api = home.dev("2").await.unwrap();
    let note = home.folder.path().join("data/shard_1/data/postmaster.pid");
    let text = std::fs::read_to_string(&note).unwrap();
    assert!(Command::new("kill").args(["-s", "KILL", text.lines().next().unwrap()]).status().unwrap().success());
    poll::until("a word about the server", async || {
        let log = api.log();
        if log.contains("shard_1/data has ended") { Ok(()) } else { Err(log) }
    })
    .await;
    api.sigterm();
    assert!(api.wait_for_exit().await, "{}", api.log());
    let mut api = home.dev("2").await.unwrap();
    let (status, _) = api.post_json("/ingest", &json!({"user_id": 7, "file_name": "a.txt"})).await;
    assert_eq!(status, StatusCode::CREATED);
    api.sigterm();
    assert!(api.wait_for_exit().await, "{}", api.log());
}

/// The first signal waits for the request in progress, the second one does not. Neither leaves a server behind.
#[tokio::test]
async fn a_second_signal_stops_the_servers_too() {
    let home = Home::new().await;
    let mut api = home.dev("1").await.unwrap();
    let mut upload = tokio::net::TcpStream::connect(api.base().trim_start_matches("http://")).await.unwrap();
    let head = "POST /ingest/bulk HTTP/1.1\r\nHost: dev\r\nContent-Type: application/x-ndjson\r\nContent-Length: 99\r\n\
                Expect: 100-continue\r\n\r\n";
    upload.write_all(head.as_bytes()).await.unwrap();
    let mut begun = [0; 12];
    upload.read_exact(&mut begun).await.unwrap();
    assert_eq!(begun, *b"HTTP/1.1 100");
    api.sigterm();
    poll::until("the first signal's word", async || {
        let log = api.log();
        if log.contains("finishing the requests in progress") { Ok(()) } else { Err(log) }
    })
    .await;
    api.sigterm();
    assert!(!api.wait_for_exit().await, "{}", api.log());
    assert_eq!(home.notes(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_spare_database_that_has_become_a_shard_is_shown_as_one() {
    let home = Home::new().await;
    let start = async || {
        let data = home.folder.path().join("data");
        let arguments =
            ["dev", "--dir", data.to_str().unwrap(), "--shards", "1", "--spare", "1", "--bind", "127.0.0.1:0"];
        let api = Api::try_command(&arguments, &[]).await.unwrap();
        poll::until_true("the welcome", async || api.log().contains("Ctrl-C stops everything")).await;
        api
    };
    let mut api = start().await;
    let log = api.log();
    let spare =
        log.lines().find_map(|line| line.trim().strip_prefix("spare")).unwrap_or_else(|| panic!("{log}")).trim();
    assert!(log.contains("Shardrive with 1 shard;") && log.contains("One more shard"), "{log}");
    let added = api.post("/admin/shards", &json!({"url": spare})).await;
    assert!(added.status().is_success(), "{added:?}");
    api.sigterm();
    assert!(api.wait_for_exit().await, "{}", api.log());
    let mut api = start().await;
    let log = api.log();
    assert!(log.contains("Shardrive with 2 shards") && log.contains(&format!("{spare}\n")), "{log}");
    assert!(!log.contains("One more shard") && !log.contains("user_id mod"), "{log}");
    api.sigterm();
    assert!(api.wait_for_exit().await, "{}", api.log());
}

#[tokio::test]
async fn an_address_that_is_taken_stops_the_servers_again() {
    let home = Home::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = home.folder.path().join("data");
    let arguments = ["dev", "--dir", data.to_str().unwrap(), "--shards", "1", "--bind", &address];
    let refused = Api::try_command(&arguments, &[]).await.err().expect("it listens");
    assert!(refused.contains(&format!("cannot listen on {address}")), "{refused}");
    assert_eq!(home.notes(), Vec::<PathBuf>::new());
}

//! Bodies that break off, clients that go away, and bodies far larger than the memory that may be used.

use std::time::Duration;

use futures_util::stream;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::api::{Api, json};
use crate::support::pack::pack;
use crate::support::poll;
use crate::support::servers::TestCluster;

const NDJSON: &str = "application/x-ndjson";
/// What the service may use, whatever it is sent.
const MEMORY: u64 = 128 << 20;

fn lines(count: usize) -> String {
    (0..count).map(|number| format!("{{\"user_id\":{number},\"file_name\":\"a\"}}\n")).collect()
}

async fn connect(api: &Api) -> TcpStream {
    TcpStream::connect(api.base().strip_prefix("http://").unwrap()).await.unwrap()
}

async fn begin(api: &Api, length: usize, part: &[u8]) -> TcpStream {
    let mut socket = connect(api).await;
    let head =
        format!("POST /ingest/bulk HTTP/1.1\r\nHost: x\r\nContent-Type: {NDJSON}\r\nContent-Length: {length}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(part).await.unwrap();
    socket
}

async fn total(api: &Api, path: &str) -> u64 {
    let (status, stats) = api.get_json(path).await;
    assert_eq!((status, &stats["complete"]), (StatusCode::OK, &json!(true)));
    stats["total_records"].as_u64().unwrap()
}

/// Waits until nothing is being stored any more, and the counts agree with the rows.
async fn settled(api: &Api, cluster: &TestCluster) -> u64 {
    poll::until("the shards to be at rest", async || {
        let busy = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle' AND query ~ 'file_metadata'";
        let (zero, one): (i64, i64) = (cluster.value(0, busy).await, cluster.value(1, busy).await);
        if zero + one == 0 { Ok(()) } else { Err((zero, one)) }
    })
    .await;
    // A load whose client went away may still store what had come.
    let mut counted = 0;
    poll::until("counts and rows to agree", async || {
        counted = total(api, "/stats").await;
        let scanned = total(api, "/stats?exact=scan").await;
        if scanned == counted { Ok(()) } else { Err((counted, scanned)) }
    })
    .await;
    counted
}

#[tokio::test]
async fn a_body_that_is_cut_in_the_middle_is_not_reported_as_whole() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let body = lines(20_000);
    let half = &body.as_bytes()[..body.len() / 2];
    let mut socket = begin(&api, body.len(), half).await;
    socket.shutdown().await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(poll::LIMIT, socket.read_to_string(&mut answer)).await.expect("an end");
    let stored = settled(&api, &cluster).await;
    if read.is_ok() && !answer.is_empty() {
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        let (_, problem) = answer.split_once("\r\n\r\n").unwrap();
        let problem: Value = serde_json::from_str(problem).unwrap();
        assert_eq!((&problem["code"], &problem["inserted"]), (&json!("incomplete_body"), &json!(stored)));
    }
    assert!(stored < 10_001, "{stored} of half a body");
}

#[tokio::test]
async fn packed_bodies_that_break_off_tell_what_was_stored() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let body = lines(20_000);
    let mut stored = 0;
    for encoding in ["gzip", "zstd"] {
        let packed = pack(encoding, body.as_bytes()).await;
        for length in [packed.len() - 3, packed.len() / 2, 8] {
            let request = api.request(reqwest::Method::POST, "/ingest/bulk").header("Content-Encoding", encoding);
            let request = request.header("Content-Type", NDJSON).body(packed[..length].to_vec());
            let (status, problem) = json(request.send().await.unwrap()).await;
            assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("incomplete_body")), "{problem}");
            stored += problem["inserted"].as_u64().unwrap();
            assert_eq!(settled(&api, &cluster).await, stored, "{encoding} {length}");
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let cluster = TestCluster::migrated(2).await;
    let mut api = Api::start(&cluster).await;
    let body = lines(20_000);
    for cut in [0, 10, body.len() / 3, body.len() - 1] {
        let socket = begin(&api, body.len(), &body.as_bytes()[..cut]).await;
        drop(socket);
    }
    // One that stays and says nothing is no burden for the others.
    let silent = begin(&api, body.len(), b"{").await;
    let (status, _) = api.post_json("/ingest", &json!({"user_id": 1, "file_name": "a"})).await;
    assert_eq!(status, StatusCode::CREATED);
    settled(&api, &cluster).await;
    assert_eq!(api.get_json("/health").await.1["status"], "healthy");
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'";
    for shard in 0..2 {
        assert_eq!(cluster.value::<i64>(shard, open).await, 0, "an open transaction on shard {shard}");
    }
    drop(silent);
    api.sigterm();
    assert!(api.wait_for_exit().await, "{}", api.log());
}

#[tokio::test]
async fn a_large_body_does_not_need_large_memory() {
    const BODY: usize = 300 << 20;
    let cluster = TestCluster::migrated(4).await;
    let api = Api::start(&cluster).await;
    // A megabyte of each: too long a line, lines with too long a name, and the largest files that are taken.
    let mut part = format!("{{\"user_id\":1,\"file_name\":\"{}\"}}\n", "x".repeat(700 << 10));
    for _ in 0..3 {
        part.push_str(&format!("{{\"user_id\":1,\"file_name\":\"{}\"}}\n", "x".repeat(60_000)));
    }
    let folders = format!("{}/", "folder".repeat(40)).repeat(12);
    for number in 0..40 {
        let (name, label) = (format!("{number}-ROUND-{}", "n".repeat(1000)), "l".repeat(250));
        part.push_str(&format!(
            "{{\"user_id\":{number},\"file_name\":\"{name}\",\"path\":\"{folders}{name}\",\"checksum\":\"{label}\",\"mime_type\":\"{label}\"}}\n"
        ));
    }
    let rounds = BODY.div_ceil(part.len());
    let round_of = move |round: usize| part.replace("ROUND", &format!("{round:05}"));
    let body = stream::iter((0..rounds).map(move |round| Ok::<_, std::io::Error>(round_of(round))));
    let request = api
        .request(reqwest::Method::POST, "/ingest/bulk")
        .header("Content-Type", NDJSON)
        .timeout(Duration::from_mins(5))
        .body(reqwest::Body::wrap_stream(body));
    let (status, answer) = json(request.send().await.unwrap()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!((&answer["inserted"], &answer["rejected"]), (&json!(rounds * 40), &json!(rounds * 4)));
    let peak = peak_memory(api.pid());
    eprintln!("the most memory of all was {} MiB", peak >> 20);
    assert!(peak <= MEMORY, "{} MiB", peak >> 20);
}

/// The most memory that a process has had, in bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

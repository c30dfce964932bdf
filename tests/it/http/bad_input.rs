//! Nonsense of every kind: a clear problem+json that says what to change, never a 5xx, and nothing stored in secret.

use reqwest::StatusCode;
use reqwest::header::{ALLOW, CONTENT_TYPE};
use serde_json::Value;

use crate::support::api::Api;
use crate::support::pack::pack;
use crate::support::poll;
use crate::support::servers::TestCluster;

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

/// A request and what it must be answered with.
struct Case {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
    status: u16,
    code: &'static str,
}

fn case(method: &'static str, path: impl Into<String>, status: u16, code: &'static str) -> Case {
    Case { method, path: path.into(), headers: Vec::new(), body: Vec::new(), status, code }
}

/// A body for `POST /ingest`.
fn ingest(body: impl Into<Vec<u8>>, status: u16, code: &'static str) -> Case {
    case("POST", "/ingest", status, code).header("Content-Type", JSON).body(body)
}

/// A body for `POST /ingest/bulk`.
fn bulk(kind: &str, body: impl Into<Vec<u8>>, status: u16, code: &'static str) -> Case {
    case("POST", "/ingest/bulk", status, code).header("Content-Type", kind).body(body)
}

impl Case {
    fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name, value.as_ref().to_vec()));
        self
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and checks the answer; gives how many files it says were stored.
    async fn check(self, api: &Api) -> u64 {
        let mut request = api.request(self.method.parse().unwrap(), &self.path);
        for (name, value) in &self.headers {
            request = request.header(*name, reqwest::header::HeaderValue::from_bytes(value).unwrap());
        }
        if !self.body.is_empty() {
            request = request.body(self.body.clone());
        }
        let body: String = String::from_utf8_lossy(&self.body).chars().take(100).collect();
        let path: String = self.path.chars().take(100).collect();
        let what = format!("{} {path} {body}", self.method);
        let answer = request.send().await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        assert_eq!(status.as_u16(), self.status, "{what}: {text}");
        assert_eq!(headers[CONTENT_TYPE], "application/problem+json", "{what}: {text}");
        assert_eq!(headers.contains_key(ALLOW), status == StatusCode::METHOD_NOT_ALLOWED, "{what}");
        if self.method == "HEAD" {
            return 0;
        }
        let problem: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{what}: {error}: {text}"));
        assert_eq!((&problem["code"], &problem["status"]), (&self.code.into(), &self.status.into()), "{what}: {text}");
        assert_eq!(problem["type"], format!("urn:shardrive:problem:{}", self.code), "{what}");
        assert_eq!(problem["request_id"], headers["x-request-id"].to_str().unwrap(), "{what}");
        for member in ["title", "detail"] {
            let words = problem[member].as_str().unwrap();
            assert!((5..500).contains(&words.len()), "{what}: {text}");
            assert!(!words.contains("SELECT") && !words.contains("file_metadata"), "{what}: {text}");
        }
        problem["inserted"].as_u64().unwrap_or(0)
    }
}

/// Checks all cases, and that nothing was stored that no answer told of.
async fn check_all(cases: Vec<Case>) {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let mut stored = 0;
    for case in cases {
        stored += case.check(&api).await;
    }
    for path in ["/stats", "/stats?exact=scan"] {
        assert_eq!(api.get_json(path).await.1["total_records"], stored, "{path}");
    }
    assert!(!api.log().contains("ERROR") && !api.log().contains("panicked"), "{}", api.log());
}

fn name(name: &str) -> String {
    format!(r#"{{"user_id":1,"file_name":"{name}"}}"#)
}

/// A file with one more field, or one in place of another.
fn with(field: &str) -> String {
    format!(r#"{{"user_id":1,"file_name":"a",{field}}}"#)
}

fn user(id: &str) -> String {
    format!(r#"{{"user_id":{id},"file_name":"a"}}"#)
}

#[tokio::test]
async fn paths_and_methods() {
    let mut cases = Vec::new();
    for path in [
        "/nothing",
        "/query",
        "/query/",
        "/query/1/2",
        "/files",
        "/files/",
        "/ingest/",
        "/ingest/bulk/1",
        "/%FF%FE",
        "/docs/none.js",
        "/docs/%FF",
        "/docs/../../etc/passwd",
        "/docs/%2e%2e/x",
        "//",
        "/stats/",
    ] {
        cases.push(case("GET", path, 404, "unknown_path"));
    }
    for id in [
        "-1",
        "1.5",
        "1e3",
        "+1",
        "x",
        "9223372036854775808",
        "99999999999999999999999999",
        "%20",
        "%00",
        "%FF%FE",
        "1%00",
        "0x10",
        "%D9%A1",
    ] {
        cases.push(case("GET", format!("/query/{id}"), 400, "invalid_path"));
    }
    for method in ["GET", "HEAD", "PATCH", "DELETE"] {
        for id in ["x", "%FF%FE", "%00", "019a9e4b", "019a9e4b-3f21-7c5a-9e02-7a002a5d4c1z"] {
            cases.push(case(method, format!("/files/{id}"), 400, "invalid_path"));
        }
    }
    cases.push(case("GET", format!("/files/{}", "x".repeat(8_000)), 400, "invalid_path"));
    cases.push(case("GET", format!("/files/{}", "x".repeat(20_000)), 414, "url_too_long"));
    for method in ["GET", "DELETE"] {
        for id in [
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "3e9fb2a6-3a1f-4b5c-9d52-0a1b2c3d4e5f",
            "019a9e4b-3f21-7c5a-9e02-7a002a5d4c1e", // as if it were made here
            "019a9e4b-3f21-7c5a-9e02-7affff5d4c1e", // the mark, and a slot that there is not
        ] {
            cases.push(case(method, format!("/files/{id}"), 404, "file_not_found"));
        }
    }
    for (method, path) in [
        ("GET", "/ingest"),
        ("PUT", "/ingest"),
        ("DELETE", "/"),
        ("POST", "/stats"),
        ("POST", "/query/1"),
        ("PUT", "/files/x"),
        ("OPTIONS", "/ingest/bulk"),
        ("TRACE", "/"),
        ("BREW", "/"),
        ("POST", "/docs/"),
    ] {
        cases.push(case(method, path, 405, "method_not_allowed"));
    }
    check_all(cases).await;
}

#[tokio::test]
async fn queries() {
    let mut cases = Vec::new();
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=-1",
        "limit=",
        "limit=1.0",
        "limit=%FF",
        "limit=1&limit=2",
        "limit=65537",
        "page=2",
        "cursor=",
        "cursor=x",
        "cursor=%00",
        "cursor=AQ",
        "cursor=AgAAAAAAAAAAAAAAAAAAAAA",
        "cursor=AQAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "cursor=AQAAAAAAAAAAAAAAAAAAAAA%3D",
        "cursor='%20OR%201=1",
    ] {
        cases.push(case("GET", format!("/query/1?{query}"), 400, "invalid_query"));
    }
    cases.push(case("GET", format!("/query/1?cursor={}", "A".repeat(8_000)), 400, "invalid_query"));
    cases.push(case("GET", format!("/query/1?cursor={}", "A".repeat(20_000)), 414, "url_too_long"));
    for (method, path) in [
        ("POST", "/drives/1/batch"),
        ("POST", "/drives/1/folders"),
        ("GET", "/drives/1"),
        ("HEAD", "/drives/1"),
        ("DELETE", "/drives/1/trash"),
        ("POST", "/ingest"),
        ("POST", "/write"),
        ("PUT", "/records/kv/a"),
        ("POST", "/admin/rebalance"),
    ] {
        cases.push(case(method, format!("{path}?dry_run=true"), 400, "invalid_query"));
    }
    for query in ["exact=maybe", "exact=", "exact=true", "fast=1", "exact=scan&exact=scan"] {
        cases.push(case("GET", format!("/stats?{query}"), 400, "invalid_query"));
    }
    for query in [
        "count=0",
        "count=-1",
        "count=1000000000000",
        "count=10000001",
        "count=99999999999999999999999",
        "count=x",
        "count=",
        "count=1.0",
        "count=1e3",
        "count=%31%00",
        "count=1&count=1",
        "cuont=1",
        "count=1&format=csv",
        "count=1&user_id=1",
        "count=1&on_error=maybe",
        "on_error=maybe",
        "on_error=",
        "format=xml",
        "format=",
        "format=lsjson",
        "format=lsjson&user_id=-1",
        "format=lsjson&user_id=x",
        "format=lsjson&user_id=9223372036854775808",
        "format=lsjson&user_id=",
        "format=csv&user_id=1",
        "user_id=1",
    ] {
        cases.push(
            case("POST", format!("/ingest/bulk?{query}"), 400, "invalid_query")
                .header("Content-Type", NDJSON)
                .body(name("a")),
        );
    }
    check_all(cases).await;
}

#[tokio::test]
async fn single_files() {
    let long = |length: usize| "x".repeat(length);
    let deep = |length: usize| format!("{}{}", "[".repeat(length), "]".repeat(length));
    let good = name("a");
    let mut cases = Vec::new();
    for id in [
        "-1",
        "9223372036854775808",
        "1e30",
        "1.5",
        "1.0",
        "\"1x\"",
        "null",
        "true",
        "[1]",
        "{}",
        "99999999999999999999999999999999999999999999999999",
    ] {
        cases.push(ingest(user(id), 400, "invalid_field"));
    }
    for bad in [String::new(), long(1025), long(10_000), "a\\u0000b".into(), "a/b".into(), "/".into()] {
        cases.push(ingest(name(&bad), 400, "invalid_field"));
    }
    for field in [
        "\"file_id\":\"7\"",
        "\"file_id\":7",
        "\"file_id\":\"00000000-0000-0000-0000-000000000000\"",
        "\"path\":\"\"",
        "\"path\":\"b\"",
        "\"path\":\"a/\"",
        "\"path\":\"x\\u0000/a\"",
        "\"size_bytes\":-1",
        "\"size_bytes\":1.5",
        "\"size_bytes\":\"1\"",
        "\"size_bytes\":9223372036854775808",
        "\"modified_at\":\"yesterday\"",
        "\"modified_at\":0",
        "\"modified_at\":\"2024-02-30T00:00:00Z\"",
        "\"modified_at\":\"0000-01-01T00:00:00Z\"",
        "\"modified_at\":\"+99999-01-01T00:00:00Z\"",
        "\"mime_type\":\"\\u0000\"",
        "\"checksum\":[]",
        "\"nmae\":1",
        "\"shard_id\":0",
        "\"user_id\":1",
        "\"file_name\":\"b\"",
    ] {
        cases.push(ingest(with(field), 400, "invalid_field"));
    }
    cases.push(ingest(with(&format!("\"path\":\"{}/a\"", long(4096))), 400, "invalid_field"));
    cases.push(ingest(with(&format!("\"checksum\":\"{}\"", long(256))), 400, "invalid_field"));
    cases.push(ingest(with(&format!("\"x\":{}", deep(10_000))), 400, "invalid_field"));
    cases.push(ingest(user(&deep(10_000)), 400, "invalid_field"));
    cases.push(ingest(format!(r#"{{"file_name":"a","{}":1}}"#, long(5_000)), 400, "invalid_field"));
    for body in ["{\"file_name\":\"a\"}", "{\"user_id\":1}", "{}"] {
        cases.push(ingest(body, 400, "invalid_field"));
    }
    for body in [
        "",
        " ",
        "{",
        "nonsense",
        "null",
        "7",
        "\"x\"",
        "[]",
        "[1,\"a\"]",
        "{\"user_id\":1,\"file_name\":\"a\"}{}",
        "{\"user_id\":1,\"file_name\":\"a\",}",
        "{'user_id':1}",
        "\u{feff}",
        "\u{feff}x",
        "{\"user_id\":01,\"file_name\":\"a\"}",
        "{\"user_id\":1,\"file_name\":\"a\nb\"}",
        "{\"user_id\":1,\"file_name\":\"\\ud800\"}",
        "{\"user_id\":NaN,\"file_name\":\"a\"}",
    ] {
        cases.push(ingest(body, 400, "invalid_body"));
    }
    cases.push(ingest(deep(10_000), 400, "invalid_body"));
    cases.push(ingest(b"{\"user_id\":1,\"file_name\":\"\xff\xfe\"}".to_vec(), 400, "invalid_body"));
    cases.push(ingest(b"\x00\x01\x02".to_vec(), 400, "invalid_body"));
    cases.push(ingest(name(&long(100_000)), 413, "body_too_large"));
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", NDJSON, "", "json", "multipart/form-data; boundary=x"]
    {
        cases.push(
            case("POST", "/ingest", 415, "unsupported_media_type").header("Content-Type", kind).body(good.clone()),
        );
    }
    for encoding in ["br", "deflate", "gzip, gzip", "aes128gcm", "\u{ff}"] {
        cases.push(ingest(good.clone(), 415, "unsupported_encoding").header("Content-Encoding", encoding));
    }
    for encoding in ["gzip", "zstd"] {
        let packed = pack(encoding, good.as_bytes()).await;
        cases.push(ingest(good.clone(), 400, "invalid_body").header("Content-Encoding", encoding));
        for length in [packed.len() - 1, packed.len() / 2, 3] {
            cases.push(ingest(&packed[..length], 400, "incomplete_body").header("Content-Encoding", encoding));
        }
        let bomb = pack(encoding, &vec![b' '; 30_000_000]).await;
        cases.push(ingest(bomb, 413, "body_too_large").header("Content-Encoding", encoding));
    }
    let mut broken = pack("gzip", good.as_bytes()).await;
    broken[15] ^= 0xff;
    cases.push(ingest(broken, 400, "invalid_body").header("Content-Encoding", "gzip"));
    check_all(cases).await;
}

#[tokio::test]
async fn changes() {
    let path = "/files/019a9e4b-3f21-7c5a-9e02-7a002a5d4c1e";
    let patch = |body: &str, status, code| case("PATCH", path, status, code).header("Content-Type", JSON).body(body);
    let mut cases = Vec::new();
    for body in [
        "{}",
        "{\"file_name\":\"\"}",
        "{\"file_name\":\"a/b\"}",
        "{\"file_name\":null}",
        "{\"path\":\"\"}",
        "{\"path\":\"a/\"}",
        "{\"path\":\"a/b\",\"file_name\":\"c\"}",
        "{\"size_bytes\":-1}",
        "{\"user_id\":2}",
        "{\"file_id\":\"x\"}",
        "{\"created_at\":null}",
        "{\"size_bytes\":1,\"size_bytes\":2}",
    ] {
        cases.push(patch(body, 400, "invalid_field"));
    }
    cases.push(patch("{\"path\":null,\"file_name\":\"a/b\"}", 400, "invalid_field"));
    cases.push(patch("[]", 400, "invalid_body"));
    cases.push(patch("", 400, "invalid_body"));
    cases.push(patch("{\"file_name\":\"b\"}", 404, "file_not_found"));
    cases.push(case("PATCH", path, 415, "unsupported_media_type").header("Content-Type", "text/plain").body("{}"));
    check_all(cases).await;
}

#[tokio::test]
async fn bulk_bodies() {
    let line = format!("{}\n", name("a"));
    let mut cases = vec![
        case("POST", "/ingest/bulk", 415, "unsupported_media_type"),
        case("POST", "/ingest/bulk", 415, "unsupported_media_type").body(line.clone()),
        bulk("text/plain", line.clone(), 415, "unsupported_media_type"),
        bulk("", line.clone(), 415, "unsupported_media_type"),
        bulk(NDJSON, line.clone(), 415, "unsupported_encoding").header("Content-Encoding", "br"),
        bulk(JSON, "7", 400, "invalid_body"),
        bulk(JSON, "[] []", 400, "invalid_body"),
        bulk(JSON, format!("[{line},"), 400, "incomplete_body"),
        bulk(JSON, format!("[{line}"), 400, "incomplete_body"),
        bulk("text/csv", "nonsense\n1\n", 400, "invalid_body"),
        bulk("text/csv", "user_id\n1\n", 400, "invalid_body"),
        bulk("text/csv", "user_id,file_name,user_id\n1,a,2\n", 400, "invalid_body"),
        bulk("text/csv", "user_id,file_name,x\n1,a,2\n", 400, "invalid_body"),
        bulk("text/csv", "1,a\n2,b\n", 400, "invalid_body"),
        bulk("text/csv", format!("user_id,file_name{}\n", ",a".repeat(1000)), 400, "invalid_body"),
        bulk("text/csv", format!("user_id,file_name,\"{}\"\n", "x".repeat(100_000)), 400, "invalid_body"),
    ];
    for encoding in ["gzip", "zstd"] {
        let packed = pack(encoding, line.repeat(3000).as_bytes()).await;
        cases.push(bulk(NDJSON, line.clone(), 400, "invalid_body").header("Content-Encoding", encoding));
        cases.push(
            bulk(NDJSON, &packed[..packed.len() - 2], 400, "incomplete_body").header("Content-Encoding", encoding),
        );
        cases.push(bulk(NDJSON, &packed[..20], 400, "incomplete_body").header("Content-Encoding", encoding));
        let bomb = pack(encoding, &vec![b'\n'; 64 << 20]).await;
        cases.push(bulk(NDJSON, bomb, 413, "body_too_large").header("Content-Encoding", encoding));
    }
    for record in [
        "nonsense",
        "[]",
        "7",
        "{}",
        &name(""),
        &user("-1"),
        &with("\"x\":1"),
        &"[".repeat(20_000),
        &name(&"x".repeat(100_000)),
    ] {
        let mut case = bulk(NDJSON, format!("{line}{record}\n{line}"), 400, "invalid_field");
        case.path = "/ingest/bulk?on_error=abort".to_owned();
        cases.push(case);
    }
    check_all(cases).await;
}

#[tokio::test]
async fn what_a_client_sends_forges_no_line_of_the_log() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &[("RUST_LOG", "debug")]).await;
    let answer = api.send("/ingest", "application/json", "{\"a\\nFORGED\\u001b[2J\":1}").await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let listing = api.send("/ingest/bulk", NDJSON, "{\"b\\r\\nFORGED\":1}\n").await;
    assert_eq!(listing.status(), StatusCode::OK);
    poll::until_true("the line", async || api.log().contains("FORGED")).await;
    let log = api.log();
    assert!(!log.lines().any(|line| line.trim_start().starts_with("FORGED")), "{log}");
    assert!(!log.contains('\u{1b}') && log.contains("\\nFORGED"), "{log}");
}

#[tokio::test]
async fn records_that_cannot_be_stored_are_rejected_one_by_one() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let deep = "[".repeat(20_000);
    let records: [(&[u8], &str); 9] = [
        (b"{\"user_id\":1,\"file_name\":\"\xff\"}", ""),
        (b"{\"user_id\":1,\"file_name\":\"a\\u0000\"}", "file_name"),
        (b"{\"user_id\":1.5,\"file_name\":\"a\"}", "user_id"),
        (b"{\"user_id\":1,\"user_id\":1,\"file_name\":\"a\"}", "user_id"),
        (b"{\"user_id\":1,\"file_name\":\"a\"} x", ""),
        (b"[1,\"a\"]", ""),
        (b"\x00", ""),
        (deep.as_bytes(), ""),
        (b"{\"user_id\":1,\"file_name\":\"\\ud800\"}", ""),
    ];
    let mut body = Vec::new();
    for (record, _) in records {
        body.extend_from_slice(record);
        body.push(b'\n');
    }
    let answer = api.send("/ingest/bulk", NDJSON, body).await;
    let (status, answer) = crate::support::api::json(answer).await;
    assert_eq!((status, &answer["inserted"], &answer["rejected"]), (StatusCode::OK, &0.into(), &9.into()), "{answer}");
    for (rejection, (line, (_, field))) in answer["rejections"].as_array().unwrap().iter().zip((1..).zip(records)) {
        assert_eq!((rejection["line"].as_u64(), &rejection["field"]), (Some(line), &field.into()), "{rejection}");
        assert!(rejection["reason"].as_str().unwrap().len() < 500, "{rejection}");
    }
    assert_eq!(api.get_json("/stats?exact=scan").await.1["total_records"], 0);
}

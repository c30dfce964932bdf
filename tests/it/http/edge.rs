//! What stands at the service's edge: headers, other sites, and clients that keep their place and send nothing.

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::api::{Api, json as body_of};
use crate::support::pace::between_bytes;
use crate::support::poll;
use crate::support::servers::TestCluster;

async fn socket(api: &Api) -> TcpStream {
    TcpStream::connect(api.base().strip_prefix("http://").unwrap()).await.unwrap()
}

/// Reads until there is nothing more; what a reset leaves counts.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

/// Sends a byte each second for as long as the other side takes them; true if it stopped taking them in time.
async fn drip(stream: TcpStream, seconds: u32) -> (bool, String) {
    let (mut reader, mut writer) = stream.into_split();
    let answer = tokio::spawn(async move {
        let mut text = Vec::new();
        let _ = reader.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    });
    for _ in 0..seconds {
        if answer.is_finished() || writer.write_all(b"x").await.is_err() {
            return (true, answer.await.unwrap());
        }
        between_bytes().await;
    }
    (false, String::new())
}

#[tokio::test]
async fn answers_tell_browsers_what_they_may_not() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &[("SHARDRIVE_COLLECTIONS", "orders:user_id:integer:many")]).await;
    for (path, csp) in [
        ("/", "default-src 'none'; frame-ancestors 'none'"),
        ("/query/1", "default-src 'none'; frame-ancestors 'none'"),
        ("/nowhere", "default-src 'none'; frame-ancestors 'none'"),
        (
            "/docs/",
            "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; \
                    form-action 'self'; frame-ancestors 'none'",
        ),
    ] {
        let answer = api.get(path).await;
        let headers = answer.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        assert_eq!(headers["content-security-policy"], csp, "{path}");
        assert!(!headers.contains_key("strict-transport-security"), "{path}");
        assert_eq!(headers["cache-control"], if path == "/docs/" { "max-age=3600" } else { "no-store" }, "{path}");
        assert!(!headers.contains_key("access-control-allow-origin") && !headers.contains_key("ratelimit"), "{path}");
    }
    let (status, made) = body_of(api.post("/records/orders", &json!({"user_id": 1})).await).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let path = format!("/records/orders/{}", made["key"].as_str().unwrap());
    let found = api.get(&path).await;
    let tag = found.headers()["etag"].clone();
    assert_eq!(found.headers()["cache-control"], "private, no-cache");
    let again = api.request(Method::GET, &path).header("If-None-Match", &tag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let changed = api.request(Method::DELETE, &path).header("If-Match", "\"7\"").send().await.unwrap();
    assert_eq!(changed.status(), StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn scripts_of_named_sites_may_read_answers() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &[("SHARDRIVE_CORS_ORIGINS", "https://app.example.org")]).await;
    let ask = |method: Method, path: &str, origin: &str| api.request(method, path).header("Origin", origin);
    let preflight = async |origin: &str| {
        let request = ask(Method::OPTIONS, "/ingest", origin).header("Access-Control-Request-Method", "POST");
        request.send().await.unwrap()
    };
    let allowed = preflight("https://app.example.org").await;
    assert_eq!(allowed.status(), StatusCode::NO_CONTENT);
    assert_eq!(allowed.headers()["access-control-allow-origin"], "https://app.example.org");
    assert!(allowed.headers()["access-control-allow-methods"].to_str().unwrap().contains("POST"));
    assert!(allowed.headers()["access-control-allow-headers"].to_str().unwrap().contains("Authorization"));
    let refused = preflight("https://evil.example").await;
    assert!(!refused.headers().contains_key("access-control-allow-origin"));
    assert!(!refused.headers().contains_key("access-control-allow-methods"));
    for (path, status) in [("/query/1", 200), ("/nowhere", 404)] {
        let answer = ask(Method::GET, path, "https://app.example.org").send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["access-control-allow-origin"], "https://app.example.org");
        assert_eq!(answer.headers()["vary"], "Origin");
        assert!(!answer.headers().contains_key("access-control-allow-credentials"));
        let answer = ask(Method::GET, path, "https://evil.example").send().await.unwrap();
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
        assert_eq!(answer.headers()["vary"], "Origin", "a cache must not give one site's answer to another");
    }
    let no_question = ask(Method::OPTIONS, "/ingest", "https://app.example.org").send().await.unwrap();
    assert_eq!(no_question.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn long_addresses_and_heads_are_refused() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let (status, problem) = api.get_json(&format!("/query/1?cursor={}", "x".repeat(17_000))).await;
    assert_eq!((status.as_u16(), &problem["code"]), (414, &json!("url_too_long")));
    for head in [
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1 << 20)),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(1000)),
    ] {
        let mut stream = socket(&api).await;
        let _ = stream.write_all(head.as_bytes()).await; // it may be closed before the end
        let answer = rest(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(api.get("/health").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn one_address_has_so_many_connections() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &[("SHARDRIVE_MAX_CONNECTIONS_PER_ADDRESS", "3")]).await;
    const ASK: &[u8] = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = socket(&api).await;
        stream.write_all(ASK).await.unwrap();
        assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
        open.push(stream);
    }
    let mut fourth = socket(&api).await;
    let _ = fourth.write_all(ASK).await;
    assert_eq!(rest(&mut fourth).await, "");
    poll::until("the warning", async || {
        if api.log().contains("SHARDRIVE_MAX_CONNECTIONS_PER_ADDRESS") { Ok(()) } else { Err(api.log()) }
    })
    .await;
    drop(open);
    poll::until("a place", async || {
        let mut stream = socket(&api).await;
        let _ = stream.write_all(ASK).await;
        match stream.read(&mut [0; 1024]).await {
            Ok(read) if read > 0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    drop(api);
    let settings = [("SHARDRIVE_MAX_CONNECTIONS_PER_ADDRESS", "1"), ("SHARDRIVE_TRUSTED_PROXIES", "127.0.0.1")];
    let api = Api::start_with(&cluster, &settings).await;
    let mut proxied = [socket(&api).await, socket(&api).await];
    for stream in &mut proxied {
        stream.write_all(ASK).await.unwrap();
        assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn slow_clients_lose_their_place() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &[("SHARDRIVE_KEEP_ALIVE_S", "2")]).await;
    let begin = async |head: &str| {
        let mut stream = socket(&api).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    // The head of the first request, byte by byte; that of the second; a small body; a bulk body.
    let second = async {
        let mut stream = begin("GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(b"GET /health HTTP/1.1\r\nX-").await.unwrap();
        drip(stream, 40).await
    };
    let head = async { drip(begin("GET / HTTP/1.1\r\nX-").await, 40).await };
    let post = |path: &str, kind: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: 60000\r\n\r\n{{")
    };
    let small = async { drip(begin(&post("/ingest", "application/json")).await, 40).await };
    let bulk = async { drip(begin(&post("/ingest/bulk", "application/x-ndjson")).await, 60).await };
    let (first, second, small, bulk) = tokio::join!(head, second, small, bulk);
    assert!(first.0, "a head that drips");
    assert!(second.0, "the head of a second request that drips");
    assert!(small.0 && small.1.starts_with("HTTP/1.1 408"), "a small body that drips: {}", small.1);
    assert!(small.1.contains("body_timeout"), "{}", small.1);
    assert!(bulk.0 && bulk.1.starts_with("HTTP/1.1 408"), "a bulk body that drips: {}", bulk.1);
}

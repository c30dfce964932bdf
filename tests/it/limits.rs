//! How much callers may ask for: of one process, and of three that share a limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;
use shardrive::cache::CacheUrl;
use shardrive::limits::{CallerKey, RateLimiter, RateQuota, TakeOutcome};
use tokio_util::sync::CancellationToken;

use crate::support::api::{Api, json};
use crate::support::cache::TestCache;
use crate::support::pace::between_refusals;
use crate::support::poll;
use crate::support::servers::TestCluster;
use crate::support::tokens::{Key, now};

const SECRET: &str = "a secret of the test, long enough for HS256";

fn token(user: i64, scope: &str) -> String {
    Key::secret(SECRET).token("", &json!({"sub": user.to_string(), "scope": scope, "exp": now() + 600}))
}

#[tokio::test]
async fn who_asks_for_too_much_is_told_when_to_come_again() {
    let cluster = TestCluster::migrated(1).await;
    let api =
        Api::start_with(&cluster, &[("SHARDRIVE_RATE_LIMIT_PER_S", "1"), ("SHARDRIVE_RATE_LIMIT_BURST", "10")]).await;
    let first = api.get("/query/1").await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(first.headers()["ratelimit-policy"], "\"caller\";q=10;w=10");
    assert_eq!(first.headers()["ratelimit"], "\"caller\";r=9;t=1");
    let mut refused = None;
    for _ in 0..1000 {
        let answer = api.post("/ingest", &json!({"user_id": 1, "file_name": "a"})).await;
        if answer.status() != StatusCode::CREATED {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a refusal");
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert!(refused.headers()["ratelimit"].to_str().unwrap().starts_with("\"caller\";r=0;"));
    assert_eq!(json(refused).await.1["code"], "rate_limited");
    for free in ["/", "/health", "/health/live", "/health/ready", "/metrics", "/openapi.json", "/docs/"] {
        for _ in 0..20 {
            assert_eq!(api.get(free).await.status(), StatusCode::OK, "{free}");
        }
    }
    poll::until("the limit to be over", async || {
        let status = api.get("/query/1").await.status();
        if status == StatusCode::OK { Ok(()) } else { Err(status) }
    })
    .await;
}

#[tokio::test]
async fn callers_are_told_apart_by_token_and_by_address() {
    let cluster = TestCluster::migrated(1).await;
    let settings = [
        ("SHARDRIVE_RATE_LIMIT_PER_S", "1"),
        ("SHARDRIVE_RATE_LIMIT_BURST", "10"),
        ("SHARDRIVE_TRUSTED_PROXIES", "127.0.0.0/8"),
    ];
    let api = Api::start_with(&cluster, &settings).await;
    let from = |address: &str| {
        api.request(Method::GET, "/stats").header("X-Forwarded-For", format!("9.9.9.9, {address}")).send()
    };
    let use_up = async |address: &str| while from(address).await.unwrap().status() == StatusCode::OK {};
    use_up("203.0.113.1").await;
    assert_eq!(from("203.0.113.2").await.unwrap().status(), StatusCode::OK, "another address");
    drop(api);

    let settings =
        [("SHARDRIVE_RATE_LIMIT_PER_S", "1"), ("SHARDRIVE_RATE_LIMIT_BURST", "10"), ("SHARDRIVE_AUTH_SECRET", SECRET)];
    let api = Api::start_with(&cluster, &settings).await;
    let by = async |token: &str, path: &str| {
        api.request(Method::GET, path).bearer_auth(token).header("X-Forwarded-For", "1.1.1.1").send().await.unwrap()
    };
    let (one, other) = (token(1, "user"), token(2, "user"));
    while by(&one, "/query/1").await.status() == StatusCode::OK {}
    let again = token(1, "user profile");
    assert_eq!(by(&again, "/query/1").await.status(), StatusCode::TOO_MANY_REQUESTS, "another token of the same user");
    assert_eq!(by(&other, "/query/2").await.status(), StatusCode::OK);
    assert_eq!(by(&token(1, "service"), "/query/1").await.status(), StatusCode::OK, "a program is no user");
    // Whoever tries tokens is counted by the address, and refused in the end.
    poll::until("a refusal", async || {
        let status = by("a.b.c", "/query/1").await.status();
        if status == StatusCode::TOO_MANY_REQUESTS { Ok(()) } else { Err(status) }
    })
    .await;
    assert_eq!(by(&other, "/query/2").await.status(), StatusCode::OK, "good tokens are not counted by their address");
}

#[tokio::test]
async fn rows_of_a_bulk_body_are_counted_as_they_are_read() {
    let cluster = TestCluster::migrated(1).await;
    let settings = [
        ("SHARDRIVE_RATE_LIMIT_PER_S", "100"),
        ("SHARDRIVE_RATE_LIMIT_BURST", "100"),
        ("SHARDRIVE_MAX_BULK_LOADS_PER_CALLER", "1"),
    ];
    let api = Api::start_with(&cluster, &settings).await;
    let rows: String = (0..3000).map(|row| format!("{{\"user_id\":{row},\"file_name\":\"a\"}}\n")).collect();
    let began = Instant::now();
    let answer = api.send("/ingest/bulk", "application/x-ndjson", rows).await;
    let took = began.elapsed();
    let (status, body) = json(answer).await;
    assert_eq!((status, &body["inserted"]), (StatusCode::OK, &json!(3000)), "{body}");
    // 10 for the load and 300 for the rows: of these 100 are there at once, the others take two seconds to earn.
    assert!(took >= Duration::from_millis(2000), "{took:?}");
}

#[tokio::test]
async fn one_caller_runs_so_many_loads() {
    let cluster = TestCluster::migrated(1).await;
    let api =
        Api::start_with(&cluster, &[("SHARDRIVE_MAX_BULK_LOADS_PER_CALLER", "1"), ("SHARDRIVE_AUTH_SECRET", SECRET)])
            .await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<String, std::io::Error>>(1);
    let body = futures_util::stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let load = |token: String| {
        let request = api.request(Method::POST, "/ingest/bulk").bearer_auth(token);
        request.header("Content-Type", "application/x-ndjson")
    };
    let first = load(token(1, "user")).body(reqwest::Body::wrap_stream(body)).send();
    let first = tokio::spawn(first);
    sender.send(Ok("{\"user_id\":1,\"file_name\":\"a\"}\n".to_owned())).await.unwrap();
    // Another load of the caller's could take the place before the first one does.
    poll::until_true("the first load to be running", async || {
        let page = api.request(Method::GET, "/query/1").bearer_auth(token(1, "user")).send().await.unwrap();
        json(page).await.1["file_count"] == 1
    })
    .await;
    let answer = load(token(1, "user")).body("").send().await.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["retry-after"]),
        (StatusCode::TOO_MANY_REQUESTS, &"1".parse().unwrap())
    );
    assert_eq!(json(answer).await.1["code"], "too_many_own_loads");
    let other = load(token(2, "user")).body("").send().await.unwrap();
    assert_eq!(other.status(), StatusCode::OK, "another caller");
    drop(sender);
    assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
    poll::until("the end of the first load", async || {
        let answer = load(token(1, "user")).body("").send().await.unwrap();
        if answer.status() == StatusCode::OK { Ok(()) } else { Err(answer.status()) }
    })
    .await;
}

/// Asks all processes as fast as they answer; gives how many requests went through, and how long it took from before
/// the first to after the last.
async fn flood(apis: &[Api], time: Duration) -> (u32, Duration) {
    const CLIENTS: usize = 3;
    let began = Instant::now();
    let clients = apis.iter().flat_map(|api| std::iter::repeat_n(api, CLIENTS)).map(|api| async move {
        let mut admitted = 0;
        while began.elapsed() < time {
            match api.get("/query/1").await.status() {
                StatusCode::OK => admitted += 1,
                StatusCode::TOO_MANY_REQUESTS => between_refusals().await,
                other => panic!("{other}"),
            }
        }
        admitted
    });
    (join_all(clients).await.into_iter().sum(), began.elapsed())
}

async fn decided_alone(api: &Api) -> u32 {
    let text = api.get("/metrics").await.text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with("shardrive_rate_limit_alone_total ")).unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn three_processes_share_one_limit() {
    const RATE: u32 = 200;
    const BURST: u32 = 400;
    let cluster = TestCluster::migrated(1).await;
    let mut cache = TestCache::start().await;
    let url = cache.url();
    let settings =
        [("SHARDRIVE_RATE_LIMIT_PER_S", "200"), ("SHARDRIVE_RATE_LIMIT_BURST", "400"), ("REDIS_URL", url.as_str())];
    let apis = join_all((0..3).map(|_| Api::start_with(&cluster, &settings))).await;
    for api in &apis {
        poll::until("the limit to be shared", async || {
            if api.log().contains("the rate limit is shared") { Ok(()) } else { Err(api.log()) }
        })
        .await;
    }
    let (admitted, took) = flood(&apis, Duration::from_secs(5)).await;
    let earned = f64::from(BURST) + f64::from(RATE) * took.as_secs_f64();
    let error = f64::from(admitted) / earned - 1.0;
    println!("three processes: {admitted} admitted of {earned:.0} in {took:?}: error {:+.2} %", error * 100.0);
    // A slow machine asks for less than there is, and is never given more. What was let through before a late answer is
    // paid for later; only a process that has given up on the server keeps the limit by itself.
    let alone: u32 = join_all(apis.iter().map(decided_alone)).await.into_iter().sum();
    let given_up = apis.iter().any(|api| api.log().contains("away or slow"));
    println!("decided alone: {alone}, given up: {given_up}");
    let excess = if given_up { f64::from(alone) } else { 0.0 };
    assert!(f64::from(admitted) <= earned * 1.01 + excess, "{admitted} of {earned}, {alone} alone");
    assert!(admitted > 0);

    // Without the shared count each process keeps the whole limit by itself, and nobody waits for it.
    cache.server.kill();
    for api in &apis {
        poll::until("the process to notice", async || {
            let _ = api.get("/query/1").await;
            if api.log().contains("away or slow") { Ok(()) } else { Err(api.log()) }
        })
        .await;
    }
    let (admitted, took) = flood(&apis, Duration::from_secs(1)).await;
    let each = f64::from(BURST) + f64::from(RATE) * took.as_secs_f64() + 1.0;
    println!("without Redis: {admitted} admitted, {each:.0} for each process");
    assert!(admitted > 0 && f64::from(admitted) <= 3.0 * each);
    // And shares it again once it is back.
    cache.server.start().await.unwrap();
    for api in &apis {
        poll::until("the limit to be shared again", async || {
            let log = api.log();
            let since = log.rsplit_once("away or slow").map_or("", |(_, since)| since);
            if since.contains("the rate limit is shared") { Ok(()) } else { Err(log) }
        })
        .await;
    }
}

#[tokio::test]
async fn what_was_let_through_while_an_answer_was_late_is_paid_for() {
    const LATE: u64 = 10;
    let cache = TestCache::start().await;
    let stop = CancellationToken::new();
    let [one, other] = [(); 2].map(|()| {
        let url = CacheUrl::parse(&cache.url()).unwrap();
        let limiter = Arc::new(RateLimiter::new(RateQuota::new(1, 100), Some(url)));
        tokio::spawn(limiter.keep_connected(stop.clone()));
        limiter
    });
    for limiter in [&one, &other] {
        poll::until("the count to be shared", async || {
            let before = limiter.decided_alone();
            let _ = limiter.take_shared(CallerKey::user(2), 1).await;
            if limiter.decided_alone() == before { Ok(()) } else { Err(before) }
        })
        .await;
    }
    let caller = CallerKey::user(1);
    while matches!(other.take_shared(caller, 1).await, TakeOutcome::Admitted(_)) {}
    // Nothing is left, which one of them has not been told, and is not in time.
    cache.server.pause();
    let takes = join_all((0..LATE).map(|_| one.take_shared(caller, 1))).await;
    cache.server.resume();
    assert!(takes.iter().all(|take| matches!(take, TakeOutcome::Admitted(_))), "{takes:?}");
    // The next question takes what is owed.
    let _ = one.take_shared(caller, 1).await;
    poll::until("the debt", async || match other.take_shared(caller, 1).await {
        TakeOutcome::Refused(_, wait) if wait > Duration::from_secs(LATE - 1) => Ok(()),
        take => Err(take),
    })
    .await;
    stop.cancel();
}

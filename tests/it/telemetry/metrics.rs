//! `/metrics` of a running service: what promtool and a real Prometheus make of it, and what it says in trouble.

use std::collections::BTreeMap;
use std::path::Path;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use serde_json::json;
use shardrive::telemetry::metrics::table;

use crate::support::api::Api;
use crate::support::cache::TestCache;
use crate::support::collector::Collector;
use crate::support::openmetrics::OpenMetrics;
use crate::support::poll;
use crate::support::prometheus::{Prometheus, promtool};
use crate::support::servers::TestCluster;

/// The samples by their name with labels, as they stand in the text.
pub async fn samples(api: &Api) -> BTreeMap<String, f64> {
    let text = text(api).await;
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        })
        .collect()
}

/// The name of the sample that counts the answers of a route.
fn answers(route: &str, method: &str, status: u16) -> String {
    format!(
        r#"http_server_request_duration_seconds_count{{http_route="{route}",http_request_method="{method}",http_response_status_code="{status}"}}"#
    )
}

async fn text(api: &Api) -> String {
    let answer = api.get("/metrics").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    answer.text().await.unwrap()
}

#[tokio::test]
async fn promtool_finds_no_fault_and_the_numbers_are_those_of_the_requests() {
    let cluster = TestCluster::migrated(2).await;
    let cache = TestCache::start().await;
    let api = Api::start_with(&cluster, &[("REDIS_URL", &cache.url())]).await;
    assert_eq!(api.send("/ingest/bulk?count=10", "text/plain", "").await.status(), StatusCode::OK);
    let lines = "{\"user_id\":1,\"file_name\":\"a\"}\n{\"user_id\":1}\n";
    assert_eq!(api.send("/ingest/bulk", "application/x-ndjson", lines).await.status(), StatusCode::OK);
    for user in [1, 3, 4] {
        api.post_json("/ingest", &json!({"user_id": user, "file_name": "b"})).await;
    }
    let (_, stored) = api.post_json("/ingest", &json!({"user_id": 6, "file_name": "b"})).await;
    let id = stored["data"]["file_id"].as_str().unwrap().to_owned();
    assert_eq!(api.get(&format!("/files/{id}")).await.status(), StatusCode::OK);
    for path in ["/query/secret-user", "/nowhere/secret-path", "/nowhere/else"] {
        assert!(api.get(path).await.status().is_client_error());
    }
    api.post_json("/write", &json!({"key": "a", "value": 1})).await;

    let found = poll::until("the counts of the shards", async || {
        let (found, (_, stats)) = (samples(&api).await, api.get_json("/stats").await);
        let held = |shard: usize| found.get(&format!("shardrive_shard_rows{{shard=\"{shard}\"}}")).copied();
        let expected = |shard: usize| stats["shard_distribution"][format!("shard_{shard}")].as_f64();
        let agree = stats["total_records"] == 15 && (0..2).all(|shard| held(shard) == expected(shard));
        if agree { Ok(found) } else { Err((found, stats)) }
    })
    .await;
    for (name, expected) in [
        (&*answers("/ingest", "POST", 201), 4.0),
        (&answers("/ingest/bulk", "POST", 200), 2.0),
        (&answers("/query/{user_id}", "GET", 400), 1.0),
        (&answers("none", "GET", 404), 2.0),
        (r#"shardrive_problems_total{code="unknown_path"}"#, 2.0),
        (r#"shardrive_problems_total{code="invalid_path"}"#, 1.0),
        (r#"shardrive_bulk_rows_total{result="accepted"}"#, 11.0),
        (r#"shardrive_bulk_rows_total{result="stored"}"#, 11.0),
        (r#"shardrive_bulk_rows_total{result="rejected"}"#, 1.0),
        (r#"shardrive_shard_up{shard="1"}"#, 1.0),
        (r#"shardrive_shard_slots{shard="0"}"#, 2520.0),
        (r#"shardrive_shard_failures_total{shard="0"}"#, 0.0),
        (r#"shardrive_shard_commit_queue{shard="0"}"#, 0.0),
        ("shardrive_shard_commit_queue_max", 4096.0),
        (r#"shardrive_shard_read_batch_reads_sum{shard="0"}"#, 1.0),
        (r#"shardrive_shard_pool_connections_max{shard="0"}"#, 4.0),
        ("shardrive_slot_map_epoch", 1.0),
        ("shardrive_cache_available", 1.0),
        ("shardrive_moves_known", 1.0),
        (r#"shardrive_trace_spans_total{result="failed"}"#, 0.0),
    ] {
        assert_eq!(found.get(name), Some(&expected), "{name} in {found:#?}");
    }
    let requests = |found: &BTreeMap<_, _>| found["request_count_total"];
    let before = requests(&found);
    let found = samples(&api).await;
    // The scrape before, with its own `/stats`, and nothing else.
    assert!(requests(&found) > before, "{found:#?}");
    // Two single writes and a document at least went to one shard or the other, and loads to both.
    for shard in 0..2 {
        let calls = found[&format!("shardrive_shard_request_duration_seconds_count{{shard=\"{shard}\"}}")];
        assert!(calls >= 3.0, "{found:#?}");
        assert_eq!(found[&format!("shard_request_count{{shard=\"{shard}\"}}")], calls);
        let rows = found[&format!("shardrive_shard_rows{{shard=\"{shard}\"}}")];
        assert_eq!(found[&format!("shard_distribution{{shard=\"{shard}\"}}")], rows);
    }
    let rows: f64 =
        (0..2).map(|shard| found[&format!("shardrive_shard_commit_batch_rows_sum{{shard=\"{shard}\"}}")]).sum();
    assert!(rows >= 5.0, "{found:#?}");
    for metric in table::ALL.iter().filter(|metric| metric.name.starts_with("process_")) {
        assert!(found.get(metric.name).is_some_and(|value| *value > 0.0), "{}", metric.name);
    }

    let text = text(&api).await;
    assert!(!text.contains("secret"), "no path and no value is in it:\n{text}");
    if let Some(said) = promtool(&["check", "metrics"], Path::new("."), &text).await {
        assert_eq!(said, "");
    }
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        assert!(table::ALL.iter().any(|metric| line == format!("{} {}", metric.name, metric.kind.as_str())), "{line}");
    }
}

/// A trace, and a header that asks for it.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A service that traces the requests that ask for it, and no others.
async fn tracing_api(cluster: &TestCluster, collector: &Collector) -> Api {
    let url = collector.url();
    Api::start_with(cluster, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), ("OTEL_TRACES_SAMPLER_ARG", "0")]).await
}

async fn ingest_traced(api: &Api) {
    let request = api.request(Method::POST, "/ingest").header("traceparent", TRACEPARENT);
    let stored = request.json(&json!({"user_id": 1, "file_name": "traced"})).send().await.unwrap();
    assert_eq!(stored.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn openmetrics_is_right_and_its_buckets_name_traces() {
    const ACCEPTED: &str = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let cluster = TestCluster::migrated(2).await;
    let collector = Collector::start().await;
    let api = tracing_api(&cluster, &collector).await;
    let read = async || {
        let answer = api.request(Method::GET, "/metrics").header(ACCEPT, ACCEPTED).send().await.unwrap();
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(answer.headers()[CONTENT_TYPE], kind);
        let text = answer.text().await.unwrap();
        OpenMetrics::parse(&text).unwrap_or_else(|fault| panic!("{fault}\n{text}"))
    };
    let untraced = api.post("/ingest", &json!({"user_id": 1, "file_name": "a"})).await;
    assert_eq!(untraced.status(), StatusCode::CREATED);
    assert!(read().await.exemplars.is_empty(), "no request was traced");

    ingest_traced(&api).await;
    let found = read().await;
    for metric in [&table::HTTP_DURATION, &table::SHARD_REQUEST] {
        let exemplars: Vec<_> = found.exemplars.iter().filter(|(name, _)| name.starts_with(metric.name)).collect();
        let [(_, (trace, seconds))] = exemplars.as_slice() else { panic!("{}: {exemplars:?}", metric.name) };
        assert_eq!((trace.as_str(), *seconds > 0.0), (TRACE, true), "{}", metric.name);
    }
    assert_eq!(found.samples[&answers("/ingest", "POST", 201)], 2.0);
    let counts =
        found.samples.iter().filter(|(name, _)| name.starts_with("http_server_request_duration_seconds_count{"));
    assert_eq!(found.samples["request_count_total"], counts.map(|(_, count)| count).sum::<f64>());
}

#[tokio::test]
async fn a_real_prometheus_takes_it() {
    let cluster = TestCluster::migrated(2).await;
    let collector = Collector::start().await;
    let api = tracing_api(&cluster, &collector).await;
    assert_eq!(api.send("/ingest/bulk?count=10", "text/plain", "").await.status(), StatusCode::OK);
    ingest_traced(&api).await;
    let Some(prometheus) = Prometheus::start(api.base().strip_prefix("http://").unwrap()) else { return };
    let up = prometheus.query("up{job=\"shardrive\"} == 1").await;
    assert_eq!(up.len(), 1);
    let held = prometheus.query("sum(shardrive_shard_rows) == 11").await;
    assert_eq!(held.len(), 1);
    let old = prometheus.query("shard_request_count and shard_distribution").await;
    let shards: Vec<_> = old.iter().map(|sample| sample["metric"]["shard"].as_str().unwrap()).collect();
    assert_eq!(shards, ["0", "1"]);
    prometheus.query("histogram_quantile(0.99, sum by (le) (http_server_request_duration_seconds_bucket)) > 0").await;
    let series = prometheus.exemplars("http_server_request_duration_seconds_bucket").await;
    assert_eq!(series[0]["exemplars"][0]["labels"]["trace_id"], TRACE, "{series:?}");
}

#[tokio::test]
async fn a_shard_that_is_away_or_frozen_does_not_hold_it_up() {
    let mut cluster = TestCluster::migrated(2).await;
    let api =
        Api::start_with(&cluster, &[("SHARDRIVE_HEALTH_TIMEOUT_MS", "60000"), ("SHARDRIVE_STATS_TIMEOUT_MS", "60000")])
            .await;
    poll::until("both shards' rows", async || {
        let found = samples(&api).await;
        if found.contains_key(r#"shardrive_shard_rows{shard="1"}"#) { Ok(()) } else { Err(found) }
    })
    .await;

    // Frozen, and nobody has noticed: whatever waits for it waits for a minute, which is longer than a test's patience.
    cluster.server(1).pause();
    poll::until("counts that grow old", async || {
        let found = samples(&api).await;
        if found["shardrive_shard_rows_age_seconds"] > 1.5 { Ok(()) } else { Err(found) }
    })
    .await;
    cluster.server(1).resume();

    let api = Api::start(&cluster).await;
    cluster.server(1).stop().await;
    poll::until("what is said of a shard that is away", async || {
        let found = samples(&api).await;
        let is_away = found[r#"shardrive_shard_up{shard="1"}"#] == 0.0
            && found.contains_key(r#"shardrive_shard_rows{shard="0"}"#)
            && !found.contains_key(r#"shardrive_shard_rows{shard="1"}"#);
        if is_away { Ok(()) } else { Err(found) }
    })
    .await;
    assert_eq!(api.get("/query/1").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let found = samples(&api).await;
    assert_eq!(found[r#"shardrive_problems_total{code="shard_unavailable"}"#], 1.0);
    assert_eq!(found[&answers("/query/{user_id}", "GET", 503)], 1.0);
}

#[tokio::test]
async fn an_open_move_is_told_of_until_it_ends() {
    let cluster = TestCluster::migrated(2).await;
    let settings = [
        ("SHARDRIVE_HEALTH_TIMEOUT_MS", "20000"),
        ("SHARDRIVE_CONNECT_TIMEOUT_MS", "20000"),
        ("SHARDRIVE_STATS_TIMEOUT_MS", "30000"),
    ];
    let api = Api::start_with(&cluster, &settings).await;
    assert_eq!(api.send("/ingest/bulk?count=10", "text/plain", "").await.status(), StatusCode::OK);
    let asked = json!({"slots": "0,2", "to": 1});
    let (status, planned) = api.post_json("/admin/moves", &asked).await;
    assert!(status.is_success(), "{planned}");
    let id = planned["ids"][0].as_i64().unwrap();

    let stage = format!(r#"shardrive_move_stage{{move="{id}",source="0",target="1",stage="rollback_window"}}"#);
    let found = poll::until("the stage in which a move can be taken back", async || {
        let found = samples(&api).await;
        if found.contains_key(&stage) { Ok(found) } else { Err(found) }
    })
    .await;
    for state in ["total", "copied", "verified"] {
        assert_eq!(found[&format!(r#"shardrive_move_rows{{move="{id}",state="{state}"}}"#)], 2.0, "{found:#?}");
    }
    poll::until("the map to be read again", async || {
        let found = samples(&api).await;
        let is_new = found[r#"shardrive_shard_slots{shard="0"}"#] == 2518.0 && found["shardrive_slot_map_epoch"] > 1.0;
        if is_new { Ok(()) } else { Err(found) }
    })
    .await;

    let ended = api.post_json(&format!("/admin/moves/{id}/finish"), &json!({})).await;
    assert!(ended.0.is_success(), "{}", ended.1);
    poll::until("no open move", async || {
        let found = samples(&api).await;
        if found.keys().any(|name| name.starts_with("shardrive_move_stage")) { Err(found) } else { Ok(()) }
    })
    .await;
}

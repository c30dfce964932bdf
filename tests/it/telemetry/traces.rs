//! Spans of a running service, as a collector receives them; and a collector that is dead.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::api::Api;
use crate::support::collector::{Collector, attribute, hex};
use crate::support::poll;
use crate::support::servers::TestCluster;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// Two spans each: more than the queue of 2,048 takes.
const READS: u32 = 1500;

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

#[tokio::test]
async fn a_request_and_its_calls_arrive_in_the_callers_trace() {
    let cluster = TestCluster::migrated(2).await;
    let collector = Collector::start().await;
    // Of those who bring no trace none is traced, so that what arrives is what the test asked for.
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()), ("OTEL_TRACES_SAMPLER_ARG", "0".into())];
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let api = Api::start_with(&cluster, &settings).await;

    let untraced = api.post("/ingest", &json!({"user_id": 1, "file_name": "secret-name"})).await;
    assert!(!untraced.headers().contains_key("traceparent"));
    let request = api.request(Method::POST, "/ingest").header("traceparent", traceparent("01"));
    let answer = request.json(&json!({"user_id": 1, "file_name": "secret-name"})).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let header = answer.headers()["traceparent"].to_str().unwrap().to_owned();
    let request_id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let stored: Value = answer.json().await.unwrap();
    let id = stored["data"]["file_id"].as_str().unwrap();

    let spans = collector.wait_for_trace(TRACE, 3).await;
    assert_eq!(collector.received().service, "shardrive");
    assert_eq!(collector.received().spans.len(), 3, "{spans:#?}");
    let named =
        |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
    let server = named("POST /ingest");
    assert_eq!((hex(&server.parent_span_id).as_str(), server.kind()), (CALLER, SpanKind::Server));
    assert_eq!(header, format!("00-{TRACE}-{}-01", hex(&server.span_id)));
    for (name, value) in [
        ("http.route", "/ingest"),
        ("http.request.method", "POST"),
        ("http.response.status_code", "201"),
        ("request.id", request_id.as_str()),
    ] {
        assert_eq!(attribute(server, name).as_deref(), Some(value), "{name}");
    }
    let (batch, write) = (named("GroupCommit"), spans.iter().find(|span| span.parent_span_id == server.span_id));
    let write = write.unwrap();
    assert_eq!(batch.parent_span_id, write.span_id);
    assert_eq!(attribute(batch, "shardrive.rows").as_deref(), Some("1"));
    for span in [batch, write] {
        assert_eq!(attribute(span, "shardrive.shard").as_deref(), Some("1"));
    }

    // A read alone, then one that is refused.
    let other = TRACE.replace('4', "5");
    let ask = async |path: &str| {
        let parent = format!("00-{other}-{CALLER}-01");
        api.request(Method::GET, path).header("traceparent", parent).send().await.unwrap().status()
    };
    assert_eq!(ask(&format!("/files/{id}")).await, StatusCode::OK);
    assert_eq!(ask("/nowhere/secret-path").await, StatusCode::NOT_FOUND);
    let spans = collector.wait_for_trace(&other, 4).await;
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    for name in ["GET /files/{file_id}", "BatchedRead", "GET none"] {
        assert!(names.contains(&name), "no {name} in {names:?}");
    }
    assert!(!format!("{:?}", collector.received()).contains("secret"), "spans hold no values");

    // A load goes on beside its request, and belongs to it all the same.
    let third = TRACE.replace('4', "6");
    let load = api.request(Method::POST, "/ingest/bulk?count=4");
    let load = load.header("traceparent", format!("00-{third}-{CALLER}-01")).send().await.unwrap();
    assert_eq!(load.status(), StatusCode::OK);
    let spans = collector.wait_for_trace(&third, 3).await;
    let server = spans.iter().find(|span| span.kind() == SpanKind::Server).unwrap();
    let stores: Vec<_> = spans.iter().filter(|span| span.name == "StoreBatch").collect();
    assert!(stores.iter().all(|span| span.parent_span_id == server.span_id), "{spans:#?}");
    let mut shards: Vec<_> = stores.iter().map(|span| attribute(span, "shardrive.shard").unwrap()).collect();
    shards.sort();
    assert_eq!(shards, ["0", "1"]);
}

#[tokio::test]
async fn a_caller_who_wants_no_trace_gets_none_and_a_stop_sends_the_last_spans() {
    let cluster = TestCluster::migrated(1).await;
    let collector = Collector::start().await;
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()), ("OTEL_SERVICE_NAME", "drive".into())];
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut api = Api::start_with(&cluster, &settings).await;
    let unwanted = api.request(Method::GET, "/query/1").header("traceparent", traceparent("00")).send().await.unwrap();
    assert_eq!(unwanted.headers()["traceparent"], traceparent("00").as_str());
    let traced = api.get("/query/2").await;
    let header = traced.headers()["traceparent"].to_str().unwrap().to_owned();
    let trace = header.split('-').nth(1).unwrap();
    api.sigterm();
    assert!(api.wait_for_exit().await);
    let received = collector.received();
    assert_eq!(received.service, "drive");
    assert!(received.spans.iter().any(|span| hex(&span.trace_id) == trace), "{received:#?}");
    assert!(received.spans.iter().all(|span| hex(&span.trace_id) != TRACE), "{received:#?}");
}

#[tokio::test]
async fn a_dead_collector_is_noticed_by_the_log_alone() {
    let cluster = TestCluster::migrated(1).await;
    // One that takes connections and never answers; and a port where nobody is.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = shardrive::local_servers::free_port().unwrap();
    for port in [silent.local_addr().unwrap().port(), gone] {
        let url = format!("http://127.0.0.1:{port}");
        let mut api = Api::start_with(&cluster, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]).await;
        let begun = Instant::now();
        for user in 0..50 {
            let answer = api.post("/ingest", &json!({"user_id": user, "file_name": "a"})).await;
            assert_eq!(answer.status(), StatusCode::CREATED);
        }
        assert!(begun.elapsed() < poll::LIMIT / 2, "fifty requests took {:?}", begun.elapsed());
        // More spans than the queue takes: those that find it full are dropped, and nobody waits for room.
        let read = async |user: u32| api.get(&format!("/query/{user}?limit=1")).await.status();
        let statuses: Vec<_> = stream::iter(0..READS).map(read).buffer_unordered(32).collect().await;
        assert!(statuses.iter().all(|status| *status == StatusCode::OK));
        assert!(begun.elapsed() < poll::LIMIT / 2, "with a full queue it took {:?}", begun.elapsed());
        poll::until("the line of the log", async || {
            let log = api.log();
            if log.contains("the collector takes no spans") { Ok(()) } else { Err(log) }
        })
        .await;
        let text = api.get("/metrics").await.text().await.unwrap();
        assert!(!text.contains("shardrive_trace_spans_total{result=\"failed\"} 0"), "{text}");
        let begun = Instant::now();
        api.sigterm();
        assert!(api.wait_for_exit().await);
        assert!(begun.elapsed() < Duration::from_secs(20), "the stop took {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn log_lines_name_the_request_its_trace_and_where_it_went() {
    let cluster = TestCluster::migrated(2).await;
    let api =
        Api::start_with(&cluster, &[("SHARDRIVE_LOG_FORMAT", "json"), ("RUST_LOG", "info,shardrive=debug")]).await;
    let request = api.request(Method::GET, "/query/5043").header("X-Request-Id", "r-7");
    assert_eq!(request.header("traceparent", traceparent("01")).send().await.unwrap().status(), StatusCode::OK);
    let line: Value = poll::until("the line that sums up", async || {
        let log = api.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.into_iter().find(|line| line["request_id"] == "r-7" && line["message"] == "request").ok_or(log.clone())
    })
    .await;
    assert_eq!((&line["trace_id"], &line["slot"], &line["shard"]), (&json!(TRACE), &json!(3), &json!(1)));
    assert_eq!(line["route"], "/query/{user_id}");
}

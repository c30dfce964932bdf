//! The dashboard as a client sees it that is no browser: files, headers, events, and who gets them.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::feed::Events;
use crate::support::poll;
use crate::support::servers::TestCluster;
use crate::support::tokens::{Key, now};

const SECRET: &str = "a secret of the test, long enough for HS256";

#[tokio::test]
async fn the_page_comes_with_a_strict_policy() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let page = api.get("/dashboard").await;
    assert_eq!(page.status(), 200);
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    let text = page.text().await.unwrap();
    // Also the files that scripts ask for themselves.
    let mut names: Vec<String> = vec!["stream.js".to_owned()];
    names.extend(text.split("\"dashboard/").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    for name in names {
        let file = api.get(&format!("/dashboard/{name}")).await;
        assert_eq!(
            (file.status(), &file.headers()["x-content-type-options"]),
            (StatusCode::OK, &"nosniff".parse().unwrap()),
            "{name}"
        );
    }
    assert_eq!(api.get("/dashboard/../server.rs").await.status(), 404);
    assert_eq!(api.get_json("/dashboard/nothing.js").await.1["code"], "unknown_path");
    let slash = api.get("/dashboard/").await;
    assert_eq!((slash.status(), slash.url().path()), (StatusCode::OK, "/dashboard"), "a redirect that was followed");
}

#[tokio::test]
async fn events_tell_of_everything_and_end_with_the_service() {
    let mut cluster = TestCluster::migrated(2).await;
    let mut api = Api::start_with(&cluster, &[("SHARDRIVE_DRAIN_DELAY_S", "30")]).await;
    let mut events = Events::from_response(api.get("/dashboard/events").await);
    assert_eq!(events.next().await.unwrap().0, "history");
    let (kind, map) = events.next().await.unwrap();
    assert_eq!((kind.as_str(), &map["owners"][7], map["owners"].as_array().unwrap().len()), ("map", &json!(1), 5040));

    api.post("/ingest", &json!({"user_id": 7, "file_name": "a", "size_bytes": 12})).await;
    let shard = |state: &Value, id: usize| state["shards"][id].clone();
    let one = events.wait_for_event("state", |state| Some(shard(state, 1)).filter(|shard| shard["files"] == 1)).await;
    assert_eq!((&one["file_bytes"], &one["slots"], &one["state"]), (&json!(12), &json!(2520), &json!("healthy")));
    assert!(!one["place"].as_str().unwrap().contains("shard_pass"), "{one}");
    for _ in 0..20 {
        api.get("/query/x").await;
    }
    events.wait_for_event("state", |state| (state["rates"]["refused"].as_f64()? > 0.0).then_some(())).await;

    cluster.server(0).kill().await;
    events.wait_for_event("state", |state| (shard(state, 0)["circuit"] == "open").then_some(())).await;
    events.wait_for_event("state", |state| state["moves"].is_null().then_some(())).await;
    cluster.server(0).start().await.unwrap();
    events
        .wait_for_event("state", |state| {
            (shard(state, 0)["circuit"] == "closed" && state["moves"].is_array()).then_some(())
        })
        .await;

    // A stop does not wait for those who watch, and a new one is told to go elsewhere.
    api.sigterm();
    let end = async { while events.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(20), end).await.expect("the stream goes on");
    assert_eq!(api.get_json("/dashboard/events").await.1["code"], "not_ready");
    assert_eq!(api.get("/query/7").await.status(), 200, "everything else is still served");
    api.kill9();
}

#[tokio::test]
async fn with_sign_in_the_page_is_open_and_its_data_is_not() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &[("SHARDRIVE_AUTH_SECRET", SECRET)]).await;
    assert_eq!(api.get("/dashboard").await.status(), 200);
    assert_eq!(api.get("/dashboard/app.js").await.status(), 200);
    let problem = async |path: &str| {
        let (status, mut problem) = api.get_json(path).await;
        problem.as_object_mut().unwrap().remove("request_id").unwrap();
        (status, problem)
    };
    let refused = problem("/dashboard/events").await;
    assert_eq!(refused.0, StatusCode::UNAUTHORIZED);
    assert_eq!(refused, problem("/stats").await);
    let as_scope = async |scope: &str| {
        let token = Key::secret(SECRET).token("", &json!({"sub": "1", "scope": scope, "exp": now() + 600}));
        api.request(reqwest::Method::GET, "/dashboard/events").bearer_auth(token).send().await.unwrap()
    };
    assert_eq!(as_scope("service").await.status(), 403);
    assert_eq!(Events::from_response(as_scope("admin").await).next().await.unwrap().0, "history");
}

#[tokio::test]
async fn so_many_may_watch_and_no_more() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let mut seats = Vec::new();
    let refused = loop {
        let answer = api.get("/dashboard/events").await;
        if answer.status() != 200 {
            break answer;
        }
        seats.push(answer);
        assert!(seats.len() <= 64);
    };
    assert_eq!((seats.len(), refused.status()), (64, StatusCode::SERVICE_UNAVAILABLE));
    assert!(refused.headers().contains_key("retry-after"));
    seats.clear();
    poll::until_true("the seats of those who went", async || api.get("/dashboard/events").await.status() == 200).await;
}

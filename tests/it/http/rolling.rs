//! Processes of the service are replaced one by one under load, as an orchestrator does it: no request fails.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;

use crate::support::api::{Api, PROGRAM};
use crate::support::balancer::{Probe, replace_all_under_load};
use crate::support::poll;
use crate::support::servers::TestCluster;

/// At 2,000 a second it is a part of `tests/chaos/run`.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_request() {
    let probe = Probe { period: Duration::from_millis(100), failures: 2 };
    // Longer than a busy machine lets a request wait between the choice of a process and the connection to it.
    let rolled = replace_all_under_load(PROGRAM, 100, 1, probe, "5").await;
    assert_eq!(rolled.failed, BTreeMap::new(), "{rolled}; {:?}", rolled.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_drains_answers_and_closes_its_connections() {
    let cluster = TestCluster::migrated(2).await;
    let mut api = Api::start_with(&cluster, &[("SHARDRIVE_DRAIN_DELAY_S", "3600")]).await;
    assert!(!api.get("/query/42").await.headers().contains_key("Connection"));
    api.sigterm();
    poll::until_true("the process to be not ready", async || {
        api.get("/health/ready").await.status() == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    for path in ["/query/42", "/health/live", "/no/such/path"] {
        let answer = api.get(path).await;
        assert_eq!(answer.headers()["Connection"], "close", "{path}: {}", answer.status());
    }
    let (status, _) = api.post_json("/ingest", &json!({"user_id": 42, "file_name": "late"})).await;
    assert_eq!(status, StatusCode::CREATED);
    api.kill9();
}

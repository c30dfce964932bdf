//! The program itself as a process: it starts, answers, stops, and refuses bad settings.

use reqwest::StatusCode;
use serde_json::json;

use crate::support::api::Api;
use crate::support::servers::TestCluster;

#[tokio::test]
async fn a_file_goes_in_and_out_and_the_program_stops_when_asked() {
    let cluster = TestCluster::migrated(2).await;
    let mut api = Api::start(&cluster).await;
    let file = json!({"user_id": 43, "file_name": "a.txt"});
    let (status, stored) = api.post_json("/ingest", &file).await;
    assert_eq!((status, &stored["data"]["shard_id"]), (StatusCode::CREATED, &json!(1)));
    api.pause();
    api.resume();
    let (status, found) = api.get_json("/query/43").await;
    assert_eq!((status, &found["file_count"]), (StatusCode::OK, &json!(1)));
    api.sigterm();
    assert!(api.wait_for_exit().await, "{}", api.log());

    let mut other = Api::start(&cluster).await;
    assert_ne!((other.base(), other.pid()), (api.base(), api.pid()));
    other.kill9();
}

//! User numbers above 2^53, which readers that keep numbers as doubles round: taken as texts, and given as texts too.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::api::{Api, json as body_of};
use crate::support::servers::TestCluster;

/// 2^53 + 1: a double makes 9007199254740992 of it, which is another user.
const LARGE: &str = "9007199254740993";
const ROUNDED: &str = "9007199254740992";

#[tokio::test]
async fn a_large_user_is_stored_and_found_by_text() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let number: Value = serde_json::from_str(LARGE).unwrap();
    let (status, stored) = api.post_json("/ingest", &json!({"user_id": LARGE, "file_name": "one"})).await;
    assert_eq!(status, StatusCode::CREATED, "{stored}");
    assert_eq!((&stored["data"]["user_id"], &stored["data"]["user_id_text"]), (&number, &json!(LARGE)));
    let rows = format!(
        "{{\"user_id\": \"{LARGE}\", \"file_name\": \"two\"}}\n{{\"user_id\": {LARGE}, \"user_id_text\": \"{LARGE}\", \"file_name\": \"three\"}}\n"
    );
    let (_, loaded) = body_of(api.send("/ingest/bulk", "application/x-ndjson", rows).await).await;
    assert_eq!((&loaded["inserted"], &loaded["rejected"]), (&json!(2), &json!(0)), "{loaded}");
    let csv = format!("user_id,file_name\n{LARGE},four\n");
    let (_, loaded) = body_of(api.send("/ingest/bulk", "text/csv", csv).await).await;
    assert_eq!(loaded["inserted"], 1, "{loaded}");
    let (_, page) = api.get_json(&format!("/query/{LARGE}")).await;
    assert_eq!((&page["user_id"], &page["user_id_text"], &page["file_count"]), (&number, &json!(LARGE), &json!(4)));
    assert!(page["files"].as_array().unwrap().iter().all(|file| file["user_id_text"] == LARGE), "{page}");
    let (_, other) = api.get_json(&format!("/query/{ROUNDED}")).await;
    assert_eq!(other["file_count"], 0, "{other}");
    let id = stored["data"]["file_id"].as_str().unwrap();
    let (_, found) = api.get_json(&format!("/files/{id}")).await;
    assert_eq!(found["data"]["user_id_text"], LARGE, "{found}");
    // Small numbers need no text, and their answers have none.
    let (_, small) = api.post_json("/ingest", &json!({"user_id": "42", "file_name": "one"})).await;
    assert_eq!((&small["data"]["user_id"], small["data"].get("user_id_text")), (&json!(42), None), "{small}");
}

#[tokio::test]
async fn a_number_that_was_rounded_on_its_way_is_refused() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let rounded: Value = serde_json::from_str(ROUNDED).unwrap();
    for (path, body, field) in [
        ("/ingest", json!({"user_id": rounded, "user_id_text": LARGE, "file_name": "a"}), "user_id_text"),
        ("/ingest", json!({"user_id": "042", "file_name": "a"}), "user_id"),
        ("/ingest", json!({"user_id": "9223372036854775808", "file_name": "a"}), "user_id"),
        ("/ingest", json!({"user_id": "", "file_name": "a"}), "user_id"),
        ("/store", json!({"userId": rounded, "userIdText": LARGE, "data": 1}), "userIdText"),
    ] {
        let (status, problem) = api.post_json(path, &body).await;
        assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{body}: {problem}");
    }
}

#[tokio::test]
async fn values_and_documents_of_large_users() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let (status, _) = api.post_json("/store", &json!({"userId": LARGE, "data": 1})).await;
    assert_eq!(status, StatusCode::OK);
    let (_, value) = api.get_json(&format!("/store/{LARGE}")).await;
    assert_eq!((value["userId"].to_string(), &value["userIdText"]), (LARGE.to_owned(), &json!(LARGE)), "{value}");
    let declared = json!({"shard_key": "user_id", "key_type": "integer"});
    assert!(
        api.request(Method::PUT, "/collections/profiles").json(&declared).send().await.unwrap().status().is_success()
    );
    let (status, stored) = api.post_json("/records/profiles", &json!({"user_id": LARGE, "theme": "dark"})).await;
    assert_eq!((status, &stored["key"]), (StatusCode::CREATED, &json!(LARGE)), "{stored}");
    let (_, found) = api.get_json(&format!("/records/profiles/{LARGE}")).await;
    assert_eq!(found["document"]["user_id"], LARGE, "{found}");
}

//! `/store`, `/write` and `/read`, `/data`: documents by calls of one purpose.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::api::{Api, json as parts};
use crate::support::servers::TestCluster;

#[tokio::test]
async fn one_value_a_user() {
    let cluster = TestCluster::migrated(3).await;
    let api = Api::start(&cluster).await;
    let answer = api.post_json("/store", &json!({"userId": 15, "data": "User data example"})).await;
    assert_eq!(answer, (StatusCode::OK, json!({"message": "Data stored in shard 0"})));
    api.post_json("/store", &json!({"data": {"nested": [1, 2.50]}, "userId": 16})).await;
    api.post_json("/store", &json!({"userId": 15, "data": "the last one stays"})).await;
    let answer = api.get_json("/store/15").await;
    assert_eq!(answer, (StatusCode::OK, json!({"userId": 15, "data": "the last one stays"})));
    let (_, shards) = api.get_json("/shards").await;
    assert_eq!(shards["complete"], true);
    let held: Vec<_> = shards["shards"].as_array().unwrap().iter().map(|one| one["records"].clone()).collect();
    let last = json!({"userId": 15, "data": "the last one stays"});
    assert_eq!(held, [json!([last]), json!([{"userId": 16, "data": {"nested": [1, 2.50]}}]), json!([])]);

    for (body, field) in [
        (json!({"userId": 15}), "data"),
        (json!({"data": 1}), "userId"),
        (json!({"userId": "015", "data": 1}), "userId"),
        (json!({"userId": 1.5, "data": 1}), "userId"),
        (json!({"userId": 1, "data": 1, "extra": 1}), "extra"),
    ] {
        let (status, answer) = api.post_json("/store", &body).await;
        assert_eq!((status, &answer["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{body}");
    }
    assert_eq!(api.get_json("/store/99").await.1["code"], "record_not_found");
    assert_eq!(api.get_json("/store/x").await.1["field"], "userId");
    assert_eq!(api.get_json("/shards?limit=0").await.1["field"], "limit");
    for user in 100..160 {
        api.post_json("/store", &json!({"userId": user * 3, "data": user})).await;
    }
    let (_, shards) = api.get_json("/shards?limit=10").await;
    assert_eq!(
        (shards["shards"][0]["records"].as_array().unwrap().len(), &shards["shards"][0]["more"]),
        (10, &json!(true))
    );
}

#[tokio::test]
async fn keys_and_values() {
    let cluster = TestCluster::migrated(3).await;
    let api = Api::start(&cluster).await;
    let answer = api.post_json("/write", &json!({"key": "user:123", "value": "John Doe"})).await;
    let expected =
        json!({"success": true, "key": "user:123", "shard_id": 2, "message": "Data written successfully to shard 2"});
    assert_eq!(answer, (StatusCode::OK, expected));
    let (status, found) = api.get_json("/read/user:123").await;
    assert_eq!((status, &found["value"], &found["shard_id"]), (StatusCode::OK, &json!("John Doe"), &json!(2)));
    assert_eq!((&found["success"], &found["key"]), (&json!(true), &json!("user:123")));
    assert_eq!(found["created_at"], found["updated_at"]);
    api.post_json("/write", &json!({"key": "user:123", "value": {"name": "Jane"}})).await;
    let (_, changed) = api.get_json("/read/user:123").await;
    assert_eq!((&changed["value"], &changed["created_at"]), (&json!({"name": "Jane"}), &found["created_at"]));
    assert_ne!(changed["updated_at"], found["updated_at"]);

    for (key, path) in [
        ("a/b//c", "a/b//c"),
        ("a/b%2Fc", "a%2Fb%252Fc"),
        ("with space + plus", "with%20space%20+%20plus"),
        ("unicode_测试_key", "unicode_%E6%B5%8B%E8%AF%95_key"),
        ("?&#%", "%3F%26%23%25"),
        ("\u{1}\u{7f}", "%01%7F"),
    ] {
        let (status, answer) = api.post_json("/write", &json!({"key": key, "value": key})).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let (status, found) = api.get_json(&format!("/read/{path}")).await;
        assert_eq!((status, &found["key"], &found["value"]), (StatusCode::OK, &json!(key), &json!(key)), "{path}");
    }
    let mut rows = 0;
    for shard in 0..3 {
        rows += cluster.value::<i64>(shard, "SELECT count(*) FROM records").await;
    }
    assert_eq!(rows, 7, "each key on one shard");
}

#[tokio::test]
async fn nonsense_is_told_what_is_wrong_with_it() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let long = "k".repeat(10_000);
    for (body, field) in [
        (json!({"key": "", "value": 1}), "key"),
        (json!({"key": long, "value": 1}), "key"),
        (json!({"key": "a\u{0}b", "value": 1}), "key"),
        (json!({"key": 5, "value": 1}), "key"),
        (json!({"value": 1}), "key"),
        (json!({"key": "a"}), "value"),
        (json!({"key": "a", "value": 1, "ttl": 5}), "ttl"),
    ] {
        let (status, answer) = api.post_json("/write", &body).await;
        assert_eq!((status, &answer["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{answer}");
        assert!(answer["detail"].as_str().unwrap().len() < 400, "{answer}");
    }
    let raw = async |path: &str, body: String| parts(api.send(path, "application/json", body).await).await;
    for (path, body, code) in [
        ("/write", "nonsense".to_owned(), "invalid_body"),
        ("/write", String::new(), "invalid_body"),
        ("/data", "[1,2]".to_owned(), "invalid_body"),
        ("/data", "\"text\"".to_owned(), "invalid_body"),
        ("/data", "{\"a\":".to_owned(), "invalid_body"),
        ("/data", format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000)), "invalid_field"),
    ] {
        let (status, answer) = raw(path, body).await;
        assert_eq!((status, &answer["code"]), (StatusCode::BAD_REQUEST, &json!(code)), "{answer}");
    }
    let big = |bytes: usize| format!("{{\"key\":\"big\",\"value\":\"{}\"}}", "x".repeat(bytes - 2));
    assert_eq!(raw("/write", big(1 << 20)).await.0, StatusCode::OK);
    for bytes in [(1 << 20) + 1, 3 << 20] {
        let (status, answer) = raw("/write", big(bytes)).await;
        assert_eq!((status, &answer["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("body_too_large")));
    }
    assert_eq!(api.get_json("/read/big").await.1["value"].as_str().unwrap().len(), (1 << 20) - 2);
    for (path, code) in [
        ("/read/", "invalid_field"),
        ("/read/nobody", "record_not_found"),
        ("/read/%FF", "invalid_path"),
        ("/data/7", "invalid_path"),
        ("/data/0199aaaa-0000-7000-8000-000000000000", "record_not_found"),
        ("/data?limit=1001", "invalid_query"),
        ("/data?cursor=!", "invalid_query"),
    ] {
        let (status, answer) = api.get_json(path).await;
        assert!(status.is_client_error(), "{path}");
        assert_eq!(answer["code"], code, "{path}: {answer}");
    }
    // PostgreSQL's json takes what its jsonb would not.
    for odd in ["{\"a\":\"\\u0000\"}", "{\"a\":\"\\ud800\"}", "{\"a\":1e999999,\"a\":-0}"] {
        let (status, answer) = raw("/data", odd.to_owned()).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let text = api.get(&format!("/data/{}", answer["id"].as_str().unwrap())).await.text().await.unwrap();
        assert!(text.contains(odd), "{text}");
    }
}

#[tokio::test]
async fn objects_under_ids_of_their_own() {
    let cluster = TestCluster::migrated(3).await;
    let api = Api::start(&cluster).await;
    let mut ids = Vec::new();
    for number in 0..60 {
        let (status, answer) = api.post_json("/data", &json!({"number": number})).await;
        assert_eq!((status, answer.as_object().unwrap().len()), (StatusCode::CREATED, 1), "{answer}");
        ids.push(answer["id"].as_str().unwrap().to_owned());
    }
    let (status, one) = api.get_json(&format!("/data/{}", ids[7])).await;
    assert_eq!((status, &one["id"], &one["data"]), (StatusCode::OK, &json!(ids[7]), &json!({"number": 7})));
    let (mut seen, mut path) = (Vec::new(), "/data?limit=13".to_owned());
    loop {
        let (status, page) = api.get_json(&path).await;
        assert_eq!((status, &page["complete"]), (StatusCode::OK, &json!(true)));
        assert!(page["count"].as_u64() <= Some(13));
        seen.extend(page["data"].as_array().unwrap().iter().map(|one| one["data"]["number"].clone()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/data?limit=13&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, (0..60).rev().map(|number| json!(number)).collect::<Vec<Value>>());
    let mut held = Vec::new();
    for shard in 0..3 {
        held.push(cluster.value::<i64>(shard, "SELECT count(*) FROM records").await);
    }
    assert!(held.iter().sum::<i64>() == 60 && held.iter().all(|rows| *rows > 5), "{held:?}");
    let head = api.request(Method::HEAD, &format!("/data/{}", ids[0])).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
}

/// Documents of a mebibyte each, more at once than the process takes: all are stored, and all come back, together.
#[tokio::test]
async fn large_documents_wait_for_their_turn() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start_with(&cluster, &[("SHARDRIVE_SHARD_TIMEOUT_MS", "40000")]).await;
    let value = |key: usize| key.to_string().repeat(350_000);
    // Made before anything connects: the service waits ten seconds for the head of a request.
    let bodies: Vec<_> =
        (10..50).map(|key| json!({"key": format!("large-{key}"), "value": value(key)}).to_string()).collect();
    let writes = bodies.into_iter().map(|body| api.send("/write", "application/json", body));
    for answer in futures_util::future::join_all(writes).await {
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
    }
    let reads = (10..50).map(|key| {
        let api = &api;
        async move { (key, api.get_json(&format!("/read/large-{key}")).await) }
    });
    for (key, (status, found)) in futures_util::future::join_all(reads).await {
        assert_eq!((status, found["value"] == json!(value(key))), (StatusCode::OK, true), "{key}");
    }
    let (mut seen, mut path) = (0, "/records/kv".to_owned());
    loop {
        let (_, page) = api.get_json(&path).await;
        let count = page["record_count"].as_u64().unwrap();
        assert!((1..=4).contains(&count), "a page is bounded by its bytes: {count}");
        seen += count;
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/records/kv?cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, 40);
}

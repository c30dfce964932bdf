//! Documents that few readers can read are kept as they were written, by every way in and through every patch.

use std::fmt::Write as _;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::api::Api;
use crate::support::servers::TestCluster;

/// Half a surrogate pair in a member's name: JSON, but in no Rust text and no `jsonb`.
const LONE: &str = r#"{"user_id":700004,"\ud83d":1,"keep":"me","nested":{"\udc00":1,"also":"me"}}"#;

async fn send(api: &Api, method: Method, path: &str, kind: &str, body: String) -> (StatusCode, String) {
    let answer = api.request(method, path).header("content-type", kind).body(body).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_name_with_half_a_surrogate_pair_loses_no_member() {
    const JSON: &str = "application/json";
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let orders = json!({"shard_key": "user_id", "key_type": "integer", "records_per_key": "many"});
    send(&api, Method::PUT, "/collections/orders", JSON, orders.to_string()).await;
    let profiles = json!({"shard_key": "user_id", "key_type": "integer"});
    send(&api, Method::PUT, "/collections/profiles", JSON, profiles.to_string()).await;

    // Each way in, and where the document can be patched then.
    let mut paths =
        vec!["/records/kv/put".to_owned(), "/records/kv/write".to_owned(), "/records/store/700004".to_owned()];
    for (method, path, kind, body) in [
        (Method::PUT, "/records/kv/put", JSON, LONE.to_owned()),
        (Method::POST, "/write", JSON, format!(r#"{{"key":"write","value":{LONE}}}"#)),
        (Method::POST, "/store", JSON, format!(r#"{{"userId":700004,"data":{LONE}}}"#)),
        (Method::POST, "/data", JSON, LONE.to_owned()),
        (Method::POST, "/records/orders", JSON, LONE.to_owned()),
        (Method::POST, "/records/profiles", "application/x-ndjson", format!("{LONE}\n")),
    ] {
        let (status, answer) = send(&api, method, path, kind, body).await;
        assert!(status.is_success(), "{path}: {answer}");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        match (path, &answer["id"], &answer["key"]) {
            ("/data", id, _) => paths.push(format!("/records/data/{}", id.as_str().unwrap())),
            ("/records/orders", _, key) => paths.push(format!("/records/orders/{}", key.as_str().unwrap())),
            ("/records/profiles", ..) => {
                assert_eq!(answer["rejected"], 0, "{answer}");
                paths.push("/records/profiles/700004".to_owned());
            }
            _ => {}
        }
    }
    assert_eq!(paths.len(), 6);
    let inside = LONE.strip_suffix('}').unwrap();
    for path in paths {
        let (status, answer) =
            send(&api, Method::PATCH, &path, "application/merge-patch+json", r#"{"x":1}"#.into()).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let expected = match path.as_str() {
            "/records/store/700004" => format!(r#"{{"userId":700004,"data":{LONE},"x":1}}"#),
            _ => format!(r#"{inside},"x":1}}"#),
        };
        assert!(answer.contains(&expected), "{path}: {answer}");
        let (status, found) = send(&api, Method::GET, &path, JSON, String::new()).await;
        assert_eq!(status, StatusCode::OK, "{found}");
        assert!(found.contains(&expected), "{path}: {found}");
    }
    let patch = r#"{"\uD83D":null,"nested":{"\udc00":{"\ude00":2}}}"#;
    let (status, answer) = send(&api, Method::PATCH, "/records/kv/put", JSON, patch.into()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let expected = r#"{"user_id":700004,"keep":"me","nested":{"\udc00":{"\ude00":2},"also":"me"},"x":1}"#;
    assert!(answer.contains(expected), "{answer}");
    assert_eq!(
        send(&api, Method::PATCH, "/records/kv/put", JSON, r#"{"\ud83d":"#.into()).await.0,
        StatusCode::BAD_REQUEST
    );
}

/// The largest document of the smallest members, each of them changed: too much for work that grows as the square.
#[tokio::test]
async fn a_patch_of_every_member_of_a_large_document_is_made_at_once() {
    const MEMBERS: usize = 90_000;
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &[("SHARDRIVE_HTTP_WORKERS", "1")]).await;
    let document = |value: u8| {
        let mut text = String::from("{");
        for number in 0..MEMBERS {
            let _ = write!(text, "{}\"{number}\":{value}", if number == 0 { "" } else { "," });
        }
        text + "}"
    };
    assert_eq!(
        send(&api, Method::PUT, "/records/kv/wide", "application/json", document(1)).await.0,
        StatusCode::CREATED
    );
    let (status, answer) = send(&api, Method::PATCH, "/records/kv/wide", "application/json", document(2)).await;
    assert_eq!(status, StatusCode::OK);
    assert!(answer.contains(&document(2)), "{} bytes", answer.len());
}

#[tokio::test]
async fn different_bytes_in_a_path_or_query_are_not_one_key() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let put = async |path: &str| send(&api, Method::PUT, path, "application/json", "1".into()).await;
    assert_eq!(put("/records/kv/%EF%BF%BD").await.0, StatusCode::CREATED, "the character itself is one");
    for path in ["/records/kv/%FF", "/records/kv/%FF%EF%BF%BD", "/records/kv/%EF%BF%BD%C3"] {
        let (status, answer) = put(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {answer}");
    }
    let (status, problem) = api.get_json("/records/kv?shard_key=%FF").await;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_query")));
}

//! Files put at paths: new, replaced, refused, renamed, and only in the state that the client knows.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::call;
use crate::support::api::Api;
use crate::support::servers::{TestCluster, run};

/// Puts a file with a header, if one is named; the status and the answer.
async fn put(api: &Api, target: &str, header: Option<(&str, &str)>, size: i64) -> (u16, Value) {
    let request = api.request(Method::PUT, target).json(&json!({"size_bytes": size, "mime_type": "text/plain"}));
    let request = header.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn tag(api: &Api, target: &str) -> String {
    api.get(target).await.headers()["ETag"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_file_is_put_at_a_path_and_keeps_its_id() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let target = "/drives/42/path/letters/2026/a.txt";
    let (status, refused) = put(&api, &format!("{target}?parents=false"), None, 1).await;
    assert_eq!((status, &refused["code"]), (404, &json!("folder_not_found")), "{refused}");
    let (status, first) = put(&api, target, None, 1).await;
    assert_eq!((status, &first["data"]["path"]), (201, &json!("letters/2026/a.txt")), "{first}");
    let (status, second) = put(&api, &format!("{target}?parents=false"), None, 2).await;
    assert_eq!(
        (status, &second["data"]["file_id"], &second["data"]["size_bytes"]),
        (200, &first["data"]["file_id"], &json!(2))
    );
    assert_eq!(api.get_json(target).await.1["data"]["size_bytes"], 2);

    // The same name in another spelling is the same file, and keeps the spelling of the first.
    assert_eq!(put(&api, "/drives/42/path/caf%C3%A9.txt", None, 1).await.0, 201);
    let (status, same) = put(&api, "/drives/42/path/cafe%CC%81.txt", None, 3).await;
    assert_eq!((status, &same["data"]["file_name"]), (200, &json!("café.txt")), "{same}");

    let (status, taken) = put(&api, &format!("{target}?on_conflict=fail"), None, 3).await;
    assert_eq!((status, &taken["code"]), (409, &json!("name_taken")), "{taken}");
    assert!(taken["detail"].as_str().unwrap().contains(first["data"]["file_id"].as_str().unwrap()), "{taken}");
    for name in ["a (2).txt", "a (3).txt"] {
        let (status, renamed) = put(&api, &format!("{target}?on_conflict=rename"), None, 3).await;
        assert_eq!((status, &renamed["data"]["file_name"]), (201, &json!(name)), "{renamed}");
    }
    let (status, both) = put(&api, &format!("{target}?on_conflict=rename"), Some(("If-Match", "*")), 3).await;
    assert_eq!((status, &both["code"]), (400, &json!("invalid_query")), "{both}");
    let long = format!("/drives/42/path/{}?on_conflict=rename", "n".repeat(1024));
    assert_eq!(put(&api, &long, None, 1).await.0, 201);
    let (status, longer) = put(&api, &long, None, 1).await;
    assert_eq!(
        (status, &longer["code"], &longer["field"]),
        (400, &json!("invalid_field"), &json!("file_name")),
        "{longer}"
    );
    for (bad, status, code) in [
        ("/drives/42/path/letters", 409, "name_taken"),
        ("/drives/42/path/letters/2026/a.txt/b", 409, "not_a_folder"),
        ("/drives/42/path/", 409, "root_fixed"),
        ("/drives/42/path/a//b", 400, "invalid_path"),
        ("/drives/42/path/a%2F..%2Fb", 400, "invalid_path"),
        ("/drives/42/path/b?on_conflict=perhaps", 400, "invalid_query"),
        ("/drives/42/path/b?parents=yes", 400, "invalid_query"),
    ] {
        let (found, problem) = put(&api, bad, None, 1).await;
        assert_eq!((found, &problem["code"]), (status, &json!(code)), "{bad}: {problem}");
    }
    let unknown = call(&api, Method::PUT, target, json!({"size": 1})).await;
    assert_eq!((unknown.0, &unknown.1["field"]), (400, &json!("size")));
}

#[tokio::test]
async fn a_put_and_a_trash_happen_in_the_known_state_alone() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let target = "/drives/7/path/a.txt";
    assert_eq!(put(&api, target, Some(("If-Match", "*")), 1).await.0, 412, "there is none yet");
    assert_eq!(put(&api, target, Some(("If-None-Match", "*")), 1).await.0, 201);
    assert_eq!(put(&api, target, Some(("If-None-Match", "*")), 2).await.0, 412);
    let first = tag(&api, target).await;
    assert_eq!(put(&api, target, Some(("If-Match", &first)), 2).await.0, 200);
    let (status, stale) = put(&api, target, Some(("If-Match", &first)), 3).await;
    assert_eq!((status, &stale["code"]), (412, &json!("precondition_failed")), "{stale}");
    assert_eq!(api.get_json(target).await.1["data"]["size_bytes"], 2);

    // Of many writers that know one state, one writes.
    let known = tag(&api, target).await;
    let writers = (10..20).map(|size| put(&api, target, Some(("If-Match", &known)), size));
    let statuses: Vec<u16> =
        futures_util::future::join_all(writers).await.into_iter().map(|(status, _)| status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 9, "{statuses:?}");

    let trash =
        async |tag: &str| api.request(Method::DELETE, target).header("If-Match", tag).send().await.unwrap().status();
    assert_eq!(trash(&known).await, StatusCode::PRECONDITION_FAILED);
    assert_eq!(trash(&tag(&api, target).await).await, StatusCode::OK);
    assert_eq!(api.get(target).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn new_files_of_a_drive_do_not_wait_for_one_another() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    assert_eq!(put(&api, "/drives/7/path/a/first", None, 1).await.0, 201);
    // A transaction of somebody else has stored a file of the drive, and stays open.
    let mut other = cluster.connect(0).await;
    let file = "BEGIN; INSERT INTO file_metadata (user_id, file_name, folder_id)
                SELECT 7, 'by hand', folder_id FROM folders WHERE user_id = 7 AND folder_name = 'a'";
    run(&mut other, file).await.unwrap();
    run(&mut other, "SELECT FROM folders WHERE user_id = 7 AND parent_id IS NULL FOR SHARE").await.unwrap();
    assert_eq!(put(&api, "/drives/7/path/a/second", None, 1).await.0, 201);
    run(&mut other, "ROLLBACK").await.unwrap();
}

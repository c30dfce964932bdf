//! One file by its id: found, changed, deleted, wherever the id comes from.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::api::{Api, json};
use crate::support::servers::TestCluster;

async fn patch(api: &Api, id: &str, change: Value) -> Value {
    let request = api.request(Method::PATCH, &format!("/files/{id}")).json(&change);
    let (status, body) = json(request.send().await.unwrap()).await;
    assert_eq!((status, &body["success"]), (StatusCode::OK, &json!(true)), "{change}: {body}");
    let (_, found) = api.get_json(&format!("/files/{id}")).await;
    assert_eq!(found, body, "{change}");
    body["data"].clone()
}

#[tokio::test]
async fn name_and_path_change_together_and_null_clears() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let file = json!({
        "user_id": 5, "file_name": "a.txt", "path": "letters/2024/a.txt", "size_bytes": 7, "mime_type": "text/plain",
        "checksum": "md5:1", "modified_at": "2024-01-01T00:00:00Z",
    });
    let (_, stored) = api.post_json("/ingest", &file).await;
    let stored = &stored["data"];
    let id = stored["file_id"].as_str().unwrap();
    let place = |file: &Value| (file["file_name"].clone(), file["path"].clone());
    let both = |name: &str, path: &str| (json!(name), json!(path));

    let renamed = patch(&api, id, json!({"file_name": "b.txt"})).await;
    assert_eq!(place(&renamed), both("b.txt", "letters/2024/b.txt"));
    assert!(renamed["updated_at"].as_str() > stored["updated_at"].as_str());
    for field in ["user_id", "created_at", "size_bytes", "mime_type", "checksum", "modified_at", "shard_id"] {
        assert_eq!(renamed[field], stored[field], "{field}");
    }
    let moved = patch(&api, id, json!({"path": "old/c.txt"})).await;
    assert_eq!(place(&moved), both("c.txt", "old/c.txt"));
    let moved = patch(&api, id, json!({"path": "x/d.txt", "file_name": "d.txt"})).await;
    assert_eq!(place(&moved), both("d.txt", "x/d.txt"));
    let top = patch(&api, id, json!({"path": null})).await;
    assert_eq!(place(&top), (json!("d.txt"), Value::Null), "in no folder");
    let renamed = patch(&api, id, json!({"file_name": "e.txt"})).await;
    assert_eq!(place(&renamed), (json!("e.txt"), Value::Null));
    let rooted = patch(&api, id, json!({"path": "/e.txt"})).await;
    assert_eq!(place(&rooted), both("e.txt", "e.txt"));
    let renamed = patch(&api, id, json!({"file_name": "f.txt"})).await;
    assert_eq!(place(&renamed), both("f.txt", "f.txt"));

    let grown = patch(&api, id, json!({"size_bytes": 70, "modified_at": "2025-01-01T00:00:00Z"})).await;
    assert_eq!((&grown["size_bytes"], &grown["modified_at"]), (&json!(70), &json!("2025-01-01T00:00:00Z")));
    assert_eq!(grown["checksum"], "md5:1", "what is left out stays");
    let cleared = json!({"size_bytes": null, "mime_type": null, "checksum": null, "modified_at": null});
    let bare = patch(&api, id, cleared.clone()).await;
    for field in cleared.as_object().unwrap().keys() {
        assert_eq!(bare[field], Value::Null, "{field}");
    }
    let (_, stats) = api.get_json("/stats").await;
    assert_eq!((&stats["total_records"], &stats["total_bytes"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn a_deleted_file_is_gone() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let (_, stored) = api.post_json("/ingest", &json!({"user_id": 5, "file_name": "a.txt"})).await;
    let path = format!("/files/{}", stored["data"]["file_id"].as_str().unwrap());
    let delete = async || json(api.request(Method::DELETE, &path).send().await.unwrap()).await;
    let expected =
        json!({"success": true, "message": "File deleted from shard 1", "file_id": stored["data"]["file_id"]});
    assert_eq!(delete().await, (StatusCode::OK, expected));
    let (status, problem) = delete().await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("file_not_found")));
    let change = api.request(Method::PATCH, &path).json(&json!({"file_name": "b"})).send().await.unwrap();
    assert_eq!(change.status(), StatusCode::NOT_FOUND);
    assert_eq!(api.get(&path).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(api.get_json("/query/5").await.1["file_count"], 0);
    assert_eq!(api.get_json("/stats").await.1["total_records"], 0);
}

#[tokio::test]
async fn ids_of_other_makers_are_found_changed_and_deleted_by_id_alone() {
    let cluster = TestCluster::migrated(3).await;
    let api = Api::start(&cluster).await;
    let mut ids = Vec::new();
    for user in 0..3 {
        let id = Uuid::new_v4();
        let (status, _) = api.post_json("/ingest", &json!({"user_id": user, "file_name": "a", "file_id": id})).await;
        assert_eq!(status, StatusCode::CREATED);
        ids.push((user, id));
        let sql = format!("INSERT INTO file_metadata (user_id, file_name) VALUES ({}, 'by hand')", user + 3);
        cluster.psql(user, &sql).await.unwrap();
        let by_hand = format!("SELECT file_id FROM file_metadata WHERE user_id = {}", user + 3);
        ids.push((user + 3, cluster.value(user, &by_hand).await));
    }
    for (user, id) in ids {
        let path = format!("/files/{id}");
        let (status, found) = api.get_json(&path).await;
        assert_eq!((status, &found["data"]["user_id"]), (StatusCode::OK, &json!(user)));
        assert_eq!(found["data"]["shard_id"], user % 3);
        let changed = patch(&api, &id.to_string(), json!({"file_name": "new"})).await;
        assert_eq!((&changed["file_name"], &changed["path"]), (&json!("new"), &Value::Null));
        assert_eq!(api.get_json(&format!("/query/{user}")).await.1["files"][0]["file_name"], "new");
        let gone = api.request(Method::DELETE, &path).send().await.unwrap();
        assert_eq!(gone.status(), StatusCode::OK);
        assert_eq!(api.get(&path).await.status(), StatusCode::NOT_FOUND);
    }
    assert_eq!(api.get_json("/stats").await.1["total_records"], 0);
}

#[tokio::test]
async fn an_id_is_said_to_be_unknown_only_if_every_shard_said_so() {
    let mut cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let path = format!("/files/{}", Uuid::new_v4());
    assert_eq!(api.get(&path).await.status(), StatusCode::NOT_FOUND);
    cluster.server(1).stop().await;
    let (status, problem) = api.get_json(&path).await;
    assert_eq!((status, &problem["shard"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(1)), "{problem}");
}

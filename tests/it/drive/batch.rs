//! Batches: all of the operations or none, each finding what the ones before it made, and once for a key.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::call;
use crate::support::api::Api;
use crate::support::servers::TestCluster;

async fn batch(api: &Api, user: i64, operations: Value) -> (u16, Value) {
    call(api, Method::POST, &format!("/drives/{user}/batch"), json!({ "operations": operations })).await
}

/// What a drive holds: paths of files, and names of folders at the top.
async fn whole(api: &Api, user: i64) -> (Vec<String>, Vec<String>) {
    let texts = |entries: &Value, member: &str| -> Vec<String> {
        entries.as_array().unwrap().iter().filter_map(|entry| entry[member].as_str().map(str::to_owned)).collect()
    };
    let (_, files) = api.get_json(&format!("/query/{user}")).await;
    let (_, top) = api.get_json(&format!("/drives/{user}/children")).await;
    let mut paths = texts(&files["files"], "path");
    paths.sort();
    (paths, texts(&top["entries"], "name"))
}

#[tokio::test]
async fn operations_are_done_in_their_order_or_not_at_all() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let (status, done) = batch(
        &api,
        42,
        json!([
            {"op": "create_folder", "path": "in/new"},
            {"op": "put_file", "path": "in/new/a.txt", "size_bytes": 5, "modified_at": "2026-01-02T03:04:05Z"},
            {"op": "put_file", "path": "in/new/a.txt", "size_bytes": 6},
            {"op": "move", "path": "in/new", "to": "done"},
            {"op": "move", "path": "done/a.txt", "to": "b.txt"},
            {"op": "put_file", "path": "old.txt"},
            {"op": "trash", "path": "old.txt"},
        ]),
    )
    .await;
    assert_eq!(status, 200, "{done}");
    let created: Vec<bool> =
        done["results"].as_array().unwrap().iter().map(|result| result["created"].as_bool().unwrap()).collect();
    assert_eq!(created, [true, true, false, false, false, true, false], "{done}");
    assert_eq!(whole(&api, 42).await, (vec!["b.txt".to_owned()], ["done", "in", "b.txt"].map(str::to_owned).to_vec()));

    // The trashed file comes back by its id, under another path.
    let old = &done["results"][5]["id"];
    let (status, back) = batch(&api, 42, json!([{"op": "restore", "id": old, "to": "done/old.txt"}])).await;
    assert_eq!(status, 200, "{back}");
    let before = whole(&api, 42).await;
    assert_eq!(before.0, ["b.txt", "done/old.txt"]);

    for (wrong, cause) in [
        (json!({"op": "move", "path": "nothing", "to": "x"}), "path_not_found"),
        (json!({"op": "move", "path": "b.txt", "to": "done/old.txt"}), "name_taken"),
        (json!({"op": "move", "path": "b.txt", "to": "nowhere/b.txt"}), "folder_not_found"),
        (json!({"op": "move", "path": "done", "to": "done/below"}), "would_cycle"),
        (json!({"op": "put_file", "path": "b.txt", "on_conflict": "fail"}), "name_taken"),
        (json!({"op": "create_folder", "path": "b.txt/c"}), "not_a_folder"),
        (json!({"op": "restore", "id": uuid::Uuid::new_v4()}), "entry_not_found"),
    ] {
        let operations = json!([{"op": "create_folder", "path": "first"}, {"op": "trash", "path": "done"}, wrong]);
        let expected = if cause == "would_cycle" { json!("path_not_found") } else { json!(cause) };
        let (status, problem) = batch(&api, 42, operations).await;
        let found = (status, &problem["code"], &problem["operation"]);
        assert_eq!(found, (409, &json!("batch_refused"), &json!(2)), "{wrong}: {problem}");
        let is_known = [&expected, &json!("folder_not_found")].contains(&&problem["cause"]);
        assert!(is_known, "{wrong}: {problem}");
        assert_eq!(whole(&api, 42).await, before, "nothing of it is done");
    }
    let (_, cycle) = batch(&api, 42, json!([{"op": "move", "path": "done", "to": "done/below"}])).await;
    assert_eq!((&cycle["cause"], &cycle["operation"]), (&json!("would_cycle"), &json!(0)), "{cycle}");
}

#[tokio::test]
async fn many_files_of_a_folder_are_stored_as_one_after_the_other_would_be() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let put = |path: &str, size: u64| json!({"op": "put_file", "path": path, "size_bytes": size});
    let renamed = json!({"op": "put_file", "path": "a/3", "size_bytes": 33, "on_conflict": "rename"});
    let operations = json!([
        put("a/1", 1),
        put("a/2", 2),
        put("a/1", 11),
        put("a/3", 3),
        renamed,
        put("a/3 (2)", 4),
        put("a/caf\u{e9}", 5),
        put("a/cafe\u{301}", 6),
        put("b/1", 7),
        put("a/4", 8),
    ]);
    let (status, done) = batch(&api, 7, operations).await;
    assert_eq!(status, 200, "{done}");
    let created: Vec<bool> =
        done["results"].as_array().unwrap().iter().map(|result| result["created"].as_bool().unwrap()).collect();
    assert_eq!(created, [true, true, false, true, true, false, true, false, true, true], "{done}");
    let (_, page) = api.get_json("/query/7").await;
    let mut sizes: Vec<(String, u64)> = page["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| (file["path"].as_str().unwrap().to_owned(), file["size_bytes"].as_u64().unwrap()))
        .collect();
    sizes.sort();
    let expected = [("a/1", 11), ("a/2", 2), ("a/3", 3), ("a/3 (2)", 4), ("a/4", 8), ("a/caf\u{e9}", 6), ("b/1", 7)];
    assert_eq!(sizes, expected.map(|(path, size)| (path.to_owned(), size)));
    let found = api.get_json("/stats").await.1;
    assert_eq!(found["total_records"], 7, "{found}");

    // A name that a folder has is told of at its place, and nothing is stored.
    api.post_json("/drives/7/folders", &json!({"path": "a/folder"})).await;
    let operations = json!([put("a/5", 1), put("a/6", 1), put("a/folder", 1), put("a/7", 1)]);
    let (status, problem) = batch(&api, 7, operations).await;
    assert_eq!((status, &problem["operation"], &problem["cause"]), (409, &json!(2), &json!("name_taken")), "{problem}");
    assert_eq!(api.get_json("/drives/7").await.1["data"]["files"], 7);
}

#[tokio::test]
async fn a_batch_that_makes_no_sense_names_its_operation() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    for (operations, field) in [
        (json!([]), "operations"),
        (json!(vec![json!({"op": "trash", "path": "a"}); 257]), "operations"),
        (json!([{"op": "trash", "path": "a"}, {"op": "trash", "path": "a/../b"}]), "operations[1].path"),
        (json!([{"op": "trash", "path": "/"}]), "operations[0].path"),
        (json!([{"op": "trash"}]), "operations[0].path"),
        (json!([{"op": "trash", "path": "a", "to": "b"}]), "operations[0].to"),
        (json!([{"op": "copy", "path": "a"}]), "operations[0].op"),
        (json!([{"op": 1, "path": "a"}]), "operations[0].op"),
        (json!([{"op": "restore", "id": "z"}]), "operations[0].id"),
        (json!([{"op": "put_file", "path": 5}]), "operations[0].path"),
        (json!([{"op": "put_file", "path": "a", "size_bytes": "1"}]), "operations[0].size_bytes"),
        (json!([1]), "operations[0]"),
        (json!([{"op": "put_file", "path": "a", "size_bytes": -1}]), "operations[0].size_bytes"),
        (json!([{"op": "put_file", "path": "a", "on_conflict": "x"}]), "operations[0].on_conflict"),
    ] {
        let (status, problem) = batch(&api, 1, operations.clone()).await;
        assert_eq!((status, &problem["field"]), (400, &json!(field)), "{problem}");
    }
    for wrong in [json!([{"op": "burn", "path": "a"}]), json!([{"op": "trash", "path": "a", "more": 1}]), json!({})] {
        assert_eq!(batch(&api, 1, wrong).await.0, 400);
    }
    assert_eq!(api.get_json("/drives/1").await.1["data"]["files"], 0);
}

#[tokio::test]
async fn a_batch_with_a_key_is_done_once() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let send = async |method: Method, target: &str, key: &str, body: &Value| {
        let request = api.request(method, target).header("Idempotency-Key", key).json(body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    let ask = async |target: &str, key: &str, body: &Value| send(Method::POST, target, key, body).await;
    let body = json!({"operations": [
        {"op": "put_file", "path": "a.txt", "on_conflict": "rename"}, {"op": "create_folder", "path": "f"},
    ]});
    let first = ask("/drives/5/batch", "once", &body).await;
    assert_eq!(first.0, StatusCode::OK, "{}", first.1);
    assert_eq!(ask("/drives/5/batch", "once", &body).await, first);
    let (status, other) = ask("/drives/5/batch", "once", &json!({"operations": [{"op": "trash", "path": "f"}]})).await;
    assert_eq!((status.as_u16(), &other["code"]), (422, &json!("idempotency_key_reused")), "{other}");
    assert_eq!(whole(&api, 5).await.1, ["f", "a.txt"]);

    // A folder that was made for a key is answered again as it was made.
    let folder = json!({"path": "g"});
    let first = ask("/drives/5/folders", "folder", &folder).await;
    assert_eq!(first.0, StatusCode::CREATED, "{}", first.1);
    let id = first.1["data"]["folder_id"].as_str().unwrap();
    assert_eq!(call(&api, Method::PATCH, &format!("/folders/{id}"), json!({"folder_name": "h"})).await.0, 200);
    assert_eq!(ask("/drives/5/folders", "folder", &folder).await, first);

    // A change is answered again as it was done, also when the folder is gone.
    let change = async || send(Method::PATCH, &format!("/folders/{id}"), "change", &json!({"folder_name": "i"})).await;
    let first = change().await;
    assert_eq!((first.0, &first.1["data"]["path"]), (StatusCode::OK, &json!("i")), "{}", first.1);
    assert_eq!(call(&api, Method::DELETE, &format!("/folders/{id}?purge=true"), json!({})).await.0, 200);
    assert_eq!(change().await, first);
}

//! The trash: listed by page, emptied, and purged when its time is over, with all that is below.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::call;
use crate::support::api::Api;
use crate::support::poll;
use crate::support::servers::TestCluster;

async fn put(api: &Api, user: i64, path: &str) {
    let (status, answer) =
        call(api, Method::PUT, &format!("/drives/{user}/path/{path}"), json!({"size_bytes": 1})).await;
    assert_eq!(status, 201, "{answer}");
}

async fn delete(api: &Api, target: &str) -> Value {
    let answer = api.request(Method::DELETE, target).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{target}");
    answer.json().await.unwrap()
}

/// Files and folders in the table besides the root, and how many of them are in the trash themselves.
async fn rows(api: &Api, user: i64) -> [i64; 3] {
    let (status, summary) = api.get_json(&format!("/drives/{user}")).await;
    assert_eq!(status, StatusCode::OK, "{summary}");
    ["files", "folders", "trashed"].map(|member| summary["data"][member].as_i64().unwrap())
}

async fn names(api: &Api, user: i64, size: usize) -> Vec<Value> {
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = api.get_json(&format!("/drives/{user}/trash?limit={size}{cursor}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        names.extend(page["entries"].as_array().unwrap().iter().map(|entry| entry["path"].clone()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return names,
        }
    }
}

#[tokio::test]
async fn what_is_thrown_away_is_listed_newest_first_and_emptied() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    for path in ["a/b/1.txt", "a/b/2.txt", "a/c/3.txt", "d.txt", "e.txt"] {
        put(&api, 42, path).await;
    }
    for path in ["d.txt", "a/b/1.txt", "a/b", "a"] {
        delete(&api, &format!("/drives/42/path/{path}")).await;
    }
    let expected = ["a", "a/b", "a/b/1.txt", "d.txt"].map(Value::from);
    for size in [1, 3, 1000] {
        assert_eq!(names(&api, 42, size).await, expected, "pages of {size}");
    }
    assert_eq!(rows(&api, 42).await, [5, 3, 4]);
    let (status, of_another) = api.get_json("/drives/42/trash?limit=1").await;
    assert_eq!(status, StatusCode::OK);
    let cursor = of_another["next_cursor"].as_str().unwrap();
    assert_eq!(api.get_json(&format!("/drives/44/trash?cursor={cursor}")).await.0, StatusCode::BAD_REQUEST);

    let gone = delete(&api, "/drives/42/trash").await;
    assert_eq!((&gone["purged"], &gone["more"]), (&json!(7), &json!(false)), "{gone}");
    assert_eq!((rows(&api, 42).await, names(&api, 42, 10).await), ([1, 0, 0], Vec::<Value>::new()));
    assert_eq!(api.get_json("/stats?exact=scan").await.1["total_records"], 1);
    assert_eq!(delete(&api, "/drives/42/trash").await["purged"], 0);
}

#[tokio::test]
async fn an_entry_is_deleted_for_good_at_once() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    for path in ["a/b/1.txt", "a/2.txt", "c/3.txt", "4.txt"] {
        put(&api, 1, path).await;
    }
    // A part of the folder is in the trash before.
    delete(&api, "/drives/1/path/a/b").await;
    assert_eq!(delete(&api, "/drives/1/path/a?purge=true").await["purged"], 4);
    assert_eq!(delete(&api, "/drives/1/path/4.txt?purge=true").await["purged"], 1);
    let (_, folder) = api.get_json("/drives/1/path/c").await;
    let target = format!("/folders/{}", folder["data"]["folder_id"].as_str().unwrap());
    assert_eq!(delete(&api, &format!("{target}?purge=true")).await["purged"], 2);
    assert_eq!(rows(&api, 1).await, [0, 0, 0]);
    let wrong = api.request(Method::DELETE, &format!("{target}?purge=perhaps")).send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_file_in_the_trash_can_be_changed_and_stays_there() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    put(&api, 1, "a/1.txt").await;
    put(&api, 1, "b/2.txt").await;
    let (_, below) = api.get_json("/drives/1/path/b/2.txt").await;
    let trashed = delete(&api, "/drives/1/path/a/1.txt").await;
    delete(&api, "/drives/1/path/b").await;
    let target = |file: &Value| format!("/files/{}", file["data"]["file_id"].as_str().unwrap());
    for (file, change, path) in [
        (&trashed, json!({"size_bytes": 7}), "a/1.txt"),
        (&trashed, json!({"file_name": "3.txt"}), "a/3.txt"),
        (&trashed, json!({"path": "c/3.txt"}), "c/3.txt"),
        (&below, json!({"size_bytes": 8}), "b/2.txt"),
    ] {
        let (status, changed) = call(&api, Method::PATCH, &target(file), change.clone()).await;
        let found = (status, &changed["data"]["trashed"], &changed["data"]["path"]);
        assert_eq!(found, (200, &json!(true), &json!(path)), "{change}: {changed}");
    }
    // The new folder is there, and empty.
    assert_eq!(api.get_json("/drives/1/children?path=c").await.1["entries"], json!([]));
    // A new path takes a file out of a folder in the trash.
    let (_, moved) = call(&api, Method::PATCH, &target(&below), json!({"path": "c/2.txt"})).await;
    assert_eq!((&moved["data"]["trashed"], &moved["data"]["path"]), (&json!(false), &json!("c/2.txt")), "{moved}");
    let restore = target(&trashed).replace("/files/", "/drives/1/trash/") + "/restore";
    assert_eq!(call(&api, Method::POST, &restore, json!({})).await.0, 200);
    let (status, back) = api.get_json("/drives/1/path/c/3.txt").await;
    assert_eq!((status, &back["data"]["size_bytes"]), (StatusCode::OK, &json!(7)), "{back}");
}

#[tokio::test]
async fn a_folder_in_the_trash_is_deleted_for_good_by_itself() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    for path in ["a/b/1", "c/2"] {
        put(&api, 1, path).await;
    }
    let mut ids = Vec::new();
    for path in ["a", "a/b", "c"] {
        let (_, folder) = api.get_json(&format!("/drives/1/path/{path}")).await;
        ids.push(folder["data"]["folder_id"].as_str().unwrap().to_owned());
    }
    for path in ["a", "c"] {
        delete(&api, &format!("/drives/1/path/{path}")).await;
    }
    let purge = async |id: &str| call(&api, Method::DELETE, &format!("/folders/{id}?purge=true"), json!(null)).await;
    let (status, below) = purge(&ids[1]).await;
    assert_eq!((status, &below["code"]), (404, &json!("folder_not_found")), "{below}");
    assert!(below["detail"].as_str().unwrap().contains("is in the trash"), "{below}");
    let (status, purged) = purge(&ids[0]).await;
    assert_eq!((status, &purged["purged"]), (200, &json!(3)), "{purged}");
    assert_eq!(purge(&ids[0]).await.0, 404);
    assert_eq!(names(&api, 1, 10).await, ["c"].map(Value::from));
}

#[tokio::test]
async fn a_folder_comes_back_although_a_file_has_its_id() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    put(&api, 1, "x/k").await;
    let (_, folder) = api.get_json("/drives/1/path/x").await;
    let id = folder["data"]["folder_id"].clone();
    let twin = json!({"user_id": 1, "file_name": "twin", "path": "twin", "file_id": id});
    assert_eq!(call(&api, Method::POST, "/ingest", twin).await.0, 201);
    delete(&api, "/drives/1/path/x").await;
    let restore = format!("/drives/1/trash/{}/restore", id.as_str().unwrap());
    for path in ["x", "twin"] {
        let (status, back) = call(&api, Method::POST, &restore, json!({})).await;
        assert_eq!((status, &back["data"]["path"]), (200, &json!(path)), "{back}");
        delete(&api, "/drives/1/path/twin").await;
    }
}

#[tokio::test]
async fn old_trash_goes_by_itself_however_much_there_is() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    for path in ["old/1.txt", "kept/2.txt", "live/3.txt"] {
        put(&api, 42, path).await;
    }
    let fill = "INSERT INTO file_metadata (user_id, file_name, folder_id)
                SELECT 42, 'n' || n, shardrive.make_folders(42, ARRAY['old', 'd' || n % 7]) FROM generate_series(1, 3000) AS n";
    cluster.psql(0, fill).await.unwrap();
    for path in ["old", "kept"] {
        delete(&api, &format!("/drives/42/path/{path}")).await;
    }
    let age = "UPDATE folders SET trashed_at = now() - interval '31 days' WHERE folder_name = 'old'";
    cluster.psql(0, age).await.unwrap();
    let gone: i32 = cluster
        .value(
            0,
            "SELECT shardrive.purge_folders(42, array_agg(folder_id), 500) FROM folders WHERE folder_name = 'old'",
        )
        .await;
    assert_eq!(gone, 500, "a call deletes so many rows and no more");
    // A service that starts looks at the trash of shard 0 at once.
    let other = Api::start(&cluster).await;
    poll::until("the old folder to go", async || {
        let left = rows(&other, 42).await;
        if left == [2, 2, 1] { Ok(()) } else { Err(left) }
    })
    .await;
    assert_eq!(names(&api, 42, 10).await, ["kept"].map(Value::from));
    assert_eq!(rows(&api, 42).await, [2, 2, 1]);
}

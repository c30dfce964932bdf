//! Files in folders: placed by their paths, named once, shown with their paths, and gone with their folders.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::call;
use crate::support::api::Api;
use crate::support::servers::TestCluster;

async fn ingest(api: &Api, user: i64, path: &str) -> (u16, Value) {
    let name = path.rsplit('/').next().unwrap();
    let (status, answer) =
        api.post_json("/ingest", &json!({"user_id": user, "file_name": name, "path": path, "size_bytes": 3})).await;
    (status.as_u16(), answer)
}

async fn paths(api: &Api, user: i64) -> Vec<Value> {
    let (status, page) = api.get_json(&format!("/query/{user}")).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    let mut paths: Vec<Value> = page["files"].as_array().unwrap().iter().map(|file| file["path"].clone()).collect();
    paths.sort_by_key(ToString::to_string);
    paths
}

#[tokio::test]
async fn a_path_places_a_file_and_follows_its_folders() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let (status, stored) = ingest(&api, 42, "letters/2026/a.txt").await;
    assert_eq!((status, &stored["data"]["path"]), (201, &json!("letters/2026/a.txt")), "{stored}");
    let id = stored["data"]["file_id"].as_str().unwrap().to_owned();
    assert_eq!(ingest(&api, 42, "top.txt").await.0, 201);
    let (_, loose) = api.post_json("/ingest", &json!({"user_id": 42, "file_name": "loose.txt"})).await;
    assert_eq!((&loose["data"]["path"], &loose["data"]["folder_id"]), (&Value::Null, &Value::Null), "{loose}");

    let (_, page) = api.get_json("/drives/42/children").await;
    let names: Vec<_> = page["entries"].as_array().unwrap().iter().map(|entry| entry["name"].clone()).collect();
    assert_eq!(names, [json!("letters"), json!("top.txt")], "{page}");
    let (_, at) = api.get_json("/drives/42/path/letters/2026/a.txt").await;
    assert_eq!(at["data"]["file_id"], json!(id));

    // A name is there once, for files and folders together.
    let (status, taken) = ingest(&api, 42, "letters/2026/a.txt").await;
    assert_eq!((status, &taken["code"]), (409, &json!("name_taken")), "{taken}");
    let (status, taken) = ingest(&api, 42, "letters/2026").await;
    assert_eq!((status, &taken["code"]), (409, &json!("name_taken")), "{taken}");
    let (status, through) = ingest(&api, 42, "top.txt/b.txt").await;
    assert_eq!((status, &through["code"]), (409, &json!("not_a_folder")), "{through}");

    // A rename above is a new path at once; one row changed.
    let (_, letters) = api.get_json("/drives/42/path/letters").await;
    let folder = format!("/folders/{}", letters["data"]["folder_id"].as_str().unwrap());
    assert_eq!(call(&api, Method::PATCH, &folder, json!({"folder_name": "mail"})).await.0, 200);
    assert_eq!(paths(&api, 42).await, [json!("mail/2026/a.txt"), json!("top.txt"), Value::Null]);

    // A file moves by its path, and out of every folder.
    let (status, moved) = call(&api, Method::PATCH, &format!("/files/{id}"), json!({"path": "new/b.txt"})).await;
    assert_eq!((status, &moved["data"]["path"]), (200, &json!("new/b.txt")), "{moved}");
    let (status, renamed) = call(&api, Method::PATCH, &format!("/files/{id}"), json!({"file_name": "c.txt"})).await;
    assert_eq!((status, &renamed["data"]["path"]), (200, &json!("new/c.txt")), "{renamed}");
    let (status, loose) = call(&api, Method::PATCH, &format!("/files/{id}"), json!({"path": null})).await;
    assert_eq!((status, &loose["data"]["path"]), (200, &Value::Null), "{loose}");
    assert_eq!(call(&api, Method::PATCH, &format!("/files/{id}"), json!({"path": "mail/c.txt"})).await.0, 200);

    // What is below a folder in the trash is nowhere, and comes back with the folder.
    assert_eq!(api.request(Method::DELETE, &folder).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(paths(&api, 42).await, [json!("top.txt"), Value::Null]);
    assert_eq!(api.get_json(&format!("/files/{id}")).await.1["data"]["trashed"], true);
    let restore = folder.replace("/folders/", "/drives/42/trash/") + "/restore";
    assert_eq!(call(&api, Method::POST, &restore, json!({})).await.0, 200);
    assert_eq!(paths(&api, 42).await.len(), 3);
    let (_, gone) = call(&api, Method::DELETE, "/drives/42/path/mail/c.txt", json!(null)).await;
    assert_eq!((&gone["data"]["trashed"], paths(&api, 42).await.len()), (&json!(true), 2), "{gone}");
}

/// The names of a folder, read page by page.
async fn names_by_pages(api: &Api, query: &str) -> Vec<String> {
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = api.get_json(&format!("/drives/42/children?limit=2&{query}{cursor}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        names
            .extend(page["entries"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return names,
        }
    }
}

#[tokio::test]
async fn a_folder_is_listed_by_name_in_both_orders() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let last = "\u{10FFFF}".repeat(256);
    for name in ["b", "a", "c", "\u{e9}", &last] {
        assert_eq!(ingest(&api, 42, &format!("dir/{name}.d/in")).await.0, if name == last { 400 } else { 201 });
        assert_eq!(ingest(&api, 42, &format!("dir/{name}")).await.0, 201, "{name}");
    }
    let (folders, files) = (["a.d", "b.d", "c.d", "\u{e9}.d"], ["a", "b", "c", "\u{e9}", &last]);
    let back = |names: &[&str]| names.iter().rev().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(names_by_pages(&api, "path=dir").await, [&folders[..], &files[..]].concat());
    assert_eq!(names_by_pages(&api, "path=dir&order=name").await, [&folders[..], &files[..]].concat());
    assert_eq!(names_by_pages(&api, "path=dir&order=-name").await, [back(&folders), back(&files)].concat());
    assert_eq!(names_by_pages(&api, "path=dir&order=-name&kinds=files").await, back(&files));
    assert_eq!(names_by_pages(&api, "path=dir&order=-name&kinds=folders").await, back(&folders));

    // A cursor belongs to its order.
    let (_, page) = api.get_json("/drives/42/children?path=dir&limit=1").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    for (query, field) in [(format!("order=-name&cursor={cursor}"), "cursor"), ("order=size".to_owned(), "order")] {
        let (status, problem) = api.get_json(&format!("/drives/42/children?path=dir&{query}")).await;
        assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{problem}");
    }
}

#[tokio::test]
async fn a_place_of_the_content_does_not_outlive_the_content() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let put = |size: u64| json!({"size_bytes": size, "modified_at": "2026-01-02T03:04:05Z", "content_ref": "s3://b/1"});
    let listing = |size: u64, mime: &str| {
        json!([{"Path": "a", "Name": "a", "Size": size, "MimeType": mime, "ModTime": "2026-01-02T03:04:05Z", "IsDir": false}])
            .to_string()
    };
    for (number, way) in ["/ingest/bulk?format=lsjson&user_id=42", "/drives/42/sync"].into_iter().enumerate() {
        let size = 10 * u64::try_from(number).unwrap();
        assert!(call(&api, Method::PUT, "/drives/42/path/a", put(size)).await.0 < 300);
        for (size, mime, place) in [
            (size, "text/plain", json!("s3://b/1")),
            (size, "text/html", json!("s3://b/1")),
            (size + 1, "text/html", json!(null)),
        ] {
            let answer = api.send(way, "application/json", listing(size, mime)).await;
            assert_eq!(answer.status(), StatusCode::OK, "{way}");
            let (_, file) = api.get_json("/drives/42/path/a").await;
            assert_eq!(
                (&file["data"]["mime_type"], &file["data"]["content_ref"]),
                (&json!(mime), &place),
                "{way}: {file}"
            );
        }
    }
    // A path that gets another content has no place unless the request names one.
    assert_eq!(call(&api, Method::PUT, "/drives/42/path/a", put(7)).await.0, 200);
    let (_, file) = call(&api, Method::PUT, "/drives/42/path/a", json!({"size_bytes": 7})).await;
    assert_eq!(file["data"]["content_ref"], json!(null), "{file}");
}

#[tokio::test]
async fn a_load_makes_the_folders_of_its_paths() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let line = |number: usize| {
        format!("{{\"user_id\":7,\"file_name\":\"f{number}\",\"path\":\"d{}/e/f{number}\"}}\n", number % 10)
    };
    let body: String = (0..200).map(line).collect();
    let send = async |body: String| {
        let request = api.request(Method::POST, "/ingest/bulk").header("Content-Type", "application/x-ndjson");
        request.body(body).send().await.unwrap().json::<Value>().await.unwrap()
    };
    let loaded = send(body.clone()).await;
    assert_eq!((&loaded["inserted"], &loaded["rejected"]), (&json!(200), &json!(0)), "{loaded}");
    assert_eq!(cluster.value::<i64>(1, "SELECT count(*) FROM folders WHERE user_id = 7").await, 21);
    // The same paths with other ids are taken.
    let again = send(body).await;
    assert_eq!((&again["inserted"], &again["rejected"]), (&json!(0), &json!(200)), "{again}");
    // A path through a file, and a file with a folder's name, are rejected alone.
    let bad = [
        line(300),
        line(0).replace("d0/e/f0", "d0/e/f0/f0"),
        line(1).replace("\"f1\"", "\"e\"").replace("d1/e/f1", "d1/e"),
    ];
    let mixed = send(bad.concat()).await;
    assert_eq!((&mixed["inserted"], &mixed["rejected"]), (&json!(1), &json!(2)), "{mixed}");
}

//! A user's files out again: pages and streams.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::servers::TestCluster;

/// All files of a user, by pages of this size.
pub async fn all_pages(api: &Api, user: i64, limit: usize) -> Vec<Value> {
    let mut files = Vec::new();
    let mut path = format!("/query/{user}?limit={limit}");
    loop {
        let (status, mut page) = api.get_json(&path).await;
        assert_eq!((status, &page["user_id"]), (StatusCode::OK, &json!(user)), "{page}");
        let Value::Array(found) = page["files"].take() else { panic!("{page}") };
        assert_eq!(page["file_count"], found.len());
        files.extend(found);
        match page["next_cursor"].as_str() {
            None => return files,
            Some(cursor) => path = format!("/query/{user}?limit={limit}&cursor={cursor}"),
        }
        assert_eq!(page["file_count"], limit, "only the last page is shorter");
    }
}

/// All files of a user, as a stream.
pub async fn streamed(api: &Api, path: &str) -> Vec<Value> {
    let answer = api.request(reqwest::Method::GET, path).header(ACCEPT, "application/x-ndjson").send().await.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()[CONTENT_TYPE]),
        (StatusCode::OK, &"application/x-ndjson".parse().unwrap())
    );
    answer.text().await.unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Stores `count` files for a user, one after another; gives their names.
async fn store(api: &Api, user: i64, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    for number in 0..count {
        let name = format!("{number}.txt");
        let (status, _) = api.post_json("/ingest", &json!({"user_id": user, "file_name": name})).await;
        assert_eq!(status, StatusCode::CREATED);
        names.push(name);
    }
    names
}

fn names(files: &[Value]) -> Vec<&str> {
    files.iter().map(|file| file["file_name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pages_and_streams_list_the_newest_first() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    for user in [7, i64::MAX] {
        let shard = user % 5040 % 2;
        let mut none = json!({
            "success": true, "user_id": user, "shard_id": shard, "file_count": 0, "files": [], "next_cursor": null,
        });
        // A number that JavaScript would round stands there as text, too.
        if user > (1 << 53) - 1 {
            none["user_id_text"] = json!(user.to_string());
        }
        assert_eq!(api.get_json(&format!("/query/{user}")).await, (StatusCode::OK, none));
        assert!(streamed(&api, &format!("/query/{user}")).await.is_empty());
    }

    let stored = store(&api, 42, 25).await;
    store(&api, 44, 3).await;
    let newest_first: Vec<_> = stored.iter().rev().map(String::as_str).collect();
    let (_, whole) = api.get_json("/query/42").await;
    assert_eq!(
        (&whole["shard_id"], &whole["file_count"], &whole["next_cursor"]),
        (&json!(0), &json!(25), &Value::Null)
    );
    let whole = whole["files"].as_array().unwrap();
    assert_eq!(names(whole), newest_first);
    let (_, one) = api.get_json(&format!("/files/{}", whole[3]["file_id"].as_str().unwrap())).await;
    for (field, value) in whole[3].as_object().unwrap() {
        assert_eq!(&one["data"][field], value, "{field}");
    }
    for limit in [1, 5, 10, 24, 25, 26, 1000] {
        assert_eq!(&all_pages(&api, 42, limit).await, whole, "pages of {limit}");
        assert_eq!(&streamed(&api, &format!("/query/42?limit={limit}")).await, whole, "streamed by {limit}");
    }
    let (_, first) = api.get_json("/query/42?limit=10").await;
    let rest = format!("/query/42?cursor={}", first["next_cursor"].as_str().unwrap());
    assert_eq!(streamed(&api, &rest).await, whole[10..]);
}

#[tokio::test]
async fn a_page_has_a_thousand_files_if_nobody_says() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let mut body = String::new();
    for number in 0..2100 {
        writeln!(body, r#"{{"user_id":42,"file_name":"{number}"}}"#).unwrap();
    }
    let loaded = api.send("/ingest/bulk", "application/x-ndjson", body).await;
    assert_eq!(loaded.status(), StatusCode::OK);
    let (_, first) = api.get_json("/query/42").await;
    assert_eq!(first["file_count"], 1000);
    let (_, second) = api.get_json(&format!("/query/42?cursor={}", first["next_cursor"].as_str().unwrap())).await;
    assert_eq!((&second["file_count"], second["next_cursor"].is_string()), (&json!(1000), true));
    let all = streamed(&api, "/query/42").await;
    let expected: Vec<_> = (0..2100).rev().map(|number| number.to_string()).collect();
    assert_eq!(names(&all), expected, "later records of a body are newer");
    assert_eq!(all_pages(&api, 42, 999).await, all);
}

#[tokio::test]
async fn paging_neither_skips_nor_repeats_while_files_come_and_go() {
    let cluster = TestCluster::migrated(2).await;
    let api = Arc::new(Api::start(&cluster).await);
    let old = store(&api, 42, 60).await;
    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (api, done) = (Arc::clone(&api), Arc::clone(&done));
        async move {
            let mut stored = 0;
            while !done.load(Ordering::Relaxed) {
                let (status, file) = api.post_json("/ingest", &json!({"user_id": 42, "file_name": "new"})).await;
                assert_eq!(status, StatusCode::CREATED);
                stored += 1;
                if stored % 2 == 0 {
                    let path = format!("/files/{}", file["data"]["file_id"].as_str().unwrap());
                    let gone = api.request(reqwest::Method::DELETE, &path).send().await.unwrap();
                    assert_eq!(gone.status(), StatusCode::OK);
                }
            }
            stored
        }
    });
    let expected: Vec<_> = old.iter().rev().map(String::as_str).collect();
    for limit in [1, 2, 3, 7, 7, 7] {
        let files = all_pages(&api, 42, limit).await;
        let ids: HashSet<_> = files.iter().map(|file| file["file_id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), files.len(), "pages of {limit}");
        let found: Vec<_> = names(&files).into_iter().filter(|name| *name != "new").collect();
        assert_eq!(found, expected, "pages of {limit}");
    }
    done.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 0);
}

#[tokio::test]
async fn a_page_of_long_texts_ends_early_and_the_next_one_goes_on() {
    const FILES: usize = 900;
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    // Each byte of these names takes six in JSON.
    let mut body = String::new();
    for number in 0..FILES {
        let name = format!("{}{number}", "\u{1}".repeat(1000));
        writeln!(body, "{}", json!({"user_id": 7, "file_name": name})).unwrap();
    }
    let loaded = api.send("/ingest/bulk", "application/x-ndjson", body).await;
    assert_eq!(loaded.status(), StatusCode::OK, "{}", loaded.text().await.unwrap());
    let (mut found, mut pages, mut path) = (HashSet::new(), 0, "/query/7".to_owned());
    loop {
        let text = api.get(&path).await.text().await.unwrap();
        assert!(text.len() < (2 << 20) + 16 * 1024, "{} bytes", text.len());
        let page: Value = serde_json::from_str(&text).unwrap();
        let files = page["files"].as_array().unwrap();
        found.extend(files.iter().map(|file| file["file_name"].as_str().unwrap().to_owned()));
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/query/7?cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!((found.len(), pages), (FILES, 3));
    assert_eq!(streamed(&api, "/query/7").await.len(), FILES);
}

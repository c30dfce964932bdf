//! Listings that are imported again, and what an import may not tell or take of other users; files that come back as
//! they were exported.

use reqwest::header::ACCEPT;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::files::query::{all_pages, streamed};
use crate::support::api::{Api, json};
use crate::support::program::shardrive;
use crate::support::servers::{TestCluster, sqlstate};

/// An entry of a listing: path, size and SHA-1.
type Entry<'a> = (&'a str, i64, &'a str);

async fn import(api: &Api, user: i64, entries: &[Entry<'_>]) -> Value {
    let entries: Vec<_> = entries
        .iter()
        .map(|(path, size, sum)| {
            let name = path.rsplit('/').next().unwrap();
            let hashes = if sum.is_empty() { Value::Null } else { json!({"sha1": sum}) };
            json!({"Path": path, "Name": name, "Size": size, "IsDir": false, "Hashes": hashes}).to_string()
        })
        .collect();
    let path = format!("/ingest/bulk?format=lsjson&user_id={user}");
    let (status, answer) =
        json(api.send(&path, "application/json", format!("[\n{}\n]", entries.join(",\n"))).await).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

fn counts(answer: &Value) -> [u64; 4] {
    ["inserted", "updated", "unchanged", "rejected"].map(|field| answer[field].as_u64().unwrap())
}

async fn paths(api: &Api, user: i64) -> Vec<String> {
    let path = |file: &Value| file["path"].as_str().or(file["file_name"].as_str()).unwrap().to_owned();
    all_pages(api, user, 1000).await.iter().map(path).collect()
}

async fn file_at(api: &Api, user: i64, path: &str) -> Value {
    let files = all_pages(api, user, 1000).await;
    let mut found = files.into_iter().filter(|file| file["path"] == path);
    let file = found.next().unwrap_or_else(|| panic!("nothing at {path}"));
    assert_eq!(found.next(), None, "twice at {path}");
    file
}

async fn patch(api: &Api, file: &Value, change: &Value) -> (StatusCode, Value) {
    let path = format!("/files/{}", file["file_id"].as_str().unwrap());
    json(api.request(Method::PATCH, &path).json(change).send().await.unwrap()).await
}

#[tokio::test]
async fn an_import_updates_what_changed_and_the_newest_is_first() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let (status, _) = api.post_json("/ingest", &json!({"user_id": 42, "file_name": "before"})).await;
    assert_eq!(status, StatusCode::CREATED);
    let first =
        [("d/same", 1, "aa"), ("d/grows", 2, "bb"), ("d/hashed", 3, ""), ("d/stays", 4, "dd"), ("d/gone", 5, "ee")];
    assert_eq!(counts(&import(&api, 42, &first).await), [5, 0, 0, 0]);
    assert_eq!(paths(&api, 42).await.last().unwrap(), "before", "an import is newer than what was stored before it");
    let (grows, stays) = (file_at(&api, 42, "d/grows").await, file_at(&api, 42, "d/stays").await);

    // A new size without a checksum clears the old checksum; a listing without checksums leaves the others as they are.
    let second = [("d/same", 1, "aa"), ("d/grows", 20, ""), ("d/hashed", 3, "cc"), ("d/stays", 4, ""), ("new", 6, "")];
    assert_eq!(counts(&import(&api, 42, &second).await), [1, 2, 2, 0]);
    assert_eq!(counts(&import(&api, 42, &second).await), [0, 0, 5, 0]);
    assert_eq!(paths(&api, 42).await[0], "new");
    let grown = file_at(&api, 42, "d/grows").await;
    assert_eq!(
        (&grown["file_id"], &grown["size_bytes"], &grown["checksum"]),
        (&grows["file_id"], &json!(20), &Value::Null)
    );
    assert_ne!(grown["updated_at"], grows["updated_at"]);
    assert_eq!(file_at(&api, 42, "d/hashed").await["checksum"], "sha1:cc");
    assert_eq!(file_at(&api, 42, "d/stays").await, stays, "an unchanged row is not written");
    file_at(&api, 42, "d/gone").await;
    let (_, stats) = api.get_json("/stats").await;
    assert_eq!((&stats["total_records"], &stats["total_bytes"]), (&json!(7), &json!(1 + 20 + 3 + 4 + 5 + 6)));

    // The same on the shard that owns the slot after a move.
    let moved = ["shards", "move", "--slots", "42", "--to", "1", "--rollback-window", "0"];
    let done = shardrive(&moved, &cluster.variables()).await;
    assert_eq!(done.code, 0, "{done:?}");
    let third = [("d/same", 1, "aa"), ("d/grows", 21, ""), ("newer", 7, "")];
    let answer = import(&api, 42, &third).await;
    assert_eq!((counts(&answer), &answer["distribution"]), ([1, 1, 1, 0], &json!({"0": 0, "1": 1})), "{answer}");
    let done = shardrive(&["shards", "verify"], &cluster.variables()).await;
    assert_eq!(done.code, 0, "{done:?}");
}

#[tokio::test]
async fn an_imported_file_is_known_by_its_path_of_today() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    import(&api, 42, &[("a", 1, ""), ("b", 2, ""), ("c\\x", 3, "")]).await;
    let a = file_at(&api, 42, "a").await;
    let (status, renamed) = patch(&api, &a, &json!({"file_name": "new"})).await;
    assert_eq!((status, &renamed["data"]["path"]), (StatusCode::OK, &json!("new")));

    // The old path is free, and the file at the new path is the one that had the old.
    assert_eq!(counts(&import(&api, 42, &[("a", 1, ""), ("new", 10, "")]).await), [1, 1, 0, 0]);
    assert_ne!(file_at(&api, 42, "a").await["file_id"], a["file_id"]);
    let new = file_at(&api, 42, "new").await;
    assert_eq!((&new["file_id"], &new["size_bytes"]), (&a["file_id"], &json!(10)));

    // By psql as well.
    cluster.psql(0, "UPDATE file_metadata SET file_name = 'psql' WHERE file_name = 'new'").await.unwrap();
    assert_eq!(counts(&import(&api, 42, &[("new", 1, ""), ("psql", 10, ""), ("c\\x", 3, "")]).await), [1, 0, 2, 0]);

    // Two files of a folder cannot have one name; a file in no folder may have any.
    for change in [json!({"file_name": "b"}), json!({"path": "b"})] {
        let (status, problem) = patch(&api, &new, &change).await;
        assert_eq!(
            (status, &problem["code"], &problem["field"]),
            (StatusCode::CONFLICT, &json!("name_taken"), &json!("file_name"))
        );
    }
    let taken = cluster.psql(0, "UPDATE file_metadata SET file_name = 'b' WHERE file_name = 'new'").await;
    assert_eq!(sqlstate(taken), "23505");
    let (status, alone) = api.post_json("/ingest", &json!({"user_id": 42, "file_name": "b"})).await;
    assert_eq!(status, StatusCode::CREATED, "{alone}");
    assert_eq!(counts(&import(&api, 42, &[("b", 2, "")]).await), [0, 0, 1, 0]);

    // A deleted file is no more known.
    let b = format!("/files/{}", file_at(&api, 42, "psql").await["file_id"].as_str().unwrap());
    assert_eq!(api.request(Method::DELETE, &b).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(counts(&import(&api, 42, &[("psql", 10, "")]).await), [1, 0, 0, 0]);
}

#[tokio::test]
async fn a_path_that_a_listing_names_twice_is_a_rejected_line() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let names: Vec<String> = (0..20_000).map(|number| format!("f/{number}")).collect();
    let mut entries: Vec<Entry<'_>> = names.iter().map(|name| (name.as_str(), 1, "")).collect();
    entries.extend([("f/7", 2, ""), ("f/19999", 1, ""), ("f/caf\u{e9}", 1, ""), ("f/cafe\u{301}", 1, "")]);
    let answer = import(&api, 42, &entries).await;
    assert_eq!(counts(&answer), [20_001, 0, 0, 3]);
    let reason = |line: u64| format!("stands on line {line} already, and a path holds one file");
    assert_eq!(
        answer["rejections"],
        json!([
            {"line": 20_002, "record": 20_001, "field": "Path", "reason": reason(9)},
            {"line": 20_003, "record": 20_002, "field": "Path", "reason": reason(20_001)},
            {"line": 20_005, "record": 20_004, "field": "Path", "reason": reason(20_004)},
        ])
    );
    assert_eq!(file_at(&api, 42, "f/7").await["size_bytes"], 1);
    assert_eq!(counts(&import(&api, 42, &entries).await), [0, 0, 20_001, 3]);
}

#[tokio::test]
async fn nobody_learns_or_takes_a_path_of_another_user() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    // Ids of imported files were this MD5 of user 42 and the path once; user 5082 is in the same slot.
    let guessed = "0085520e-ee55-8c96-b96b-bd002a5d4c1e";
    let guess = json!({"user_id": 5082, "file_name": "x", "file_id": guessed});
    let (status, taken) = api.post_json("/ingest", &guess).await;
    assert_eq!(status, StatusCode::CREATED, "{taken}");
    assert_eq!(counts(&import(&api, 42, &[("usr/bin/env", 1, "")]).await), [1, 0, 0, 0]);
    assert_eq!(counts(&import(&api, 5082, &[("usr/bin/env", 2, "")]).await), [1, 0, 0, 0]);
    let (mine, other) = (file_at(&api, 42, "usr/bin/env").await, file_at(&api, 5082, "usr/bin/env").await);
    assert_eq!((&mine["size_bytes"], &other["size_bytes"]), (&json!(1), &json!(2)));
    // The same whether or not another user has the path.
    for (user, id) in [(5082, &mine["file_id"]), (42, &other["file_id"])] {
        let id = id.as_str().unwrap();
        assert_eq!(id.as_bytes()[14], b'7', "{user}: {id} is minted by time and chance");
    }
}

#[tokio::test]
async fn what_it_exports_it_imports() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    for number in 0..300 {
        let file = json!({
            "user_id": 43, "file_name": format!("ü{number}"), "path": format!("d/ü{number}"), "size_bytes": number,
            "mime_type": "a/b", "checksum": "md5:1", "modified_at": "2024-05-01T12:00:00.5Z",
        });
        assert_eq!(api.post_json("/ingest", &file).await.0, StatusCode::CREATED);
    }
    import(&api, 43, &[("listed", 1, "")]).await;
    let export = async || {
        let request = api.request(Method::GET, "/query/43").header(ACCEPT, "application/x-ndjson");
        request.send().await.unwrap().text().await.unwrap()
    };
    let (text, before) = (export().await, streamed(&api, "/query/43").await);
    let (status, again) = json(api.send("/ingest/bulk", "application/x-ndjson", text.clone()).await).await;
    assert_eq!((status, &again["duplicates"], &again["rejected"]), (StatusCode::OK, &json!(301), &json!(0)), "{again}");

    cluster.psql(1, "DELETE FROM file_metadata").await.unwrap();
    let (status, restored) = json(api.send("/ingest/bulk", "application/x-ndjson", text).await).await;
    assert_eq!(
        (status, &restored["inserted"], &restored["rejected"]),
        (StatusCode::OK, &json!(301), &json!(0)),
        "{restored}"
    );
    let after = streamed(&api, "/query/43").await;
    let kept = |files: &[Value]| -> Vec<Value> {
        let mut files = files.to_vec();
        for file in &mut files {
            for field in ["created_at", "updated_at"] {
                assert!(file.as_object_mut().unwrap().remove(field).is_some());
            }
        }
        files
    };
    assert_eq!(kept(&after), kept(&before));
    assert_ne!(after, before, "the shard's clock says when it stored them");

    // As an array, and as CSV with the same columns.
    let array = Value::Array(after).to_string();
    let (_, answer) = json(api.send("/ingest/bulk", "application/json", array).await).await;
    assert_eq!((&answer["duplicates"], &answer["rejected"]), (&json!(301), &json!(0)), "{answer}");
    let csv = "user_id,file_name,created_at,updated_at\n43,csv,2024-05-01T12:00:00Z,\n";
    let (_, answer) = json(api.send("/ingest/bulk", "text/csv", csv.to_owned()).await).await;
    assert_eq!((&answer["inserted"], &answer["rejected"]), (&json!(1), &json!(0)), "{answer}");
    // One file alone may not tell the shard's time.
    let (status, problem) =
        api.post_json("/ingest", &json!({"user_id": 43, "file_name": "a", "created_at": "2024-05-01T12:00:00Z"})).await;
    assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!("created_at")));
}

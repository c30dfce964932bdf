//! Requests that meet in one folder at one moment: nothing is stored in a folder that is gone, and no name is there
//! twice.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::call;
use crate::support::api::Api;
use crate::support::poll;
use crate::support::servers::TestCluster;

/// Files and folders without their folder, and names that a file and a folder share.
const BROKEN: &str = "SELECT (SELECT count(*) FROM file_metadata AS f WHERE folder_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM folders AS d WHERE d.user_id = f.user_id AND d.folder_id = f.folder_id))
       + (SELECT count(*) FROM folders AS f WHERE parent_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM folders AS d WHERE d.user_id = f.user_id AND d.folder_id = f.parent_id))
       + (SELECT count(*) FROM folders AS d JOIN file_metadata AS f ON f.user_id = d.user_id AND f.folder_id = d.parent_id
             AND shardrive.entry_key(f.file_name) = shardrive.entry_key(d.folder_name)
           WHERE d.trashed_at IS NULL AND f.trashed_at IS NULL)";

pub(super) async fn expect_whole(cluster: &TestCluster) {
    assert_eq!(cluster.value::<i64>(0, BROKEN).await, 0, "entries without a folder, or with one name");
}

/// One request in each of many ways to put something into the folder `p`, whose id is given.
async fn store(api: &Api, way: usize, folder: &str, name: &str) -> (u16, Value) {
    match way {
        0 => call(api, Method::PUT, &format!("/drives/42/path/p/{name}"), json!({})).await,
        1 => call(api, Method::PUT, &format!("/drives/42/path/p/new/{name}?parents=true"), json!({})).await,
        2 => {
            let file = json!({"user_id": 42, "file_name": name, "path": format!("p/{name}")});
            call(api, Method::POST, "/ingest", file).await
        }
        3 => {
            let folder = json!({"parent_id": folder, "folder_name": name});
            call(api, Method::POST, "/drives/42/folders", folder).await
        }
        4 => {
            let file = json!({"user_id": 42, "file_name": name});
            let (_, file) = call(api, Method::POST, "/ingest", file).await;
            let id = file["data"]["file_id"].as_str().unwrap().to_owned();
            call(api, Method::PATCH, &format!("/files/{id}"), json!({"path": format!("p/{name}")})).await
        }
        _ => {
            let put = json!({"op": "put_file", "path": format!("p/{name}")});
            call(
                api,
                Method::POST,
                "/drives/42/batch",
                json!({"operations": [put, {"op": "put_file", "path": format!("other {name}")}]}),
            )
            .await
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stored_in_a_folder_that_is_purged_meanwhile() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let mut stored = 0;
    for round in 0..12 {
        let (status, made) = call(&api, Method::POST, "/drives/42/folders", json!({"path": "p"})).await;
        assert!(status == 201 || status == 409, "{made}");
        let (_, folder) = api.get_json("/drives/42/path/p").await;
        let id = folder["data"]["folder_id"].as_str().unwrap().to_owned();
        let stored_now = AtomicU32::new(0);
        // Three chains of four requests each; the purge begins when some have been answered.
        let chains = (0..3).map(|chain| {
            let (api, id, stored_now) = (&api, &id, &stored_now);
            async move {
                let mut answers = Vec::new();
                for number in (chain..12).step_by(3) {
                    answers.push(store(api, number % 6, id, &format!("f{round}-{number}")).await);
                    stored_now.fetch_add(1, Ordering::Relaxed);
                }
                answers
            }
        });
        let purge = async {
            poll::until_true("some answers", async || stored_now.load(Ordering::Relaxed) > round % 8).await;
            call(&api, Method::DELETE, "/drives/42/path/p?purge=true", json!({})).await
        };
        let (answers, (status, purged)) = tokio::join!(join_all(chains), purge);
        assert_eq!(status, 200, "{purged}");
        for (status, answer) in answers.concat() {
            assert!([200, 201, 404].contains(&status), "{status} {answer}");
            stored += u32::from(status != 404);
        }
        expect_whole(&cluster).await;
    }
    assert!(stored > 12, "{stored}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_loses_nothing_to_purges() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let line = |n: usize| {
        json!({"user_id": 42, "file_name": format!("f{n}"), "path": format!("p/d{}/f{n}", n % 50)}).to_string()
    };
    let body: String = (0..20_000).map(|n| line(n) + "\n").collect();
    let has_ended = AtomicBool::new(false);
    let load = async {
        let request = api.request(Method::POST, "/ingest/bulk").header("Content-Type", "application/x-ndjson");
        let loaded = request.body(body).send().await.unwrap().json::<Value>().await.unwrap();
        has_ended.store(true, Ordering::Relaxed);
        loaded
    };
    let purges = async {
        let mut purged = 0;
        while !has_ended.load(Ordering::Relaxed) {
            let (status, answer) = call(&api, Method::DELETE, "/drives/42/path/p?purge=true", json!({})).await;
            assert!([200, 404].contains(&status), "{answer}");
            purged += u32::from(status == 200);
            expect_whole(&cluster).await;
        }
        purged
    };
    let (loaded, purged) = tokio::join!(load, purges);
    assert!(purged > 0, "no purge met the load");
    assert_eq!((&loaded["inserted"], &loaded["rejected"]), (&json!(20_000), &json!(0)), "{loaded}");
    expect_whole(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_and_a_folder_never_get_one_name() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let other = Api::start(&cluster).await;
    for number in 0..40 {
        let name = format!("n{number}");
        let (file, folder) = tokio::join!(
            async {
                match number % 3 {
                    0 => call(&api, Method::PUT, &format!("/drives/42/path/{name}"), json!({})).await,
                    1 => {
                        let file = json!({"user_id": 42, "file_name": name, "path": name});
                        call(&api, Method::POST, "/ingest", file).await
                    }
                    _ => {
                        let put = json!({"op": "put_file", "path": name});
                        let more = json!({"op": "put_file", "path": format!("more {name}")});
                        call(&api, Method::POST, "/drives/42/batch", json!({"operations": [put, more]})).await
                    }
                }
            },
            call(&other, Method::POST, "/drives/42/folders", json!({"path": name})),
        );
        let (won, lost) = if file.0 < 300 { (file, folder) } else { (folder, file) };
        assert!(won.0 < 300 && lost.0 == 409, "{name}: {won:?} {lost:?}");
        let code = lost.1.get("cause").unwrap_or(&lost.1["code"]);
        assert_eq!(*code, json!("name_taken"), "{lost:?}");
    }
    expect_whole(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_files_put_to_a_new_path_are_one_file() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    for number in 0..30 {
        let path = format!("/drives/42/path/n{number}");
        let (a, b) = tokio::join!(
            call(&api, Method::PUT, &path, json!({"size_bytes": 1})),
            call(&api, Method::PUT, &path, json!({"size_bytes": 2}))
        );
        let mut statuses = [a.0, b.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 201], "{a:?} {b:?}");
        assert_eq!(a.1["data"]["file_id"], b.1["data"]["file_id"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_one_name_get_a_number_each_however_many_come_at_once() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let put = async |number: usize| match number % 2 {
        0 => call(&api, Method::PUT, "/drives/42/path/a.txt?on_conflict=rename", json!({})).await.0,
        _ => {
            let put = json!({"op": "put_file", "path": "a.txt", "on_conflict": "rename"});
            call(&api, Method::POST, "/drives/42/batch", json!({"operations": [put]})).await.0
        }
    };
    let statuses = join_all((0..32).map(put)).await;
    assert!(statuses.iter().all(|status| [200, 201].contains(status)), "{statuses:?}");
    let names = "SELECT count(DISTINCT file_name) FROM file_metadata WHERE file_name ~ '^a( .[0-9]+.)?.txt$'";
    assert_eq!(cluster.value::<i64>(0, names).await, 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_whose_purge_has_begun_is_not_restored() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let fill = "SELECT shardrive.make_folders(42, '{p}');
        INSERT INTO file_metadata (user_id, file_name, folder_id)
        SELECT 42, 'n' || n, shardrive.folder_at(42, '{p}') FROM generate_series(1, 20000) AS n";
    sqlx::raw_sql(fill).execute(&mut cluster.connect(0).await).await.unwrap();
    let (_, folder) = api.get_json("/drives/42/path/p").await;
    let id = folder["data"]["folder_id"].as_str().unwrap().to_owned();
    let purge = call(&api, Method::DELETE, "/drives/42/path/p?purge=true", json!({}));
    let restore = async {
        let begun = "SELECT count(*) < 20000 FROM file_metadata";
        poll::until_true("the purge has begun", async || cluster.value::<bool>(0, begun).await).await;
        let restored = call(&api, Method::POST, &format!("/drives/42/trash/{id}/restore"), json!({})).await;
        (restored, api.get_json("/drives/42/trash").await.1)
    };
    let ((status, purged), ((restored, problem), trash)) = tokio::join!(purge, restore);
    assert_eq!((status, restored, &problem["code"]), (200, 404, &json!("entry_not_found")), "{purged} {problem}");
    assert_eq!(trash["entries"], json!([]), "{trash}");
    assert_eq!(cluster.value::<i64>(0, "SELECT count(*) FROM file_metadata").await, 0);
}

#[tokio::test]
async fn the_trash_is_emptied_whole_whatever_its_size() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let fill = "SELECT shardrive.make_folders(42, '{p,q}');
        INSERT INTO file_metadata (user_id, file_name, folder_id)
        SELECT 42, 'n' || n, shardrive.folder_at(42, '{p,q}') FROM generate_series(1, 1800) AS n;
        UPDATE folders SET trashed_at = now() WHERE folder_name = 'p';
        -- And a folder whose purge was broken off.
        SELECT shardrive.make_folders(42, '{r,s}');
        UPDATE folders SET trashed_at = '-infinity' WHERE folder_name = 'r'";
    sqlx::raw_sql(fill).execute(&mut cluster.connect(0).await).await.unwrap();
    let mut purged = 0;
    loop {
        let (status, answer) = call(&api, Method::DELETE, "/drives/42/trash", json!({})).await;
        assert_eq!(status, 200, "{answer}");
        purged += answer["purged"].as_u64().unwrap();
        if answer["more"] == json!(false) {
            break;
        }
    }
    assert_eq!(purged, 1804);
    let left =
        "SELECT (SELECT count(*) FROM file_metadata) + (SELECT count(*) FROM folders WHERE parent_id IS NOT NULL)";
    assert_eq!(cluster.value::<i64>(0, left).await, 0);
}

//! Folders: made, listed, renamed, moved, trashed and restored; what is refused; and many who move them at once.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::call;
use crate::support::api::Api;
use crate::support::servers::TestCluster;

async fn make(api: &Api, user: i64, path: &str) -> String {
    let (status, made) = call(api, Method::POST, &format!("/drives/{user}/folders"), json!({ "path": path })).await;
    assert_eq!((status, &made["data"]["path"]), (201, &json!(path)), "{made}");
    made["data"]["folder_id"].as_str().unwrap().to_owned()
}

/// The names in a folder, by its path.
async fn names(api: &Api, user: i64, path: &str) -> Vec<String> {
    let (status, page) = api.get_json(&format!("/drives/{user}/children?path={path}")).await;
    assert_eq!(status, StatusCode::OK, "{path}: {page}");
    page["entries"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_folder_is_made_renamed_moved_trashed_and_restored() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let deep = make(&api, 42, "a/b/c").await;
    let b = make(&api, 42, "a/b2").await;
    make(&api, 42, "z").await;
    assert_eq!(names(&api, 42, "").await, ["a", "z"]);
    assert_eq!(names(&api, 42, "/a").await, ["b", "b2"]);
    assert_eq!(names(&api, 43, "").await, Vec::<String>::new());

    let (status, found) = api.get_json(&format!("/folders/{deep}")).await;
    assert_eq!(
        (status, &found["data"]["path"], &found["data"]["shard_id"]),
        (StatusCode::OK, &json!("a/b/c"), &json!(0))
    );
    let (_, at) = api.get_json("/drives/42/path/a/b/c").await;
    assert_eq!(at, found);

    // A rename of the folder above is a new path below.
    let (_, a) = api.get_json("/drives/42/path/a").await;
    let a = a["data"]["folder_id"].as_str().unwrap().to_owned();
    let (status, renamed) = call(&api, Method::PATCH, &format!("/folders/{a}"), json!({"folder_name": "ä"})).await;
    assert_eq!((status, &renamed["data"]["path"]), (200, &json!("ä")), "{renamed}");
    assert_eq!(api.get_json(&format!("/folders/{deep}")).await.1["data"]["path"], "ä/b/c");

    let (status, moved) = call(&api, Method::PATCH, &format!("/folders/{deep}"), json!({"parent_path": "z"})).await;
    assert_eq!((status, &moved["data"]["path"]), (200, &json!("z/c")), "{moved}");
    let refused = [
        (format!("/folders/{a}"), json!({"parent_id": b}), 409, "would_cycle"),
        (format!("/folders/{a}"), json!({"parent_id": a}), 409, "would_cycle"),
        (format!("/folders/{a}"), json!({"folder_name": "z"}), 409, "name_taken"),
        (format!("/folders/{a}"), json!({"folder_name": "a/b"}), 400, "invalid_field"),
        (format!("/folders/{a}"), json!({"folder_name": ".."}), 400, "invalid_field"),
        (format!("/folders/{a}"), json!({"parent_path": "nowhere"}), 404, "folder_not_found"),
        (format!("/folders/{}", Uuid::new_v4()), json!({"folder_name": "x"}), 404, "folder_not_found"),
        (format!("/folders/{}?user_id=42", Uuid::nil()), json!({"folder_name": "x"}), 409, "root_fixed"),
    ];
    for (path, body, status, code) in refused {
        let (got, answer) = call(&api, Method::PATCH, &path, body.clone()).await;
        assert_eq!((got, &answer["code"]), (status, &json!(code)), "{path} {body}: {answer}");
    }

    // Trash: what is below is gone with the folder, and comes back with it.
    let (status, trashed) = call(&api, Method::DELETE, &format!("/folders/{a}"), json!(null)).await;
    assert_eq!((status, &trashed["data"]["trashed"]), (200, &json!(true)), "{trashed}");
    assert_eq!(names(&api, 42, "").await, ["z"]);
    assert_eq!(api.get_json("/drives/42/path/ä/b2").await.0, StatusCode::NOT_FOUND);
    assert_eq!(api.get_json(&format!("/folders/{b}")).await.1["data"]["trashed"], true);
    make(&api, 42, "ä").await;
    let restore = format!("/drives/42/trash/{a}/restore");
    let (status, taken) = call(&api, Method::POST, &restore, json!({})).await;
    assert_eq!((status, &taken["code"]), (409, &json!("name_taken")), "{taken}");
    let (status, restored) = call(&api, Method::POST, &restore, json!({"name": "back"})).await;
    assert_eq!((status, &restored["data"]["path"]), (200, &json!("back")), "{restored}");
    let (status, live) = call(&api, Method::POST, &restore, json!({"name": "again"})).await;
    assert_eq!((status, &live["code"]), (409, &json!("not_trashed")), "{live}");
    assert_eq!(names(&api, 42, "back").await, ["b", "b2"]);
}

#[tokio::test]
async fn one_name_is_there_once_however_it_is_typed() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let free = ["ß", "SS", "ss", "İ", "i", "ﬁ", "fi", "a", "A", "a.", "👩‍👩‍👧", "👩👩👧"];
    for name in free {
        make(&api, 1, name).await;
    }
    let mut sorted = free.to_vec();
    sorted.sort_unstable();
    assert_eq!(names(&api, 1, "").await, sorted);
    make(&api, 1, "\u{e9}").await;
    let (status, taken) = call(&api, Method::POST, "/drives/1/folders", json!({"path": "e\u{301}"})).await;
    assert_eq!((status, &taken["code"]), (409, &json!("name_taken")), "{taken}");
    assert_eq!(api.get_json("/drives/1/path/e%CC%81").await.1["data"]["folder_name"], "\u{e9}");
}

/// At each moment one root and no cycle, and each name once.
async fn assert_tree(cluster: &TestCluster, user: i64) {
    let lost: i64 = cluster
        .value(
            0,
            &format!(
                "SELECT count(*) FROM folders WHERE user_id = {user} AND shardrive.folder_path(user_id, folder_id) IS NULL"
            ),
        )
        .await;
    assert_eq!(lost, 0, "folders from which no way leads to the root");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_move_folders_into_one_another_and_no_circle_comes_of_it() {
    const FOLDERS: usize = 8;
    const MOVERS: usize = 6;
    const MOVES: usize = 40;
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let mut ids = Vec::new();
    for number in 0..FOLDERS {
        ids.push(make(&api, 7, &format!("f{number}")).await);
    }
    let mut movers = tokio::task::JoinSet::new();
    for _ in 0..MOVERS {
        let (base, ids) = (api.base().to_owned(), ids.clone());
        movers.spawn(async move {
            let client = crate::support::api::client();
            let (mut moved, mut cycles) = (0, 0);
            for _ in 0..MOVES {
                let [one, other] = [rand::random_range(0..FOLDERS), rand::random_range(0..=FOLDERS)];
                let parent = ids.get(other).map_or(Uuid::nil().to_string(), Clone::clone);
                let request = client.patch(format!("{base}/folders/{}", ids[one])).json(&json!({"parent_id": parent}));
                let answer: Value = request.send().await.unwrap().json().await.unwrap();
                match answer["code"].as_str() {
                    None => moved += 1,
                    Some("would_cycle") => cycles += 1,
                    Some(other) => panic!("{other}: {answer}"),
                }
            }
            (moved, cycles)
        });
    }
    while !movers.is_empty() {
        assert_tree(&cluster, 7).await;
        let _ = tokio::time::timeout(std::time::Duration::from_millis(50), movers.join_next()).await;
    }
    assert_tree(&cluster, 7).await;
}

#[tokio::test]
async fn moves_of_whole_trees_make_no_drive_deeper_than_a_path_can_say() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let path = |first: &str, depth: usize| format!("{first}{}", "/n".repeat(depth - 1));
    let top = make(&api, 42, "top").await;
    make(&api, 42, &path("top", 100)).await;
    for (depth, expected) in [(100, 400), (28, 200), (29, 400), (27, 200)] {
        let parent = make(&api, 42, &path(&format!("at{depth}"), depth)).await;
        let (status, answer) =
            call(&api, Method::PATCH, &format!("/folders/{top}"), json!({"parent_id": parent})).await;
        assert_eq!(status, expected, "{depth}: {answer}");
    }
    // Out of the trash, and what is in the trash, as well.
    let (_, lowest) = api.get_json(&format!("/drives/42/path/{}/top{}", path("at27", 27), "/n".repeat(99))).await;
    let lowest = lowest["data"]["folder_id"].as_str().unwrap().to_owned();
    for id in [&lowest, &top] {
        assert_eq!(call(&api, Method::DELETE, &format!("/folders/{id}"), json!(null)).await.0, 200);
    }
    for (depth, expected) in [(29, 400), (28, 200)] {
        let (_, parent) = api.get_json(&format!("/drives/42/path/{}", path(&format!("at{depth}"), depth))).await;
        let restore = json!({"parent_id": parent["data"]["folder_id"]});
        let (status, answer) = call(&api, Method::POST, &format!("/drives/42/trash/{top}/restore"), restore).await;
        assert_eq!(status, expected, "{depth}: {answer}");
    }
}

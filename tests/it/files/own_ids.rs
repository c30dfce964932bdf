//! Ids that clients give: unique within a user, with the same answers wherever the users live.

use futures_util::future::join_all;
use reqwest::header::LOCATION;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::api::{Api, json};
use crate::support::program::shardrive;
use crate::support::servers::TestCluster;
use crate::support::tokens::{Key, now};

const SECRET: &str = "a secret of the test, long enough for HS256";
/// With two shards the first two are on different shards. The last two share a slot.
const USERS: [i64; 3] = [42, 43, 43 + 5040];

async fn call(api: &Api, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let request = api.request(method, path);
    let request = if let Some(body) = &body { request.json(body) } else { request };
    let (status, body) = json(request.send().await.unwrap()).await;
    (status.as_u16(), body)
}

async fn store(api: &Api, user: i64, id: Uuid) -> Value {
    let file = json!({"user_id": user, "file_name": format!("of {user}"), "file_id": id});
    let answer = api.post("/ingest", &file).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(answer.headers()[LOCATION], format!("/files/{id}?user_id={user}"));
    json(answer).await.1["data"].clone()
}

/// The name of the file at a path, or the status and the code of the problem.
async fn name_at(api: &Api, path: &str) -> Result<String, (u16, String)> {
    let (status, body) = call(api, Method::GET, path, None).await;
    match status {
        200 => Ok(body["data"]["file_name"].as_str().unwrap().to_owned()),
        _ => Err((status, body["code"].as_str().unwrap().to_owned())),
    }
}

fn several() -> (u16, String) {
    (409, "several_users".to_owned())
}

async fn verified(cluster: &TestCluster) {
    let done = shardrive(&["shards", "verify"], &cluster.variables()).await;
    assert_eq!(done.code, 0, "{done:?}");
}

#[tokio::test]
async fn users_have_one_id_on_one_shard_as_on_two() {
    for shards in [1, 2] {
        let cluster = TestCluster::migrated(shards).await;
        let api = Api::start(&cluster).await;
        let id = Uuid::new_v4();
        let bare = format!("/files/{id}");
        let of = |user: i64| format!("{bare}?user_id={user}");
        let mut stored = Vec::new();
        for user in USERS {
            stored.push(store(&api, user, id).await);
        }
        for (user, stored) in USERS.iter().zip(&stored) {
            let again = json!({"user_id": user, "file_name": "again", "file_id": id});
            let (status, again) = api.post_json("/ingest", &again).await;
            assert_eq!((status, &again["duplicate"], &again["data"]), (StatusCode::OK, &json!(true), stored));
            assert_eq!(call(&api, Method::GET, &of(*user), None).await.1["data"], *stored);
        }
        let (status, problem) = call(&api, Method::GET, &bare, None).await;
        assert_eq!((status, &problem["code"], &problem["field"]), (409, &json!("several_users"), &json!("user_id")));
        assert!(problem["detail"].as_str().unwrap().contains("?user_id="), "{problem}");
        assert_eq!(name_at(&api, &of(44)).await, Err((404, "file_not_found".to_owned())));

        // Nothing is changed where nobody knows whose file is meant; else the named user's file alone.
        let rename = |name: &str| Some(json!({"file_name": name}));
        for (method, body) in [(Method::PATCH, rename("nobody's")), (Method::DELETE, None)] {
            let (status, problem) = call(&api, method, &bare, body).await;
            assert_eq!((status, problem["code"].as_str().unwrap().to_owned()), several());
        }
        for (user, stored) in USERS.iter().zip(&stored) {
            assert_eq!(call(&api, Method::GET, &of(*user), None).await.1["data"], *stored);
        }
        assert_eq!(call(&api, Method::PATCH, &of(43), rename("new")).await.0, 200);
        assert_eq!(name_at(&api, &of(42)).await, Ok("of 42".to_owned()));
        assert_eq!(name_at(&api, &of(43)).await, Ok("new".to_owned()));
        assert_eq!(name_at(&api, &of(5083)).await, Ok("of 5083".to_owned()));
        let keyed =
            || api.request(Method::PATCH, &of(5083)).header("Idempotency-Key", "k").json(&json!({"size_bytes": 7}));
        let (first, second) = (json(keyed().send().await.unwrap()).await, json(keyed().send().await.unwrap()).await);
        assert_eq!((first.0, &first.1["data"]["size_bytes"]), (StatusCode::OK, &json!(7)));
        assert_eq!(first, second);

        // The last one is found without its user again.
        assert_eq!(call(&api, Method::DELETE, &of(42), None).await.0, 200);
        assert_eq!(name_at(&api, &bare).await, Err(several()));
        assert_eq!(call(&api, Method::DELETE, &of(43), None).await.0, 200);
        assert_eq!(call(&api, Method::DELETE, &of(43), None).await.0, 404);
        assert_eq!(name_at(&api, &bare).await, Ok("of 5083".to_owned()));
        assert_eq!(call(&api, Method::PATCH, &bare, rename("last")).await.0, 200);
        assert_eq!(call(&api, Method::DELETE, &bare, None).await.0, 200);
        assert_eq!(name_at(&api, &bare).await, Err((404, "file_not_found".to_owned())));
        for wrong in ["user_id=-1", "user_id=x", "user_id=", "user=42"] {
            let problem = name_at(&api, &format!("{bare}?{wrong}")).await;
            assert_eq!(problem, Err((400, "invalid_query".to_owned())), "{wrong}");
        }
        verified(&cluster).await;
    }
}

#[tokio::test]
async fn an_id_that_the_service_made_is_taken_by_users_of_its_slot_alone() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let (_, minted) = api.post_json("/ingest", &json!({"user_id": 43, "file_name": "of 43"})).await;
    let id: Uuid = minted["data"]["file_id"].as_str().unwrap().parse().unwrap();
    for user in [42, 44] {
        let file = json!({"user_id": user, "file_name": "a", "file_id": id});
        let (status, refused) = api.post_json("/ingest", &file).await;
        assert_eq!((status, &refused["field"]), (StatusCode::BAD_REQUEST, &json!("file_id")), "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains("an id of your own"), "{refused}");
    }
    assert_eq!(name_at(&api, &format!("/files/{id}")).await, Ok("of 43".to_owned()));
    store(&api, 43 + 5040, id).await;
    assert_eq!(name_at(&api, &format!("/files/{id}")).await, Err(several()));
    for user in [43, 43 + 5040] {
        assert_eq!(name_at(&api, &format!("/files/{id}?user_id={user}")).await, Ok(format!("of {user}")));
    }
    verified(&cluster).await;
}

#[tokio::test]
async fn loads_store_one_id_for_several_users() {
    for shards in [1, 2] {
        let cluster = TestCluster::migrated(shards).await;
        let api = Api::start(&cluster).await;
        let ids: Vec<_> = (0..50).map(|_| Uuid::new_v4()).collect();
        let rows = |users: &[i64]| -> Vec<(i64, Uuid)> {
            ids.iter().flat_map(|id| users.iter().map(|user| (*user, *id))).collect()
        };
        let ndjson = |rows: Vec<(i64, Uuid)>| -> String {
            let line = |(user, id)| format!("{}\n", json!({"user_id": user, "file_name": "a", "file_id": id}));
            rows.into_iter().map(line).collect()
        };
        let csv = |rows: Vec<(i64, Uuid)>| -> String {
            let lines = rows.into_iter().map(|(user, id)| format!("{user},a,{id}\n"));
            std::iter::once("user_id,file_name,file_id\n".to_owned()).chain(lines).collect()
        };
        let counts =
            |answer: &Value| ["inserted", "duplicates", "rejected"].map(|field| answer[field].as_u64().unwrap());
        let load = async |kind: &str, body: String| {
            let (status, answer) = json(api.send("/ingest/bulk", kind, body).await).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            counts(&answer)
        };
        let (first, others) = USERS.split_first().unwrap();
        assert_eq!(load("application/x-ndjson", ndjson(rows(&[*first]))).await, [50, 0, 0]);
        // Rows of the first user are there already, so that COPY fails, and the other users' rows are stored all the
        // same.
        assert_eq!(load("application/x-ndjson", ndjson(rows(&USERS[..2]))).await, [50, 50, 0]);
        assert_eq!(load("text/csv", csv(rows(others))).await, [50, 50, 0]);
        assert_eq!(load("text/csv", csv(rows(&USERS))).await, [0, 150, 0]);
        assert_eq!(name_at(&api, &format!("/files/{}", ids[0])).await, Err(several()));
        assert_eq!(api.get_json("/stats").await.1["total_records"], 150);
        verified(&cluster).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn single_writes_and_reads_of_one_id_in_batches_are_each_answered_for_their_user() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let (shared, single) = (Uuid::new_v4(), Uuid::new_v4());
    let users = [42, 42 + 5040, 43, 43 + 5040, 44];
    let writes = (0..100_usize).map(|number| {
        let user = users[number % users.len()];
        let file = json!({"user_id": user, "file_name": format!("of {user}"), "file_id": shared});
        let (api, key) = (&api, format!("key-{number}"));
        async move {
            let request = api.request(Method::POST, "/ingest").json(&file);
            let request = if number % 3 == 0 { request.header("Idempotency-Key", key) } else { request };
            let (status, body) = json(request.send().await.unwrap()).await;
            assert_eq!((&body["data"]["user_id"], &body["data"]["file_id"]), (&json!(user), &json!(shared)), "{body}");
            (status.as_u16(), user)
        }
    });
    let mut created: Vec<_> = join_all(writes).await.into_iter().filter(|(status, _)| *status == 201).collect();
    created.sort_unstable();
    let mut expected = users.map(|user| (201, user));
    expected.sort_unstable();
    assert_eq!(created, expected, "each user's file is stored once");

    store(&api, 44, single).await;
    let not_found = || Err((404, "file_not_found".to_owned()));
    let reads = (0..200_usize).map(|number| {
        let user = users[number % users.len()];
        let (path, expected) = match number % 4 {
            0 => (format!("/files/{shared}"), Err(several())),
            1 => (format!("/files/{shared}?user_id={user}"), Ok(format!("of {user}"))),
            2 => (format!("/files/{single}"), Ok("of 44".to_owned())),
            _ if user == 44 => (format!("/files/{single}?user_id=44"), Ok("of 44".to_owned())),
            _ => (format!("/files/{single}?user_id={user}"), not_found()),
        };
        let api = &api;
        async move { assert_eq!(name_at(api, &path).await, expected, "{path}") }
    });
    join_all(reads).await;
}

#[tokio::test]
async fn a_token_reads_its_users_file_and_a_service_changes_the_named_one() {
    for shards in [1, 2] {
        let cluster = TestCluster::migrated(shards).await;
        let api = Api::start_with(&cluster, &[("SHARDRIVE_AUTH_SECRET", SECRET)]).await;
        let token = |user: i64, scope: &str| {
            Key::secret(SECRET).token("", &json!({"sub": user.to_string(), "scope": scope, "exp": now() + 600}))
        };
        let by = async |token: &str, method: Method, path: &str, body: Value| {
            let request = api.request(method, path).bearer_auth(token).json(&body);
            let (status, body) = json(request.send().await.unwrap()).await;
            (status.as_u16(), body)
        };
        let id = Uuid::new_v4();
        let bare = format!("/files/{id}");
        for user in [42, 43] {
            let file = json!({"user_id": user, "file_name": format!("of {user}"), "file_id": id});
            assert_eq!(by(&token(user, "user"), Method::POST, "/ingest", file).await.0, 201);
        }
        for user in [42, 43] {
            for path in [bare.clone(), format!("{bare}?user_id={user}")] {
                let (status, found) = by(&token(user, "user"), Method::GET, &path, json!({})).await;
                assert_eq!((status, &found["data"]["user_id"]), (200, &json!(user)), "{found}");
            }
            let other = format!("{bare}?user_id={}", 85 - user);
            for method in [Method::GET, Method::PATCH, Method::DELETE] {
                let (status, problem) = by(&token(user, "user"), method, &other, json!({"file_name": "evil"})).await;
                assert_eq!((status, &problem["code"]), (403, &json!("other_user")), "{problem}");
            }
        }
        assert_eq!(by(&token(44, "user"), Method::GET, &bare, json!({})).await.0, 404);
        let service = token(0, "service");
        for method in [Method::GET, Method::PATCH, Method::DELETE] {
            let (status, problem) = by(&service, method, &bare, json!({"file_name": "evil"})).await;
            assert_eq!((status, &problem["code"]), (409, &json!("several_users")), "{problem}");
        }
        assert_eq!(by(&service, Method::DELETE, &format!("{bare}?user_id=43"), json!({})).await.0, 200);
        assert_eq!(by(&token(43, "user"), Method::GET, &bare, json!({})).await.0, 404);
        assert_eq!(by(&token(43, "user"), Method::DELETE, &bare, json!({})).await.0, 404);
        assert_eq!(by(&token(42, "user"), Method::GET, &bare, json!({})).await.1["data"]["file_name"], "of 42");
        assert_eq!(by(&token(42, "user"), Method::DELETE, &bare, json!({})).await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_of_users_with_one_id_move_next_to_each_other_and_back() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let id = Uuid::new_v4();
    for user in USERS {
        store(&api, user, id).await;
    }
    for (size, to) in [(1, "0"), (2, "1")] {
        let variables = cluster.variables();
        let arguments = ["shards", "move", "--slots", "43", "--to", to, "--rollback-window", "0", "--json"];
        let done = shardrive(&arguments, &variables).await;
        assert_eq!((done.code, &done.json()[0]["stage"]), (0, &json!("done")), "{done:?}");
        for user in USERS {
            let path = format!("/files/{id}?user_id={user}");
            assert_eq!(call(&api, Method::PATCH, &path, Some(json!({"size_bytes": size}))).await.0, 200);
            let (_, listed) = api.get_json(&format!("/query/{user}")).await;
            assert_eq!((&listed["file_count"], &listed["files"][0]["size_bytes"]), (&json!(1), &json!(size)));
        }
        assert_eq!(name_at(&api, &format!("/files/{id}")).await, Err(several()));
        verified(&cluster).await;
    }
}

/// A file under the id may be another user's, while the file that is meant is on the shard that is away.
#[tokio::test]
async fn without_a_user_every_shard_must_answer() {
    let mut cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let id = Uuid::new_v4();
    store(&api, 42, id).await;
    assert_eq!(name_at(&api, &format!("/files/{id}")).await, Ok("of 42".to_owned()));
    cluster.server(1).stop().await;
    assert_eq!(name_at(&api, &format!("/files/{id}")).await, Err((503, "shard_unavailable".to_owned())));
    assert_eq!(call(&api, Method::DELETE, &format!("/files/{id}"), None).await.0, 503);
    assert_eq!(name_at(&api, &format!("/files/{id}?user_id=42")).await, Ok("of 42".to_owned()));
    assert_eq!(call(&api, Method::DELETE, &format!("/files/{id}?user_id=42"), None).await.0, 200);
}

//! `Idempotency-Key`: whatever happens between two tries, each request is done once and answered alike.
//!
//! With two shards, even users are on shard 0 and odd ones on shard 1.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::header::{ETAG, HeaderMap, IF_MATCH, LOCATION, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::api::{Api, client};
use crate::support::cache::{TestCache, until_in_use};
use crate::support::poll;
use crate::support::program::shardrive;
use crate::support::servers::TestCluster;
use crate::support::tokens::{Key, now};

const PATIENT: [(&str, &str); 3] = [
    ("SHARDRIVE_HEALTH_TIMEOUT_MS", "20000"),
    ("SHARDRIVE_CONNECT_TIMEOUT_MS", "20000"),
    ("SHARDRIVE_MOVE_TIMEOUT_MS", "30000"),
];

/// What a client can tell answers apart by.
#[derive(Clone, PartialEq, Debug)]
struct Answer {
    status: StatusCode,
    body: Value,
    headers: BTreeMap<&'static str, String>,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

fn kept(headers: &HeaderMap) -> BTreeMap<&'static str, String> {
    let text = |name| headers.get(name).map(|value: &reqwest::header::HeaderValue| value.to_str().unwrap().to_owned());
    [("location", text(LOCATION)), ("etag", text(ETAG))]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

async fn send(base: &str, method: Method, path: &str, key: &str, body: &Value) -> Result<Answer, reqwest::Error> {
    let request = client().request(method, format!("{base}{path}")).header("Idempotency-Key", key).json(body);
    let answer = request.send().await?;
    let (status, headers) = (answer.status(), kept(answer.headers()));
    Ok(Answer { status, headers, body: answer.json().await? })
}

async fn post(api: &Api, path: &str, key: &str, body: &Value) -> Answer {
    send(api.base(), Method::POST, path, key, body).await.unwrap()
}

#[tokio::test]
async fn a_key_belongs_to_its_caller() {
    const SECRET: &str = "a secret of the test, long enough for HS256";
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start_with(&cluster, &[("SHARDRIVE_AUTH_SECRET", SECRET)]).await;
    let send = async |subject: &str, scope: &str| {
        let claims = json!({"sub": subject, "scope": scope, "exp": now() + 600});
        let request = api.request(Method::POST, "/ingest").bearer_auth(Key::secret(SECRET).token("", &claims));
        let request = request.header("Idempotency-Key", "one").json(&json!({"user_id": 4, "file_name": "a"}));
        let (status, body) = crate::support::api::json(request.send().await.unwrap()).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body["data"]["file_id"].as_str().unwrap().to_owned()
    };
    let backup = send("backup", "service").await;
    assert_eq!(send("backup", "service").await, backup, "the same request of the same program");
    assert_eq!(send("backup", "admin").await, backup, "also with a token of another scope");
    let sync = send("sync", "service").await;
    assert_ne!(sync, backup, "another program's key is another key");
    assert_eq!(send("sync", "service").await, sync);
    let user = send("4", "user").await;
    assert!(user != backup && user != sync);
    assert_eq!(counts(&cluster).await.0, 3);
}

/// All rows, of files and documents, and the keys.
async fn counts(cluster: &TestCluster) -> (i64, i64, i64) {
    let mut sums = (0, 0, 0);
    for shard in 0..2 {
        sums.0 += cluster.value::<i64>(shard, "SELECT count(*) FROM file_metadata").await;
        sums.1 += cluster.value::<i64>(shard, "SELECT count(*) FROM records").await;
        sums.2 += cluster.value::<i64>(shard, "SELECT count(*) FROM shardrive.idempotency_keys").await;
    }
    sums
}

async fn every_call_is_made_once(settings: &[(&str, &str)]) {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start_with(&cluster, settings).await;
    if !settings.is_empty() {
        until_in_use(&api, 1).await;
    }
    let orders = json!({"shard_key": "user_id", "key_type": "integer", "records_per_key": "many"});
    let declared = api.request(Method::PUT, "/collections/orders").json(&orders).send().await.unwrap();
    assert_eq!(declared.status(), StatusCode::CREATED);
    let profiles = json!({"shard_key": "user_id", "key_type": "integer"});
    api.request(Method::PUT, "/collections/profiles").json(&profiles).send().await.unwrap();

    let file = post(&api, "/ingest", "a", &json!({"user_id": 3, "file_name": "a.txt", "size_bytes": 7})).await;
    assert_eq!((file.status, file.headers.len()), (StatusCode::CREATED, 2));
    let file_path = file.headers["location"].clone();
    let order = post(&api, "/records/orders", "b", &json!({"user_id": 4, "sum": 1})).await;
    let order_path = order.headers["location"].clone();
    let before = counts(&cluster).await;
    let calls = [
        (Method::POST, "/ingest", "a", json!({"user_id": 3, "file_name": "a.txt", "size_bytes": 7})),
        (Method::POST, "/records/orders", "b", json!({"user_id": 4, "sum": 1})),
        (Method::POST, "/records/profiles", "c", json!({"user_id": 5, "theme": "dark"})),
        (Method::POST, "/store", "d", json!({"userId": 6, "data": [1, 2.50]})),
        (Method::POST, "/write", "e", json!({"key": "k", "value": "v"})),
        (Method::POST, "/data", "f", json!({"any": "thing"})),
        (Method::PATCH, &*file_path, "g", json!({"file_name": "b.txt"})),
        (Method::PATCH, &*order_path, "h", json!({"sum": 2, "note": "é"})),
        (
            Method::POST,
            "/ingest",
            "i",
            json!({"user_id": 8, "file_name": "own", "file_id": "0197a3f0-0000-4000-8000-000000000001"}),
        ),
    ];
    let mut first = Vec::new();
    for (method, path, key, body) in &calls {
        let answer = send(api.base(), method.clone(), path, key, body).await.unwrap();
        assert!(answer.status.is_success(), "{path} {answer:?}");
        first.push(answer);
    }
    assert_eq!(counts(&cluster).await, (before.0 + 1, before.1 + 4, before.2 + 7));
    // What comes in between changes what is there, and not what the first try was answered.
    api.request(Method::PATCH, &file_path).json(&json!({"file_name": "c.txt"})).send().await.unwrap();
    api.request(Method::PATCH, &order_path).json(&json!({"sum": 3})).send().await.unwrap();
    api.post("/store", &json!({"userId": 6, "data": "another"})).await;
    for ((method, path, key, body), first) in calls.iter().zip(&first) {
        let again = send(api.base(), method.clone(), path, key, body).await.unwrap();
        assert_eq!(&again, first, "{method} {path}");
    }
    assert_eq!(first[0], file);
    let (_, value) = api.get_json("/store/6").await;
    assert_eq!(value["data"], "another", "the second try has changed nothing");
    let (_, now) = api.get_json(&file_path).await;
    assert_eq!(now["data"]["file_name"], "c.txt");
    // Also after what it was about is gone.
    api.request(Method::DELETE, &file_path).send().await.unwrap();
    api.request(Method::DELETE, &order_path).send().await.unwrap();
    for number in [0, 6, 7] {
        let (method, path, key, body) = &calls[number];
        let again = send(api.base(), method.clone(), path, key, body).await.unwrap();
        assert_eq!(again, first[number], "{method} {path}");
    }
    assert_eq!(api.get(&file_path).await.status(), StatusCode::NOT_FOUND, "nothing has come back");

    // Another request with a key that is known.
    for (method, path, key, body) in [
        (Method::POST, "/ingest", "a", json!({"user_id": 3, "file_name": "other.txt"})),
        (Method::POST, "/records/profiles", "c", json!({"user_id": 5, "theme": "light"})),
        (Method::POST, "/store", "d", json!({"userId": 6, "data": 1})),
        (Method::POST, "/data", "f", json!({"any": "thing else"})),
        (Method::PATCH, &*file_path, "g", json!({"file_name": "x.txt"})),
        (Method::PATCH, &*order_path, "h", json!({"sum": 9})),
        (
            Method::POST,
            "/ingest",
            "i",
            json!({"user_id": 8, "file_name": "changed", "file_id": "0197a3f0-0000-4000-8000-000000000001"}),
        ),
    ] {
        let answer = send(api.base(), method, path, key, &body).await.unwrap();
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
            "{path}"
        );
    }
    // What has changed nothing keeps nothing: the next try is a first one.
    let missing = send(api.base(), Method::PATCH, &file_path, "z", &json!({"file_name": "x"})).await.unwrap();
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let taken = post(&api, "/records/profiles", "y", &json!({"user_id": 5, "theme": "dark"})).await;
    assert_eq!(taken.code(), "record_exists");
    assert_eq!(counts(&cluster).await.2, before.2 + 7);
}

#[tokio::test]
async fn every_call_is_made_once_without_a_cache() {
    every_call_is_made_once(&[]).await;
}

#[tokio::test]
async fn every_call_is_made_once_with_a_cache() {
    let cache = TestCache::start().await;
    every_call_is_made_once(&[("REDIS_URL", &cache.url())]).await;
}

/// The id of a client names no slot, so that the key may be on any shard.
#[tokio::test]
async fn a_change_under_an_id_of_the_client_is_answered_again_whatever_came_between() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let id = "0197a3f0-0000-4000-8000-000000000001";
    let path = format!("/files/{id}");
    let store = async |user: i64| {
        let stored = api.post("/ingest", &json!({"user_id": user, "file_name": "own", "file_id": id})).await;
        assert_eq!(stored.status(), StatusCode::CREATED);
        stored.headers()[ETAG].to_str().unwrap().to_owned()
    };
    let delete = async |user: i64| {
        let deleted = api.request(Method::DELETE, &format!("{path}?user_id={user}")).send().await.unwrap();
        assert_eq!(deleted.status(), StatusCode::OK);
    };
    let tag = store(3).await;
    let change = async |body: Value| {
        let request = api.request(Method::PATCH, &path).header("Idempotency-Key", "one").header(IF_MATCH, &tag);
        let answer = request.json(&body).send().await.unwrap();
        let (status, headers) = (answer.status(), kept(answer.headers()));
        Answer { status, headers, body: answer.json().await.unwrap() }
    };
    let first = change(json!({"file_name": "new"})).await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    assert_eq!(change(json!({"file_name": "new"})).await, first, "the file is not in the state before it");
    store(4).await;
    assert_eq!(change(json!({"file_name": "new"})).await, first, "two users have the id");
    delete(3).await;
    assert_eq!(change(json!({"file_name": "new"})).await, first, "the file under the id is another user's");
    let (_, other) = api.get_json(&format!("{path}?user_id=4")).await;
    assert_eq!(other["data"]["file_name"], "own");
    delete(4).await;
    assert_eq!(change(json!({"file_name": "new"})).await, first, "nobody has the id");
    let reused = change(json!({"file_name": "other"})).await;
    assert_eq!((reused.status, reused.code()), (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"));
}

#[tokio::test]
async fn what_is_no_key_and_what_takes_none() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let body = json!({"user_id": 1, "file_name": "a"});
    for bad in ["", "two words", "ü", &"x".repeat(256)] {
        let answer = post(&api, "/ingest", bad, &body).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "invalid_header"), "{bad}");
        assert_eq!(answer.body["field"], "Idempotency-Key");
    }
    for path in ["/ingest/bulk", "/records/data"] {
        let request = api.request(Method::POST, path).header("Content-Type", "application/x-ndjson");
        let answer = request.header("Idempotency-Key", "k").body("{\"user_id\":1,\"file_name\":\"a\"}\n").send().await;
        let answer: Value = answer.unwrap().json().await.unwrap();
        assert_eq!(answer["code"], "idempotency_key_not_taken", "{path}");
    }
    assert_eq!(post(&api, "/ingest", &"x".repeat(255), &body).await.status, StatusCode::CREATED);
    assert_eq!(cluster.value::<i64>(0, "SELECT count(*) FROM file_metadata").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_in_two_processes_one_has_an_effect() {
    let cluster = TestCluster::migrated(2).await;
    let apis = [Api::start_with(&cluster, &PATIENT).await, Api::start_with(&cluster, &PATIENT).await];
    for round in 0..6 {
        let mut tries = JoinSet::new();
        for number in 0..16 {
            let base = apis[number % 2].base().to_owned();
            tries.spawn(async move {
                // The same user, and others beside it, so that keys repeat within a batch and across batches.
                let (path, key) = [("/ingest", "file"), ("/data", "data")][number / 2 % 2];
                let body = json!({"user_id": round, "file_name": "f"});
                (path, send(&base, Method::POST, path, &format!("{key}{round}"), &body).await.unwrap())
            });
        }
        let mut bodies: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for (path, answer) in tries.join_all().await {
            match answer.status {
                StatusCode::CREATED => bodies.entry(path).or_default().push(answer.body),
                StatusCode::CONFLICT => assert_eq!(answer.code(), "idempotency_key_in_use"),
                other => panic!("{other} {answer:?}"),
            }
        }
        for (path, bodies) in bodies {
            assert!(bodies.iter().all(|body| *body == bodies[0]), "{path} {bodies:?}");
        }
    }
    assert_eq!(counts(&cluster).await, (6, 6, 12));
}

#[tokio::test]
async fn while_it_is_worked_on_it_is_a_conflict() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &PATIENT).await;
    // A lock that the write waits for.
    let mut holder = cluster.connect(0).await;
    crate::support::servers::run(&mut holder, "BEGIN; LOCK TABLE file_metadata IN SHARE MODE").await.unwrap();
    let base = api.base().to_owned();
    let body = json!({"user_id": 1, "file_name": "a"});
    let first = tokio::spawn({
        let body = body.clone();
        async move { send(&base, Method::POST, "/ingest", "k", &body).await.unwrap() }
    });
    poll::until("a write that waits", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        if cluster.value::<i64>(0, waiting).await > 0 { Ok(()) } else { Err(()) }
    })
    .await;
    let request = api.request(Method::POST, "/ingest").header("Idempotency-Key", "k").json(&body);
    let second = request.send().await.unwrap();
    assert_eq!((second.status(), second.headers().contains_key(RETRY_AFTER)), (StatusCode::CONFLICT, true));
    crate::support::servers::run(&mut holder, "ROLLBACK").await.unwrap();
    let first = first.await.unwrap();
    assert_eq!(post(&api, "/ingest", "k", &body).await, first);
}

/// Clients that send each request until it is answered, whatever happens, each with a key of its own.
struct Storm {
    bases: Arc<std::sync::Mutex<Vec<String>>>,
    done: Arc<std::sync::atomic::AtomicUsize>,
    clients: JoinSet<usize>,
    stop: tokio_util::sync::CancellationToken,
}

impl Storm {
    fn start(bases: Vec<String>) -> Self {
        let bases = Arc::new(std::sync::Mutex::new(bases));
        let (done, stop) =
            (Arc::<std::sync::atomic::AtomicUsize>::default(), tokio_util::sync::CancellationToken::new());
        let mut clients = JoinSet::new();
        for client in 0..8 {
            let (bases, done, stop) = (Arc::clone(&bases), Arc::clone(&done), stop.clone());
            clients.spawn(async move {
                let (mut number, mut turn) = (0, client);
                while !stop.is_cancelled() {
                    let body = json!({"user_id": client, "file_name": format!("{client}-{number}")});
                    let key = format!("{client}/{number}");
                    loop {
                        turn += 1;
                        let base = {
                            let bases = bases.lock().unwrap();
                            bases[turn % bases.len()].clone()
                        };
                        match send(&base, Method::POST, "/ingest", &key, &body).await {
                            Ok(answer) if answer.status == StatusCode::CREATED => break,
                            Ok(answer) => assert!(
                                answer.status.is_server_error() || answer.status == StatusCode::CONFLICT,
                                "{answer:?}"
                            ),
                            Err(_) => {}
                        }
                        poll::short_pause().await;
                    }
                    number += 1;
                    done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                number
            });
        }
        Self { bases, done, clients, stop }
    }

    async fn wait_for_answers(&self, more: usize) {
        let now = || self.done.load(std::sync::atomic::Ordering::Relaxed);
        let from = now();
        poll::until("further answers", async || if now() >= from + more { Ok(()) } else { Err(now() - from) }).await;
    }

    /// How many requests were answered in all.
    async fn stop(self) -> usize {
        self.stop.cancel();
        self.clients.join_all().await.into_iter().sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_retries_over_killed_processes_and_servers_has_each_effect_once() {
    let mut cluster = TestCluster::migrated(2).await;
    let mut api = Api::start_with(&cluster, &PATIENT).await;
    let other = Api::start_with(&cluster, &PATIENT).await;
    let storm = Storm::start(vec![api.base().to_owned(), other.base().to_owned()]);
    for round in 0..4 {
        storm.wait_for_answers(40).await;
        api.kill9();
        if round == 1 {
            cluster.server(1).kill().await;
            cluster.server(1).start().await.unwrap();
        }
        api = Api::start_with(&cluster, &PATIENT).await;
        storm.bases.lock().unwrap()[0] = api.base().to_owned();
    }
    storm.wait_for_answers(40).await;
    let answered = i64::try_from(storm.stop().await).unwrap();
    let (files, _, keys) = counts(&cluster).await;
    assert_eq!((files, keys), (answered, answered));
    for shard in 0..2 {
        let twice = "SELECT count(*) FROM (SELECT FROM file_metadata GROUP BY file_name HAVING count(*) > 1) AS t";
        assert_eq!(cluster.value::<i64>(shard, twice).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_move_with_their_rows() {
    let cluster = TestCluster::migrated(2).await;
    let apis = [Api::start_with(&cluster, &PATIENT).await, Api::start_with(&cluster, &PATIENT).await];
    let body = json!({"user_id": 2, "file_name": "before"});
    let before = post(&apis[0], "/ingest", "before", &body).await;
    let patch_path = before.headers["location"].clone();
    let patched = send(apis[0].base(), Method::PATCH, &patch_path, "patch", &json!({"size_bytes": 5})).await.unwrap();
    let storm = Storm::start(apis.iter().map(|api| api.base().to_owned()).collect());
    storm.wait_for_answers(20).await;
    let command = ["shards", "move", "--slots", "0,2,4,6", "--to", "1", "--rollback-window", "0", "--json"];
    let done = shardrive(&command, &cluster.variables()).await;
    assert_eq!(done.code, 0, "{done:?}");
    storm.wait_for_answers(20).await;
    let answered = i64::try_from(storm.stop().await).unwrap();
    for api in &apis {
        assert_eq!(post(api, "/ingest", "before", &body).await, before);
        let again = send(api.base(), Method::PATCH, &patch_path, "patch", &json!({"size_bytes": 5})).await.unwrap();
        assert_eq!(again, patched);
    }
    let (files, _, keys) = counts(&cluster).await;
    assert_eq!((files, keys), (answered + 1, answered + 2), "and none are left behind");
    let left = "SELECT count(*) FROM shardrive.idempotency_keys WHERE slot IN (0, 2, 4, 6)";
    assert_eq!(cluster.value::<i64>(0, left).await, 0);
    // The guard stands before the keys as before the rows.
    let insert = "INSERT INTO shardrive.idempotency_keys (slot, key, request, shard_id, outcome)
                  VALUES (2, gen_random_uuid(), gen_random_uuid(), 0, '')";
    assert_eq!(crate::support::servers::sqlstate(cluster.psql(0, insert).await), "SD001");
}

#[tokio::test]
async fn a_key_is_free_again_after_a_day() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let body = json!({"user_id": 1, "file_name": "a"});
    let first = post(&api, "/ingest", "k", &body).await;
    let file = first.headers["location"].clone();
    let patch = json!({"size_bytes": 1});
    send(api.base(), Method::PATCH, &file, "p", &patch).await.unwrap();
    let age = "UPDATE shardrive.idempotency_keys SET created_at = now() - interval '24 hours'";
    cluster.psql(0, age).await.unwrap();
    // At once, without waiting for the one who clears up.
    let second = post(&api, "/ingest", "k", &json!({"user_id": 1, "file_name": "b"})).await;
    assert_eq!((second.status, &second.body["data"]["file_name"]), (StatusCode::CREATED, &json!("b")));
    send(api.base(), Method::PATCH, &file, "p", &json!({"size_bytes": 2})).await.unwrap();
    assert_eq!(api.get_json(&file).await.1["data"]["size_bytes"], 2);
    cluster.psql(0, age).await.unwrap();
    poll::until("old keys to go", async || {
        let left: i64 = cluster.value(0, "SELECT count(*) FROM shardrive.idempotency_keys").await;
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
}

/// The slot is on its way, or has come to the shard already.
const IN_THE_WAY: [&str; 2] = ["move_conflict", "invalid_field"];

#[tokio::test]
async fn acts_on_the_cluster_are_done_once() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start_with(&cluster, &PATIENT).await;
    let body = json!({"slots": "2", "to": 1, "rollback_window_seconds": 600});
    let first = post(&api, "/admin/moves", "m", &body).await;
    assert_eq!(first.status, StatusCode::ACCEPTED, "{first:?}");
    assert_eq!(post(&api, "/admin/moves", "m", &body).await, first);
    let again =
        api.request(Method::POST, "/admin/moves").header("Idempotency-Key", "m").json(&body).send().await.unwrap();
    let id: i64 = cluster.value(0, "SELECT id FROM shardrive.moves").await;
    assert_eq!(again.headers()["location"], format!("/admin/moves/{id}"));
    assert_eq!(cluster.value::<i64>(0, "SELECT count(*) FROM shardrive.moves").await, 1);
    let other = post(&api, "/admin/moves", "m", &json!({"slots": "4", "to": 1})).await;
    assert_eq!(other.code(), "idempotency_key_reused");
    // A refusal keeps nothing.
    let refused = post(&api, "/admin/moves", "n", &body).await;
    assert!(IN_THE_WAY.contains(&refused.code()), "{refused:?}");
    assert_eq!(cluster.value::<i64>(0, "SELECT count(*) FROM shardrive.admin_keys").await, 1);
    // Whoever began it has died: not before its time is over.
    cluster.psql(0, "UPDATE shardrive.admin_keys SET status = NULL, body = NULL").await.unwrap();
    assert_eq!(post(&api, "/admin/moves", "m", &body).await.code(), "idempotency_key_in_use");
    cluster.psql(0, "UPDATE shardrive.admin_keys SET running_until = now() - interval '1 s'").await.unwrap();
    let again = post(&api, "/admin/moves", "m", &body).await;
    assert!(IN_THE_WAY.contains(&again.code()), "the first has done it: {again:?}");
}

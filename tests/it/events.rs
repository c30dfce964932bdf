//! Events: whatever dies in between, each change is told, and those of one user in their order.
//!
//! With two shards, even users are on shard 0 and odd ones on shard 1.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::api::{Api, client};
use crate::support::nats::{Nats, PublishedEvent};
use crate::support::poll;
use crate::support::program::shardrive;
use crate::support::servers::TestCluster;

async fn start(cluster: &TestCluster, nats: &Nats, more: &[(&str, &str)]) -> Api {
    let url = nats.url();
    let mut settings = vec![
        ("SHARDRIVE_EVENTS_URL", &*url),
        ("SHARDRIVE_HEALTH_TIMEOUT_MS", "20000"),
        ("SHARDRIVE_CONNECT_TIMEOUT_MS", "20000"),
        ("SHARDRIVE_MOVE_TIMEOUT_MS", "30000"),
    ];
    settings.extend(more);
    Api::start_with(cluster, &settings).await
}

async fn until_told(cluster: &TestCluster, shards: usize) {
    poll::until("an empty outbox", async || {
        let mut left = 0;
        for shard in 0..shards {
            left += cluster.value::<i64>(shard, "SELECT count(*) FROM shardrive.outbox").await;
        }
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
}

async fn until_on(cluster: &TestCluster, shards: usize) {
    poll::until("a relay", async || {
        for shard in 0..shards {
            if !cluster.value::<bool>(shard, "SELECT shardrive.records_events()").await {
                return Err(shard);
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn every_change_is_told_however_it_is_made() {
    let cluster = TestCluster::migrated(2).await;
    let Some(nats) = Nats::start().await else { return };
    // Nothing is kept before somebody wants it.
    let plain = Api::start(&cluster).await;
    plain.post("/ingest", &json!({"user_id": 2, "file_name": "untold"})).await;
    assert_eq!(cluster.value::<i64>(0, "SELECT count(*) FROM shardrive.outbox").await, 0);
    let api = start(&cluster, &nats, &[]).await;
    until_on(&cluster, 2).await;
    let (_, stored) =
        api.post_json("/ingest", &json!({"user_id": 1, "file_name": "secret.txt", "size_bytes": 5})).await;
    let id = stored["data"]["file_id"].as_str().unwrap().to_owned();
    let path = format!("/files/{id}");
    api.request(Method::PATCH, &path).json(&json!({"size_bytes": 6})).send().await.unwrap();
    api.request(Method::DELETE, &path).send().await.unwrap();
    // By a process that relays nothing, by hand, and many at once.
    plain.post("/store", &json!({"userId": 3, "data": "secret"})).await;
    plain.post("/store", &json!({"userId": 3, "data": "other"})).await;
    cluster.psql(1, "INSERT INTO file_metadata (user_id, file_name) VALUES (5, 'by hand')").await.unwrap();
    cluster.psql(1, "DELETE FROM records WHERE collection = 'store'").await.unwrap();
    let lines: String = (0..500).map(|n| format!("{{\"user_id\": 7, \"file_name\": \"f{n}\"}}\n")).collect();
    assert_eq!(api.send("/ingest/bulk", "application/x-ndjson", lines).await.status(), StatusCode::OK);
    let folders = folder_changes(&api, 9).await;
    until_told(&cluster, 2).await;
    let told = nats.published_events().await;
    let of_folders = told.iter().filter(|told| told.event["data"]["user_id"] == 9);
    let of_folders: Vec<String> =
        of_folders.map(|told| format!("{} {}", told.kind, told.event["subject"].as_str().unwrap())).collect();
    assert_eq!(of_folders, folders);
    let of = |user: i64| -> Vec<(String, Value)> {
        let events = told.iter().filter(|told| told.event["data"]["user_id"] == user);
        events.map(|told| (told.kind.clone(), told.event["data"]["size_bytes"].clone())).collect()
    };
    let expected = [("file.created", json!(5)), ("file.updated", json!(6)), ("file.deleted", json!(6))];
    assert_eq!(of(1), expected.map(|(kind, size)| (kind.to_owned(), size)));
    assert_eq!(of(5).len(), 1);
    assert_eq!((of(7).len(), of(2).len()), (500, 0));
    let records: Vec<&str> =
        told.iter().filter(|told| told.kind.starts_with("record")).map(|told| &*told.kind).collect();
    assert_eq!(records, ["record.created", "record.updated", "record.deleted"]);
    let first = told.iter().find(|told| told.event["data"]["user_id"] == 1).unwrap();
    assert_eq!(first.event["subject"], format!("users/1/files/{id}"));
    assert_eq!(first.event["data"], json!({"user_id": 1, "file_id": id, "size_bytes": 5}));
    assert!(!told.iter().any(|told| told.event.to_string().contains("secret")));
    poll::until("the metrics", async || {
        let text = api.get("/metrics").await.text().await.unwrap();
        let seen = text.contains("shardrive_events_published_total 517")
            && text.contains("shardrive_events_outbox_rows{shard=\"1\"} 0");
        if seen {
            Ok(())
        } else {
            Err(text.lines().filter(|line| line.starts_with("shardrive_events")).collect::<String>())
        }
    })
    .await;
}

/// Changes a folder and a file in it in every way; the events to expect.
async fn folder_changes(api: &Api, user: i64) -> Vec<String> {
    let call = async |method: Method, path: &str, body: Value| -> Value {
        let answer = api.request(method, path).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap()
    };
    let made = call(Method::POST, &format!("/drives/{user}/folders"), json!({"path": "secret"})).await;
    let folder = made["data"]["folder_id"].as_str().unwrap().to_owned();
    let put = call(Method::PUT, &format!("/drives/{user}/path/secret/a"), json!({})).await;
    let file = put["data"]["file_id"].as_str().unwrap().to_owned();
    call(Method::PATCH, &format!("/folders/{folder}"), json!({"folder_name": "secrets"})).await;
    call(Method::DELETE, &format!("/drives/{user}/path/secrets/a"), json!(null)).await;
    call(Method::POST, &format!("/drives/{user}/trash/{file}/restore"), json!({})).await;
    call(Method::DELETE, &format!("/folders/{folder}"), json!(null)).await;
    call(Method::POST, &format!("/drives/{user}/trash/{folder}/restore"), json!({})).await;
    call(Method::DELETE, &format!("/folders/{folder}?purge=true"), json!(null)).await;
    let of_folder = |kind: &str| format!("folder.{kind} users/{user}/folders/{folder}");
    let of_file = |kind: &str| format!("file.{kind} users/{user}/files/{file}");
    vec![
        of_folder("created"),
        of_file("created"),
        of_folder("updated"),
        of_file("trashed"),
        of_file("restored"),
        of_folder("trashed"),
        of_folder("restored"),
        of_folder("trashed"),
        of_file("deleted"),
        of_folder("deleted"),
    ]
}

/// Clients, each of one user, that change one thing after the other and remember what was acknowledged.
struct Load {
    bases: Arc<std::sync::Mutex<Vec<String>>>,
    done: Arc<AtomicUsize>,
    stop: CancellationToken,
    clients: JoinSet<()>,
}

impl Load {
    fn start(bases: Vec<String>) -> Self {
        let bases = Arc::new(std::sync::Mutex::new(bases));
        let (done, stop, mut clients) = (Arc::<AtomicUsize>::default(), CancellationToken::new(), JoinSet::new());
        for user in 0..8 {
            let (bases, done, stop) = (Arc::clone(&bases), Arc::clone(&done), stop.clone());
            clients.spawn(async move {
                let mut turn = user;
                let mut call = async |method: Method, path: String, body: Value| loop {
                    turn += 1;
                    let base = {
                        let bases = bases.lock().unwrap();
                        bases[turn % bases.len()].clone()
                    };
                    let sent = client().request(method.clone(), format!("{base}{path}")).json(&body).send().await;
                    if let Ok(answer) = sent
                        && !answer.status().is_server_error()
                    {
                        return answer;
                    }
                    poll::short_pause().await;
                };
                for number in 0_u64.. {
                    if stop.is_cancelled() {
                        return;
                    }
                    call(Method::POST, "/store".to_owned(), json!({"userId": user, "data": number})).await;
                    let body = json!({"user_id": user, "file_name": format!("f{number}")});
                    let stored = call(Method::POST, "/ingest".to_owned(), body).await;
                    let stored: Value = stored.json().await.unwrap_or_default();
                    if number % 3 == 0
                        && let Some(id) = stored["data"]["file_id"].as_str()
                    {
                        call(Method::DELETE, format!("/files/{id}"), Value::Null).await;
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { bases, done, stop, clients }
    }

    async fn wait_for_answers(&self, more: usize) {
        let now = || self.done.load(Ordering::Relaxed);
        let from = now();
        poll::until("further changes", async || if now() >= from + more { Ok(()) } else { Err(now() - from) }).await;
    }

    async fn stop(self) {
        self.stop.cancel();
        self.clients.join_all().await;
    }
}

/// What was told, held against what is there: the events of each row lead to its state, and come in their order.
async fn hold_against_tables(cluster: &TestCluster, told: &[PublishedEvent]) {
    let (mut files, mut versions) = (BTreeSet::new(), BTreeMap::<String, i64>::new());
    let mut files_of: BTreeMap<i64, String> = BTreeMap::new();
    for PublishedEvent { id, kind, event } in told {
        let data = &event["data"];
        match &**kind {
            "file.created" => {
                let file = data["file_id"].as_str().unwrap().to_owned();
                // A minted id begins with its time: those of one user come in their order.
                let before = files_of.insert(data["user_id"].as_i64().unwrap(), file.clone());
                assert!(before.as_ref().is_none_or(|before| before.get(..13) <= file.get(..13)), "{before:?} {file}");
                assert!(files.insert(file), "{id} created twice");
            }
            "file.deleted" => {
                assert!(files.remove(data["file_id"].as_str().unwrap()), "{id} deleted before it was there")
            }
            "record.created" | "record.updated" => {
                let version = data["version"].as_i64().unwrap();
                let before = versions.insert(data["key"].as_str().unwrap().to_owned(), version);
                assert!(before.is_none_or(|before| before < version), "{id}: {before:?} {version}");
                assert_eq!(before.is_none(), kind == "record.created", "{id}");
            }
            other => panic!("{other}"),
        }
    }
    let (mut rows, mut documents) = (BTreeSet::new(), BTreeMap::new());
    for shard in 0..2 {
        let owned = "slot IN (SELECT slot FROM shardrive.slot_map, shardrive.identity WHERE owner = shard_id)";
        let sql = format!(
            "SELECT coalesce(string_agg(file_id::text, ','), '') FROM file_metadata, shardrive.slot_of(user_id) AS slot WHERE {owned}"
        );
        let list: String = cluster.value(shard, &sql).await;
        rows.extend(list.split(',').filter(|id| !id.is_empty()).map(str::to_owned));
        let sql = format!("SELECT coalesce(json_object_agg(key, version), '{{}}')::text FROM records WHERE {owned}");
        let list: String = cluster.value(shard, &sql).await;
        documents.extend(serde_json::from_str::<BTreeMap<String, i64>>(&list).unwrap());
    }
    assert_eq!(files, rows);
    assert_eq!(versions, documents);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missing_after_crashes_of_everything() {
    let mut cluster = TestCluster::migrated(2).await;
    let Some(mut nats) = Nats::start().await else { return };
    let mut apis = [start(&cluster, &nats, &[]).await, start(&cluster, &nats, &[]).await];
    until_on(&cluster, 2).await;
    let load = Load::start(apis.iter().map(|api| api.base().to_owned()).collect());
    load.wait_for_answers(30).await;
    // The one that relays, whichever it is.
    for (number, api) in apis.iter_mut().enumerate() {
        api.kill9();
        load.wait_for_answers(10).await;
        *api = start(&cluster, &nats, &[]).await;
        load.bases.lock().unwrap()[number] = api.base().to_owned();
        load.wait_for_answers(20).await;
    }
    nats.kill();
    load.wait_for_answers(30).await;
    nats.run().await;
    load.wait_for_answers(20).await;
    for shard in 0..2 {
        cluster.server(shard).kill().await;
        cluster.server(shard).start().await.unwrap();
        load.wait_for_answers(20).await;
    }
    load.stop().await;
    until_told(&cluster, 2).await;
    hold_against_tables(&cluster, &nats.published_events().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_changes_no_order_and_tells_nothing_of_itself() {
    let cluster = TestCluster::migrated(2).await;
    let Some(mut nats) = Nats::start().await else { return };
    let apis = [start(&cluster, &nats, &[]).await, start(&cluster, &nats, &[]).await];
    until_on(&cluster, 2).await;
    let load = Load::start(apis.iter().map(|api| api.base().to_owned()).collect());
    load.wait_for_answers(20).await;
    for (slots, to) in [("0,2,4,6", "1"), ("0-7", "0")] {
        let command = ["shards", "move", "--slots", slots, "--to", to, "--rollback-window", "0", "--json"];
        let done = shardrive(&command, &cluster.variables()).await;
        assert_eq!(done.code, 0, "{done:?}");
        load.wait_for_answers(20).await;
    }
    // Without a broker the slots stay where they are, until it is back.
    nats.kill();
    load.wait_for_answers(20).await;
    let answer =
        apis[0].post_json("/admin/moves", &json!({"slots": "0-7", "to": 1, "rollback_window_seconds": 0})).await;
    assert_eq!(answer.0, StatusCode::ACCEPTED, "{answer:?}");
    poll::until("a move that waits for the broker", async || {
        let sql = "SELECT count(*) FROM shardrive.move_events WHERE what LIKE '%not published yet%'";
        if cluster.value::<i64>(0, sql).await > 0 { Ok(()) } else { Err(()) }
    })
    .await;
    load.wait_for_answers(10).await;
    nats.run().await;
    poll::until("the end of the move", async || {
        let stage: String = cluster.value(0, "SELECT stage FROM shardrive.moves ORDER BY id DESC LIMIT 1").await;
        if stage == "done" { Ok(()) } else { Err(stage) }
    })
    .await;
    load.wait_for_answers(10).await;
    load.stop().await;
    until_told(&cluster, 2).await;
    hold_against_tables(&cluster, &nats.published_events().await).await;
}

#[tokio::test]
async fn the_outbox_is_bounded_and_what_is_dropped_is_told() {
    let cluster = TestCluster::migrated(1).await;
    let Some(mut nats) = Nats::not_started() else { return };
    let api = start(&cluster, &nats, &[("SHARDRIVE_EVENTS_MAX_ROWS", "1000")]).await;
    until_on(&cluster, 1).await;
    let insert = "INSERT INTO file_metadata (user_id, file_name) SELECT n, 'f' FROM generate_series(1, 3000) AS n";
    cluster.psql(0, insert).await.unwrap();
    poll::until("a bounded outbox", async || {
        let left: i64 = cluster.value(0, "SELECT count(*) FROM shardrive.outbox").await;
        if left == 1000 { Ok(()) } else { Err(left) }
    })
    .await;
    nats.run().await;
    until_told(&cluster, 1).await;
    let gaps = async || {
        let told = nats.published_events().await;
        let gaps: Vec<_> =
            told.iter().filter(|told| told.kind == "gap").map(|told| told.event["data"].clone()).collect();
        (told.len() - gaps.len(), gaps)
    };
    poll::until("the gap", async || if gaps().await.1.is_empty() { Err(()) } else { Ok(()) }).await;
    let (changes, gaps) = gaps().await;
    assert_eq!((changes, gaps.len(), &gaps[0]["events"]), (1000, 1, &json!(2000)), "{gaps:?}");
    assert!(
        api.get("/metrics").await.text().await.unwrap().contains("shardrive_events_dropped_total{shard=\"0\"} 2000")
    );
    // Nobody has relayed for a day: it is off, and the next relay tells that something is missing.
    drop(api);
    cluster.psql(0, "UPDATE shardrive.relay SET seen_at = now() - interval '25 hours'").await.unwrap();
    let plain = Api::start(&cluster).await;
    poll::until("an end of it", async || {
        if cluster.value::<bool>(0, "SELECT shardrive.records_events()").await { Err(()) } else { Ok(()) }
    })
    .await;
    plain.post("/ingest", &json!({"user_id": 1, "file_name": "untold"})).await;
    assert_eq!(cluster.value::<i64>(0, "SELECT count(*) FROM shardrive.outbox").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_stream_takes_holds_back_nothing_else_and_is_named() {
    let cluster = TestCluster::migrated(2).await;
    let Some(nats) = Nats::start().await else { return };
    // Files alone: by its name and subject it is none that the service would make.
    nats.set_stream("files", "shardrive.file.>", None).await;
    let heard = nats.record_message_ids("shardrive.>").await;
    let api = start(&cluster, &nats, &[]).await;
    until_on(&cluster, 2).await;
    for user in 0..40 {
        api.post_json("/store", &json!({"userId": user, "data": 1})).await;
        api.post_json("/ingest", &json!({"user_id": user, "file_name": "f"})).await;
        api.post_json("/store", &json!({"userId": user, "data": 2})).await;
    }
    poll::until("the files' events", async || {
        let told = nats.events_in_stream("files").await.len();
        if told == 40 { Ok(()) } else { Err((told, api.log())) }
    })
    .await;
    let waiting = "SELECT count(*) FROM shardrive.outbox";
    poll::until_true("the files' events to be removed", async || cluster.value::<i64>(0, waiting).await == 40).await;
    // Others go on, also where documents wait.
    for user in 0..40 {
        api.post_json("/ingest", &json!({"user_id": user, "file_name": "g"})).await;
    }
    poll::until_true("further events", async || nats.events_in_stream("files").await.len() == 80).await;
    let (_, health) = api.get_json("/health").await;
    assert_eq!(health["status"], "degraded", "{health}");
    let warned = |about: &str| {
        let warnings = health["warnings"].as_array().cloned().unwrap_or_default();
        warnings.iter().any(|warning| {
            let detail = warning["detail"].as_str().unwrap();
            warning["about"] == about
                && warning["code"] == "events_refused"
                && detail.contains("shardrive.record.created")
                && detail.contains("no stream")
        })
    };
    assert!(warned("shard_0") && warned("shard_1"), "{health}");
    let metrics = api.get("/metrics").await.text().await.unwrap();
    assert!(
        metrics.contains("shardrive_events_refused{shard=\"1\",subject=\"shardrive.record.created\"} 1"),
        "{metrics}"
    );
    // A move waits, and says for what.
    let answer =
        api.post_json("/admin/moves", &json!({"slots": "0,2,4,6", "to": 1, "rollback_window_seconds": 0})).await;
    assert_eq!(answer.0, StatusCode::ACCEPTED, "{answer:?}");
    poll::until("a move that says what it waits for", async || {
        let sql = "SELECT count(*) FROM shardrive.move_events WHERE what LIKE '%not published yet: %record.created%'";
        if cluster.value::<i64>(0, sql).await > 0 { Ok(()) } else { Err(()) }
    })
    .await;
    // What the broker took is not sent again, and of what it refuses a few, though seconds have passed.
    let times = {
        let mut times: BTreeMap<(String, String), usize> = BTreeMap::new();
        for message in heard.lock().unwrap().iter() {
            *times.entry(message.clone()).or_default() += 1;
        }
        times
    };
    let again = times.iter().filter(|((subject, _), count)| subject.starts_with("shardrive.file") && **count > 1);
    assert_eq!(again.collect::<Vec<_>>(), []);
    let refused: usize =
        times.iter().filter(|((subject, _), _)| subject.starts_with("shardrive.record")).map(|(_, count)| count).sum();
    assert!(refused <= 40 + 2 * 20, "{refused} tries of 40 first events");
    let named = api.log().matches("refuses events shardrive.record.created of shard 1").count();
    assert_eq!(named, 1, "{}", api.log());

    nats.set_stream("records", "shardrive.record.>", None).await;
    until_told(&cluster, 2).await;
    let mut told = nats.events_in_stream("files").await;
    told.extend(nats.events_in_stream("records").await);
    hold_against_tables(&cluster, &told).await;
    poll::until("a healthy service", async || {
        let (_, health) = api.get_json("/health").await;
        if health["status"] == "healthy" { Ok(()) } else { Err(health) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_loses_nothing() {
    let cluster = TestCluster::migrated(1).await;
    let Some(nats) = Nats::start().await else { return };
    nats.set_stream("shardrive", "shardrive.>", Some(30)).await;
    let api = start(&cluster, &nats, &[]).await;
    until_on(&cluster, 1).await;
    let lines: String = (0..100).map(|n| format!("{{\"user_id\": {n}, \"file_name\": \"f\"}}\n")).collect();
    assert_eq!(api.send("/ingest/bulk", "application/x-ndjson", lines).await.status(), StatusCode::OK);
    poll::until("the full stream to be named", async || {
        let (_, health) = api.get_json("/health").await;
        if health.to_string().contains("maximum messages exceeded") { Ok(()) } else { Err(health) }
    })
    .await;
    assert_eq!(nats.published_events().await.len(), 30);
    nats.set_stream("shardrive", "shardrive.>", None).await;
    until_told(&cluster, 1).await;
    assert_eq!(nats.published_events().await.len(), 100);
}

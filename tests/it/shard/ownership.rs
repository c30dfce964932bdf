//! Slots change hands under several programs: their clients notice nothing.
//!
//! With two shards, even users are on shard 0 and odd ones on shard 1.

use std::collections::HashSet;
use std::process::Command;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::support::api::{Api, PROGRAM};
use crate::support::load::Load;
use crate::support::moves::Move;
use crate::support::poll;
use crate::support::servers::{TestCluster, run, sqlstate, value};

/// Slots of shard 0, and of shard 1, that are moved; others stay where they are.
const EVEN: [i32; 4] = [0, 2, 4, 6];
const ODD: [i32; 4] = [1, 3, 5, 7];
const ALL: [i32; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 100, 101];

/// A busy machine is no fault of a shard here.
const PATIENT: [(&str, &str); 5] = [
    ("SHARDRIVE_HEALTH_TIMEOUT_MS", "20000"),
    ("SHARDRIVE_CONNECT_TIMEOUT_MS", "20000"),
    ("SHARDRIVE_SHARD_TIMEOUT_MS", "30000"),
    ("SHARDRIVE_MOVE_TIMEOUT_MS", "30000"),
    ("SHARDRIVE_STATS_TIMEOUT_MS", "30000"),
];

async fn start(cluster: &TestCluster, programs: usize) -> (Vec<Api>, Vec<String>) {
    let mut apis = Vec::new();
    for _ in 0..programs {
        apis.push(Api::start_with(cluster, &PATIENT).await);
    }
    let bases = apis.iter().map(|api| api.base().to_owned()).collect();
    (apis, bases)
}

/// The rows, the counts and a scan agree, and so does the program's own audit.
async fn check(cluster: &TestCluster, api: &Api, load: Load) {
    let seen = load.stop().await;
    seen.assert_no_fault();
    assert_eq!(seen.find_wrong_rows(cluster, 2).await, Vec::<String>::new());
    let (_, counted) = api.get_json("/stats").await;
    let (_, scanned) = api.get_json("/stats?exact=scan").await;
    assert_eq!(counted, scanned);
    assert_eq!(counted["total_records"], seen.acknowledged());
    let urls = cluster.urls();
    let audit = Command::new(PROGRAM)
        .args(["shards", "verify"])
        .env_clear()
        .envs(urls.iter().enumerate().map(|(shard, url)| (format!("SHARD_{shard}_URL"), url)))
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    assert!(
        audit.status.success(),
        "{}{}",
        String::from_utf8_lossy(&audit.stdout),
        String::from_utf8_lossy(&audit.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn three_programs_follow_slots_that_change_hands() {
    let cluster = TestCluster::migrated(2).await;
    let (apis, bases) = start(&cluster, 3).await;
    let load = Load::start(&bases, 6, &ALL);
    load.wait_for_answers(40).await;
    for round in 0..5 {
        let (here, there) = (round % 2, 1 - round % 2);
        Move::new(&cluster, &EVEN, here, there).await.run().await;
        // At once, and in the other direction: no shard owns more or fewer slots than before.
        Move::new(&cluster, &ODD, there, here).await.run().await;
        load.wait_for_answers(15).await;
        // Forth and back without a pause.
        Move::new(&cluster, &[100], 0, 1).await.run().await;
        Move::new(&cluster, &[100], 1, 0).await.run().await;
    }
    load.wait_for_answers(40).await;
    check(&cluster, &apis[0], load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_slept_through_a_move_writes_nothing_in_the_wrong_place() {
    let cluster = TestCluster::migrated(2).await;
    let (apis, bases) = start(&cluster, 2).await;
    let load = Load::start(&bases, 6, &ALL);
    for round in 0..4 {
        load.wait_for_answers(30).await;
        apis[0].pause();
        Move::new(&cluster, &EVEN, round % 2, 1 - round % 2).await.run().await;
        load.wait_for_answers(30).await;
        apis[0].resume();
    }
    load.wait_for_answers(40).await;
    check(&cluster, &apis[0], load).await;
    let insert = "INSERT INTO file_metadata (user_id, file_name) VALUES (101, 'by hand')";
    assert_eq!(sqlstate(cluster.psql(0, insert).await), "SD001");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_nobody_takes_is_refused_for_now_and_heals() {
    let cluster = TestCluster::migrated(2).await;
    let api =
        Api::start_with(&cluster, &[("SHARDRIVE_MOVE_TIMEOUT_MS", "1000"), ("SHARDRIVE_HEALTH_TIMEOUT_MS", "20000")])
            .await;
    let file = json!({"user_id": 42, "file_name": "a"});
    assert_eq!(api.post("/ingest", &file).await.status(), StatusCode::CREATED);
    let mut moved = Move::new(&cluster, &[42], 0, 1).await;
    moved.leave().await;
    for response in [
        api.get("/query/42").await,
        api.post("/ingest", &file).await,
        api.post("/ingest/bulk", &json!([file])).await,
        api.get(&format!("/files/{}", uuid::Uuid::new_v4())).await,
    ] {
        let (path, retry) = (response.url().to_string(), response.headers().contains_key("Retry-After"));
        let (status, problem) = crate::support::api::json(response).await;
        let answer = (status, problem["code"].as_str(), retry);
        assert_eq!(answer, (StatusCode::SERVICE_UNAVAILABLE, Some("slot_moving"), true), "{path}: {problem}");
    }
    assert_eq!(api.post("/ingest", &json!({"user_id": 44, "file_name": "a"})).await.status(), StatusCode::CREATED);
    let (_, stats) = api.get_json("/stats").await;
    assert_eq!((&stats["complete"], &stats["shards"][0]["slots"]), (&json!(false), &json!(2519)), "{stats}");
    moved.copy().await;
    moved.arrive().await;
    moved.clean().await;
    let (status, listed) = api.get_json("/query/42").await;
    assert_eq!((status, &listed["file_count"], &listed["shard_id"]), (StatusCode::OK, &json!(1), &json!(1)));
    assert_eq!(api.get_json("/stats").await.1["total_records"], 2);
}

/// How many rows group commit has sent to shard 0 so far, with those that the shard refused.
async fn rows_sent(api: &Api) -> f64 {
    let text = api.get("/metrics").await.text().await.unwrap();
    let sum = text.lines().find_map(|line| line.strip_prefix("shardrive_shard_commit_batch_rows_sum{shard=\"0\"} "));
    sum.unwrap_or_else(|| panic!("no rows of group commit in {text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_a_frozen_slot_wait_without_trying_it() {
    const WAITING: u32 = 8;
    const OTHERS: u32 = 150;
    let cluster = TestCluster::migrated(2).await;
    // The lease, so that no coordinator ends a freeze that belongs to no move.
    let mut lease = cluster.connect(0).await;
    run(&mut lease, "SELECT pg_advisory_lock(5040, 5)").await.unwrap();
    let api = Api::start_with(&cluster, &PATIENT).await;
    let file = |user: i64| json!({"user_id": user, "file_name": "a"});
    let freeze = "INSERT INTO shardrive.local_moves (move_id, slots, frozen)
                  VALUES (999, set_bit(decode(repeat('00', 630), 'hex'), 2, 1), true)";
    cluster.psql(0, freeze).await.unwrap();
    let frozen_file = file(2);
    let waiting = futures_util::future::join_all((0..WAITING).map(|_| api.post("/ingest", &frozen_file)));
    let rest = async {
        poll::until_true("a first try", async || rows_sent(&api).await > 0.0).await;
        for _ in 0..OTHERS {
            assert_eq!(api.post("/ingest", &file(4)).await.status(), StatusCode::CREATED);
        }
        // Each of the callers has tried once at most.
        let sent = rows_sent(&api).await;
        assert!((f64::from(OTHERS + 1)..=f64::from(OTHERS + WAITING)).contains(&sent), "{sent}");
        assert_eq!(api.get("/query/2").await.status(), StatusCode::OK, "reads go on");
        cluster.psql(0, "DELETE FROM shardrive.local_moves").await.unwrap();
    };
    let (answers, ()) = tokio::join!(waiting, rest);
    assert!(answers.iter().all(|answer| answer.status() == StatusCode::CREATED), "{answers:?}");
    let sent = rows_sent(&api).await;
    assert!((f64::from(OTHERS + WAITING + 1)..=f64::from(OTHERS + 2 * WAITING)).contains(&sent), "{sent}");
    assert_eq!(api.get_json("/query/2").await.1["file_count"], WAITING);
}

/// Waits until a statement that begins with this comment stands still on a lock.
async fn until_it_waits(db: &mut PgConnection, comment: &str) {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '-- {comment}%' AND state = 'active' AND wait_event_type = 'Lock'"
    );
    poll::until_true("the statement to wait", async || value::<i64>(db, &sql).await > 0).await;
}

/// What a server's sessions have answered to the statement that begins with a comment.
///
/// A session that has prepared a statement looks like one that has answered it, until it gets the next message. So only
/// a second sighting of a session, with a later message, is an answer.
struct SeenAnswers {
    db: PgConnection,
    sql: String,
    seen: HashSet<(i32, String)>,
}

impl SeenAnswers {
    async fn new(cluster: &TestCluster, shard: usize, comment: &str) -> Self {
        let sql = format!(
            "SELECT pid, query_start::text FROM pg_stat_activity WHERE query LIKE '-- {comment}%' AND state = 'idle'"
        );
        let mut answers = Self { db: cluster.connect(shard).await, sql, seen: HashSet::new() };
        answers.look().await;
        answers
    }

    /// True if a session that was seen before has answered since.
    async fn look(&mut self) -> bool {
        let rows = sqlx::query_as(sqlx::AssertSqlSafe(self.sql.as_str())).fetch_all(&mut self.db);
        let rows: Vec<(i32, String)> = rows.await.unwrap();
        let known: HashSet<i32> = self.seen.iter().map(|(pid, _)| *pid).collect();
        rows.into_iter().fold(false, |answered, row| {
            let was_known = known.contains(&row.0);
            (self.seen.insert(row) && was_known) || answered
        })
    }

    /// Waits until the statement has been answered once more.
    async fn until_next(&mut self) {
        poll::until_true("the statement's answer", async || self.look().await).await;
    }
}

/// The last try of a question to all shards has less time than the others, and an answer that is missing then says
/// little.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_ends_while_a_slot_has_no_owner_says_so() {
    let cluster = TestCluster::migrated(2).await;
    let limits =
        [("SHARDRIVE_SHARD_TIMEOUT_MS", "3000"), ("SHARDRIVE_MOVE_TIMEOUT_MS", "3000"), PATIENT[0], PATIENT[1]];
    let api = Api::start_with(&cluster, &limits).await;
    Move::new(&cluster, &[42], 0, 1).await.leave().await;
    let mut answers = SeenAnswers::new(&cluster, 1, "A file by an id that names no slot").await;
    let path = format!("/files/{}", uuid::Uuid::new_v4());
    // The question is asked again and again.
    let hold = async {
        answers.until_next().await;
        run(&mut answers.db, "BEGIN; LOCK TABLE file_metadata").await.unwrap();
    };
    let (response, ()) = tokio::join!(api.get(&path), hold);
    let (status, problem) = crate::support::api::json(response).await;
    assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("slot_moving")), "{problem}");
}

/// The former owner keeps the rows of a slot until the move's clean-up, and a process may not know of the move yet.
#[tokio::test]
async fn a_repeated_request_follows_its_slot_to_the_new_owner() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start_with(&cluster, &PATIENT).await;
    let post = async |path: &str, key: &str, body: &Value| {
        let request = api.request(Method::POST, path).header("Idempotency-Key", key).json(body);
        crate::support::api::json(request.send().await.unwrap()).await
    };
    for (user, path, body) in [
        (2, "/ingest", json!({"user_id": 2, "file_name": "a"})),
        (4, "/store", json!({"userId": 4, "data": 1})),
        (6, "/drives/6/folders", json!({"path": "/a"})),
        (8, "/drives/8/batch", json!({"operations": [{"op": "create_folder", "path": "/a"}]})),
    ] {
        let first = post(path, "again", &body).await;
        assert!(first.0.is_success(), "{path}: {first:?}");
        // A second request shares the batch, and is stored.
        let (mut moving, other) = (Move::new(&cluster, &[user], 0, 1).await, json!({"user_id": 0, "file_name": "b"}));
        moving.leave().await;
        moving.copy().await;
        moving.arrive().await;
        let (again, beside) = tokio::join!(post(path, "again", &body), post("/ingest", path, &other));
        assert_eq!((again, beside.0), (first, StatusCode::CREATED), "{path}");
        moving.clean().await;
    }
}

#[tokio::test]
async fn what_the_former_owner_keeps_stands_in_nobodys_way() {
    let cluster = TestCluster::migrated(2).await;
    let (stale, fresh) = (Api::start_with(&cluster, &PATIENT).await, Api::start_with(&cluster, &PATIENT).await);
    let profiles = json!({"shard_key": "user_id", "key_type": "integer"});
    let declared = stale.request(Method::PUT, "/collections/profiles").json(&profiles).send().await.unwrap();
    assert_eq!(declared.status(), StatusCode::CREATED);
    let id = "0197a3f0-0000-4000-8000-000000000001";
    let file = format!("/files/{id}?user_id=2");
    for (user, make, path, body, delete) in [
        (2, Method::POST, "/ingest", json!({"user_id": 2, "file_name": "a", "file_id": id}), file.as_str()),
        (4, Method::POST, "/records/profiles", json!({"user_id": 4, "theme": "dark"}), "/records/profiles/4"),
        (6, Method::PUT, "/drives/6/path/a.txt", json!({"size_bytes": 1}), "/drives/6/path/a.txt"),
        (8, Method::POST, "/drives/8/folders", json!({"path": "/a"}), "/drives/8/path/a"),
    ] {
        let made = async |api: &Api| {
            let answer = api.request(make.clone(), path).json(&body).send().await.unwrap();
            crate::support::api::json(answer).await
        };
        let first = made(&stale).await;
        assert_eq!(first.0, StatusCode::CREATED, "{path}: {first:?}");
        let mut moving = Move::new(&cluster, &[user], 0, 1).await;
        moving.leave().await;
        moving.copy().await;
        moving.arrive().await;
        let deleted = fresh.request(Method::DELETE, delete).send().await.unwrap();
        assert!(deleted.status().is_success(), "{delete}: {deleted:?}");
        let again = made(&stale).await;
        assert_eq!(again.0, StatusCode::CREATED, "{path}: {again:?}");
        moving.clean().await;
    }
    // A load by ids, two rows of which are there already.
    let rows: String = [(10, 1), (12, 2), (14, 3)]
        .map(|(user, n)| format!("{{\"user_id\": {user}, \"file_name\": \"a\", \"file_id\": \"0197a3f0-0000-4000-8000-00000000010{n}\"}}\n"))
        .concat();
    let load = async || {
        crate::support::api::json(stale.send("/ingest/bulk", "application/x-ndjson", rows.clone()).await).await
    };
    assert_eq!(load().await.1["inserted"], 3);
    let mut moving = Move::new(&cluster, &[10], 0, 1).await;
    moving.leave().await;
    moving.copy().await;
    moving.arrive().await;
    for deleted in [
        "/files/0197a3f0-0000-4000-8000-000000000101?user_id=10",
        "/files/0197a3f0-0000-4000-8000-000000000102?user_id=12",
    ] {
        let answer = fresh.request(Method::DELETE, deleted).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }
    let again = load().await.1;
    assert_eq!((&again["inserted"], &again["duplicates"]), (&json!(2), &json!(1)), "{again}");
    moving.clean().await;
}

/// One shard is asked before two moves in opposite directions, the other one between them: both show the first slot,
/// none the second, and together they own as many slots as there are.
#[tokio::test(flavor = "multi_thread")]
async fn opposite_moves_do_not_deceive_a_question_to_all_shards() {
    let cluster = TestCluster::migrated(2).await;
    // Other slots are at a later epoch already.
    for _ in 0..2 {
        Move::new(&cluster, &[100], 0, 1).await.run().await;
        Move::new(&cluster, &[100], 1, 0).await.run().await;
    }
    // One connection to each shard has prepared the statements before the moves.
    let mut settings = PATIENT.to_vec();
    settings.push(("SHARDRIVE_DB_POOL_MAX_SIZE", "1"));
    let api = Api::start_with(&cluster, &settings).await;
    let id = uuid::Uuid::new_v4();
    for file in [
        json!({"user_id": 0, "file_name": "a"}),
        json!({"user_id": 0, "file_name": "b"}),
        json!({"user_id": 1, "file_name": "c", "file_id": id}),
    ] {
        assert_eq!(api.post("/ingest", &file).await.status(), StatusCode::CREATED);
    }
    let file = format!("/files/{id}");
    for (path, comment, table) in [
        ("/stats", "Files, documents and their bytes", "shardrive.slot_deltas"),
        (file.as_str(), "A file by an id that names no slot", "file_metadata"),
    ] {
        let (mut there, mut back) = (Move::new(&cluster, &[0], 0, 1).await, Move::new(&cluster, &[1], 1, 0).await);
        there.copy().await;
        back.copy().await;
        assert_eq!(api.get(path).await.status(), StatusCode::OK);
        let mut of_zero = SeenAnswers::new(&cluster, 0, comment).await;
        let mut of_one = SeenAnswers::new(&cluster, 1, comment).await;
        let mut hold = cluster.connect(1).await;
        run(&mut hold, &format!("BEGIN; LOCK TABLE {table}")).await.unwrap();
        let request = api.request(Method::GET, path);
        let asking = tokio::spawn(async move { crate::support::api::json(request.send().await.unwrap()).await });
        until_it_waits(&mut of_one.db, comment).await;
        of_zero.until_next().await;
        there.leave().await;
        there.arrive().await;
        back.leave().await;
        run(&mut hold, "COMMIT").await.unwrap();
        of_one.until_next().await;
        back.arrive().await;
        let (status, answer) = asking.await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        if path == "/stats" {
            assert_eq!((&answer["complete"], &answer["total_records"]), (&json!(true), &json!(3)), "{answer}");
        }
        there.clean().await;
        back.clean().await;
        // Back to where they were, for the next question.
        Move::new(&cluster, &[0], 1, 0).await.run().await;
        Move::new(&cluster, &[1], 0, 1).await.run().await;
    }
}

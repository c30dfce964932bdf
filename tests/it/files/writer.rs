//! Group commit under faults: every file that was acknowledged is there, once, on the shard that the answer named.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use shardrive::files::{FileError, FileInput, FileService};
use shardrive::local_servers::Durability;
use shardrive::shard::ShardError;
use shardrive::writes::WriterLimits;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::servers::{TestCluster, files_on, run};
use crate::support::{pace, poll};

const TASKS: usize = 48;
const USERS: usize = 24;

/// Tasks that store files until they are told to stop, and remember every answer.
struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Seen>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    acknowledged: Mutex<HashMap<String, (Uuid, u16)>>,
    failures: Mutex<Vec<ShardError>>,
    count: AtomicUsize,
}

impl Load {
    /// Tasks are dealt to the processes in turn.
    fn start(processes: &[Arc<FileService>]) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let files = Arc::clone(&processes[task % processes.len()]);
            tasks.spawn(keep_storing(files, task, Arc::clone(&stop), Arc::clone(&seen)));
        }
        Self { stop, seen, tasks }
    }

    /// Waits until `more` further files are acknowledged.
    async fn wait_for_answers(&self, more: usize) {
        let from = self.seen.count.load(Ordering::Relaxed);
        poll::until("further files", async || {
            let now = self.seen.count.load(Ordering::Relaxed);
            if now >= from + more { Ok(()) } else { Err((now - from, self.seen.failures.lock().unwrap().len())) }
        })
        .await;
    }

    async fn stop(self) -> Arc<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        self.seen
    }
}

async fn keep_storing(files: Arc<FileService>, task: usize, stop: Arc<AtomicBool>, seen: Arc<Seen>) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let name = format!("{task}-{number}");
        let input = format!(r#"{{"user_id": {}, "file_name": "{name}", "size_bytes": 1}}"#, (task + number) % USERS);
        let input: FileInput<'_> = serde_json::from_str(&input).unwrap();
        match files.ingest(input.check(files.ids()).unwrap(), None).await {
            Ok(stored) => {
                assert!(!stored.duplicate, "{name} is new");
                let answer = (stored.file.file_id, stored.shard.number());
                seen.acknowledged.lock().unwrap().insert(name, answer);
                seen.count.fetch_add(1, Ordering::Relaxed);
                pace::between_requests().await;
            }
            Err(FileError::Shard(error)) => {
                seen.failures.lock().unwrap().push(error);
                poll::short_pause().await;
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

/// Every acknowledged file is stored once, where the answer said, and the counts agree with the rows.
async fn check(cluster: &TestCluster, shards: usize, seen: &Seen) {
    let mut stored: HashMap<String, Vec<(Uuid, u16)>> = HashMap::new();
    for shard in 0..shards {
        let mut db = cluster.connect(shard).await;
        let rows: Vec<(String, Uuid)> =
            sqlx::query_as("SELECT file_name, file_id FROM file_metadata").fetch_all(&mut db).await.unwrap();
        let total: i64 = cluster.value(shard, "SELECT sum(rows)::bigint FROM shardrive.slot_totals").await;
        assert_eq!(usize::try_from(total), Ok(rows.len()), "the counts of shard {shard}");
        for (name, id) in rows {
            stored.entry(name).or_default().push((id, u16::try_from(shard).unwrap()));
        }
    }
    for (name, answer) in seen.acknowledged.lock().unwrap().iter() {
        assert_eq!(stored.get(name), Some(&vec![*answer]), "{name}");
    }
    assert!(stored.values().all(|copies| copies.len() == 1), "a file is stored twice");
}

fn no_failures(seen: &Seen) {
    let failures = seen.failures.lock().unwrap();
    assert!(failures.is_empty(), "{} failures, the first: {:?}", failures.len(), failures.first());
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_ended_lose_and_double_nothing() {
    let cluster = TestCluster::migrated(2).await;
    let files = cluster.files().await;
    let load = Load::start(std::slice::from_ref(&files));
    for round in 0..6 {
        load.wait_for_answers(300).await;
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shardrive'";
        cluster.psql(round % 2, sql).await.unwrap();
    }
    load.wait_for_answers(300).await;
    let seen = load.stop().await;
    check(&cluster, 2, &seen).await;
    no_failures(&seen);
    files.cluster().shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_and_doubles_nothing() {
    let mut cluster = TestCluster::migrated(2).await;
    let files = cluster.files().await;
    let load = Load::start(std::slice::from_ref(&files));
    for _ in 0..2 {
        load.wait_for_answers(300).await;
        cluster.server(1).kill().await;
        load.wait_for_answers(300).await; // the other shard's users notice nothing
        cluster.server(1).start().await.unwrap();
        let shard = &files.cluster().shards()[1];
        poll::until("the shard to take calls", async || shard.require_healthy()).await;
    }
    load.wait_for_answers(300).await;
    let seen = load.stop().await;
    check(&cluster, 2, &seen).await;
    let failures = std::mem::take(&mut *seen.failures.lock().unwrap());
    let strange =
        failures.iter().find(|error| !matches!(error, ShardError::Unavailable { shard } if shard.number() == 1));
    assert!(strange.is_none(), "{strange:?}");
    files.cluster().shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_change_hands_are_followed_unseen() {
    let cluster = TestCluster::migrated(2).await;
    let processes = [cluster.files().await, cluster.files().await];
    let load = Load::start(&processes);
    // Half of the users' slots, of both shards, forth and back; the old owner is told first.
    for epoch in 2..8 {
        load.wait_for_answers(300).await;
        let new_owner = epoch % 2;
        let assign = format!("SELECT shardrive.assign_slots('{{0,1,2,3,4,5,6,7,8,9,10,11}}', {new_owner}, {epoch})");
        cluster.psql(1 - new_owner, &assign).await.unwrap();
        cluster.psql(new_owner, &assign).await.unwrap();
    }
    load.wait_for_answers(300).await;
    let seen = load.stop().await;
    check(&cluster, 2, &seen).await;
    no_failures(&seen);
    for files in processes {
        files.cluster().shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_go_away_take_nothing_with_them() {
    let cluster = TestCluster::migrated(2).await;
    let files = cluster.files().await;
    let load = Load::start(std::slice::from_ref(&files));
    let mut gone = 0;
    for round in 0..400_u64 {
        let input = format!(r#"{{"user_id": {}, "file_name": "gone-{round}"}}"#, round % 24);
        let input: FileInput<'_> = serde_json::from_str(&input).unwrap();
        let file = input.check(files.ids()).unwrap();
        // Dropped at different points: before it waits, in the queue, in the batch, after the commit.
        let asking = tokio::time::timeout(std::time::Duration::from_micros(round * 20), files.ingest(file, None));
        gone += usize::from(asking.await.is_err());
    }
    assert!(gone > 0, "nobody went away");
    load.wait_for_answers(100).await;
    let seen = load.stop().await;
    check(&cluster, 2, &seen).await;
    no_failures(&seen);
    files.cluster().shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_said_at_once_and_loses_nothing() {
    let cluster = TestCluster::migrated(2).await;
    let limits = WriterLimits { queue: 2, batch: 2 };
    let files = files_on(cluster.open().await, limits);
    // While the database keeps writers waiting the queue fills up.
    let mut hold = cluster.connect(0).await;
    run(&mut hold, "BEGIN; SELECT pg_advisory_xact_lock(5040, 1)").await.unwrap();
    let load = Load::start(std::slice::from_ref(&files));
    let overloaded = || {
        let seen = load.seen.failures.lock().unwrap();
        seen.iter().filter(|error| matches!(error, ShardError::Overloaded { shard } if shard.number() == 0)).count()
    };
    poll::until_true("the queue to be full", async || overloaded() > 10).await;
    run(&mut hold, "COMMIT").await.unwrap();
    load.wait_for_answers(300).await;
    let seen = load.stop().await;
    check(&cluster, 2, &seen).await;
    let failures = std::mem::take(&mut *seen.failures.lock().unwrap());
    assert!(failures.iter().all(|error| matches!(error, ShardError::Overloaded { .. })), "{:?}", failures.last());
    files.cluster().shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_database_refuses_fails_alone() {
    let cluster = TestCluster::migrated(1).await;
    cluster.psql(0, "ALTER TABLE file_metadata ADD CONSTRAINT no_sevens CHECK (file_name !~ '7$')").await.unwrap();
    let files = cluster.files().await;
    // All in a few batches: they wait for the first one.
    let mut hold = cluster.connect(0).await;
    run(&mut hold, "BEGIN; SELECT pg_advisory_xact_lock(5040, 1)").await.unwrap();
    let mut asking = JoinSet::new();
    for number in 0..200 {
        let files = Arc::clone(&files);
        asking.spawn(async move {
            let input = format!(r#"{{"user_id": 1, "file_name": "n{number}"}}"#);
            let input: FileInput<'_> = serde_json::from_str(&input).unwrap();
            (number, files.ingest(input.check(files.ids()).unwrap(), None).await)
        });
    }
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    poll::until_true("the first batch", async || cluster.value::<i64>(0, waits).await == 1).await;
    run(&mut hold, "COMMIT").await.unwrap();
    for (number, result) in asking.join_all().await {
        match result {
            Ok(_) => assert_ne!(number % 10, 7),
            Err(FileError::Shard(ShardError::RowRefused { constraint, .. })) => {
                assert_eq!((number % 10, constraint.as_deref()), (7, Some("no_sevens")));
            }
            Err(error) => panic!("{number}: {error}"),
        }
    }
    assert_eq!(cluster.value::<i64>(0, "SELECT count(*) FROM file_metadata").await, 180);
    files.cluster().shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_a_durable_server_loses_nothing() {
    let mut cluster = TestCluster::start_with(2, Durability::Full).await;
    cluster.migrate().await;
    assert_eq!(cluster.value::<String>(0, "SELECT current_setting('fsync')").await, "on");
    let files = cluster.files().await;
    let load = Load::start(std::slice::from_ref(&files));
    for round in 0..3 {
        load.wait_for_answers(200).await;
        cluster.server(round % 2).kill().await;
        cluster.server(round % 2).start().await.unwrap();
        let shard = &files.cluster().shards()[round % 2];
        poll::until("the shard to take calls", async || shard.require_healthy()).await;
    }
    load.wait_for_answers(200).await;
    let seen = load.stop().await;
    check(&cluster, 2, &seen).await;
    files.cluster().shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_under_load_answers_everybody() {
    let cluster = TestCluster::migrated(2).await;
    let files = cluster.files().await;
    let load = Load::start(std::slice::from_ref(&files));
    load.wait_for_answers(300).await;
    files.cluster().shut_down().await;
    let seen = load.stop().await; // ends only if nobody waits for ever
    check(&cluster, 2, &seen).await;
    let failures = seen.failures.lock().unwrap();
    assert!(failures.iter().all(|error| matches!(error, ShardError::Unavailable { .. })), "{:?}", failures.last());
}

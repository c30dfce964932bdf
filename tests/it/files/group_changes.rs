//! Changes and deletions in groups: each is answered by itself, waits for nobody else, and is made once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use shardrive::files::{File, FileCondition, FileError, FileInput, FileService, FileTag, PatchInput, UserId};
use shardrive::shard::{Cluster, ShardError, ShardOptions};
use shardrive::writes::WriterLimits;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::poll;
use crate::support::proxy::{Mode, Proxy};
use crate::support::servers::{TestCluster, files_on, limits, run};

/// Statements that wait for another transaction.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";

async fn store(files: &FileService, file: Value) -> File {
    let text = file.to_string();
    let input: FileInput<'_> = serde_json::from_str(&text).unwrap();
    files.ingest(input.check(files.ids()).unwrap(), None).await.unwrap().file
}

async fn patch(files: &FileService, file: &File, change: Value, condition: FileCondition) -> Result<File, FileError> {
    let text = change.to_string();
    let input: PatchInput<'_> = serde_json::from_str(&text).unwrap();
    let user = UserId::new(file.user_id);
    files.update(file.file_id, user, input.check().unwrap(), condition, None).await.map(|(_, file)| file)
}

async fn delete(files: &FileService, file: &File) -> Result<(), FileError> {
    files.delete(file.file_id, UserId::new(file.user_id), FileCondition::Any).await.map(drop)
}

/// Holds every writer of shard 0 at the guard: first `first` alone, until `rest` waits in its queue with so many rows.
async fn together<F: Future, T>(
    cluster: &TestCluster,
    files: &FileService,
    first: F,
    (rows, rest): (i64, impl Future<Output = T>),
) -> (F::Output, T) {
    let mut hold = cluster.connect(0).await;
    run(&mut hold, "BEGIN; SELECT pg_advisory_xact_lock(5040, 1)").await.unwrap();
    let begun = poll::until("the first write to wait", async || match cluster.value::<i64>(0, WAITING).await {
        1 => Ok(()),
        other => Err(other),
    });
    let rest = async {
        begun.await;
        let shard = &files.cluster().shards()[0];
        let release = async {
            poll::until("the others to wait", async || match shard.counters().commit_queue.get() {
                queued if queued == rows => Ok(()),
                queued => Err(queued),
            })
            .await;
            run(&mut hold, "COMMIT").await.unwrap();
        };
        join(rest, release).await.0
    };
    join(first, rest).await
}

/// The changes that are tried of a file: of each field, and of several.
fn changes() -> Vec<Value> {
    vec![
        json!({"file_name": "other.txt"}),
        json!({"mime_type": "text/html"}),
        json!({"mime_type": null}),
        json!({"checksum": "md5:2"}),
        json!({"checksum": null}),
        json!({"size_bytes": 70}),
        json!({"size_bytes": null}),
        json!({"modified_at": "2025-01-02T03:04:05Z"}),
        json!({"modified_at": null}),
        json!({"content_ref": "s3://b/2"}),
        json!({"content_ref": null}),
        json!({"file_name": "all.txt", "mime_type": null, "checksum": "md5:3", "size_bytes": 0, "content_ref": "c"}),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_a_group_is_made_as_if_it_were_alone() {
    let cluster = TestCluster::migrated(1).await;
    let files = cluster.files().await;
    let mut tried = Vec::new();
    for (user, in_folder) in [(1, false), (2, true)] {
        for (number, change) in changes().into_iter().enumerate() {
            let name = "a.txt";
            let path = in_folder.then(|| format!("docs/{number}/{name}"));
            let file = json!({
                "user_id": user, "file_name": name, "path": path, "mime_type": "text/plain", "checksum": "md5:1", "size_bytes": 7,
                "modified_at": "2024-01-02T03:04:05Z", "content_ref": "s3://b/1",
            });
            tried.push((store(&files, file).await, change));
        }
    }
    let first = store(&files, json!({"user_id": 3, "file_name": "first"})).await;
    let asked = tried.iter().map(|(file, change)| patch(&files, file, change.clone(), FileCondition::Any));
    let before = patch(&files, &first, json!({"size_bytes": 1}), FileCondition::Any);
    let (_, answers) = together(&cluster, &files, before, (24, join_all(asked))).await;
    for ((file, change), answer) in tried.iter().zip(answers) {
        let changed = answer.unwrap();
        assert!(changed.updated_at > file.updated_at, "{change}");
        let (mut expected, found) = (serde_json::to_value(file).unwrap(), serde_json::to_value(&changed).unwrap());
        for (field, value) in change.as_object().unwrap() {
            expected[field] = value.clone();
        }
        if let Some(path) = &file.path {
            expected["path"] = json!(path.replace(&file.file_name, &changed.file_name));
        }
        expected["updated_at"] = found["updated_at"].clone();
        assert_eq!(found, expected, "{change}");
        let (_, stored) = files.find(file.file_id, UserId::new(file.user_id)).await.unwrap();
        assert_eq!(stored, changed, "{change}");
    }
    let transactions = cluster.value::<i64>(0, "SELECT count(DISTINCT xmin::text) FROM file_metadata").await;
    assert_eq!(transactions, 2, "of the first change, and of all others");

    let asked = tried.iter().map(|(file, _)| delete(&files, file));
    let (_, gone) = together(&cluster, &files, delete(&files, &first), (24, join_all(asked))).await;
    assert!(gone.iter().all(Result::is_ok), "{gone:?}");
    assert_eq!(cluster.value::<i64>(0, "SELECT count(*) FROM file_metadata").await, 0);
    let counts = "SELECT coalesce(sum(rows), 0)::bigint FROM shardrive.slot_totals";
    assert_eq!(cluster.value::<i64>(0, counts).await, 0);
    files.cluster().shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_refused_is_refused_alone() {
    let cluster = TestCluster::migrated(1).await;
    let files = cluster.files().await;
    let mut stored = Vec::new();
    for number in 0..9 {
        let path = format!("docs/{number}.txt");
        stored.push(store(&files, json!({"user_id": 3, "file_name": format!("{number}.txt"), "path": path})).await);
    }
    store(&files, json!({"user_id": 3, "file_name": "folder.txt", "path": "docs/taken.txt/folder.txt"})).await;
    let nobody = File { file_id: Uuid::new_v4(), ..stored[0].clone() };
    let (any, tag) = (FileCondition::Any, FileCondition::Tag(Some(stored[5].tag())));
    let other = FileCondition::Tag(FileTag::parse("00000000000000000000000000000000"));
    let asked = [
        (&stored[0], json!({"file_name": "new.txt"}), any),
        (&stored[1], json!({"file_name": "2.txt"}), any), // a file's
        (&stored[2], json!({"size_bytes": 2}), any),
        (&stored[3], json!({"file_name": "taken.txt"}), any), // a folder's
        (&nobody, json!({"size_bytes": 4}), any),
        (&stored[5], json!({"size_bytes": 5}), tag),
        (&stored[6], json!({"size_bytes": 6}), other),
        (&stored[7], json!({"file_name": ".."}), any), // no name within a folder
        (&stored[8], json!({"path": "elsewhere/8.txt"}), any),
    ];
    let asked = asked.into_iter().map(|(file, change, condition)| patch(&files, file, change, condition));
    // A change with a tag and a path are no part of the group.
    let before = patch(&files, &stored[4], json!({"size_bytes": 1}), any);
    let (_, answers) = together(&cluster, &files, before, (6, join_all(asked))).await;
    let outcome = |answer: &Result<File, FileError>| match answer {
        Ok(file) => format!("{} {:?}", file.path.as_deref().unwrap_or_default(), file.size_bytes),
        Err(FileError::NotFound(_)) => "not found".to_owned(),
        Err(FileError::NameTaken) => "taken".to_owned(),
        Err(FileError::Changed(_)) => "changed".to_owned(),
        Err(FileError::Field(fault)) => fault.field.to_string(),
        Err(other) => panic!("{other}"),
    };
    let expected = [
        "docs/new.txt None",
        "taken",
        "docs/2.txt Some(2)",
        "taken",
        "not found",
        "docs/5.txt Some(5)",
        "changed",
        "file_name",
        "elsewhere/8.txt None",
    ];
    assert_eq!(answers.iter().map(outcome).collect::<Vec<_>>(), expected);
    for number in [1, 3, 6, 7] {
        let (_, file) = files.find(stored[number].file_id, UserId::new(3)).await.unwrap();
        assert_eq!(file, stored[number], "nothing of a refused change is made");
    }
    files.cluster().shut_down().await;
}

/// A quarter of a pool of 8: only so many changes of rows that others hold wait in the database.
const WAITING_PLACES: i64 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_another_transaction_keeps_nobody_else_waiting() {
    let cluster = TestCluster::migrated(1).await;
    let files = cluster.files().await;
    let named = |user: i64, name: &str| json!({"user_id": user, "file_name": name, "path": format!("docs/{name}")});
    let mut waiters = Vec::new();
    for number in 0..10 {
        waiters.push((store(&files, named(1, &format!("held-{number}.txt"))).await, Some(json!({"size_bytes": 7}))));
    }
    waiters.push((store(&files, named(1, "doomed.txt")).await, None));
    waiters.push((store(&files, named(2, "a.txt")).await, Some(json!({"file_name": "b.txt"}))));
    let mut others = Vec::new();
    for user in 2..6 {
        others.push((store(&files, named(user, "x.txt")).await, store(&files, named(user, "y.txt")).await));
    }

    let mut hold = cluster.connect(0).await;
    let by_hand = "UPDATE file_metadata SET checksum = 'by hand' WHERE user_id = 1";
    run(&mut hold, &format!("BEGIN; {by_hand}; SELECT shardrive.hold_drives('{{2}}', true)")).await.unwrap();
    let (mut waiting, expected) = (JoinSet::new(), waiters.len());
    for (file, change) in waiters {
        let files = Arc::clone(&files);
        waiting.spawn(async move {
            let Some(change) = change else {
                delete(&files, &file).await.unwrap();
                return;
            };
            let changed = patch(&files, &file, change, FileCondition::Any).await.unwrap();
            match file.user_id {
                1 => assert_eq!((changed.size_bytes, changed.checksum.as_deref()), (Some(7), Some("by hand"))),
                _ => assert_eq!(changed.file_name, "b.txt"),
            }
        });
    }
    let only_few_wait = async || match cluster.value::<i64>(0, WAITING).await {
        WAITING_PLACES => Ok(()),
        other => Err(other),
    };
    poll::until("the places of waiting writes to be taken", only_few_wait).await;
    for (changed, deleted) in &others {
        let user = changed.user_id;
        // In a drive that is held a size may change, but no name.
        let change = match user {
            2 => json!({"size_bytes": 1}),
            3 => json!({"path": "elsewhere/z", "size_bytes": 1}),
            _ => json!({"file_name": "z", "size_bytes": 1}),
        };
        assert_eq!(patch(&files, changed, change, FileCondition::Any).await.unwrap().size_bytes, Some(1));
        delete(&files, deleted).await.unwrap();
        let missing = delete(&files, deleted).await;
        assert!(matches!(missing, Err(FileError::NotFound(_))), "{missing:?}");
        let missing = patch(&files, deleted, json!({"size_bytes": 1}), FileCondition::Any).await;
        assert!(matches!(missing, Err(FileError::NotFound(_))), "{missing:?}");
    }
    assert_eq!(only_few_wait().await, Ok(()), "still");
    run(&mut hold, "COMMIT").await.unwrap();
    assert_eq!(waiting.join_all().await.len(), expected);
    let gone = "SELECT count(*) FROM file_metadata WHERE file_name = 'doomed.txt'";
    assert_eq!(cluster.value::<i64>(0, gone).await, 0);
    files.cluster().shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_change_one_file_and_one_of_them_deletes_it() {
    let cluster = TestCluster::migrated(1).await;
    let processes = [cluster.files().await, cluster.files().await];
    for _ in 0..5 {
        let file = store(&processes[0], json!({"user_id": 1, "file_name": "a.txt"})).await;
        let sizes = async {
            for size in 0..40 {
                let changed =
                    patch(&processes[0], &file, json!({"size_bytes": size}), FileCondition::Any).await.unwrap();
                assert_eq!(changed.size_bytes, Some(size));
            }
        };
        let names = async {
            for number in 0..40 {
                let (name, any) = (format!("{number}.txt"), FileCondition::Any);
                assert_eq!(patch(&processes[1], &file, json!({"file_name": name}), any).await.unwrap().file_name, name);
            }
        };
        join(sizes, names).await;
        let (_, last) = processes[0].find(file.file_id, UserId::new(1)).await.unwrap();
        assert_eq!((last.size_bytes, last.file_name.as_str()), (Some(39), "39.txt"));
        let ended = join_all(processes.iter().map(|files| delete(files, &file))).await;
        assert_eq!(ended.iter().filter(|ended| ended.is_ok()).count(), 1, "{ended:?}");
        assert!(ended.iter().any(|ended| matches!(ended, Err(FileError::NotFound(_)))), "{ended:?}");
    }
    for files in processes {
        files.cluster().shut_down().await;
    }
}

/// Stores a file and lets `act` change it, once, over a connection that breaks in place of the answer; gives the sizes
/// that are stored in the end.
async fn lose_the_answer<T>(act: impl AsyncFnOnce(&FileService, &File) -> T) -> (T, Vec<i64>) {
    let cluster = TestCluster::migrated(1).await;
    let proxy = Proxy::start(cluster.port(0)).await;
    let through = cluster.url(0).replace(&format!(":{}/", cluster.port(0)), &format!(":{}/", proxy.port()));
    let opened = Cluster::open(vec![ShardOptions::parse(&through).unwrap()], limits()).await.unwrap();
    let files = files_on(opened, WriterLimits { queue: 100, batch: 100 });
    let file = store(&files, json!({"user_id": 1, "file_name": "a.txt", "size_bytes": 1})).await;

    let mut hold = cluster.connect(0).await;
    run(&mut hold, "BEGIN; SELECT pg_advisory_xact_lock(5040, 1)").await.unwrap();
    let lose = async {
        poll::until_true("the change to wait", async || cluster.value::<i64>(0, WAITING).await == 1).await;
        proxy.set_mode(Mode::LoseAnswers);
        run(&mut hold, "COMMIT").await.unwrap();
    };
    let (answer, ()) = join(act(&files, &file), lose).await;
    files.cluster().shut_down().await;
    let sizes = "SELECT coalesce(array_agg(size_bytes::bigint), '{}') FROM file_metadata";
    (answer, cluster.value(0, sizes).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_whose_answer_is_lost_is_not_made_again() {
    let (deleted, sizes) = lose_the_answer(async |files, file| delete(files, file).await).await;
    // A second try would say that there never was such a file.
    assert!(matches!(deleted, Err(FileError::Shard(ShardError::Unavailable { .. }))), "{deleted:?}");
    assert_eq!(sizes, [0_i64; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_named_state_whose_answer_is_lost_is_not_made_again() {
    let (changed, sizes) = lose_the_answer(async |files, file| {
        let condition = FileCondition::Tag(Some(file.tag()));
        patch(files, file, json!({"size_bytes": 7}), condition).await
    })
    .await;
    // A second try would say that somebody else changed the file.
    assert!(matches!(changed, Err(FileError::Shard(ShardError::Unavailable { .. }))), "{changed:?}");
    assert_eq!(sizes, [7]);
}

/// What the clients of [`sessions_that_are_ended_lose_and_repeat_nothing`] have counted.
#[derive(Default)]
struct Seen {
    rounds: AtomicUsize,
    /// Deletions that were made or not, as their connection broke.
    unknown: AtomicUsize,
}

/// Stores, changes and deletes files, and knows each time what must be there.
async fn keep_changing(files: Arc<FileService>, user: i64, stop: Arc<AtomicBool>, seen: Arc<Seen>) {
    while !stop.load(Ordering::Relaxed) {
        let file = store(&files, json!({"user_id": user, "file_name": "a.txt"})).await;
        for size in 0..3 {
            let changed = patch(&files, &file, json!({"size_bytes": size}), FileCondition::Any).await.unwrap();
            assert_eq!(changed.size_bytes, Some(size));
        }
        match delete(&files, &file).await {
            Ok(()) => {
                let found = files.find(file.file_id, UserId::new(user)).await;
                assert!(matches!(found, Err(FileError::NotFound(_))), "{found:?}");
            }
            // Never that there is no such file, as its own first try would have deleted it.
            Err(FileError::Shard(ShardError::Unavailable { .. })) => {
                seen.unknown.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => panic!("{error}"),
        }
        seen.rounds.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_ended_lose_and_repeat_nothing() {
    let cluster = TestCluster::migrated(1).await;
    let files = cluster.files().await;
    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
    let mut clients = JoinSet::new();
    for user in 0..16 {
        clients.spawn(keep_changing(Arc::clone(&files), user, Arc::clone(&stop), Arc::clone(&seen)));
    }
    for round in 1..=8 {
        poll::until_true("further rounds", async || {
            assert!(clients.try_join_next().is_none(), "a client has ended");
            seen.rounds.load(Ordering::Relaxed) >= round * 40
        })
        .await;
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shardrive'";
        cluster.psql(0, end).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    clients.join_all().await;
    let rows = cluster.value::<i64>(0, "SELECT count(*) FROM file_metadata WHERE size_bytes = 2").await;
    let all = cluster.value::<i64>(0, "SELECT count(*) FROM file_metadata").await;
    let counted = cluster.value::<i64>(0, "SELECT sum(rows)::bigint FROM shardrive.slot_totals").await;
    assert_eq!((rows, counted), (all, all), "each file has its last size, and is counted");
    let unknown = i64::try_from(seen.unknown.load(Ordering::Relaxed)).unwrap();
    assert!(rows <= unknown, "{rows} files are left, of {unknown} whose deletion came to no answer");
    files.cluster().shut_down().await;
}

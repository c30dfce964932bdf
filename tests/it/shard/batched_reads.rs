//! Reads that are answered together: each caller gets its own answer, wherever its slot is by now.
//!
//! On a runtime of one thread all of `join_all`'s reads are in the queue before a lane takes any, so that they are read
//! together.

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use shardrive::files::{File, FileError, FileInput, FilePage, FileService, UserId};
use shardrive::payload::PageSize;
use shardrive::shard::{BatchRead, BatchedReads, ShardCall, ShardError, ShardId, Slot};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::support::moves::Move;
use crate::support::poll;
use crate::support::servers::TestCluster;

/// Asks for its own number; remembers how many were asked for at a time.
struct Probe {
    slot: Slot,
    number: i64,
    batches: Arc<Mutex<Vec<usize>>>,
}

async fn probe(reads: &[Probe], db: &mut PgConnection) -> Result<Vec<Option<i64>>, sqlx::Error> {
    reads[0].batches.lock().unwrap().push(reads.len());
    let mut answers = Vec::new();
    for read in reads {
        let sql =
            "SELECT $1 FROM shardrive.slot_map WHERE slot = $2 AND owner = (SELECT shard_id FROM shardrive.identity)";
        let query = sqlx::query_scalar(sql).bind(read.number).bind(read.slot.to_sql());
        answers.push(query.fetch_optional(&mut *db).await?);
    }
    Ok(answers)
}

impl ShardCall for Probe {
    type Output = i64;

    async fn call(&self, db: &mut PgConnection, _: ShardId) -> Result<Option<i64>, sqlx::Error> {
        let alone = Self { slot: self.slot, number: self.number, batches: Arc::clone(&self.batches) };
        Ok(probe(&[alone], db).await?[0])
    }
}

impl BatchRead for Probe {
    fn slot(&self) -> Slot {
        self.slot
    }

    async fn call_all(reads: &[Self], db: &mut PgConnection) -> Result<Vec<Option<i64>>, sqlx::Error> {
        if reads.iter().any(|read| read.number < 0) {
            return Err(sqlx::Error::ColumnNotFound("a fault of the statement".to_owned()));
        }
        probe(reads, db).await
    }
}

#[tokio::test]
async fn many_reads_are_few_statements_and_each_has_its_own_answer() {
    let cluster = TestCluster::migrated(2).await;
    let open = cluster.open().await;
    let gather: BatchedReads<Probe> = BatchedReads::start(Arc::clone(&open));
    let batches = Arc::new(Mutex::new(Vec::new()));
    let ask = |number: i64| {
        let slot = Slot::of_user(number.abs());
        gather.read(Probe { slot, number, batches: Arc::clone(&batches) })
    };
    // Slots that have moved without this process's knowing are in the middle of the batches.
    let moved = [20, 40, 60];
    Move::new(&cluster, &moved, 0, 1).await.run().await;
    let answers = join_all((0..300).map(ask)).await;
    for (number, answer) in (0..).zip(answers) {
        let (shard, answer) = answer.unwrap();
        let expected = if moved.contains(&number) { 1 } else { number % 2 };
        assert_eq!((i32::from(shard.number()), answer), (expected, i64::from(number)));
    }
    let sizes = batches.lock().unwrap().clone();
    assert!((300..330).contains(&sizes.iter().sum::<usize>()), "{sizes:?}");
    assert!(sizes.len() < 30, "{sizes:?}");

    // Who is in a batch with a fault is told of it, and the next one is not.
    let answers = join_all((1..100).map(|number| ask(number * -2))).await;
    assert!(answers.iter().any(|answer| matches!(answer, Err(ShardError::Unexpected { .. }))), "{answers:?}");
    assert_eq!(ask(10).await.unwrap().1, 10);

    open.shut_down().await;
    assert!(matches!(ask(12).await, Err(ShardError::Unavailable { .. })));
}

/// Stores files of some users; gives user and id of each.
async fn store(files: &FileService, users: impl Iterator<Item = i64>) -> Vec<(i64, Uuid)> {
    let mut stored = Vec::new();
    for (number, user) in users.enumerate() {
        let name = format!("{user}-{number}.txt");
        let text = format!(r#"{{"user_id": {user}, "file_name": "{name}", "path": "of/{name}"}}"#);
        let input: FileInput<'_> = serde_json::from_str(&text).unwrap();
        stored.push((user, files.ingest(input.check(files.ids()).unwrap(), None).await.unwrap().file.file_id));
    }
    stored
}

/// An id of the same slot that no file has.
fn unknown(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128() ^ 1 << 64)
}

#[tokio::test]
async fn files_that_are_asked_for_together_are_found_each() {
    let cluster = TestCluster::migrated(2).await;
    let files = cluster.files().await;
    let stored = store(&files, 0..40).await;
    // Each id twice, and between them ids that are nobody's.
    let ids: Vec<_> = stored.iter().flat_map(|&(_, id)| [id, unknown(id), id]).collect();
    let found = join_all(ids.iter().map(|id| files.find(*id, None))).await;
    for (asked, answers) in stored.iter().zip(found.chunks(3)) {
        for answer in [&answers[0], &answers[2]] {
            let (shard, file) = answer.as_ref().unwrap();
            assert_eq!((file.user_id, file.file_id), *asked);
            assert_eq!(file.path, Some(format!("of/{0}-{0}.txt", asked.0)));
            assert_eq!(i64::from(shard.number()), asked.0 % 2);
        }
        assert!(matches!(&answers[1], Err(FileError::NotFound(id)) if *id == unknown(asked.1)));
    }
    let alone = files.find(stored[3].1, None).await.unwrap();
    assert_eq!(alone.1, found[9].as_ref().unwrap().1, "read alone or with others");
}

fn files_in(page: &FilePage) -> Vec<File> {
    serde_json::Deserializer::from_slice(page.files.as_bytes()).into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_user_named_twice_and_one_without_files_have_their_own_pages() {
    let cluster = TestCluster::migrated(2).await;
    let files = cluster.files().await;
    let stored = store(&files, (0..20).chain(0..20).chain(0..20)).await;
    let ids_of = |user: i64| stored.iter().rev().filter(move |(of, _)| *of == user).map(|(_, id)| *id);
    let asked: Vec<(i64, u16)> = (0..22).flat_map(|user| [(user, 2), (user, 50), (user, 2)]).collect();
    let pages =
        asked.iter().map(|&(user, size)| files.list(UserId::new(user).unwrap(), PageSize::new(size).unwrap(), None));
    for ((user, size), answer) in asked.iter().zip(join_all(pages).await) {
        let (_, page) = answer.unwrap();
        let expected: Vec<_> = ids_of(*user).take(usize::from(*size)).collect();
        assert_eq!(files_in(&page).iter().map(|file| file.file_id).collect::<Vec<_>>(), expected);
        assert_eq!(page.next.is_some(), *user < 20 && *size == 2);
    }
}

#[tokio::test]
async fn reads_of_a_slot_on_its_way_wait_for_it_and_the_others_do_not() {
    let cluster = TestCluster::migrated(2).await;
    let files = cluster.files().await;
    let stored = store(&files, (0..20).map(|number| number * 2)).await;
    let moving = |user: i64| user == 10 || user == 20;
    let mut moved = Move::new(&cluster, &[10, 20], 0, 1).await;
    moved.leave().await;

    let done = Arc::new(Mutex::new(Vec::new()));
    let reads = stored.iter().map(|&(user, id)| {
        let (files, done) = (Arc::clone(&files), Arc::clone(&done));
        async move {
            let user_id = UserId::new(user).unwrap();
            let (found, page) =
                tokio::join!(files.find(id, None), files.list(user_id, PageSize::new(5).unwrap(), None));
            let ((shard, file), (there, page)) = (found.unwrap(), page.unwrap());
            done.lock().unwrap().push(user);
            assert_eq!((file.user_id, files_in(&page)), (user, vec![file]));
            assert_eq!((shard.number(), there.number()), if moving(user) { (1, 1) } else { (0, 0) });
        }
    });
    let reads = tokio::spawn(join_all(reads));
    poll::until_true("the others' answers", async || done.lock().unwrap().len() == 18).await;
    assert!(!done.lock().unwrap().iter().any(|user| moving(*user)), "nobody owns their slots");
    moved.copy().await;
    moved.arrive().await;
    moved.clean().await;
    reads.await.unwrap();
    assert_eq!(done.lock().unwrap().len(), stored.len());
}

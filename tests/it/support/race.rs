//! The oracle of the cache: many writers and readers of few files, through several programs. A read that starts after
//! an acknowledged write must show that write.
//!
//! Each file has a single writer, which increases the file's size by 1. The files of a user share a page, so that
//! several writers change the value under one key. A reader records the lowest correct sizes before the request for the
//! page.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::api::client;
use super::{pace, poll};

/// The number of files of a user.
const FILES: usize = 2;
/// The number of writes to a file before a rest.
const BURST: i64 = 5;
/// The longest rest, in short pauses.
const RESTS: u32 = 40;
/// Readers for each user.
const READERS: usize = 4;

/// A file and its known sizes.
struct Tracked {
    user: i64,
    id: Uuid,
    acknowledged: AtomicI64,
    sent: AtomicI64,
}

/// The counted operations and the faults.
#[derive(Default)]
pub struct RaceOutcome {
    pub reads: AtomicU64,
    pub writes: AtomicU64,
    /// Requests with an error as the answer.
    pub failures: Mutex<Vec<String>>,
    /// Answers never given by a correct cache.
    pub stale: Mutex<Vec<String>>,
}

impl RaceOutcome {
    /// Panics if any answer was stale.
    pub fn assert_never_stale(&self) {
        let stale = self.stale.lock().unwrap();
        assert!(stale.is_empty(), "{} stale answers, the first: {:?}", stale.len(), stale.first());
    }

    /// Panics if any request failed.
    pub fn assert_no_failure(&self) {
        let failures = self.failures.lock().unwrap();
        assert!(failures.is_empty(), "{} failures, the first: {:?}", failures.len(), failures.first());
    }

    pub fn operations(&self) -> u64 {
        self.reads.load(Ordering::Relaxed) + self.writes.load(Ordering::Relaxed)
    }
}

/// Writers and readers that run until the race stops.
pub struct Race {
    stop: Arc<AtomicBool>,
    frozen: Arc<AtomicUsize>,
    seen: Arc<RaceOutcome>,
    tasks: JoinSet<()>,
}

/// The shared state of every task.
#[derive(Clone)]
struct RaceContext {
    client: Client,
    bases: Arc<Vec<String>>,
    stop: Arc<AtomicBool>,
    /// The place in `bases` of a program that gives no answers now.
    frozen: Arc<AtomicUsize>,
    seen: Arc<RaceOutcome>,
}

impl RaceContext {
    /// The address of any program that gives answers: clients who all wait for a frozen one would show nothing of the
    /// others.
    fn answering_base(&self) -> &str {
        loop {
            let chosen = rand::rng().random_range(0..self.bases.len());
            if chosen != self.frozen.load(Ordering::Relaxed) {
                return &self.bases[chosen];
            }
        }
    }

    fn any_base(&self) -> &str {
        &self.bases[rand::rng().random_range(0..self.bases.len())]
    }

    fn is_running(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    async fn record_failure(&self, what: &str, answer: String) {
        self.seen.failures.lock().unwrap().push(format!("{what}: {answer}"));
        // A write with an unknown result must not happen after the next write: the database itself would then go
        // back.
        poll::delay(Duration::from_millis(500)).await;
    }
}

impl Race {
    /// Stores files for these users, and begins.
    pub async fn start(bases: &[String], users: impl Iterator<Item = i64>) -> Self {
        let shared = RaceContext {
            client: client(),
            bases: Arc::new(bases.to_vec()),
            stop: Arc::default(),
            frozen: Arc::new(AtomicUsize::new(usize::MAX)),
            seen: Arc::default(),
        };
        let mut tasks = JoinSet::new();
        for user in users {
            let mut files = Vec::new();
            for number in 0..FILES {
                let body = json!({"user_id": user, "file_name": format!("race-{number}"), "size_bytes": 0});
                let stored = shared.client.post(format!("{}/ingest", bases[0])).json(&body).send().await.unwrap();
                let stored: Value = stored.json().await.unwrap();
                let id = stored["data"]["file_id"].as_str().unwrap().parse().unwrap();
                files.push(Tracked { user, id, acknowledged: AtomicI64::new(0), sent: AtomicI64::new(0) });
            }
            let files = Arc::new(files);
            for file in 0..FILES {
                tasks.spawn(write_repeatedly(shared.clone(), Arc::clone(&files), file));
            }
            for reader in 0..READERS {
                // One of them also asks a frozen program.
                let base = if reader == 0 { RaceContext::any_base } else { RaceContext::answering_base };
                tasks.spawn(read_repeatedly(shared.clone(), Arc::clone(&files), base));
            }
        }
        Self { stop: shared.stop, frozen: shared.frozen, seen: shared.seen, tasks }
    }

    /// From now on most clients avoid this program, which gives no answers. `None`: all clients ask every program
    /// again.
    pub fn set_frozen(&self, program: Option<usize>) {
        self.frozen.store(program.unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// Waits for `more` further answers.
    pub async fn wait_for_answers(&self, more: u64) {
        let from = self.seen.operations();
        poll::until("further answers", async || {
            let now = self.seen.operations();
            if now >= from + more {
                Ok(())
            } else {
                Err((now - from, self.seen.failures.lock().unwrap().last().cloned()))
            }
        })
        .await;
    }

    /// Waits for `more` further acknowledged writes.
    pub async fn wait_for_writes(&self, more: u64) {
        let from = self.seen.writes.load(Ordering::Relaxed);
        poll::until("further writes", async || {
            let now = self.seen.writes.load(Ordering::Relaxed);
            if now >= from + more {
                Ok(())
            } else {
                Err((now - from, self.seen.failures.lock().unwrap().last().cloned()))
            }
        })
        .await;
    }

    /// Stops every task after the task's current request.
    pub async fn stop(self) -> Arc<RaceOutcome> {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        self.seen
    }
}

async fn write_repeatedly(shared: RaceContext, files: Arc<Vec<Tracked>>, number: usize) {
    let file = &files[number];
    while shared.is_running() {
        let size = file.sent.fetch_add(1, Ordering::SeqCst) + 1;
        // One writer of each user also asks a frozen program.
        let base = if number == 0 { shared.any_base() } else { shared.answering_base() };
        let request = shared.client.patch(format!("{base}/files/{}", file.id));
        match request.json(&json!({"size_bytes": size})).send().await {
            Ok(answer) if answer.status() == StatusCode::OK => {
                file.acknowledged.store(size, Ordering::SeqCst);
                shared.seen.writes.fetch_add(1, Ordering::Relaxed);
                // A rest after each burst, so that the cache keeps pages for a while.
                if size % BURST == 0 {
                    let rest = rand::random_range(1..RESTS);
                    for _ in 0..rest {
                        poll::short_pause().await;
                    }
                }
            }
            Ok(answer) => shared.record_failure("write", answer.text().await.unwrap_or_default()).await,
            Err(error) => shared.record_failure("write", error.to_string()).await,
        }
    }
}

async fn read_repeatedly(shared: RaceContext, files: Arc<Vec<Tracked>>, base: fn(&RaceContext) -> &str) {
    let user = files[0].user;
    while shared.is_running() {
        let least: Vec<i64> = files.iter().map(|file| file.acknowledged.load(Ordering::SeqCst)).collect();
        let base = base(&shared);
        let page: Value = match shared.client.get(format!("{base}/query/{user}")).send().await {
            Ok(answer) if answer.status() == StatusCode::OK => answer.json().await.unwrap_or_default(),
            Ok(answer) => {
                shared.record_failure("read", answer.text().await.unwrap_or_default()).await;
                continue;
            }
            Err(error) => {
                shared.record_failure("read", error.to_string()).await;
                continue;
            }
        };
        shared.seen.reads.fetch_add(1, Ordering::Relaxed);
        for (file, least) in files.iter().zip(least) {
            let id = file.id.to_string();
            let found = page["files"].as_array().into_iter().flatten().find(|found| found["file_id"] == id.as_str());
            let size = found.and_then(|found| found["size_bytes"].as_i64());
            let most = file.sent.load(Ordering::SeqCst);
            if size.is_none_or(|size| size < least || size > most) {
                let fault = format!("user {user} at {base}: {size:?} is not from {least} to {most}");
                shared.seen.stale.lock().unwrap().push(fault);
            }
        }
        pace::between_requests().await;
    }
}

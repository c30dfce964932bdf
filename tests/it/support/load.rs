//! Clients of running programs with a record of every answer, and the oracle that compares the answers with the rows.
//! They store files one by one and in bulk, rename and delete some, list, and count.
//!
//! Each task has separate users, in the given slots, so that the task knows the correct listings.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::api::client;
use super::servers::TestCluster;
use super::{pace, poll};

/// The number of files in a bulk request.
const BULK: usize = 20;
/// A task takes new users after this many requests, so that a listing stays one page.
const GENERATION: usize = 200;

/// Tasks that store, list and count until the load stops.
pub struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<LoadOutcome>,
    tasks: JoinSet<()>,
}

/// The record of all answers.
#[derive(Default)]
pub struct LoadOutcome {
    /// The users of the acknowledged files, by file name.
    files: Mutex<HashMap<String, i64>>,
    /// Names that no file has any more.
    gone: Mutex<HashSet<String>>,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    deletions_sent: AtomicU64,
    deletions_acknowledged: AtomicU64,
    answers: AtomicU64,
    outcomes: Mutex<BTreeMap<String, u64>>,
    failures: Mutex<Vec<String>>,
    violations: Mutex<Vec<String>>,
}

impl Load {
    /// Starts tasks that send to the programs at `bases` in turn, for users of these slots.
    pub fn start(bases: &[String], tasks: usize, slots: &[i32]) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(LoadOutcome::default()));
        let mut set = JoinSet::new();
        for number in 0..tasks {
            let task = Task {
                number,
                tasks,
                base: bases[number % bases.len()].clone(),
                slots: slots.to_vec(),
                client: client(),
                stop: Arc::clone(&stop),
                seen: Arc::clone(&seen),
                mine: HashMap::new(),
            };
            set.spawn(task.run());
        }
        Self { stop, seen, tasks: set }
    }

    /// Waits until `more` further requests have succeeded.
    pub async fn wait_for_answers(&self, more: u64) {
        let from = self.seen.answers.load(Ordering::Relaxed);
        poll::until("further answers", async || {
            let now = self.seen.answers.load(Ordering::Relaxed);
            if now >= from + more {
                Ok(())
            } else {
                Err((now - from, self.seen.failures.lock().unwrap().last().cloned()))
            }
        })
        .await;
    }

    /// Stops every task after the task's current request.
    pub async fn stop(self) -> Arc<LoadOutcome> {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        self.seen
    }
}

impl LoadOutcome {
    /// How many requests ended in which way.
    pub fn outcomes(&self) -> BTreeMap<String, u64> {
        self.outcomes.lock().unwrap().clone()
    }

    /// How many files were stored and not deleted, if every request had an answer.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst) - self.deletions_acknowledged.load(Ordering::SeqCst)
    }

    /// Answers never given by a correct service.
    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
    }

    /// Panics if any request failed or any answer was wrong.
    pub fn assert_no_fault(&self) {
        let (failures, violations) = (self.failures.lock().unwrap(), self.violations());
        assert!(violations.is_empty(), "{} wrong answers, the first: {:?}", violations.len(), violations.first());
        assert!(failures.is_empty(), "{} failures, the first: {:?}", failures.len(), failures.first());
    }

    /// The wrong rows. Every acknowledged file must exist once, on its slot's owner, and no file that was renamed or
    /// deleted. No row may exist twice, or on a shard that does not own the slot.
    pub async fn find_wrong_rows(&self, cluster: &TestCluster, shards: usize) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut stored: HashMap<String, (i64, usize)> = HashMap::new();
        for shard in 0..shards {
            let mut db = cluster.connect(shard).await;
            let rows: Vec<(String, i64, bool)> = sqlx::query_as(
                "SELECT f.file_name, f.user_id, m.owner = i.shard_id
                   FROM file_metadata AS f, shardrive.slot_map AS m, shardrive.identity AS i
                  WHERE m.slot = shardrive.slot_of(f.user_id)",
            )
            .fetch_all(&mut db)
            .await
            .unwrap();
            for (name, user, owned) in rows {
                if !owned {
                    wrong.push(format!("{name} of user {user} stands on shard {shard}, which is not its owner"));
                }
                stored.entry(name).or_insert((user, 0)).1 += 1;
            }
        }
        let twice = stored.iter().filter(|(_, (_, copies))| *copies > 1);
        wrong.extend(twice.map(|(name, (user, copies))| format!("{name} of user {user} is stored {copies} times")));
        for (name, user) in self.files.lock().unwrap().iter() {
            if stored.get(name).is_none_or(|(stored, _)| stored != user) {
                wrong.push(format!("{name} of user {user} was acknowledged and is not there"));
            }
        }
        let gone = self.gone.lock().unwrap();
        wrong
            .extend(gone.iter().filter(|name| stored.contains_key(*name)).map(|name| format!("{name} is still there")));
        wrong
    }
}

struct Task {
    number: usize,
    tasks: usize,
    base: String,
    slots: Vec<i32>,
    client: Client,
    stop: Arc<AtomicBool>,
    seen: Arc<LoadOutcome>,
    /// Acknowledged names of the present users.
    mine: HashMap<i64, HashSet<String>>,
}

impl Task {
    async fn run(mut self) {
        for turn in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if turn % GENERATION == 0 {
                self.mine.clear();
            }
            let slot = self.slots[(self.number + turn / 8) % self.slots.len()];
            let lap = 1 + self.number + self.tasks * (turn / GENERATION);
            let user = i64::from(slot) + 5040 * i64::try_from(lap).unwrap();
            match turn % 8 {
                0 | 2 => drop(self.ingest(user, turn).await),
                1 => self.rename(user, turn).await,
                3 => self.delete(user, turn).await,
                4 => self.bulk(user, turn).await,
                5 | 6 => self.list(user).await,
                _ => self.count().await,
            }
            pace::between_requests().await;
        }
    }

    /// Stores a file; gives its address. A file with an id may be sent again until acknowledged, and is still stored
    /// once.
    async fn ingest(&mut self, user: i64, turn: usize) -> Option<String> {
        let name = format!("single-{}-{turn}", self.number);
        let mut body = json!({"user_id": user, "file_name": name, "size_bytes": 3});
        if turn % 2 == 1 {
            body["file_id"] = json!(Uuid::new_v4());
        }
        self.seen.sent.fetch_add(1, Ordering::SeqCst);
        loop {
            let request = self.client.post(format!("{}/ingest", self.base)).json(&body);
            match self.send("ingest", request).await {
                Some(answer) => {
                    self.acknowledge(user, [name]);
                    let id = answer["data"]["file_id"].as_str().unwrap();
                    return Some(format!("{}/files/{id}?user_id={user}", self.base));
                }
                None if turn % 2 == 1 && !self.stop.load(Ordering::Relaxed) => {}
                None => return None,
            }
        }
    }

    async fn rename(&mut self, user: i64, turn: usize) {
        let Some(address) = self.ingest(user, turn).await else { return };
        let (old, new) = (format!("single-{}-{turn}", self.number), format!("renamed-{}-{turn}", self.number));
        // Until the answer it may have either name.
        self.forget(user, &old);
        let request = self.client.patch(address).json(&json!({"file_name": new}));
        let Some(answer) = self.send("rename", request).await else { return };
        if answer["data"]["file_name"] != new {
            self.record_violation(format!("a file that was renamed to {new} was answered with {answer}"));
        }
        self.seen.gone.lock().unwrap().insert(old);
        self.seen.files.lock().unwrap().insert(new.clone(), user);
        self.mine.entry(user).or_default().insert(new);
    }

    async fn delete(&mut self, user: i64, turn: usize) {
        let Some(address) = self.ingest(user, turn).await else { return };
        let name = format!("single-{}-{turn}", self.number);
        self.forget(user, &name);
        self.seen.deletions_sent.fetch_add(1, Ordering::SeqCst);
        if self.send("delete", self.client.delete(address)).await.is_some() {
            self.seen.gone.lock().unwrap().insert(name);
            self.seen.deletions_acknowledged.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn bulk(&mut self, user: i64, turn: usize) {
        let names: Vec<_> = (0..BULK).map(|line| format!("bulk-{}-{turn}-{line}", self.number)).collect();
        let lines =
            names.iter().map(|name| format!("{{\"user_id\": {user}, \"file_name\": \"{name}\", \"size_bytes\": 5}}\n"));
        let request = self.client.post(format!("{}/ingest/bulk", self.base)).body(lines.collect::<String>());
        self.seen.sent.fetch_add(u64::try_from(BULK).unwrap(), Ordering::SeqCst);
        let Some(answer) = self.send("bulk", request.header("Content-Type", "application/x-ndjson")).await else {
            return;
        };
        if answer["inserted"] != BULK {
            self.record_violation(format!("a load of {BULK} new files was answered with {answer}"));
        }
        self.acknowledge(user, names);
    }

    async fn list(&mut self, user: i64) {
        let Some(answer) = self.send("query", self.client.get(format!("{}/query/{user}", self.base))).await else {
            return;
        };
        let mut shown: HashMap<&str, usize> = HashMap::new();
        for file in answer["files"].as_array().unwrap() {
            *shown.entry(file["file_name"].as_str().unwrap()).or_default() += 1;
        }
        for (name, times) in &shown {
            if *times > 1 {
                self.record_violation(format!("the listing of user {user} shows {name} {times} times"));
            }
        }
        let gone: Vec<_> = shown.keys().filter(|name| self.seen.gone.lock().unwrap().contains(**name)).collect();
        if !gone.is_empty() {
            self.record_violation(format!("the listing of user {user} shows {gone:?}, which are gone"));
        }
        for name in self.mine.get(&user).into_iter().flatten() {
            if !shown.contains_key(name.as_str()) {
                self.record_violation(format!("the listing of user {user} lacks {name}: {answer}"));
            }
        }
    }

    async fn count(&mut self) {
        let now = |count: &AtomicU64| count.load(Ordering::SeqCst);
        let (stored, deleted) = (now(&self.seen.acknowledged), now(&self.seen.deletions_acknowledged));
        let Some(answer) = self.send("stats", self.client.get(format!("{}/stats", self.base))).await else { return };
        let at_least = stored.saturating_sub(now(&self.seen.deletions_sent));
        let at_most = now(&self.seen.sent) - deleted;
        let total = answer["total_records"].as_u64().unwrap();
        if answer["complete"] == true && !(at_least..=at_most).contains(&total) {
            self.record_violation(format!("/stats says {total}, it was between {at_least} and {at_most}: {answer}"));
        }
        if answer["complete"] != true {
            self.count_outcome("stats: incomplete");
        }
    }

    /// The answer, if the request succeeded.
    async fn send(&self, what: &str, request: RequestBuilder) -> Option<Value> {
        let failure = match request.send().await {
            Err(error) => (format!("{what}: no answer"), format!("{error:?}")),
            Ok(response) => {
                let status = response.status();
                let retry = response.headers().contains_key("Retry-After");
                let text = response.text().await.unwrap_or_else(|error| format!("broke off: {error}"));
                match serde_json::from_str::<Value>(&text) {
                    Ok(value) if status.is_success() => {
                        self.count_outcome(&format!("{what}: {}", status.as_u16()));
                        self.seen.answers.fetch_add(1, Ordering::Relaxed);
                        return Some(value);
                    }
                    Ok(value) => {
                        let code = value["code"].as_str().unwrap_or("without a code").to_owned();
                        // All tasks are the same caller, limited to a few loads at once: the task pauses, and loads
                        // again.
                        if code == "too_many_own_loads" && retry {
                            self.count_outcome(&format!("{what}: 429 {code}"));
                            poll::short_pause().await;
                            return None;
                        }
                        if !matches!(status.as_u16(), 503 | 504) || (status == 503 && !retry) {
                            self.record_violation(format!("{what}: {status}, Retry-After {retry}: {value}"));
                        }
                        (format!("{what}: {} {code}", status.as_u16()), value.to_string())
                    }
                    Err(_) => (format!("{what}: broken answer"), text),
                }
            }
        };
        self.count_outcome(&failure.0);
        self.seen.failures.lock().unwrap().push(format!("{}: {}", failure.0, failure.1));
        poll::short_pause().await;
        None
    }

    fn acknowledge(&mut self, user: i64, names: impl IntoIterator<Item = String>) {
        let mut files = self.seen.files.lock().unwrap();
        for name in names {
            files.insert(name.clone(), user);
            self.mine.entry(user).or_default().insert(name);
            self.seen.acknowledged.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// From now on the file need not be there under this name.
    fn forget(&mut self, user: i64, name: &str) {
        self.seen.files.lock().unwrap().remove(name);
        self.mine.entry(user).or_default().remove(name);
    }

    fn count_outcome(&self, what: &str) {
        *self.seen.outcomes.lock().unwrap().entry(what.to_owned()).or_default() += 1;
    }

    fn record_violation(&self, what: String) {
        self.seen.violations.lock().unwrap().push(what);
    }
}

//! Clients that change folders of their own users while everything dies and moves. Each change is repeated with one
//! `Idempotency-Key` until a process says for sure what became of it, and so each client knows its tree.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rand::prelude::*;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::insist::InsistentClient;
use crate::support::pace;

const ROOT: &str = "00000000-0000-0000-0000-000000000000";
/// Folders of a client at most: a client with more removes some.
const MOST: usize = 40;

/// Clients of drives, until they are stopped.
pub struct DriveLoad {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: JoinSet<DriveClient>,
}

impl DriveLoad {
    /// Starts a client for each of these users.
    pub fn start(bases: &[String], users: &[i64], seed: u64) -> Self {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut clients = JoinSet::new();
        for user in users {
            let client = DriveClient {
                user: *user,
                http: InsistentClient::new(bases),
                random: StdRng::seed_from_u64(seed ^ user.unsigned_abs()),
                tree: BTreeMap::new(),
                wrong: Vec::new(),
                done: Arc::clone(&done),
            };
            clients.spawn(client.run(Arc::clone(&stop)));
        }
        Self { stop, done, clients }
    }

    /// Ends the clients; how many changes were made, and what differs from what each client knows.
    pub async fn judge(mut self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut wrong = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            let mut client = client.unwrap();
            client.compare().await;
            wrong.append(&mut client.wrong);
        }
        (self.done.load(Ordering::Relaxed), wrong)
    }
}

/// A folder of a client's tree.
#[derive(Clone, Debug)]
struct Entry {
    parent: String,
    name: String,
}

struct DriveClient {
    user: i64,
    http: InsistentClient,
    random: StdRng,
    /// Live folders by id.
    tree: BTreeMap<String, Entry>,
    wrong: Vec<String>,
    done: Arc<AtomicU64>,
}

impl DriveClient {
    async fn run(mut self, stop: Arc<AtomicBool>) -> Self {
        while !stop.load(Ordering::Relaxed) {
            match self.random.random_range(0..10) {
                _ if self.tree.len() > MOST => self.trash().await,
                0..4 => self.batch().await,
                4..9 => self.rename().await,
                _ => self.trash().await,
            }
            pace::between_requests().await;
        }
        self
    }

    async fn ask(&mut self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let answer = self.http.ask(&mut self.random, method, path, &body).await;
        self.done.fetch_add(1, Ordering::Relaxed);
        answer
    }

    fn expect(&mut self, what: &str, found: u16, expected: u16, answer: &Value) {
        if found != expected {
            self.wrong.push(format!("user {}: {what}: {found} instead of {expected}: {answer}", self.user));
        }
    }

    fn pick(&mut self) -> Option<String> {
        self.tree.keys().choose(&mut self.random).cloned()
    }

    fn path(&self, id: &str) -> String {
        match self.tree.get(id) {
            Some(entry) if entry.parent == ROOT => entry.name.clone(),
            Some(entry) => format!("{}/{}", self.path(&entry.parent), entry.name),
            None => String::new(),
        }
    }

    fn is_below(&self, id: &str, top: &str) -> bool {
        id == top || self.tree.get(id).is_some_and(|entry| self.is_below(&entry.parent, top))
    }

    /// A folder with two folders, whole or not at all. No files: those of the other load are counted.
    async fn batch(&mut self) {
        let parent = self.pick().unwrap_or_else(|| ROOT.to_owned());
        let name = Uuid::new_v4().simple().to_string();
        let path = format!("{}/{name}", self.path(&parent));
        let operations = json!([
            {"op": "create_folder", "path": path},
            {"op": "create_folder", "path": format!("{path}/a")},
            {"op": "create_folder", "path": format!("{path}/b")},
        ]);
        let target = format!("/drives/{}/batch", self.user);
        let (status, answer) = self.ask(Method::POST, &target, json!({ "operations": operations })).await;
        self.expect("a batch", status, 200, &answer);
        let id = |number: usize| answer["results"][number]["id"].as_str().unwrap_or_default().to_owned();
        let folder = id(0);
        for (id, name) in [(id(1), "a"), (id(2), "b")] {
            self.tree.insert(id, Entry { parent: folder.clone(), name: name.to_owned() });
        }
        self.tree.insert(folder, Entry { parent, name });
    }

    async fn rename(&mut self) {
        let (Some(id), Some(parent)) = (self.pick(), self.pick()) else { return };
        let name = Uuid::new_v4().simple().to_string();
        let body = json!({"folder_name": name, "parent_id": parent});
        let target = format!("/folders/{id}?user_id={}", self.user);
        let (status, answer) = self.ask(Method::PATCH, &target, body).await;
        let expected = if self.is_below(&parent, &id) { 409 } else { 200 };
        self.expect("a rename", status, expected, &answer);
        if status == 200
            && let Some(entry) = self.tree.get_mut(&id)
        {
            (entry.name, entry.parent) = (name, parent);
        }
    }

    async fn trash(&mut self) {
        let Some(id) = self.pick() else { return };
        let target = format!("/folders/{id}?user_id={}", self.user);
        let (status, answer) = self.ask(Method::DELETE, &target, Value::Null).await;
        // A repeated request finds the folder in the trash.
        if status != 404 {
            self.expect("a deletion", status, 200, &answer);
        }
        let gone: Vec<String> = self.tree.keys().filter(|other| self.is_below(other, &id)).cloned().collect();
        gone.iter().for_each(|id| drop(self.tree.remove(id)));
    }

    /// Reads the whole tree, and notes what differs.
    async fn compare(&mut self) {
        let mut found: Vec<String> = Vec::new();
        let mut after = String::new();
        loop {
            let target = format!("/drives/{}/tree?limit=1000{after}", self.user);
            let (status, page) = self.ask(Method::GET, &target, Value::Null).await;
            self.expect("a listing", status, 200, &page);
            let paths = page["entries"].as_array().into_iter().flatten().filter_map(|entry| entry["path"].as_str());
            found.extend(paths.map(|path| path.trim_end_matches('/').to_owned()));
            match page["next_start_after"].as_str() {
                Some(next) => after = format!("&start_after={next}"),
                None => break,
            }
        }
        let mut expected: Vec<String> = self.tree.keys().map(|id| self.path(id)).collect();
        found.sort();
        expected.sort();
        if found != expected {
            self.wrong.push(format!("user {}: {found:?} is not {expected:?}", self.user));
        }
    }
}

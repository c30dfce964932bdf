//! Clients that move eight folders of one drive into one another while everything dies and moves: at the end each
//! folder is there once, and a way leads from each to the root.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::prelude::*;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::insist::InsistentClient;
use crate::support::pace;

const ROOT: &str = "00000000-0000-0000-0000-000000000000";
const FOLDERS: usize = 8;
const MOVERS: usize = 3;

/// The movers of a drive, until they are stopped.
pub struct Movers {
    user: i64,
    http: Arc<InsistentClient>,
    stop: Arc<AtomicBool>,
    movers: JoinSet<(u64, Vec<String>)>,
}

impl Movers {
    /// Makes the folders, and starts the movers.
    pub async fn start(bases: &[String], user: i64, seed: u64) -> Self {
        let http = Arc::new(InsistentClient::new(bases));
        let mut random = StdRng::seed_from_u64(seed);
        let mut ids = Vec::new();
        for number in 0..FOLDERS {
            let body = json!({"path": format!("f{number}")});
            let (status, made) = http.ask(&mut random, Method::POST, &format!("/drives/{user}/folders"), &body).await;
            assert_eq!(status, 201, "{made}");
            ids.push(made["data"]["folder_id"].as_str().unwrap().to_owned());
        }
        let (stop, mut movers) = (Arc::<AtomicBool>::default(), JoinSet::new());
        for number in 0..MOVERS {
            let random = StdRng::seed_from_u64(seed ^ u64::try_from(number).unwrap());
            movers.spawn(move_folders(Arc::clone(&http), user, ids.clone(), random, Arc::clone(&stop)));
        }
        Self { user, http, stop, movers }
    }

    /// Ends the movers; how many moves were decided, and what is wrong.
    pub async fn judge(mut self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut moves, mut wrong) = (0, Vec::new());
        while let Some(mover) = self.movers.join_next().await {
            let (decided, mut faults) = mover.unwrap();
            moves += decided;
            wrong.append(&mut faults);
        }
        let target = format!("/drives/{}/tree?limit=1000", self.user);
        let (_, page) = self.http.ask(&mut StdRng::seed_from_u64(0), Method::GET, &target, &Value::Null).await;
        let paths = page["entries"].as_array().into_iter().flatten().filter_map(|entry| entry["path"].as_str());
        let mut names: Vec<&str> = paths.filter_map(|path| path.trim_end_matches('/').rsplit('/').next()).collect();
        names.sort_unstable();
        if names != ["f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7"] {
            wrong.push(format!("user {}: the tree has {names:?}", self.user));
        }
        (moves, wrong)
    }
}

/// Moves one folder after the other into any other one.
async fn move_folders(
    http: Arc<InsistentClient>,
    user: i64,
    ids: Vec<String>,
    mut random: StdRng,
    stop: Arc<AtomicBool>,
) -> (u64, Vec<String>) {
    let (mut moves, mut wrong) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let (one, other) = (random.random_range(0..FOLDERS), random.random_range(0..=FOLDERS));
        let parent = ids.get(other).map_or(ROOT, String::as_str);
        let target = format!("/folders/{}?user_id={user}", ids[one]);
        let (status, answer) = http.ask(&mut random, Method::PATCH, &target, &json!({"parent_id": parent})).await;
        let is_decided = status == 200 || answer["code"] == "would_cycle";
        if !is_decided {
            wrong.push(format!("user {user}: a move was answered {status}: {answer}"));
        }
        moves += 1;
        pace::between_requests().await;
    }
    (moves, wrong)
}

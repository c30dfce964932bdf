//! Clients that want little: each stores, reads, changes and loads a few files of its own, and remembers what went
//! wrong.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::LONGEST;
use crate::support::certificates::TestCa;
use crate::support::poll;

/// Where bystanders come from: nobody else does.
const ADDRESS: &str = "203.0.113.200";
const LINES: usize = 10;

/// What a bystander does over and over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cycle {
    Whole,
    Reads,
}

/// Bystanders until they are stopped.
pub struct Bystanders {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    tasks: JoinSet<()>,
}

/// What bystanders met.
#[derive(Default)]
pub struct Seen {
    answers: Vec<Duration>,
    failures: Vec<String>,
}

impl Seen {
    /// What may not be.
    pub fn wrong(&self) -> Vec<String> {
        let slow = self.answers.iter().filter(|took| **took >= LONGEST).map(|took| format!("an answer took {took:?}"));
        self.failures.iter().cloned().chain(slow).collect()
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.answers.clone();
        sorted.sort_unstable();
        let at = |percent: usize| sorted.get(sorted.len() * percent / 100).map_or(0.0, |took| took.as_secs_f64() * 1e3);
        let count = sorted.len();
        write!(f, "{count:>6} answers, {} failed, p50 {:.0} ms, p99 {:.0} ms", self.failures.len(), at(50), at(99))
    }
}

impl Bystanders {
    /// One task for each user.
    pub fn start(client: &Client, base: &str, users: &[(i64, Cycle)]) -> Self {
        let (stop, seen, mut tasks) = (Arc::new(AtomicBool::new(false)), Arc::default(), JoinSet::new());
        for (user, cycle) in users {
            let one = Bystander {
                client: client.clone(),
                base: base.to_owned(),
                user: *user,
                stop: Arc::clone(&stop),
                seen: Arc::clone(&seen),
            };
            tasks.spawn(one.run(*cycle));
        }
        Self { stop, seen, tasks }
    }

    /// Waits for so many further answers.
    pub async fn wait_for_answers(&self, more: usize) {
        let count = || self.seen.lock().unwrap().answers.len();
        let from = count();
        poll::until("answers of bystanders", async || {
            let last = || self.seen.lock().unwrap().failures.last().cloned();
            if count() >= from + more { Ok(()) } else { Err((count() - from, last())) }
        })
        .await;
    }

    pub async fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

struct Bystander {
    client: Client,
    base: String,
    user: i64,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
}

impl Bystander {
    async fn run(self, cycle: Cycle) {
        let user = self.user;
        let query = format!("/query/{user}?limit=5");
        let mut file = None;
        for turn in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if cycle == Cycle::Whole {
                let name = json!({"user_id": user, "file_name": format!("bystander-{turn}")});
                let stored = self.ask(Method::POST, "/ingest", Some(("application/json", name.to_string()))).await;
                file = stored.and_then(|stored| Some(stored["data"]["file_id"].as_str()?.to_owned())).or(file);
                let lines: String =
                    (0..LINES).map(|line| format!("{{\"user_id\":{user},\"file_name\":\"{line}\"}}\n")).collect();
                self.ask(Method::POST, "/ingest/bulk", Some(("application/x-ndjson", lines))).await;
            }
            self.ask(Method::GET, &query, None).await;
            if let Some(file) = &file {
                let path = format!("/files/{file}");
                let change = json!({"size_bytes": turn}).to_string();
                self.ask(Method::PATCH, &path, Some(("application/json", change))).await;
                let found = self.ask(Method::GET, &path, None).await;
                if found.is_some_and(|found| found["data"]["size_bytes"] != turn && found["size_bytes"] != turn) {
                    self.seen.lock().unwrap().failures.push(format!("{path} does not show the last change"));
                }
            }
        }
    }

    /// The answer, if it is a success.
    async fn ask(&self, method: Method, path: &str, body: Option<(&str, String)>) -> Option<Value> {
        let what = format!("{method} {path}");
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some((kind, text)) = body {
            request = request.header("Content-Type", kind).body(text);
        }
        let begun = Instant::now();
        let answer = async {
            let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
            let (status, text) = (answer.status(), answer.text().await.map_err(|error| format!("{error:?}"))?);
            let value: Value = serde_json::from_str(&text).map_err(|_| format!("{status}: {text}"))?;
            // A load is a success only if it stored every line.
            let is_whole = value.get("inserted").is_none_or(|inserted| *inserted == LINES);
            if status.is_success() && is_whole { Ok(value) } else { Err(format!("{status}: {value}")) }
        };
        let answer: Result<Value, String> = answer.await;
        let mut seen = self.seen.lock().unwrap();
        match answer {
            Ok(value) => {
                seen.answers.push(begun.elapsed());
                Some(value)
            }
            Err(failure) => {
                seen.failures.push(format!("{what}: {failure}"));
                None
            }
        }
    }
}

/// A client that keeps its connections.
pub fn client() -> Client {
    builder().build().unwrap()
}

/// A client that comes anew with each request, over TLS.
pub fn newcomer(authority: &TestCa) -> Client {
    let root = Certificate::from_pem(authority.pem.as_bytes()).unwrap();
    builder().tls_certs_only([root]).pool_max_idle_per_host(0).build().unwrap()
}

fn builder() -> ClientBuilder {
    let _ = crate::support::api::client(); // sees to the provider of TLS
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-for", HeaderValue::from_static(ADDRESS));
    Client::builder().no_proxy().timeout(LONGEST * 3).default_headers(headers)
}

/// True for what a caller may be told that asks for too much.
pub fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

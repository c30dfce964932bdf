//! Processes of the service are replaced one by one under load, as an orchestrator does it: no request fails.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::api::{AS_SHIPPED, Api, client};
use crate::support::poll;
use crate::support::servers::TestCluster;

/// How often the balancer asks whether a process is ready.
const PROBE: Duration = Duration::from_millis(100);

/// Sends each request to the next process that is ready, over connections that are kept.
struct Balancer {
    bases: RwLock<Vec<(String, Arc<AtomicBool>)>>,
    next: AtomicUsize,
    client: Client,
    done: AtomicU64,
    failures: Mutex<BTreeMap<String, u64>>,
    stop: AtomicBool,
}

impl Balancer {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            bases: RwLock::default(),
            next: AtomicUsize::new(0),
            client: client(),
            done: AtomicU64::new(0),
            failures: Mutex::default(),
            stop: AtomicBool::new(false),
        })
    }

    /// Takes a process in, and asks it from then on whether it is ready.
    async fn add(self: &Arc<Self>, base: &str) {
        let ready = Arc::new(AtomicBool::new(false));
        self.bases.write().unwrap().push((base.to_owned(), Arc::clone(&ready)));
        let (all, url) = (Arc::clone(self), format!("{base}/health/ready"));
        let found = Arc::clone(&ready);
        tokio::spawn(async move {
            // Over connections of its own, as kubelet does.
            let prober = client();
            while !all.stop.load(Ordering::Relaxed) {
                let answer = prober.get(&url).send().await;
                found.store(answer.is_ok_and(|answer| answer.status() == StatusCode::OK), Ordering::Relaxed);
                poll::delay(PROBE).await;
            }
        });
        poll::until_true("the process to be ready", async || ready.load(Ordering::Relaxed)).await;
    }

    fn pick(&self) -> String {
        let bases = self.bases.read().unwrap();
        let ready: Vec<_> = bases.iter().filter(|(_, ready)| ready.load(Ordering::Relaxed)).collect();
        ready[self.next.fetch_add(1, Ordering::Relaxed) % ready.len()].0.clone()
    }

    /// Two reads for each write; whatever is no success is a failure.
    async fn send(&self, number: u64) {
        let (base, user) = (self.pick(), number % 1000);
        let request = match number % 3 {
            0 => self.client.post(format!("{base}/ingest")).json(&json!({"user_id": user, "file_name": "f"})),
            _ => self.client.get(format!("{base}/query/{user}?limit=5")),
        };
        let failure = match request.send().await {
            Ok(answer) if answer.status().is_success() => match answer.bytes().await {
                Ok(_) => None,
                Err(error) => Some(format!("{error:?}")),
            },
            Ok(answer) => Some(answer.status().to_string()),
            Err(error) => Some(format!("{error:?}")),
        };
        self.done.fetch_add(1, Ordering::Relaxed);
        if let Some(failure) = failure {
            *self.failures.lock().unwrap().entry(failure).or_default() += 1;
        }
    }

    /// Sends at this rate until it is told to stop; requests that take long hold up none of the others.
    async fn run(self: Arc<Self>, rate: u64) {
        let mut turns = tokio::time::interval(Duration::from_millis(10));
        let (begun, mut sent, mut requests) = (Instant::now(), 0, JoinSet::new());
        while !self.stop.load(Ordering::Relaxed) {
            turns.tick().await;
            let due = u64::try_from(begun.elapsed().as_millis()).unwrap() * rate / 1000;
            while sent < due {
                let all = Arc::clone(&self);
                requests.spawn(async move { all.send(sent).await });
                sent += 1;
            }
            while requests.try_join_next().is_some() {}
        }
        requests.join_all().await;
    }
}

async fn replace_all_under_load(rate: u64) {
    let cluster = TestCluster::migrated(2).await;
    let settings = [AS_SHIPPED.as_slice(), &[("DRAIN_DELAY_S", "1")]].concat();
    let balancer = Balancer::new();
    let mut apis = Vec::new();
    for _ in 0..3 {
        let api = Api::start_with(&cluster, &settings).await;
        balancer.add(api.base()).await;
        apis.push(api);
    }
    let load = tokio::spawn(Arc::clone(&balancer).run(rate));
    let begun = Instant::now();
    let progress = async |more| {
        let from = balancer.done.load(Ordering::Relaxed);
        poll::until_true("requests", async || balancer.done.load(Ordering::Relaxed) >= from + more).await;
    };
    progress(rate).await;
    for api in &mut apis {
        let new = Api::start_with(&cluster, &settings).await;
        balancer.add(new.base()).await;
        let mut old = std::mem::replace(api, new);
        old.sigterm();
        assert!(old.ended().await);
        progress(rate / 2).await;
    }
    let took = begun.elapsed();
    balancer.stop.store(true, Ordering::Relaxed);
    load.await.unwrap();
    let (done, failures) = (balancer.done.load(Ordering::Relaxed), balancer.failures.lock().unwrap());
    eprintln!("{done} requests in {took:?}, three processes replaced, failures: {failures:?}");
    assert_eq!(*failures, BTreeMap::new(), "of {done} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_request() {
    replace_all_under_load(300).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a machine for itself; run it by its name"]
async fn a_rolling_restart_fails_no_request_at_2000_a_second() {
    replace_all_under_load(2000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_drains_answers_and_closes_its_connections() {
    let cluster = TestCluster::migrated(2).await;
    let mut api = Api::start_with(&cluster, &[("DRAIN_DELAY_S", "3600")]).await;
    assert!(!api.get("/query/42").await.headers().contains_key("Connection"));
    api.sigterm();
    poll::until_true("the process to be not ready", async || {
        api.get("/health/ready").await.status() == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    for path in ["/query/42", "/health/live", "/no/such/path"] {
        let answer = api.get(path).await;
        assert_eq!(answer.headers()["Connection"], "close", "{path}: {}", answer.status());
    }
    let (status, _) = api.post_json("/ingest", &json!({"user_id": 42, "file_name": "late"})).await;
    assert_eq!(status, StatusCode::CREATED);
    api.kill9();
}

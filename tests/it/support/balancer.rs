//! Load at a steady rate over several processes, some of which start and stop, balanced like an ingress controller.
//!
//! Each request goes to the next ready process, over kept connections. Readiness probes work like kubelet's: one probe
//! in each period, over connections of its own. Several failures in a row remove a process, one success adds the
//! process again. Requests begin at their due times, even if earlier requests are unanswered, and no request is sent
//! twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::api::{AS_SHIPPED, Api, client};
use super::poll;
use super::servers::TestCluster;

/// Connections to all processes together. A request without a free connection waits, and the wait counts.
const CONNECTIONS: usize = 400;

/// The settings of the readiness probes.
#[derive(Clone, Copy)]
pub struct Probe {
    pub period: Duration,
    /// This many failures in a row remove a process.
    pub failures: u32,
}

/// A process behind the balancer.
struct Backend {
    base: String,
    ready: AtomicBool,
    gone: AtomicBool,
}

/// A balancer and its load.
pub struct Balancer {
    probe: Probe,
    backends: RwLock<Vec<Arc<Backend>>>,
    next: AtomicUsize,
    client: Client,
    prober: Client,
    connections: Semaphore,
    done: AtomicU64,
    failures: Mutex<BTreeMap<String, u64>>,
    /// From a request's due time to the end of its answer.
    latencies: Mutex<Vec<Duration>>,
    stop: AtomicBool,
}

impl Balancer {
    pub fn new(probe: Probe) -> Arc<Self> {
        Arc::new(Self {
            probe,
            backends: RwLock::default(),
            next: AtomicUsize::new(0),
            client: client(),
            prober: client(),
            connections: Semaphore::new(CONNECTIONS),
            done: AtomicU64::new(0),
            failures: Mutex::default(),
            latencies: Mutex::default(),
            stop: AtomicBool::new(false),
        })
    }

    /// Adds a process, and waits until a probe finds the process ready.
    pub async fn add(self: &Arc<Self>, base: &str) {
        let (ready, gone) = (AtomicBool::new(false), AtomicBool::new(false));
        let backend = Arc::new(Backend { base: base.to_owned(), ready, gone });
        self.backends.write().unwrap().push(Arc::clone(&backend));
        let (all, found) = (Arc::clone(self), Arc::clone(&backend));
        tokio::spawn(async move {
            let url = format!("{}/health/ready", found.base);
            let mut failures = 0;
            while !all.stop.load(Ordering::Relaxed) && !found.gone.load(Ordering::Relaxed) {
                let answer = all.prober.get(&url).send().await;
                let is_ready = answer.is_ok_and(|answer| answer.status() == StatusCode::OK);
                failures = if is_ready { 0 } else { failures + 1 };
                if is_ready || failures >= all.probe.failures {
                    found.ready.store(is_ready, Ordering::Relaxed);
                }
                poll::delay(all.probe.period).await;
            }
        });
        poll::until_true("the process to be ready", async || backend.ready.load(Ordering::Relaxed)).await;
    }

    /// Removes a process that has ended.
    pub fn remove(&self, base: &str) {
        self.backends.write().unwrap().retain(|backend| {
            let stays = backend.base != base;
            backend.gone.store(!stays, Ordering::Relaxed);
            stays
        });
    }

    fn pick_ready(&self) -> Option<String> {
        let backends = self.backends.read().unwrap();
        let ready: Vec<_> = backends.iter().filter(|backend| backend.ready.load(Ordering::Relaxed)).collect();
        let turn = self.next.fetch_add(1, Ordering::Relaxed).checked_rem(ready.len())?;
        Some(ready[turn].base.clone())
    }

    /// Sends two reads for each write; any answer but a success is a failure.
    async fn send(&self, number: u64, due: Instant) {
        let failure = self.send_request(number).await.err();
        self.latencies.lock().unwrap().push(due.elapsed());
        self.done.fetch_add(1, Ordering::Relaxed);
        if let Some(failure) = failure {
            *self.failures.lock().unwrap().entry(failure).or_default() += 1;
        }
    }

    async fn send_request(&self, number: u64) -> Result<(), String> {
        let _one = self.connections.acquire().await.unwrap();
        let base = self.pick_ready().ok_or("no process is ready")?;
        let user = number % 1000;
        let request = match number % 3 {
            0 => self.client.post(format!("{base}/ingest")).json(&json!({"user_id": user, "file_name": "f"})),
            _ => self.client.get(format!("{base}/query/{user}?limit=5")),
        };
        let answer = request.send().await.map_err(|error| format!("{:?}", error.without_url()))?;
        if !answer.status().is_success() {
            return Err(answer.status().to_string());
        }
        answer.bytes().await.map_err(|error| format!("{:?}", error.without_url()))?;
        Ok(())
    }

    /// Sends at this rate until the balancer stops; a slow request holds up no other.
    async fn run(self: Arc<Self>, rate: u64) {
        let mut turns = tokio::time::interval(Duration::from_millis(5));
        let (begun, mut sent, mut requests) = (Instant::now(), 0, JoinSet::new());
        while !self.stop.load(Ordering::Relaxed) {
            turns.tick().await;
            let due = u64::try_from(begun.elapsed().as_millis()).unwrap() * rate / 1000;
            while sent < due {
                let (all, at) = (Arc::clone(&self), begun + Duration::from_micros(sent * 1_000_000 / rate));
                requests.spawn(async move { all.send(sent, at).await });
                sent += 1;
            }
            while requests.try_join_next().is_some() {}
        }
        requests.join_all().await;
    }
}

/// The result of a rolling restart under load.
#[derive(Debug)]
pub struct RollingRestart {
    requests: u64,
    pub failed: BTreeMap<String, u64>,
    replaced: usize,
    took: Duration,
    /// The warnings of the replaced processes.
    pub warnings: BTreeSet<String>,
    /// In ascending order.
    latencies: Vec<Duration>,
}

impl RollingRestart {
    /// The longest latency without the worst 1/`of` of the requests, in milliseconds.
    fn latency(&self, of: usize) -> f64 {
        let rank = self.latencies.len().saturating_sub(1 + self.latencies.len() / of);
        self.latencies.get(rank).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }
}

impl fmt::Display for RollingRestart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        write!(
            f,
            "{} requests ({:.0}/s) in {seconds:.1} s while {} processes were replaced; ms from the time that was due: \
             p50 {:.1}, p99 {:.1}, p99.9 {:.1}, longest {:.1}",
            self.requests,
            f64::from(u32::try_from(self.requests).unwrap()) / seconds,
            self.replaced,
            self.latency(2),
            self.latency(100),
            self.latency(1000),
            self.latency(usize::MAX),
        )
    }
}

/// Replaces three processes one after the other, `rounds` times, under requests at this rate. A new process is ready
/// before an old one gets SIGTERM, as with `maxSurge: 1` and `maxUnavailable: 0`. `drain` is in seconds.
pub async fn replace_all_under_load(
    program: &str,
    rate: u64,
    rounds: usize,
    probe: Probe,
    drain: &str,
) -> RollingRestart {
    let cluster = TestCluster::migrated(2).await;
    // The balancer is a proxy: all connections come from its address.
    let settings =
        [AS_SHIPPED.as_slice(), &[("SHARDRIVE_DRAIN_DELAY_S", drain), ("SHARDRIVE_TRUSTED_PROXIES", "127.0.0.1")]]
            .concat();
    let balancer = Balancer::new(probe);
    let mut apis = Vec::new();
    for _ in 0..3 {
        let api = Api::start_build(program, &cluster, &settings).await;
        balancer.add(api.base()).await;
        apis.push(api);
    }
    let mut warnings = BTreeSet::new();
    let load = tokio::spawn(Arc::clone(&balancer).run(rate));
    let begun = Instant::now();
    let progress = async |more| {
        let from = balancer.done.load(Ordering::Relaxed);
        poll::until_true("requests", async || balancer.done.load(Ordering::Relaxed) >= from + more).await;
    };
    progress(rate).await;
    for turn in 0..3 * rounds {
        let new = Api::start_build(program, &cluster, &settings).await;
        balancer.add(new.base()).await;
        let mut old = std::mem::replace(&mut apis[turn % 3], new);
        old.sigterm();
        assert!(old.wait_for_exit().await, "{}", old.log());
        let said = old.log();
        let warned =
            |line: &&str| (line.contains(" WARN ") || line.contains(" ERROR ")) && !line.contains("code=not_ready");
        warnings.extend(
            said.lines().filter(warned).filter_map(|line| line.split_once(' ')).map(|(_, what)| what.to_owned()),
        );
        balancer.remove(old.base());
        progress(rate / 2).await;
    }
    let took = begun.elapsed();
    balancer.stop.store(true, Ordering::Relaxed);
    load.await.unwrap();
    let mut latencies = std::mem::take(&mut *balancer.latencies.lock().unwrap());
    latencies.sort_unstable();
    let failed = balancer.failures.lock().unwrap().clone();
    RollingRestart {
        requests: balancer.done.load(Ordering::Relaxed),
        failed,
        replaced: 3 * rounds,
        took,
        warnings,
        latencies,
    }
}

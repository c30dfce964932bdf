//! One shard: its state and its connection pools.
//!
//! `impl Shard` stands in these files:
//!
//! - `shard.rs` (here): the state, the pools, idle connections
//! - `borrow.rs`: the way from a call to a connection
//! - `calls.rs`: runs calls, and reports answers and losses to the circuit
//! - `admission.rs`, `shortage.rs`, `counters.rs`: the limits of callers, the shortages, the counters

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use deadpool::managed::Timeouts;
use sqlx::PgConnection;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use super::admission::PoolAdmission;
use super::circuit::CircuitBreaker;
use super::counters::ShardCounters;
use super::health::ShardState;
use super::look_pace::{is_just_now, is_long_ago};
use super::options::{ShardOptions, clock_micros};
use super::pool::{BorrowedConnection, ShardIdentity, ShardLimits, ShardPool, new_pool};
use super::replica::ShardReplicas;
use super::shortage::ServerShortages;
use crate::shard::slot::ShardId;

/// A call waits this long for its thread's connection, and then for one of the shard's pool: another call of the thread
/// may need the thread's connection for as long as a read takes.
const THREAD_WAIT: Duration = Duration::from_millis(5);

/// A connection outside the pool, kept by one task.
pub(in crate::shard) struct ServerSession {
    opened: Instant,
    pub(in crate::shard) connection: PgConnection,
}

impl ServerSession {
    /// The kept session if the database has not moved since; otherwise a new session.
    ///
    /// # Errors
    /// See [`Shard::connect`].
    pub(in crate::shard) async fn reuse_or_connect(shard: &Shard, kept: Option<Self>) -> Result<Self, sqlx::Error> {
        match kept.filter(|kept| !shard.options().has_moved_since(kept.opened)) {
            Some(kept) => Ok(kept),
            None => Ok(Self { opened: Instant::now(), connection: shard.connect().await? }),
        }
    }
}

/// One shard of the cluster: a PostgreSQL database that knows its own number.
pub struct Shard {
    pub(super) id: ShardId,
    pub(super) pool: ShardPool,
    pub(super) thread_pools: Mutex<HashMap<ThreadId, ShardPool>>,
    pub(super) limits: ShardLimits,
    pub(super) circuit: watch::Sender<CircuitBreaker>,
    /// Calls lost since the last answer.
    pub(super) losses: AtomicU32,
    pub(super) openings: AtomicU64,
    takes_writes: AtomicBool,
    /// When another look than a probe has last found what a good probe finds, by [`clock_micros`]; 0: never.
    last_good_look: AtomicU64,
    /// When a request last needed the shard, by [`clock_micros`]; 0: never.
    last_use: AtomicU64,
    look_request: Notify,
    pub(in crate::shard) replicas: ShardReplicas,
    pub(super) probe_request: Notify,
    pub(super) has_warned: AtomicBool,
    pub(in crate::shard) admission: PoolAdmission,
    pub(in crate::shard) shortages: ServerShortages,
    pub(in crate::shard) counters: ShardCounters,
}

impl Shard {
    /// Creates a shard; the pool's connections belong to the caller's runtime.
    pub(in crate::shard) fn new(
        options: ShardOptions,
        identity: ShardIdentity,
        limits: ShardLimits,
        state: ShardState,
    ) -> Self {
        let replicas = ShardReplicas::new(&options, identity, limits);
        let pool = new_pool(options, identity, limits, limits.pool_max);
        let circuit = if state == ShardState::Healthy { CircuitBreaker::Closed } else { CircuitBreaker::Open };
        Self {
            id: identity.shard,
            pool,
            thread_pools: Mutex::default(),
            limits,
            circuit: watch::channel(circuit).0,
            losses: AtomicU32::new(0),
            openings: AtomicU64::new(0),
            takes_writes: AtomicBool::new(true),
            last_good_look: AtomicU64::new(0),
            last_use: AtomicU64::new(0),
            look_request: Notify::new(),
            replicas,
            probe_request: Notify::new(),
            has_warned: AtomicBool::new(false),
            admission: PoolAdmission::new(limits.pool_max),
            shortages: ServerShortages::new(),
            counters: ShardCounters::new(),
        }
    }

    /// The shard's number.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The addresses of the shard's database.
    #[must_use]
    pub fn options(&self) -> &ShardOptions {
        &self.pool.manager().options
    }

    /// Whether the shard gets calls.
    #[must_use]
    pub fn state(&self) -> ShardState {
        if self.circuit().admits_calls() { ShardState::Healthy } else { ShardState::Unreachable }
    }

    /// The state of the circuit breaker.
    #[must_use]
    pub fn circuit(&self) -> CircuitBreaker {
        *self.circuit.borrow()
    }

    /// How often the circuit has opened since this process began.
    #[must_use]
    pub fn circuit_openings(&self) -> u64 {
        self.openings.load(Ordering::Relaxed)
    }

    /// False while the server is set to read-only: reads work, writes are refused.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        self.takes_writes.load(Ordering::Relaxed)
    }

    /// True if a session that was opened at this time leads to the server that is the primary now, as far as is known.
    pub(crate) fn leads_to_primary(&self, opened: Instant) -> bool {
        !self.options().has_moved_since(opened)
    }

    /// Records that a session which leads to the primary has just been answered, and takes writes. A probe would find
    /// the same, and is left out for a moment.
    pub(crate) fn record_good_look(&self) {
        self.last_good_look.store(clock_micros(Instant::now()), Ordering::Relaxed);
    }

    /// True if a good look was recorded within this time.
    pub(super) fn had_good_look_within(&self, limit: Duration) -> bool {
        let last = self.last_good_look.load(Ordering::Relaxed);
        last != 0 && Duration::from_micros(clock_micros(Instant::now()).saturating_sub(last)) <= limit
    }

    /// Records that a request needs the shard at this time. A shard at rest is then looked at soon.
    pub(crate) fn record_use(&self, at: Instant) {
        let used = self.last_use.load(Ordering::Relaxed);
        // Every request comes here: what all threads write would go from one processor's cache to the other's.
        if is_just_now(used, at) {
            return;
        }
        self.last_use.store(clock_micros(at), Ordering::Relaxed);
        if is_long_ago(used, at) {
            self.request_look();
        }
    }

    /// Requests a look at the cache's fence now.
    pub(crate) fn request_look(&self) {
        self.look_request.notify_one();
    }

    /// Waits until a look at the cache's fence is requested. Cancel safe. One task at a time may wait.
    pub(crate) async fn look_requested(&self) {
        self.look_request.notified().await;
    }

    /// True while the shard answers and takes writes, and no request has needed the shard for a while.
    pub(crate) fn rests(&self) -> bool {
        let is_well = self.circuit().admits_calls() && self.takes_writes();
        is_well && is_long_ago(self.last_use.load(Ordering::Relaxed), Instant::now())
    }

    /// Records whether the server takes writes; true if the answer has changed.
    pub(super) fn set_takes_writes(&self, takes_writes: bool) -> bool {
        self.takes_writes.swap(takes_writes, Ordering::Relaxed) != takes_writes
    }

    /// The standbys for reads that may be a little old.
    #[must_use]
    pub fn replicas(&self) -> &ShardReplicas {
        &self.replicas
    }

    /// The number of open connections in the pool.
    #[must_use]
    pub fn pool_size(&self) -> usize {
        self.pool.status().size
    }

    /// Opens `pool_min` connections for the first requests.
    pub(in crate::shard) async fn warm_up(&self) {
        let mut connections = Vec::new();
        for _ in 0..self.limits.pool_min.min(self.limits.pool_max) {
            match self.borrow_connection().await {
                Ok(connection) => connections.push(connection),
                Err(_) => break,
            }
        }
        connections.into_iter().for_each(BorrowedConnection::give_back);
    }

    /// The pool of the main runtime.
    pub(in crate::shard) fn pool(&self) -> &ShardPool {
        &self.pool
    }

    /// The caller's thread pool: one connection, driven by the thread's own runtime, so that an answer wakes no other
    /// thread.
    pub(in crate::shard) fn thread_pool(&self) -> ShardPool {
        let connector = self.pool.manager();
        let limits = ShardLimits { call_timeout: THREAD_WAIT, ..self.limits };
        let new = || new_pool(connector.options.clone(), connector.identity, limits, 1);
        let mut pools = self.thread_pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.entry(std::thread::current().id()).or_insert_with(new).clone()
    }

    /// The caller's thread pool while its connection is free. `None` on the main runtime, which has the shard's pool.
    pub(super) fn free_thread_pool(&self) -> Option<ShardPool> {
        if Handle::current().id() == self.pool.manager().runtime.id() {
            return None;
        }
        let pool = self.thread_pool();
        let status = pool.status();
        (status.waiting == 0 && (status.available > 0 || status.size == 0)).then_some(pool)
    }

    /// How long a statement may take.
    pub(in crate::shard) fn call_timeout(&self) -> Duration {
        self.limits.call_timeout
    }

    /// Closes the idle connections, which lead to a server that may be the primary no more.
    pub(crate) fn close_idle_connections(&self) {
        for pool in self.all_pools() {
            pool.retain(|_, _| false);
        }
    }

    /// After a broken connection, each idle one must answer a ping before use. Those are not closed at once, as the
    /// server may have no other connections to give.
    pub(in crate::shard) fn distrust_idle_connections(&self) {
        self.all_pools().iter().for_each(|pool| pool.manager().distrust_idle());
    }

    /// Pings every idle connection, all at once, and closes each one without an answer.
    pub(super) async fn check_idle_connections(&self, limit: Duration) {
        let timeouts = Timeouts { wait: Some(Duration::ZERO), create: Some(Duration::ZERO), recycle: Some(limit) };
        let (pools, timeouts) = (self.all_pools(), &timeouts);
        let asks = pools.iter().flat_map(|pool| (0..pool.status().available).map(|_| pool.timeout_get(timeouts)));
        // Each connection goes back into its pool at its drop.
        futures_util::future::join_all(asks).await;
    }

    pub(in crate::shard) fn close(&self) {
        self.replicas.close();
        self.all_pools().iter().for_each(ShardPool::close);
    }

    /// The shard's pool and the pools of the threads.
    pub(in crate::shard) fn all_pools(&self) -> Vec<ShardPool> {
        let others = self.thread_pools.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::once(&self.pool).chain(others.values()).cloned().collect()
    }
}

//! One shard: its state, its pool, and the way from a call to a connection.

use crate::shard::server::pool::ShardLimits;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use deadpool::managed::{PoolError, QueueMode, TimeoutType, Timeouts};
use sqlx::PgConnection;
use tokio::sync::{Notify, watch};

use super::admission::PoolAdmission;
use super::circuit::{CircuitBreaker, CircuitEvent};
use super::counters::ShardCounters;
use super::fault::{DbFault, ServerResource};
use super::health::{ShardState, wait_until_open};
use super::options::ShardOptions;
use super::pool::{ConnectionLease, PooledConnection, ShardConnector, ShardIdentity, ShardPool};
use super::replica::ShardReplicas;
use super::shortage::ServerShortages;
use crate::shard::error::ShardError;
use crate::shard::slot::ShardId;

/// How often a call tries again to get a connection, after the connection broke or took too long.
const RECONNECTS: u32 = 2;
/// After a server refused a new connection, calls use only open connections for this long.
const REFUSAL_PAUSE: Duration = Duration::from_millis(500);
/// How often a call looks for an idle connection meanwhile.
const IDLE_POLL: Duration = Duration::from_millis(10);

/// A pool on the caller's runtime.
pub(super) fn new_pool(options: ShardOptions, identity: ShardIdentity, limits: ShardLimits, size: usize) -> ShardPool {
    let connector = ShardConnector::new(options, identity, limits.connect_timeout, tokio::runtime::Handle::current());
    let timeouts = Timeouts {
        wait: Some(limits.call_timeout),
        create: Some(limits.connect_timeout),
        recycle: Some(limits.health_timeout),
    };
    let pool = ShardPool::builder(connector)
        .max_size(size)
        .timeouts(timeouts)
        // The connection used last is the likeliest to be warm, and the others may rest.
        .queue_mode(QueueMode::Lifo)
        .runtime(deadpool::Runtime::Tokio1)
        .build();
    #[expect(clippy::expect_used, reason = "building fails only where timeouts are set and no runtime is")]
    pool.expect("a pool with a runtime can be built")
}

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
    id: ShardId,
    pool: ShardPool,
    thread_pools: Mutex<HashMap<ThreadId, ShardPool>>,
    limits: ShardLimits,
    circuit: watch::Sender<CircuitBreaker>,
    /// Calls lost since the last answer.
    losses: AtomicU32,
    openings: AtomicU64,
    takes_writes: AtomicBool,
    pub(in crate::shard) replicas: ShardReplicas,
    probe_request: Notify,
    has_warned: AtomicBool,
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
        let mut leases = Vec::new();
        for _ in 0..self.limits.pool_min.min(self.limits.pool_max) {
            match self.lease().await {
                Ok(lease) => leases.push(lease),
                Err(_) => break,
            }
        }
        leases.into_iter().for_each(ConnectionLease::give_back);
    }

    /// The pool of the main runtime.
    pub(in crate::shard) fn pool(&self) -> &ShardPool {
        &self.pool
    }

    /// The caller's thread pool: one connection, driven by the thread's own runtime, so that an answer wakes no other
    /// thread.
    pub(in crate::shard) fn thread_pool(&self) -> ShardPool {
        let connector = self.pool.manager();
        let new = || new_pool(connector.options.clone(), connector.identity, self.limits, 1);
        let mut pools = self.thread_pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.entry(std::thread::current().id()).or_insert_with(new).clone()
    }

    /// A connection outside the pool.
    ///
    /// # Errors
    /// The driver's error, or `Configuration` if the database is another shard's.
    pub async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let connected = self.pool.manager().connect().await;
        match &connected {
            Ok(_) => self.record_new_connection(),
            Err(error) => {
                self.record_fault(error);
            }
        }
        connected
    }

    /// How long a statement may take.
    pub(in crate::shard) fn call_timeout(&self) -> Duration {
        self.limits.call_timeout
    }

    /// A connection of the pool, with a deadline for the wait.
    ///
    /// # Errors
    /// `Unavailable` at once if the shard is known to be away, `Overloaded` if all connections stay busy.
    pub async fn lease(&self) -> Result<ConnectionLease, ShardError> {
        self.lease_from(&self.pool).await
    }

    /// As [`Shard::lease`], from the given pool. While the server gives no new connections, the lease comes from the
    /// shard's own pool.
    pub(in crate::shard) async fn lease_from(&self, mut pool: &ShardPool) -> Result<ConnectionLease, ShardError> {
        let (mut tries, until) = (0, Instant::now() + self.limits.call_timeout);
        loop {
            self.require_healthy()?;
            if pool.status().available == 0 && self.lacked_within(ServerResource::Connections, REFUSAL_PAUSE) {
                pool = &self.pool;
                self.wait_for_idle_connection(until).await?;
            }
            let got = self.while_healthy(pool.get()).await?;
            let failed_on_the_way = match &got {
                Err(PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle)) => true,
                Err(PoolError::Backend(error)) => match self.record_fault(error) {
                    DbFault::Exhausted(ServerResource::Connections) => continue,
                    fault => fault == DbFault::ConnectionLost,
                },
                _ => false,
            };
            // This process itself may have stood still. The wait for an unreachable shard ends with the shard's
            // health.
            if !failed_on_the_way || tries == RECONNECTS {
                return self.lease_from_outcome(got);
            }
            self.request_probe();
            tries += 1;
        }
    }

    /// Waits until the pool has an idle connection, or until the server may be asked for a new one again.
    async fn wait_for_idle_connection(&self, until: Instant) -> Result<(), ShardError> {
        let shard = self.id;
        while self.lacked_within(ServerResource::Connections, REFUSAL_PAUSE) {
            let status = self.pool.status();
            if status.available > 0 {
                return Ok(());
            }
            // Without any connection there is none to come back.
            if status.size == 0 || Instant::now() >= until {
                return Err(ShardError::Exhausted { shard, resource: ServerResource::Connections });
            }
            self.while_healthy(tokio::time::sleep(IDLE_POLL)).await?;
        }
        Ok(())
    }

    fn lease_from_outcome(&self, got: Result<PooledConnection, PoolError<sqlx::Error>>) -> Result<ConnectionLease, ShardError> {
        let shard = self.id;
        match got {
            Ok(object) => Ok(ConnectionLease::new(object)),
            Err(PoolError::Timeout(TimeoutType::Wait)) => Err(ShardError::Overloaded { shard }),
            Err(PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle)) => {
                self.record_loss();
                Err(ShardError::Unavailable { shard })
            }
            Err(PoolError::Backend(error)) => {
                let fault = DbFault::of(&error);
                if !matches!(fault, DbFault::Exhausted(_)) {
                    self.record_loss();
                }
                match fault {
                    DbFault::Unexpected => {
                        if !self.has_warned.swap(true, Ordering::Relaxed) {
                            log::error!("shard {shard} refuses connections: {error}");
                        }
                        Err(ShardError::Unavailable { shard })
                    }
                    fault => Err(fault.into_error(shard, error)),
                }
            }
            Err(PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_)) => {
                Err(ShardError::Unavailable { shard })
            }
        }
    }

    /// Refuses a call for an unreachable shard.
    ///
    /// # Errors
    /// `Unavailable` while the circuit is open.
    pub fn require_healthy(&self) -> Result<(), ShardError> {
        match self.state() {
            ShardState::Healthy => Ok(()),
            ShardState::Unreachable => Err(ShardError::Unavailable { shard: self.id }),
        }
    }

    /// Waits for `work` while the shard is healthy, and no longer than a call may take.
    ///
    /// # Errors
    /// `Unavailable` when the shard goes away meanwhile, `Timeout` at the deadline. The work is dropped then.
    pub async fn while_healthy<T>(&self, work: impl Future<Output = T>) -> Result<T, ShardError> {
        self.while_healthy_for(None, work).await
    }

    /// As [`Shard::while_healthy`], with a different time limit.
    ///
    /// # Errors
    /// See [`Shard::while_healthy`].
    pub(crate) async fn while_healthy_for<T>(
        &self,
        limit: Option<Duration>,
        work: impl Future<Output = T>,
    ) -> Result<T, ShardError> {
        let mut circuit = self.circuit.subscribe();
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = wait_until_open(&mut circuit) => Err(ShardError::Unavailable { shard: self.id }),
            () = tokio::time::sleep(limit.unwrap_or(self.limits.call_timeout)) => Err(ShardError::Timeout { shard: self.id }),
        }
    }

    /// Requests a health probe now: a call met a sign of an unreachable shard.
    pub fn request_probe(&self) {
        self.probe_request.notify_one();
    }

    pub(super) async fn probe_requested(&self) {
        self.probe_request.notified().await;
        // When a server goes away, many calls fail together; one probe is enough for all of them.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    /// Records an answered call. Costs nothing unless calls were lost before.
    pub fn record_answer(&self) {
        if self.losses.load(Ordering::Relaxed) != 0 {
            self.losses.store(0, Ordering::Relaxed);
            self.apply_circuit_event(CircuitEvent::CallAnswered);
        }
    }

    /// Records a lost call, after the possible repetitions: the connection broke, could not be opened, or brought no
    /// answer in time. Too many lost calls in a row open the circuit until the shard answers a probe.
    pub fn record_loss(&self) {
        let run = self.losses.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if self.apply_circuit_event(CircuitEvent::CallsLost(run)) == Some(CircuitBreaker::Open) {
            log::warn!("shard {} at {} loses calls; none is sent until it answers", self.id, self.options().address());
        }
        self.request_probe();
    }

    /// Applies an event to the circuit; returns the new state after a change.
    pub(in crate::shard) fn apply_circuit_event(&self, event: CircuitEvent) -> Option<CircuitBreaker> {
        let mut news = None;
        self.circuit.send_if_modified(|circuit| {
            let new = circuit.state_after(event);
            news = (new != *circuit).then_some(new);
            *circuit = new;
            news.is_some()
        });
        match news {
            Some(CircuitBreaker::Open) => {
                self.openings.fetch_add(1, Ordering::Relaxed);
                self.distrust_idle_connections();
            }
            // On trial: the next answer must reach the circuit as well.
            Some(CircuitBreaker::HalfOpen) => self.losses.store(1, Ordering::Relaxed),
            Some(CircuitBreaker::Closed) => {
                self.losses.store(0, Ordering::Relaxed);
                self.has_warned.store(false, Ordering::Relaxed);
            }
            None => {}
        }
        news
    }

    /// Closes the idle connections, which lead to a server that may be the primary no more.
    pub(crate) fn forget_idle(&self) {
        for pool in self.pools() {
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
        // Each lease goes back into its pool at its drop.
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

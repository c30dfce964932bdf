//! One shard: its state, its pool, and how a call gets a connection to it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use deadpool::managed::{PoolError, QueueMode, TimeoutType, Timeouts};
use sqlx::PgConnection;
use tokio::sync::{Notify, watch};

use super::health::{ShardState, until};
use super::observe::ShardCounters;
use super::pool::{Connector, Identity, Lease, Object, Pool, ShardOptions};
use super::{DbFault, ShardError, ShardId};

/// How often opening a connection is tried again after it broke off or took too long.
const RECONNECTS: u32 = 2;

/// How much of a shard the service may use, and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct ShardLimits {
    /// Connections that are opened at start.
    pub pool_min: usize,
    /// Connections at most, besides one for each writer, the health check and each thread that serves HTTP.
    pub pool_max: usize,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long one statement may take.
    pub call_timeout: Duration,
    /// How long a request keeps trying while its slot changes hands.
    pub move_timeout: Duration,
    /// How long a shard may leave a health check unanswered.
    pub health_timeout: Duration,
    /// How often a shard is looked at.
    pub health_interval: Duration,
}

/// A pool on the runtime that this is called on.
fn new_pool(options: ShardOptions, identity: Identity, limits: ShardLimits, size: usize) -> Pool {
    let connector = Connector {
        options,
        identity,
        connect_timeout: limits.connect_timeout,
        runtime: tokio::runtime::Handle::current(),
    };
    let timeouts = Timeouts {
        wait: Some(limits.call_timeout),
        create: Some(limits.connect_timeout),
        recycle: Some(limits.health_timeout),
    };
    let pool = Pool::builder(connector)
        .max_size(size)
        .timeouts(timeouts)
        // The connection used last is the likeliest to be warm, and the others may rest.
        .queue_mode(QueueMode::Lifo)
        .runtime(deadpool::Runtime::Tokio1)
        .build();
    #[expect(clippy::expect_used, reason = "building fails only where timeouts are set and no runtime is")]
    pool.expect("a pool with a runtime can be built")
}

/// One shard of the cluster: a PostgreSQL database that knows its number.
pub struct Shard {
    id: ShardId,
    pool: Pool,
    thread_pools: Mutex<HashMap<ThreadId, Pool>>,
    limits: ShardLimits,
    state: watch::Sender<ShardState>,
    suspicion: Notify,
    warned: AtomicBool,
    pub(super) counters: ShardCounters,
}

impl Shard {
    /// The connections of its pool belong to the runtime that this is called on.
    pub(super) fn new(options: ShardOptions, identity: Identity, limits: ShardLimits, state: ShardState) -> Self {
        let pool = new_pool(options, identity, limits, limits.pool_max);
        let (state, _) = watch::channel(state);
        Self {
            id: identity.shard,
            pool,
            thread_pools: Mutex::default(),
            limits,
            state,
            suspicion: Notify::new(),
            warned: AtomicBool::new(false),
            counters: ShardCounters::new(),
        }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Where its database is.
    #[must_use]
    pub fn options(&self) -> &ShardOptions {
        &self.pool.manager().options
    }

    /// What the last look at it found.
    #[must_use]
    pub fn state(&self) -> ShardState {
        *self.state.borrow()
    }

    /// Connections in its pool at the moment.
    #[must_use]
    pub fn pool_size(&self) -> usize {
        self.pool.status().size
    }

    /// Opens `pool_min` connections, so that the first requests find them.
    pub(super) async fn warm_up(&self) {
        let mut leases = Vec::new();
        for _ in 0..self.limits.pool_min.min(self.limits.pool_max) {
            match self.lease().await {
                Ok(lease) => leases.push(lease),
                Err(_) => break,
            }
        }
        leases.into_iter().for_each(Lease::give_back);
    }

    /// The pool of the main runtime.
    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The pool of the thread that this is called on: one connection, whose input and output the thread's own runtime
    /// drives, so that an answer wakes no other thread.
    pub(super) fn pool_here(&self) -> Pool {
        let connector = self.pool.manager();
        let new = || new_pool(connector.options.clone(), connector.identity, self.limits, 1);
        let mut pools = self.thread_pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.entry(std::thread::current().id()).or_insert_with(new).clone()
    }

    /// A connection of one's own, outside the pool.
    ///
    /// # Errors
    /// The driver's error, or `Configuration` if the database is another shard's.
    pub async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        self.pool.manager().connect().await
    }

    /// A connection of the pool, with a deadline for the wait.
    ///
    /// # Errors
    /// `Unavailable` at once if the shard is known to be away, `Overloaded` if all connections stay busy.
    pub async fn lease(&self) -> Result<Lease, ShardError> {
        self.lease_from(&self.pool).await
    }

    /// As [`Shard::lease`], from the shard's pool or a thread's.
    pub(super) async fn lease_from(&self, pool: &Pool) -> Result<Lease, ShardError> {
        let mut tries = 0;
        loop {
            self.check()?;
            let got = self.while_healthy(pool.get()).await?;
            let failed_on_the_way = match &got {
                Err(PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle)) => true,
                Err(PoolError::Backend(error)) => DbFault::of(error) == DbFault::ConnectionLost,
                _ => false,
            };
            // Perhaps it was this process that stood still. A shard that is away ends the wait by its health.
            if !failed_on_the_way || tries == RECONNECTS {
                return self.lease_of(got);
            }
            self.suspect();
            tries += 1;
        }
    }

    fn lease_of(&self, got: Result<Object, PoolError<sqlx::Error>>) -> Result<Lease, ShardError> {
        let shard = self.id;
        match got {
            Ok(object) => Ok(Lease::new(object)),
            Err(PoolError::Timeout(TimeoutType::Wait)) => Err(ShardError::Overloaded { shard }),
            Err(PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle)) => {
                self.suspect();
                Err(ShardError::Unavailable { shard })
            }
            Err(PoolError::Backend(error)) => {
                self.suspect();
                match DbFault::of(&error) {
                    DbFault::Unexpected => {
                        if !self.warned.swap(true, Ordering::Relaxed) {
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

    /// `Unavailable` if the shard is known to be away.
    ///
    /// # Errors
    /// See above.
    pub fn check(&self) -> Result<(), ShardError> {
        match self.state() {
            ShardState::Healthy => Ok(()),
            ShardState::Unreachable => Err(ShardError::Unavailable { shard: self.id }),
        }
    }

    /// Waits for `work`, but not longer than the shard is healthy and not longer than a call may take.
    ///
    /// # Errors
    /// `Unavailable` when the shard goes away meanwhile, `Timeout` at the deadline. The work is dropped then.
    pub async fn while_healthy<T>(&self, work: impl Future<Output = T>) -> Result<T, ShardError> {
        self.while_healthy_for(None, work).await
    }

    /// As [`Shard::while_healthy`], with a time limit of its own.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn while_healthy_for<T>(
        &self,
        limit: Option<Duration>,
        work: impl Future<Output = T>,
    ) -> Result<T, ShardError> {
        let mut state = self.state.subscribe();
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = until(&mut state, ShardState::Unreachable) => Err(ShardError::Unavailable { shard: self.id }),
            () = tokio::time::sleep(limit.unwrap_or(self.limits.call_timeout)) => Err(ShardError::Timeout { shard: self.id }),
        }
    }

    /// Asks for a look at the shard now: a call met something that looks as if it were away.
    pub fn suspect(&self) {
        self.suspicion.notify_one();
    }

    pub(super) async fn suspected(&self) {
        self.suspicion.notified().await;
        // Many calls fail together when a server goes; one look is enough for all of them.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    /// Sets the state; true if it changed.
    pub(super) fn set_state(&self, new: ShardState) -> bool {
        let changed = self.state.send_if_modified(|state| std::mem::replace(state, new) != new);
        if changed && new == ShardState::Unreachable {
            // What is idle in the pool is dead or suspect; a shard that comes back gets new connections.
            self.forget_idle();
        }
        if changed && new == ShardState::Healthy {
            self.warned.store(false, Ordering::Relaxed);
        }
        changed
    }

    /// Closes the connections that lie idle: one of them broke, so the others are likely broken too.
    pub(super) fn forget_idle(&self) {
        for pool in self.pools() {
            pool.retain(|_, _| false);
        }
    }

    pub(super) fn close(&self) {
        self.pools().iter().for_each(Pool::close);
    }

    /// The shard's pool and those of the threads.
    pub(super) fn pools(&self) -> Vec<Pool> {
        let others = self.thread_pools.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::once(&self.pool).chain(others.values()).cloned().collect()
    }
}

//! The connection pool of a shard, and the identity check of each new connection.
//!
//! The pool holds sqlx connections in deadpool. sqlx's own pool pings the server at each release, which costs half of
//! a small read (docs/decisions/0004-connections.md). A [`BorrowedConnection`] goes back only when its user calls the
//! connection clean. A connection dropped early (by a cancelled request, a deadline or an error) closes its
//! connection.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, QueueMode, RecycleError, RecycleResult, Timeouts};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::options::{ShardOptions, clock_micros};
use super::primary::ServerLineage;
use crate::shard::slot::ShardId;

/// For this long after its last use a connection is reused without a ping.
const TRUST_PERIOD: Duration = Duration::from_secs(30);

/// Which database a connection must lead to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::shard) struct ShardIdentity {
    pub(in crate::shard) cluster_id: Uuid,
    pub(in crate::shard) shard: ShardId,
    /// The newest migration of this program, which the database must have.
    pub(in crate::shard) schema_version: Option<i64>,
    pub(in crate::shard) role: RequiredRole,
}

/// The required role of the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::shard) enum RequiredRole {
    /// A primary, even if an operator has set the server to read-only.
    Primary,
    /// A standby of a primary.
    Standby,
}

/// A database's report of identity and history.
#[derive(sqlx::FromRow)]
struct FoundDatabase {
    cluster_id: Uuid,
    shard_id: i32,
    schema_version: Option<i64>,
    system: i64,
    /// None on a standby.
    timeline: Option<i32>,
}

/// Opens connections, and refuses a connection to any other database than the shard's.
pub(in crate::shard) struct ShardConnector {
    pub(in crate::shard) options: ShardOptions,
    pub(in crate::shard) identity: ShardIdentity,
    pub(in crate::shard) connect_timeout: Duration,
    /// The runtime that drives the connections' input and output. A connection dies with the opening runtime.
    /// The threads that serve HTTP have runtimes of their own, which end one by one when the service stops.
    pub(in crate::shard) runtime: Handle,
    /// A connection last used before this moment must answer a ping before its next use. In microseconds of the
    /// process's clock.
    distrusted_before: AtomicU64,
}

impl ShardConnector {
    pub(in crate::shard) fn new(
        options: ShardOptions,
        identity: ShardIdentity,
        connect_timeout: Duration,
        runtime: Handle,
    ) -> Self {
        Self { options, identity, connect_timeout, runtime, distrusted_before: AtomicU64::new(0) }
    }

    /// From now on each open connection must answer a ping before its next use.
    pub(in crate::shard) fn distrust_idle(&self) {
        self.distrusted_before.store(clock_micros(Instant::now()), Ordering::Relaxed);
    }

    /// A connection to the shard's own database.
    ///
    /// # Errors
    /// The driver's error, or `Configuration` if the database is another shard's.
    pub(in crate::shard) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let opening = open_checked(self.options.clone(), self.identity, self.connect_timeout);
        // A separate task also keeps this large future, which is rarely needed, out of every request's future.
        let opened = AbortOnDropHandle::new(self.runtime.spawn(opening)).await;
        opened.unwrap_or(Err(sqlx::Error::WorkerCrashed)) // the runtime is shutting down
    }
}

async fn open_checked(
    options: ShardOptions,
    expected: ShardIdentity,
    limit: Duration,
) -> Result<PgConnection, sqlx::Error> {
    let mut connection = options.connect(limit).await?;
    let found: Option<FoundDatabase> = sqlx::query_as(include_str!("../../../sql/shard/identify_database.sql"))
        .fetch_optional(&mut connection)
        .await?;
    let (address, shard) = (options.address(), expected.shard);
    // As if no server listened there: the primary is elsewhere, or will be in a moment.
    let elsewhere = |text| Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::ConnectionRefused, text)));
    let refused = match found {
        Some(found) if (found.cluster_id, found.shard_id) == (expected.cluster_id, shard.to_sql()) => {
            let lineage = found.timeline.map(|timeline| ServerLineage { system: found.system, timeline });
            match (expected.role, lineage) {
                // A newer schema is fine: migrations keep what the program before them needs.
                _ if found.schema_version < expected.schema_version => {
                    format!("{address} lacks migrations; run \"shardrive migrate\"")
                }
                (RequiredRole::Primary, None) => return elsewhere(format!("{address} is a standby, not the primary")),
                (RequiredRole::Standby, Some(_)) => return elsewhere(format!("{address} is no longer a standby")),
                (RequiredRole::Primary, Some(lineage)) if !options.accept_primary(lineage) => {
                    return elsewhere(format!(
                        "{address} leads to a former primary, which a newer primary has replaced"
                    ));
                }
                _ => return Ok(connection),
            }
        }
        _ => format!("{address} is not the database of shard {shard}"),
    };
    Err(sqlx::Error::Configuration(refused.into()))
}

impl managed::Manager for ShardConnector {
    type Type = PgConnection;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<PgConnection, sqlx::Error> {
        self.connect().await
    }

    async fn recycle(&self, connection: &mut PgConnection, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if self.options.has_moved_since(metrics.created) {
            return Err(RecycleError::message("the database has moved to another server since"));
        }
        // A recently used connection is trusted; an idle connection may have been cut off unnoticed.
        let last_used = metrics.recycled.unwrap_or(metrics.created);
        if last_used.elapsed() < TRUST_PERIOD
            && clock_micros(last_used) > self.distrusted_before.load(Ordering::Relaxed)
        {
            return Ok(());
        }
        connection.ping().await.map_err(RecycleError::Backend)
    }
}

pub(in crate::shard) type ShardPool = managed::Pool<ShardConnector>;
pub(in crate::shard) type PooledConnection = managed::Object<ShardConnector>;

/// A connection on loan from a shard's pool. [`BorrowedConnection::give_back`] returns the connection, a drop closes
/// it.
pub struct BorrowedConnection(Option<managed::Object<ShardConnector>>);

impl BorrowedConnection {
    pub(in crate::shard) fn new(object: managed::Object<ShardConnector>) -> Self {
        Self(Some(object))
    }

    /// Returns the connection. No transaction may be open, and no answer outstanding.
    pub fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for BorrowedConnection {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(managed::Object::take(object));
        }
    }
}

#[expect(clippy::expect_used, reason = "the object is there until give_back or drop, both of which end the connection")]
impl Deref for BorrowedConnection {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        self.0.as_ref().expect("a connection holds its connection until its end")
    }
}

#[expect(clippy::expect_used, reason = "the object is there until give_back or drop, both of which end the connection")]
impl DerefMut for BorrowedConnection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("a connection holds its connection until its end")
    }
}

/// How much of a shard the service may use, and how long the service waits.
#[derive(Clone, Copy, Debug)]
pub struct ShardLimits {
    /// Connections opened at start.
    pub pool_min: usize,
    /// The most connections, besides the connections for each writer, the health probe and each thread that serves
    /// HTTP.
    pub pool_max: usize,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long one statement may take.
    pub call_timeout: Duration,
    /// How long a request keeps trying while its slot changes hands.
    pub move_timeout: Duration,
    /// How long a shard may leave a health probe unanswered.
    pub health_timeout: Duration,
    /// The interval of the health probes.
    pub health_interval: Duration,
    /// How far a replica's answer may lag behind the primary.
    pub replica_max_lag: Duration,
}

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

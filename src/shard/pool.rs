//! Connections to one shard.
//!
//! A pool of sqlx connections that deadpool keeps: sqlx's own pool pings the server at each release, which costs
//! half of a small read (docs/decisions/0004-connections.md). A [`Lease`] goes back only when its user says that the
//! connection is clean; one that is dropped on the way (a cancelled request, a deadline, an error) is closed.

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::ShardId;

/// Where a shard's database is. Its `Debug` shows no password.
#[derive(Clone)]
pub struct ShardOptions {
    options: PgConnectOptions,
    /// As it was given. It holds the password.
    url: Arc<str>,
}

impl ShardOptions {
    /// Reads a `postgres://user:password@host:port/database` URL.
    ///
    /// # Errors
    /// A text that says what is wrong, without the URL itself: it may hold a password.
    pub fn parse(url: &str) -> Result<Self, String> {
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err("must start with postgres:// or postgresql://".to_owned());
        }
        let options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| match error {
            sqlx::Error::Configuration(reason) => format!("is not a PostgreSQL URL: {reason}"),
            _ => "is not a PostgreSQL URL".to_owned(),
        })?;
        if options.get_database().is_none_or(str::is_empty) {
            return Err("names no database: end it with /drive_shard_0 or the like".to_owned());
        }
        Ok(Self { options, url: url.into() })
    }

    /// Sets what each session of the service has: its name and the server's own time limits.
    #[must_use]
    pub fn with_session(self, statement_timeout: Duration) -> Self {
        let millis = |time: Duration| time.as_millis().to_string();
        Self {
            url: self.url,
            options: self
                .options
                .application_name("shardrive")
                .options([
                    ("statement_timeout", millis(statement_timeout)),
                    ("lock_timeout", millis(statement_timeout)),
                    ("idle_in_transaction_session_timeout", millis(statement_timeout * 2)),
                    ("default_transaction_isolation", "read committed".to_owned()),
                    // Our statements take arrays whose length would make the planner think anew at each call.
                    ("plan_cache_mode", "force_generic_plan".to_owned()),
                    // A statement is compiled anew at each call, for tens of milliseconds, where a large table alone makes the
                    // planner expect much work; ours read a few rows.
                    ("jit", "off".to_owned()),
                ])
                .disable_statement_logging(),
        }
    }

    /// The URL with its password: for the shards' own list of one another, and for servers that connect to one another.
    /// Not for logs, errors or answers.
    #[must_use]
    pub(crate) fn secret_url(&self) -> &str {
        &self.url
    }

    /// The database's name.
    #[must_use]
    pub fn database(&self) -> &str {
        self.options.get_database().unwrap_or_default()
    }

    /// `host:port/database`, for messages: it tells servers apart and holds no secret.
    #[must_use]
    pub fn place(&self) -> String {
        let host = self
            .options
            .get_socket()
            .map_or_else(|| self.options.get_host().to_owned(), |path| path.display().to_string());
        format!("{host}:{}/{}", self.options.get_port(), self.database())
    }

    /// Opens a connection, whoever the database is.
    ///
    /// # Errors
    /// The driver's error; `TimedOut` after `limit`.
    pub async fn connect(&self, limit: Duration) -> Result<PgConnection, sqlx::Error> {
        match tokio::time::timeout(limit, self.options.connect()).await {
            Ok(result) => result,
            Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
        }
    }
}

impl fmt::Debug for ShardOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())
    }
}

/// Which database a connection must lead to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    pub(super) cluster_id: Uuid,
    pub(super) shard: ShardId,
    /// The newest migration of this program, which the database must have.
    pub(super) schema_version: Option<i64>,
}

/// Opens connections, and refuses those that lead to another database than the shard's.
pub(super) struct Connector {
    pub(super) options: ShardOptions,
    pub(super) identity: Identity,
    pub(super) connect_timeout: Duration,
    /// Where the connections' input and output is driven. A connection dies with the runtime that it was opened on,
    /// and the threads that serve HTTP have runtimes of their own, which end one by one when the service stops.
    pub(super) runtime: Handle,
}

impl Connector {
    /// A connection to the shard's own database.
    ///
    /// # Errors
    /// The driver's error, or `Configuration` if the database is another shard's.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let opening = open(self.options.clone(), self.identity, self.connect_timeout);
        // A task of its own also keeps this large future, which is rarely needed, out of every request's.
        let opened = AbortOnDropHandle::new(self.runtime.spawn(opening)).await;
        opened.unwrap_or(Err(sqlx::Error::WorkerCrashed)) // the runtime is shutting down
    }
}

async fn open(options: ShardOptions, expected: Identity, limit: Duration) -> Result<PgConnection, sqlx::Error> {
    let mut connection = options.connect(limit).await?;
    let found: Option<(Uuid, i32, Option<i64>)> =
        sqlx::query_as(include_str!("../../sql/shard/who_am_i.sql")).fetch_optional(&mut connection).await?;
    let (place, shard) = (options.place(), expected.shard);
    let refused = match found {
        Some((cluster_id, number, version)) if (cluster_id, number) == (expected.cluster_id, shard.to_sql()) => {
            // A newer schema is fine: migrations keep what the program before them needs.
            if version >= expected.schema_version {
                return Ok(connection);
            }
            format!("{place} lacks migrations; run \"shardrive migrate\"")
        }
        _ => format!("{place} is not the database of shard {shard}"),
    };
    Err(sqlx::Error::Configuration(refused.into()))
}

impl managed::Manager for Connector {
    type Type = PgConnection;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<PgConnection, sqlx::Error> {
        self.connect().await
    }

    async fn recycle(&self, connection: &mut PgConnection, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        // A connection that was used a moment ago is trusted; one that lay idle may have been cut off unnoticed.
        if metrics.last_used() < Duration::from_secs(30) {
            return Ok(());
        }
        connection.ping().await.map_err(RecycleError::Backend)
    }
}

pub(super) type Pool = managed::Pool<Connector>;
pub(super) type Object = managed::Object<Connector>;

/// A connection on loan from a shard's pool. Dropping it closes it; [`Lease::give_back`] returns it.
pub struct Lease(Option<managed::Object<Connector>>);

impl Lease {
    pub(super) fn new(object: managed::Object<Connector>) -> Self {
        Self(Some(object))
    }

    /// Returns the connection: no transaction is open on it, and no answer is outstanding.
    pub fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(managed::Object::take(object));
        }
    }
}

#[expect(clippy::expect_used, reason = "the object is there until give_back or drop, both of which end the lease")]
impl Deref for Lease {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        self.0.as_ref().expect("a lease holds its connection until its end")
    }
}

#[expect(clippy::expect_used, reason = "the object is there until give_back or drop, both of which end the lease")]
impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("a lease holds its connection until its end")
    }
}

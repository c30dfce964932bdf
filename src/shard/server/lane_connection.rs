//! The connection of a lane: a task's own, outside the pool, and open before the first write comes; or one of the pool
//! for each batch.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;

use super::fault::{DbFault, ServerResource};
use super::pool::BorrowedConnection;
use super::shard::{ServerSession, Shard};
use crate::shard::error::ShardError;

/// Between two tries to open the connection before it is needed.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Why work on a lane's connection came to nothing.
pub(crate) enum LaneError {
    /// The shard is away, or gives no connection.
    Shard(ShardError),
    /// What the database or the driver said.
    Database(sqlx::Error),
}

/// The connection that a lane keeps for itself, or borrows.
pub(crate) struct LaneConnection {
    shard: Arc<Shard>,
    keeps_own: bool,
    session: Option<ServerSession>,
}

impl LaneConnection {
    pub(crate) fn new(shard: Arc<Shard>) -> Self {
        Self { shard, keeps_own: true, session: None }
    }

    /// Borrows a connection of the shard's pool for each piece of work.
    pub(crate) fn from_pool(shard: Arc<Shard>) -> Self {
        Self { shard, keeps_own: false, session: None }
    }

    pub(crate) fn shard(&self) -> &Arc<Shard> {
        &self.shard
    }

    /// False while the lane's own connection is closed.
    pub(crate) fn is_open(&self) -> bool {
        self.session.is_some() || !self.keeps_own
    }

    /// Opens the connection before it is needed: later the server may have none to give. Tries for as long as it takes.
    /// Cancel safe.
    pub(crate) async fn open(&mut self) {
        loop {
            if self.shard.require_healthy().is_ok()
                && let Ok(session) = ServerSession::reuse_or_connect(&self.shard, None).await
            {
                self.session = Some(session);
                return;
            }
            tokio::time::sleep(CONNECT_PAUSE).await;
        }
    }

    /// Works on the connection, which is kept only if the server answered on it. While the server gives no new one, the
    /// work is done on a connection of the shard's pool.
    pub(crate) async fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, LaneError> {
        self.run_within(None, work).await
    }

    /// As [`LaneConnection::run`], with a different time limit.
    pub(crate) async fn run_within<T>(
        &mut self,
        limit: Option<Duration>,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, LaneError> {
        let (shard, session, keeps_own) = (&self.shard, self.session.take(), self.keeps_own);
        let working = async {
            let lent = async || Ok(HeldConnection::Lent(shard.borrow_connection().await.map_err(LaneError::Shard)?));
            let mut held = if keeps_own {
                match ServerSession::reuse_or_connect(shard, session).await {
                    Ok(session) => HeldConnection::Own(session),
                    Err(error) if DbFault::of(&error) == DbFault::Exhausted(ServerResource::Connections) => {
                        lent().await?
                    }
                    Err(error) => return Err(LaneError::Database(error)),
                }
            } else {
                lent().await?
            };
            let result = work(held.connection()).await;
            Ok((held, result))
        };
        let done = shard.while_healthy_for(limit, working).await.map_err(|error| {
            if matches!(error, ShardError::Timeout { .. }) {
                shard.record_loss();
            }
            LaneError::Shard(error)
        });
        let (held, result) = done??;
        if !self.keeps_own && result.as_ref().is_err_and(|error| DbFault::of(error) == DbFault::ConnectionLost) {
            shard.distrust_idle_connections();
        }
        if !result.as_ref().is_err_and(|error| DbFault::of(error).ends_connection()) {
            shard.record_answer();
            match held {
                HeldConnection::Own(session) => self.session = Some(session),
                HeldConnection::Lent(connection) => connection.give_back(),
            }
        }
        result.map_err(LaneError::Database)
    }
}

enum HeldConnection {
    Own(ServerSession),
    Lent(BorrowedConnection),
}

impl HeldConnection {
    fn connection(&mut self) -> &mut PgConnection {
        match self {
            Self::Own(session) => &mut session.connection,
            Self::Lent(connection) => connection,
        }
    }
}

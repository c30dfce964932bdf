//! The way from a call to a connection: connections borrowed from a pool, and connections outside the pools.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use deadpool::managed::{PoolError, TimeoutType};
use sqlx::PgConnection;

use super::fault::{DbFault, ServerResource, words_of};
use super::pool::{BorrowedConnection, PooledConnection, ShardPool};
use super::shard::Shard;
use crate::shard::error::ShardError;

/// How often a call tries again to get a connection, after the connection broke or took too long.
const RECONNECTS: u32 = 2;
/// After a server refused a new connection, calls use only open connections for this long.
const REFUSAL_PAUSE: Duration = Duration::from_millis(500);
/// How often a call looks for an idle connection meanwhile.
const IDLE_POLL: Duration = Duration::from_millis(10);

impl Shard {
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

    /// A connection of the pool, with a deadline for the wait.
    ///
    /// # Errors
    /// `Unavailable` at once if the shard is known to be away, `Overloaded` if all connections stay busy.
    pub async fn borrow_connection(&self) -> Result<BorrowedConnection, ShardError> {
        self.borrow_from(&self.pool).await
    }

    /// As [`Shard::borrow_connection`], from the given pool. While the server gives no new connections, and after a
    /// pool of a thread had none in time, the connection comes from the shard's own pool.
    pub(in crate::shard) async fn borrow_from(&self, mut pool: &ShardPool) -> Result<BorrowedConnection, ShardError> {
        let (mut tries, until) = (0, Instant::now() + self.limits.call_timeout);
        loop {
            self.require_healthy()?;
            if pool.status().available == 0 && self.lacked_within(ServerResource::Connections, REFUSAL_PAUSE) {
                pool = &self.pool;
                self.wait_for_idle_connection(until).await?;
            }
            let got = self.while_healthy(pool.get()).await?;
            if matches!(got, Err(PoolError::Timeout(TimeoutType::Wait))) && !std::ptr::eq(pool, &raw const self.pool) {
                pool = &self.pool;
                continue;
            }
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
                return self.borrow_from_outcome(got);
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

    fn borrow_from_outcome(
        &self,
        got: Result<PooledConnection, PoolError<sqlx::Error>>,
    ) -> Result<BorrowedConnection, ShardError> {
        let shard = self.id;
        match got {
            Ok(object) => Ok(BorrowedConnection::new(object)),
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
                            log::error!("shard {shard} refuses connections: {}", words_of(&error));
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
}

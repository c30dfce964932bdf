//! Runs calls on a shard, and reports their answers and losses to the circuit.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::Connection;

use super::admission::WorkKind;
use super::circuit::{CircuitBreaker, CircuitEvent};
use super::fault::DbFault;
use super::health::{ShardState, wait_until_open};
use super::pool::{BorrowedConnection, ShardPool};
use super::shard::Shard;
use crate::shard::call::ShardCall;
use crate::shard::error::ShardError;

/// How often a call is repeated on a new connection after its connection broke.
const RECONNECTS: u32 = 2;

impl Shard {
    /// Runs a call on this shard, whichever shard owns the slot. `None`: this shard does not own the slot.
    ///
    /// # Errors
    /// See [`ShardError`]; never `Moving`.
    pub async fn run<C: ShardCall>(&self, call: &C) -> Result<Option<C::Output>, ShardError> {
        let timed = self.time_call(call.name());
        let result = async {
            let work = call.work_kind();
            let _admitted = self.admit_call(work).await?;
            let near = if work == WorkKind::PointRead { self.free_thread_pool() } else { None };
            self.run_on(near.as_ref().unwrap_or(self.pool()), call).await
        };
        let result = result.await;
        timed.finish(result)
    }

    /// As [`Shard::run`], on a connection of this pool.
    pub(in crate::shard) async fn run_on<C: ShardCall>(
        &self,
        pool: &ShardPool,
        call: &C,
    ) -> Result<Option<C::Output>, ShardError> {
        let mut reconnects = 0;
        loop {
            let mut connection = self.borrow_from(pool).await?;
            let called = self.while_healthy_for(call.time_limit(), call.call(&mut connection, self.id())).await;
            if matches!(called, Err(ShardError::Timeout { .. })) {
                // Late long work says little of the shard, but the shard should be probed.
                if call.work_kind().is_long() { self.request_probe() } else { self.record_loss() }
            }
            let error = match called? {
                Ok(output) => {
                    connection.give_back();
                    self.record_answer();
                    return Ok(output);
                }
                Err(error) => error,
            };
            let fault = self.record_fault(&error);
            match fault {
                DbFault::ConnectionLost => self.distrust_idle_connections(),
                // Another server may be the primary by now. On a server that is known to be read-only, reads go on.
                DbFault::ReadOnly if self.takes_writes() => self.close_idle_connections(),
                _ => {}
            }
            if !fault.ends_connection() && error.as_database_error().is_some() {
                self.give_back_if_usable(connection).await;
            }
            match fault {
                DbFault::NotOwner => return Ok(None),
                DbFault::ConnectionLost if call.is_repeatable() && reconnects < RECONNECTS => {}
                // The refused statement changed nothing. One repetition is enough to find another primary.
                DbFault::ReadOnly if reconnects == 0 => {
                    self.request_probe();
                    reconnects = RECONNECTS;
                }
                DbFault::Conflict if reconnects < RECONNECTS => {}
                fault => {
                    if fault.counts_as_loss() {
                        self.record_loss();
                    }
                    return Err(fault.into_error(self.id(), error));
                }
            }
            reconnects += 1;
        }
    }

    /// Returns a connection to the pool after the server refused a statement, if the connection answers: the server
    /// may have no other connection to give. The ping rolls an open transaction back.
    async fn give_back_if_usable(&self, mut connection: BorrowedConnection) {
        let answers = matches!(self.while_healthy(connection.ping()).await, Ok(Ok(())));
        if answers && !connection.is_in_transaction() {
            connection.give_back();
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
        // In its place: `select!` would copy the work, which holds a call's whole state.
        let work = pin!(work);
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
            log::warn!(
                "shard {} at {} loses calls; calls are refused until a health probe succeeds",
                self.id,
                self.options().address()
            );
        }
        self.request_probe();
    }

    /// Applies an event to the circuit; returns the new state after a change.
    pub(in crate::shard) fn apply_circuit_event(&self, event: CircuitEvent) -> Option<CircuitBreaker> {
        let mut new_state = None;
        self.circuit.send_if_modified(|circuit| {
            let new = circuit.state_after(event);
            new_state = (new != *circuit).then_some(new);
            *circuit = new;
            new_state.is_some()
        });
        match new_state {
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
        new_state
    }
}

//! Health probes: a task for each shard finds a fault before a request has to wait for the shard.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::circuit::{CircuitBreaker, CircuitEvent};
use super::fault::{DbFault, ServerResource, words_of};
use super::look_pace::LookPace;
use super::shard::{ServerSession, Shard};
use crate::shard::cluster::waves::{first_wave, wave_after};

/// The pause between two probes of a shard's standby servers.
const OTHER_HOSTS_INTERVAL: Duration = Duration::from_secs(1);

/// The pause between two requests for a connection, while the server gives none.
const CONNECTION_RETRY: Duration = Duration::from_secs(1);

/// How many new sessions in a row may break within a probe. After that many, the probe blames the server.
const MAX_NEW_SESSIONS: u32 = 3;

/// Whether a shard gets calls: the state of its circuit, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShardState {
    /// The shard answers.
    Healthy,
    /// The shard refuses connections, answers too late, loses calls, or is the wrong database.
    Unreachable,
}

impl ShardState {
    /// The state's word in `/health` and `/stats`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unreachable => "unreachable",
        }
    }
}

/// The time limit and the pace of the health probes.
#[derive(Clone, Copy)]
pub(in crate::shard) struct ProbeSchedule {
    pub(in crate::shard) pace: LookPace,
    pub(in crate::shard) timeout: Duration,
}

/// The outcome of a probe.
enum ProbeOutcome {
    /// The right server answers; `writes` is true if the server takes writes.
    Good { writes: bool },
    /// The server answers, but gives no connection for the probe, so the state stays as before.
    Unknown,
    /// The reason for the failure.
    Bad(String),
}

/// Probes a shard until `stop` is cancelled, and passes each outcome to the shard's circuit.
pub(in crate::shard) async fn watch_shard(shard: Arc<Shard>, watch: ProbeSchedule, stop: CancellationToken) {
    let (mut connection, mut next) = (None, first_wave(shard.id(), watch.pace.interval(shard.rests())));
    let mut last_request = Instant::now();
    let mut is_requested = true;
    while !stop.is_cancelled() {
        if !is_requested
            && shard.circuit() == CircuitBreaker::Closed
            && shard.takes_writes()
            && !shard.has_shortage(ServerResource::Connections)
            && shard.had_good_look_within(watch.pace.trust(shard.rests()))
        {
            shard.end_expired_shortages();
            is_requested = wait_for_turn(&shard, &mut next, watch.pace, &stop).await;
            continue;
        }
        let outcome = match await_in_two_halves(watch.timeout, probe_shard(&shard, &mut connection)).await {
            Some(Ok(writes)) => ProbeOutcome::Good { writes },
            Some(Err(error)) if shard.record_fault(&error) == DbFault::Exhausted(ServerResource::Connections) => {
                ProbeOutcome::Unknown
            }
            Some(Err(error)) => ProbeOutcome::Bad(words_of(&error)),
            None => ProbeOutcome::Bad(format!("no answer in {} ms", watch.timeout.as_millis())),
        };
        match outcome {
            ProbeOutcome::Bad(_) => connection = None,
            // Before the circuit closes, so that no call waits for a dead connection.
            ProbeOutcome::Good { .. } if !shard.circuit().admits_calls() => {
                shard.check_idle_connections(watch.timeout).await
            }
            ProbeOutcome::Good { .. } | ProbeOutcome::Unknown => {}
        }
        report_outcome(&shard, outcome);
        shard.end_expired_shortages();
        if shard.has_shortage(ServerResource::Connections) && last_request.elapsed() >= CONNECTION_RETRY {
            last_request = Instant::now();
            // The call records the answer. The connection is not needed.
            let _ = tokio::time::timeout(watch.timeout, shard.connect()).await;
        }
        is_requested = wait_for_turn(&shard, &mut next, watch.pace, &stop).await;
    }
}

/// Waits for the next probe; true if a call asks for the probe.
async fn wait_for_turn(
    shard: &Shard,
    next: &mut tokio::time::Instant,
    pace: LookPace,
    stop: &CancellationToken,
) -> bool {
    tokio::select! {
        () = tokio::time::sleep_until(*next) => {
            *next = wave_after(tokio::time::Instant::now(), pace.interval(shard.rests()));
            false
        }
        () = shard.probe_requested() => true,
        () = stop.cancelled() => false,
    }
}

/// Awaits a probe, with the limit in two halves. If this process itself stood still (frozen, or short of processor
/// time), the first half ends at once. The second half then reads the answer from the socket.
async fn await_in_two_halves<T>(limit: Duration, probe: impl Future<Output = T>) -> Option<T> {
    let mut probe = std::pin::pin!(probe);
    match tokio::time::timeout(limit / 2, &mut probe).await {
        Ok(found) => Some(found),
        Err(_) => tokio::time::timeout(limit / 2, probe).await.ok(),
    }
}

/// One probe, over the kept session, or else over a new one. So the end of one session (by an administrator's
/// `pg_terminate_backend`) is no failure. A broken new session is no failure either, unless several break in a row. A
/// new session leads to the server that is the primary now. True if that server takes writes.
async fn probe_shard(shard: &Shard, kept: &mut Option<ServerSession>) -> Result<bool, sqlx::Error> {
    // The kept session may not notice the fault that opened the circuit, so an open circuit asks for a new session.
    let mut old = kept.take();
    if shard.circuit().admits_calls()
        && let Some(open) = old.take()
        && let Ok(mut open) = ServerSession::reuse_or_connect(shard, Some(open)).await
        && takes_writes(&mut open.connection).await.is_ok_and(|writes| writes)
    {
        *kept = Some(open);
        return Ok(true);
    }
    let mut left = MAX_NEW_SESSIONS;
    loop {
        left -= 1;
        match probe_with_new_session(shard).await {
            Ok((new, writes)) => {
                *kept = Some(new);
                return Ok(writes);
            }
            // A stopped, stopping or starting server refuses the next session with another error.
            Err(error) if left > 0 && DbFault::of(&error) == DbFault::ConnectionLost => {}
            Err(error) => {
                let Some(mut open) =
                    old.filter(|_| DbFault::of(&error) == DbFault::Exhausted(ServerResource::Connections))
                else {
                    return Err(error);
                };
                let writes = takes_writes(&mut open.connection).await?;
                *kept = Some(open);
                return Ok(writes);
            }
        }
    }
}

async fn probe_with_new_session(shard: &Shard) -> Result<(ServerSession, bool), sqlx::Error> {
    let mut new = ServerSession::reuse_or_connect(shard, None).await?;
    let writes = takes_writes(&mut new.connection).await?;
    Ok((new, writes))
}

async fn takes_writes(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(include_str!("../../../sql/shard/takes_writes.sql")).fetch_one(connection).await
}

fn report_outcome(shard: &Shard, outcome: ProbeOutcome) {
    let (id, address) = (shard.id(), shard.options().address());
    let new_state = match &outcome {
        ProbeOutcome::Good { .. } => shard.apply_circuit_event(CircuitEvent::ProbeSucceeded),
        ProbeOutcome::Unknown => None,
        ProbeOutcome::Bad(_) => shard.apply_circuit_event(CircuitEvent::ProbeFailed),
    };
    match (new_state, &outcome) {
        (Some(CircuitBreaker::HalfOpen), _) => log::info!("shard {id} at {address} answers again"),
        (Some(CircuitBreaker::Closed), _) => log::info!("shard {id} at {address} is healthy"),
        (Some(CircuitBreaker::Open), ProbeOutcome::Bad(reason)) => {
            log::warn!("shard {id} at {address} is unreachable: {reason}")
        }
        _ => {}
    }
    if let ProbeOutcome::Good { writes } = outcome
        && shard.set_takes_writes(writes)
    {
        if writes {
            log::info!("shard {id} at {address} takes writes again");
        } else {
            log::warn!(
                "shard {id} at {address} is read-only: its server refuses writes (default_transaction_read_only)"
            );
        }
    }
}

/// Probes a shard's standby servers until `stop` is cancelled. Otherwise a former primary that nobody stopped at a
/// promotion would keep its sessions.
pub(in crate::shard) async fn watch_other_hosts(shard: Arc<Shard>, watch: ProbeSchedule, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(OTHER_HOSTS_INTERVAL)).await.is_some() {
        stop.run_until_cancelled(shard.options().probe_other_hosts(watch.timeout)).await;
    }
}

/// Waits until calls are refused; never ends if the sender is gone.
pub(super) async fn wait_until_open(receiver: &mut watch::Receiver<CircuitBreaker>) {
    if receiver.wait_for(|circuit| !circuit.admits_calls()).await.is_err() {
        std::future::pending::<()>().await;
    }
}

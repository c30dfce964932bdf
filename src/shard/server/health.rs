//! Health probes: one task a shard asks it, so that no request finds out by waiting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::circuit::{CircuitBreaker, CircuitEvent};
use super::fault::{DbFault, ServerResource};
use super::shard::{ServerSession, Shard};
use crate::shard::cluster::periodic::ticks;

/// How often the servers of a shard that are not in use are looked at.
const OTHER_HOSTS: Duration = Duration::from_secs(1);

/// How often a server without connections is asked for one.
const ASK_FOR_CONNECTION: Duration = Duration::from_secs(1);

/// New sessions that may be ended in one look before that is taken for the server's fault.
const NEW_SESSIONS: u32 = 3;

/// Whether a shard gets calls: what its circuit comes to for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShardState {
    /// It answers.
    Healthy,
    /// It refuses connections, does not answer in time, is not the database that it should be, or loses calls.
    Unreachable,
}

impl ShardState {
    /// The word for it in `/health` and `/stats`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unreachable => "unreachable",
        }
    }
}

/// How long a look at a shard may take, and how often there is one.
#[derive(Clone, Copy)]
pub(in crate::shard) struct ProbeSchedule {
    pub(in crate::shard) interval: Duration,
    pub(in crate::shard) timeout: Duration,
}

/// What a look found.
enum Sight {
    /// The server is the right one; whether it takes writes.
    Good { writes: bool },
    /// The server answers, but gives no connection over which it could be asked who it is: nothing new is known.
    Nothing,
    /// What is wrong.
    Bad(String),
}

/// Looks at a shard until `stop` is cancelled, and tells what it finds by the shard's state.
pub(in crate::shard) async fn watch_shard(shard: Arc<Shard>, watch: ProbeSchedule, stop: CancellationToken) {
    let (mut connection, mut ticks) = (None, ticks(shard.id(), watch.interval));
    let mut asked = Instant::now();
    while !stop.is_cancelled() {
        let sight = match within(watch.timeout, probe_host(&shard, &mut connection)).await {
            Some(Ok(writes)) => Sight::Good { writes },
            Some(Err(error)) if shard.note_fault(&error) == DbFault::Exhausted(ServerResource::Connections) => {
                Sight::Nothing
            }
            Some(Err(error)) => Sight::Bad(error.to_string()),
            None => Sight::Bad(format!("no answer in {} ms", watch.timeout.as_millis())),
        };
        match sight {
            Sight::Bad(_) => connection = None,
            // Before any call comes, so that none has to wait for what is dead.
            Sight::Good { .. } if !shard.circuit().admits() => shard.prove_idle(watch.timeout).await,
            Sight::Good { .. } | Sight::Nothing => {}
        }
        report(&shard, sight);
        shard.end_old_shortages();
        if shard.has_shortage(ServerResource::Connections) && asked.elapsed() >= ASK_FOR_CONNECTION {
            asked = Instant::now();
            // Notes the answer. The connection itself is of no use.
            let _ = tokio::time::timeout(watch.timeout, shard.connect()).await;
        }
        tokio::select! {
            _ = ticks.tick() => {}
            () = shard.suspected() => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Waits for a look, the limit in two halves: if this process itself stood still (frozen, or starved of processor time),
/// the first half is over at once, and the answer that lies in the socket is read in the second.
async fn within<T>(limit: Duration, look: impl Future<Output = T>) -> Option<T> {
    let mut look = std::pin::pin!(look);
    match tokio::time::timeout(limit / 2, &mut look).await {
        Ok(found) => Some(found),
        Err(_) => tokio::time::timeout(limit / 2, look).await.ok(),
    }
}

/// One look: over the connection that is there, or else over a new one, so that the end of one session by itself
/// (an administrator's `pg_terminate_backend`) is no news, nor is that of the new one. A new one leads to whatever server is the
/// primary now. True if it takes writes.
async fn probe_host(shard: &Shard, kept: &mut Option<ServerSession>) -> Result<bool, sqlx::Error> {
    // What made the circuit open may be what the session that is there does not notice: a new one is asked first.
    let mut old = kept.take();
    if shard.circuit().admits()
        && let Some(open) = old.take()
        && let Ok(mut open) = ServerSession::of(shard, Some(open)).await
        && takes_writes(&mut open.connection).await.is_ok_and(|writes| writes)
    {
        *kept = Some(open);
        return Ok(true);
    }
    let mut left = NEW_SESSIONS;
    loop {
        left -= 1;
        match probe_again(shard).await {
            Ok((new, writes)) => {
                *kept = Some(new);
                return Ok(writes);
            }
            // A server that is gone, or stops or starts, refuses the next one in another way.
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

async fn probe_again(shard: &Shard) -> Result<(ServerSession, bool), sqlx::Error> {
    let mut new = ServerSession::of(shard, None).await?;
    let writes = takes_writes(&mut new.connection).await?;
    Ok((new, writes))
}

async fn takes_writes(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(include_str!("../../../sql/shard/takes_writes.sql")).fetch_one(connection).await
}

fn report(shard: &Shard, sight: Sight) {
    let (id, place) = (shard.id(), shard.options().place());
    let news = match &sight {
        Sight::Good { .. } => shard.tell(CircuitEvent::LookGood),
        Sight::Nothing => None,
        Sight::Bad(_) => shard.tell(CircuitEvent::LookBad),
    };
    match (news, &sight) {
        (Some(CircuitBreaker::HalfOpen), _) => log::info!("shard {id} at {place} answers again"),
        (Some(CircuitBreaker::Closed), _) => log::info!("shard {id} at {place} is healthy"),
        (Some(CircuitBreaker::Open), Sight::Bad(reason)) => {
            log::warn!("shard {id} at {place} is unreachable: {reason}")
        }
        _ => {}
    }
    if let Sight::Good { writes } = sight
        && shard.set_takes_writes(writes)
    {
        if writes {
            log::info!("shard {id} at {place} takes writes again");
        } else {
            log::warn!("shard {id} at {place} is read-only: its server refuses writes (default_transaction_read_only)");
        }
    }
}

/// Looks at the servers of a shard that are not in use, until `stop` is cancelled: a primary that nobody stopped when another one
/// was promoted in its place would keep its sessions.
pub(in crate::shard) async fn watch_other_hosts(shard: Arc<Shard>, watch: ProbeSchedule, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(OTHER_HOSTS)).await.is_some() {
        stop.run_until_cancelled(shard.options().probe_other_hosts(watch.timeout)).await;
    }
}

/// Waits until calls are refused; never ends if the sender is gone.
pub(super) async fn until_open(receiver: &mut watch::Receiver<CircuitBreaker>) {
    if receiver.wait_for(|circuit| !circuit.admits()).await.is_err() {
        std::future::pending::<()>().await;
    }
}

//! The relay of a shard: takes events from the outbox, in their order, and removes them when the broker has them.
//!
//! One process relays a shard at a time, by an advisory lock of a session that ends when it is silent. Events of one slot are
//! sent one after the other, each after the broker has the one before; those of different slots together, in waves. So a
//! wave that breaks off and is sent again changes no order, and what the broker has already it knows by its id.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;

use super::broker::{BrokerError, EventBroker};
use super::event::{OutboxChange, OutgoingEvent};
use super::{EventsStatus, outbox};
use crate::shard::{Cluster, Shard};

/// Events that are taken at once.
const BATCH: usize = 512;
/// How long events gather after all were told: to look, to remove and to commit costs as much for one as for a hundred.
const GATHER: Duration = Duration::from_millis(20);
/// How often an empty outbox is looked at.
const POLL: Duration = Duration::from_millis(50);
/// How often a process that does not relay tries to, and how long one waits after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// How often a relay says that it is at work.
const SIGN: Duration = Duration::from_secs(2);
/// How long a statement may take.
const STATEMENT_LIMIT: Duration = Duration::from_secs(5);
/// How often what was told is removed, while more waves of a batch are to come.
const NOTE: Duration = Duration::from_millis(100);
/// No wave begins when the session was silent for so long: another process may relay by now.
const STALE: Duration = Duration::from_secs(2);

/// Why a relay has stopped for now.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("the shard: {0}")]
    Shard(#[from] sqlx::Error),
    #[error("the broker: {0}")]
    Broker(#[from] BrokerError),
    #[error("it was too slow, and begins anew")]
    Stale,
    #[error("the shard did not answer in time")]
    Late,
}

/// Relays whenever nobody else does, until the cluster shuts down.
pub(super) async fn keep(
    cluster: Arc<Cluster>,
    shard: Arc<Shard>,
    broker: Arc<EventBroker>,
    events: Arc<EventsStatus>,
) {
    let work = async {
        let mut said = String::new();
        loop {
            if shard.check().is_ok() {
                let mut relay = OutboxRelay { cluster: &cluster, shard: &shard, broker: &broker, events: &events };
                match relay.run().await {
                    Ok(()) => said.clear(),
                    Err(error) => {
                        // Once: it may last for hours.
                        let reason = error.to_string();
                        let level = if reason == said { log::Level::Debug } else { log::Level::Warn };
                        log::log!(level, "events of shard {} wait: {reason}", shard.id());
                        said = reason;
                    }
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    // Dropping it anywhere is safe: what was sent and not removed is sent again, with the same id.
    cluster.stopping().run_until_cancelled(work).await;
}

struct OutboxRelay<'a> {
    cluster: &'a Cluster,
    shard: &'a Shard,
    broker: &'a EventBroker,
    events: &'a EventsStatus,
}

impl OutboxRelay<'_> {
    /// Relays until something fails; at once back if another process relays.
    async fn run(&mut self) -> Result<(), RelayError> {
        let mut db = in_time(self.shard.connect()).await?;
        if !in_time(outbox::take_lease(&mut db)).await? {
            return Ok(());
        }
        in_time(outbox::switch_on(&mut db)).await?;
        in_time(outbox::commit_lazily(&mut db)).await?;
        log::debug!("events of shard {} are relayed from here", self.shard.id());
        let mut sign: Option<Instant> = None;
        loop {
            if sign.is_none_or(|at| at.elapsed() >= SIGN) {
                self.tell_gap(&mut db).await?;
                sign = Some(Instant::now());
            }
            let changes = in_time(outbox::next(&mut db, BATCH)).await?;
            if changes.is_empty() {
                tokio::time::sleep(POLL).await;
                continue;
            }
            self.broker.ready().await?;
            let is_all = changes.len() < BATCH;
            self.relay(&mut db, changes).await?;
            if is_all {
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    /// Tells these events, wave by wave, and removes them.
    async fn relay(&self, db: &mut PgConnection, mut changes: Vec<OutboxChange>) -> Result<(), RelayError> {
        let (mut spoken, mut told) = (Instant::now(), Vec::with_capacity(changes.len()));
        while !changes.is_empty() {
            let (wave, rest) = split_wave(changes);
            changes = rest;
            if spoken.elapsed() >= STALE {
                return Err(RelayError::Stale);
            }
            let mut sent = Vec::with_capacity(wave.len());
            let mut outcome = Ok(());
            for change in &wave {
                let event = OutgoingEvent::of_change(self.cluster.id(), self.shard.id(), change);
                match self.broker.send(&event).await {
                    Ok(ack) => sent.push((change.id, ack)),
                    Err(error) => {
                        outcome = Err(error);
                        break;
                    }
                }
            }
            for (id, ack) in sent {
                match self.broker.confirm(ack).await {
                    Ok(()) => told.push(id),
                    Err(error) => {
                        outcome = Err(error);
                        break;
                    }
                }
            }
            // Also after a failure: what the broker has it need not get again.
            if outcome.is_err() || changes.is_empty() || spoken.elapsed() >= NOTE {
                in_time(outbox::told(db, &told)).await?;
                self.events.published.add(u64::try_from(told.len()).unwrap_or(u64::MAX));
                told.clear();
                spoken = Instant::now();
            }
            outcome?;
        }
        Ok(())
    }

    async fn tell_gap(&self, db: &mut PgConnection) -> Result<(), RelayError> {
        if let Some(gap) = in_time(outbox::seen(db)).await? {
            self.broker.ready().await?;
            let event = OutgoingEvent::of_gap(self.cluster.id(), self.shard.id(), gap);
            let sent = self.broker.send(&event).await?;
            self.broker.confirm(sent).await?;
            in_time(outbox::gap_told(db, gap)).await?;
        }
        Ok(())
    }
}

/// A statement with a deadline: a server that says nothing is one that is away.
async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, RelayError> {
    Ok(tokio::time::timeout(STATEMENT_LIMIT, work).await.map_err(|_| RelayError::Late)??)
}

/// The first event of each slot, and the others, each in their order.
fn split_wave(changes: Vec<OutboxChange>) -> (Vec<OutboxChange>, Vec<OutboxChange>) {
    let mut slots = HashSet::new();
    changes.into_iter().partition(|change| slots.insert(change.slot))
}

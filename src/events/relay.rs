//! The relay of a shard publishes the outbox in order, and removes what the broker has stored.
//!
//! One process relays a shard at a time, by an advisory lock of a session that ends when it is silent. Events of one slot are
//! sent one after the other, each after the broker has the one before; those of different slots together, in waves. So a
//! wave that breaks off and is sent again changes no order, and what the broker has already it knows by its id. An event that the
//! broker refuses holds back those whose order hangs on it, and no others.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sqlx::postgres::PgConnection;

use super::broker::{BrokerError, EventBroker};
use super::event::{GAP, OutboxChange, OutgoingEvent};
use super::held::{EventStrand, HeldEvents};
use super::{EventsStatus, RefusedSubject, outbox};
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
/// Why an event is held back that nobody has acknowledged, though the broker answers.
const UNACKNOWLEDGED: &str = "no stream acknowledges it";
/// After how long a refused event is tried again at first, and at most: each time it takes twice as long.
const HELD_RETRY: Duration = Duration::from_secs(1);
const HELD_RETRY_MAX: Duration = Duration::from_secs(15);
/// So many numbers behind the last event are read again, as transactions may commit after others with higher numbers.
const LATE_NUMBERS: i64 = 2_000;
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
        let mut pass = Pass::default();
        loop {
            if sign.is_none_or(|at| at.elapsed() >= SIGN) {
                self.tell_gap(&mut db, &mut pass.held).await?;
                sign = Some(Instant::now());
            }
            if pass.is_retry_due() {
                self.broker.doubt_stream();
            }
            let changes = in_time(outbox::next(&mut db, BATCH, pass.after, &pass.held)).await?;
            let Some(last) = changes.last().map(|change| change.id) else {
                tokio::time::sleep(POLL).await;
                continue;
            };
            self.broker.ready().await?;
            let is_all = changes.len() < BATCH;
            let freed = self.relay(&mut db, changes, &mut pass.held).await?;
            pass.go_on(last, freed);
            self.note_refused(&pass.held);
            if is_all {
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    /// Publishes these events, wave by wave, and removes them. True if the broker takes a topic again that it refused before.
    async fn relay(
        &self,
        db: &mut PgConnection,
        mut changes: Vec<OutboxChange>,
        held: &mut HeldEvents,
    ) -> Result<bool, RelayError> {
        let (mut spoken, mut told, mut freed) = (Instant::now(), Vec::with_capacity(changes.len()), false);
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
                    Ok(ack) => sent.push((change, ack)),
                    Err(BrokerError::Refused(reason)) => self.hold(held, change, &reason),
                    Err(error) => {
                        outcome = Err(error);
                        break;
                    }
                }
            }
            // At the same time: one that is not acknowledged takes as long as all.
            let confirmed =
                join_all(sent.into_iter().map(async |(change, ack)| (change, self.broker.confirm(ack).await)));
            let confirmed = confirmed.await;
            let is_late =
                |(_, outcome): &(_, Result<(), BrokerError>)| matches!(outcome, Err(BrokerError::Unacknowledged));
            let broker_answers = confirmed.iter().any(is_late) && self.broker.answers().await;
            for (change, confirmation) in confirmed {
                match confirmation {
                    Ok(()) => {
                        told.push(change.id);
                        freed |= self.accept(held, &change.kind);
                    }
                    Err(BrokerError::Refused(reason)) => self.hold(held, change, &reason),
                    Err(BrokerError::Unacknowledged) if broker_answers => self.hold(held, change, UNACKNOWLEDGED),
                    Err(error) => outcome = Err(error),
                }
            }
            changes.retain(|change| !held.holds(change));
            // Also after a failure: what the broker has it need not get again.
            if outcome.is_err() || changes.is_empty() || spoken.elapsed() >= NOTE {
                in_time(outbox::remove_published(db, &told)).await?;
                self.events.published.add(u64::try_from(told.len()).unwrap_or(u64::MAX));
                told.clear();
                spoken = Instant::now();
            }
            outcome?;
        }
        Ok(freed)
    }

    fn hold(&self, held: &mut HeldEvents, change: &OutboxChange, reason: &str) {
        self.refuse(held, &change.kind, Some(EventStrand::of(change)), reason);
    }

    fn refuse(&self, held: &mut HeldEvents, topic: &str, strand: Option<EventStrand>, reason: &str) {
        if held.refuse(topic, strand, reason) {
            log::warn!(
                "the broker refuses events {} of shard {}: {reason}; they wait, and with them later events of the same slots",
                self.broker.subject_of(topic),
                self.shard.id()
            );
        }
    }

    fn accept(&self, held: &mut HeldEvents, topic: &str) -> bool {
        let is_news = held.accept(topic);
        if is_news {
            log::info!("the broker takes events {} of shard {} again", self.broker.subject_of(topic), self.shard.id());
        }
        is_news
    }

    fn note_refused(&self, held: &HeldEvents) {
        let refused = held
            .reasons()
            .iter()
            .map(|(topic, reason)| RefusedSubject { subject: self.broker.subject_of(topic), reason: reason.clone() });
        self.events.note_refused(self.shard.id(), refused.collect());
    }

    async fn tell_gap(&self, db: &mut PgConnection, held: &mut HeldEvents) -> Result<(), RelayError> {
        if let Some(gap) = in_time(outbox::seen(db)).await? {
            self.broker.ready().await?;
            let event = OutgoingEvent::of_gap(self.cluster.id(), self.shard.id(), gap);
            let sent = self.broker.send(&event).await?;
            match self.broker.confirm(sent).await {
                Ok(()) => {
                    self.accept(held, event.topic());
                    in_time(outbox::remove_gap(db, gap)).await?;
                }
                // It is tried again with the next sign; the changes go on.
                Err(BrokerError::Refused(reason)) => self.refuse(held, event.topic(), None, &reason),
                Err(BrokerError::Unacknowledged) if self.broker.answers().await => {
                    self.refuse(held, event.topic(), None, UNACKNOWLEDGED);
                }
                Err(error) => return Err(error.into()),
            }
            self.note_refused(held);
        } else {
            held.accept(GAP); // there is none any more
        }
        Ok(())
    }
}

impl Drop for OutboxRelay<'_> {
    fn drop(&mut self) {
        // Another process may relay from here on, and know better.
        self.events.note_refused(self.shard.id(), Vec::new());
    }
}

/// How far a relay is in the outbox. While nothing is held back it begins at the front each time. What is held back stays in
/// front, and is not read again and again: then it goes on where it was.
#[derive(Default)]
struct Pass {
    held: HeldEvents,
    /// Only events with a higher number are read.
    after: i64,
    /// When what is held back is tried again, and how long was waited for that.
    retry: Option<(Instant, Duration)>,
}

impl Pass {
    /// True if what is held back is to be tried again now.
    fn is_retry_due(&mut self) -> bool {
        let Some((at, waited)) = self.retry.filter(|_| !self.held.is_empty()) else { return false };
        if Instant::now() < at {
            return false;
        }
        self.held.let_one_try(GAP);
        self.after = 0;
        let wait = (waited * 2).min(HELD_RETRY_MAX);
        self.retry = Some((Instant::now() + wait, wait));
        true
    }

    /// After events up to `last`. If some were freed, they are in front.
    fn go_on(&mut self, last: i64, freed: bool) {
        if self.held.is_empty() {
            *self = Self::default();
            return;
        }
        self.after = if freed { 0 } else { last.saturating_sub(LATE_NUMBERS).max(self.after) };
        if freed || self.retry.is_none() {
            self.retry = Some((Instant::now() + HELD_RETRY, HELD_RETRY));
        }
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

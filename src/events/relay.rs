//! The relay of a shard publishes the outbox in order, and removes the events that the broker has stored.
//!
//! One process at a time relays a shard, by an advisory lock of a session that ends when silent. Events of one slot
//! are sent one after the other, each after the acknowledgement of the one before. Events of different slots are sent
//! together, in waves. So a repeated wave changes no order, and the broker recognizes repeated events by their ids. A
//! refused event holds back the later events of its strand, and no others.

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

/// Changes read at once.
const BATCH: usize = 512;
/// A pause after a complete batch, so that events gather: a statement costs as much for one event as for a hundred.
const GATHER: Duration = Duration::from_millis(20);
/// How often an empty outbox is read.
const POLL: Duration = Duration::from_millis(50);
/// How often an idle process tries to become the relay, and the pause after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// How often a relay records that it is at work.
const SIGN: Duration = Duration::from_secs(2);
/// How long a statement may take.
const STATEMENT_LIMIT: Duration = Duration::from_secs(5);
/// How often published events are removed while a batch has more waves.
const NOTE: Duration = Duration::from_millis(100);
/// The reason of a refusal when no stream has acknowledged the event, although the broker answers.
const UNACKNOWLEDGED: &str = "no stream acknowledges it";
/// The first and the longest pause before a refused event is tried again; each pause doubles.
const HELD_RETRY: Duration = Duration::from_secs(1);
const HELD_RETRY_MAX: Duration = Duration::from_secs(15);
/// So many numbers before the last event are read again, as a transaction may commit after another with higher
/// numbers.
const LATE_NUMBERS: i64 = 2_000;
/// No wave begins after this much silence of the session: another process may be the relay by now.
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

/// Relays whenever no other process does, until the cluster shuts down.
pub(super) async fn keep(
    cluster: Arc<Cluster>,
    shard: Arc<Shard>,
    broker: Arc<EventBroker>,
    events: Arc<EventsStatus>,
) {
    let work = async {
        let mut said = String::new();
        loop {
            if shard.require_healthy().is_ok() {
                let mut relay = OutboxRelay { cluster: &cluster, shard: &shard, broker: &broker, events: &events };
                match relay.run().await {
                    Ok(()) => said.clear(),
                    Err(error) => {
                        // Logged once as a warning, as the fault may last for hours.
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
    // A drop at any await is safe: an event that was sent but not removed is sent again, with the same id.
    cluster.stop_token().run_until_cancelled(work).await;
}

struct OutboxRelay<'a> {
    cluster: &'a Cluster,
    shard: &'a Shard,
    broker: &'a EventBroker,
    events: &'a EventsStatus,
}

impl OutboxRelay<'_> {
    /// Relays until something fails; returns at once if another process relays.
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

    /// Publishes these changes, wave by wave, and removes the published ones. True if the broker accepts a topic that
    /// it refused before.
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
            // All acknowledgements are awaited together: one missing acknowledgement takes as long as all.
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
            // Also after a failure: the broker need not get its stored events again.
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
                // The gap is tried again at the next interval; the changes go on.
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

/// The relay's position in the outbox. While no event is held back, each read begins at the front. Held events stay
/// in front and need not be read again and again; then the next read begins after the last event.
#[derive(Default)]
struct Pass {
    held: HeldEvents,
    /// Only events with a higher number are read.
    after: i64,
    /// When held events are tried again, and the length of that pause.
    retry: Option<(Instant, Duration)>,
}

impl Pass {
    /// True if held events are due for a new try.
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

    /// Moves the position behind `last`, or to the front if events were released there.
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

/// Runs a statement with a deadline: a silent server counts as unreachable.
async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, RelayError> {
    Ok(tokio::time::timeout(STATEMENT_LIMIT, work).await.map_err(|_| RelayError::Late)??)
}

/// Splits off the first event of each slot. Both parts keep their order.
fn split_wave(changes: Vec<OutboxChange>) -> (Vec<OutboxChange>, Vec<OutboxChange>) {
    let mut slots = HashSet::new();
    changes.into_iter().partition(|change| slots.insert(change.slot))
}

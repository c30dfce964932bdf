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
use super::event::{GAP_TOPIC, OutboxChange, OutgoingEvent};
use super::held::{EventStrand, HeldEvents};
use super::{EventsStatus, RefusedSubject, outbox};
use crate::shard::{Cluster, Shard};

/// Changes read at once.
const BATCH: usize = 512;
/// A pause after a complete batch, so that events gather: a statement costs as much for one event as for a hundred.
const BATCH_PAUSE: Duration = Duration::from_millis(20);
/// How often an empty outbox is read.
const POLL: Duration = Duration::from_millis(50);
/// How often an idle process tries to become the relay, and the pause after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// How often a relay records that it is at work.
const SEEN_INTERVAL: Duration = Duration::from_secs(2);
/// How long a statement may take.
const STATEMENT_LIMIT: Duration = Duration::from_secs(5);
/// How often published events are removed while a batch has more waves.
const REMOVE_INTERVAL: Duration = Duration::from_millis(100);
/// The reason of a refusal when no stream has acknowledged the event, although the broker answers.
const UNACKNOWLEDGED: &str = "no stream acknowledges it";
/// The first and the longest pause before a refused event is tried again; each pause doubles.
const HELD_RETRY: Duration = Duration::from_secs(1);
const HELD_RETRY_MAX: Duration = Duration::from_secs(15);
/// So many numbers before the last event are read again, as a transaction may commit after another with higher
/// numbers.
const LATE_NUMBERS: i64 = 2_000;
/// No wave begins after this much silence of the session: another process may be the relay by now.
const SILENCE_LIMIT: Duration = Duration::from_secs(2);

/// Why a relay has stopped for now.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("the shard: {0}")]
    Shard(#[from] sqlx::Error),
    #[error("the broker: {0}")]
    Broker(#[from] BrokerError),
    #[error("the relay was too slow and starts again")]
    Stale,
    #[error("the shard did not answer in time")]
    Late,
}

/// Relays whenever no other process does, until the cluster shuts down.
pub(super) async fn keep_relaying(
    cluster: Arc<Cluster>,
    shard: Arc<Shard>,
    broker: Arc<EventBroker>,
    events: Arc<EventsStatus>,
) {
    let work = async {
        let mut last_reason = String::new();
        loop {
            if shard.require_healthy().is_ok() {
                let mut relay = OutboxRelay { cluster: &cluster, shard: &shard, broker: &broker, events: &events };
                match relay.run().await {
                    Ok(()) => last_reason.clear(),
                    Err(error) => {
                        // Logged once as a warning, as the fault may last for hours.
                        let reason = error.to_string();
                        let level = if reason == last_reason { log::Level::Debug } else { log::Level::Warn };
                        log::log!(level, "events of shard {} wait: {reason}", shard.id());
                        last_reason = reason;
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
        let mut db = with_deadline(self.shard.connect()).await?;
        if !with_deadline(outbox::take_lease(&mut db)).await? {
            return Ok(());
        }
        with_deadline(outbox::start_recording(&mut db)).await?;
        with_deadline(outbox::commit_asynchronously(&mut db)).await?;
        log::debug!("events of shard {} are relayed from here", self.shard.id());
        let mut last_seen: Option<Instant> = None;
        let mut position = OutboxPosition::default();
        loop {
            if last_seen.is_none_or(|at| at.elapsed() >= SEEN_INTERVAL) {
                self.publish_gap(&mut db, &mut position.held).await?;
                last_seen = Some(Instant::now());
            }
            if position.is_retry_due() {
                self.broker.recheck_stream();
            }
            let changes = with_deadline(outbox::list_changes(&mut db, BATCH, position.after, &position.held)).await?;
            let Some(last) = changes.last().map(|change| change.id) else {
                tokio::time::sleep(POLL).await;
                continue;
            };
            self.broker.ensure_stream().await?;
            let is_all = changes.len() < BATCH;
            let released = self.publish_waves(&mut db, changes, &mut position.held).await?;
            position.advance(last, released);
            self.report_refused(&position.held);
            if is_all {
                tokio::time::sleep(BATCH_PAUSE).await;
            }
        }
    }

    /// Publishes these changes, wave by wave, and removes the published ones. True if the broker accepts a topic that
    /// it refused before.
    async fn publish_waves(
        &self,
        db: &mut PgConnection,
        mut changes: Vec<OutboxChange>,
        held: &mut HeldEvents,
    ) -> Result<bool, RelayError> {
        let (mut last_removal, mut published, mut released) =
            (Instant::now(), Vec::with_capacity(changes.len()), false);
        while !changes.is_empty() {
            let (wave, rest) = split_wave(changes);
            changes = rest;
            if last_removal.elapsed() >= SILENCE_LIMIT {
                return Err(RelayError::Stale);
            }
            let mut sent = Vec::with_capacity(wave.len());
            let mut outcome = Ok(());
            for change in &wave {
                let event = OutgoingEvent::of_change(self.cluster.id(), self.shard.id(), change);
                match self.broker.send_event(&event).await {
                    Ok(ack) => sent.push((change, ack)),
                    Err(BrokerError::Refused(reason)) => self.hold_change(held, change, &reason),
                    Err(error) => {
                        outcome = Err(error);
                        break;
                    }
                }
            }
            // All acknowledgements are awaited together: one missing acknowledgement takes as long as all.
            let confirmed =
                join_all(sent.into_iter().map(async |(change, ack)| (change, self.broker.wait_for_ack(ack).await)));
            let confirmed = confirmed.await;
            let is_late =
                |(_, outcome): &(_, Result<(), BrokerError>)| matches!(outcome, Err(BrokerError::Unacknowledged));
            let broker_answers = confirmed.iter().any(is_late) && self.broker.is_answering().await;
            for (change, confirmation) in confirmed {
                match confirmation {
                    Ok(()) => {
                        published.push(change.id);
                        released |= self.release_topic(held, &change.kind);
                    }
                    Err(BrokerError::Refused(reason)) => self.hold_change(held, change, &reason),
                    Err(BrokerError::Unacknowledged) if broker_answers => {
                        self.hold_change(held, change, UNACKNOWLEDGED)
                    }
                    Err(error) => outcome = Err(error),
                }
            }
            changes.retain(|change| !held.is_held(change));
            // Also after a failure: the broker need not get its stored events again.
            if outcome.is_err() || changes.is_empty() || last_removal.elapsed() >= REMOVE_INTERVAL {
                with_deadline(outbox::remove_published(db, &published)).await?;
                self.events.published.add(u64::try_from(published.len()).unwrap_or(u64::MAX));
                published.clear();
                last_removal = Instant::now();
            }
            outcome?;
        }
        Ok(released)
    }

    fn hold_change(&self, held: &mut HeldEvents, change: &OutboxChange, reason: &str) {
        self.hold_topic(held, &change.kind, Some(EventStrand::of_change(change)), reason);
    }

    fn hold_topic(&self, held: &mut HeldEvents, topic: &str, strand: Option<EventStrand>, reason: &str) {
        if held.hold_topic(topic, strand, reason) {
            log::warn!(
                "the broker refuses events {} of shard {}: {reason}; these events and later events of the same slots wait",
                self.broker.subject_of(topic),
                self.shard.id()
            );
        }
    }

    fn release_topic(&self, held: &mut HeldEvents, topic: &str) -> bool {
        let is_news = held.release_topic(topic);
        if is_news {
            log::info!("the broker takes events {} of shard {} again", self.broker.subject_of(topic), self.shard.id());
        }
        is_news
    }

    fn report_refused(&self, held: &HeldEvents) {
        let refused = held
            .refused_topics()
            .iter()
            .map(|(topic, reason)| RefusedSubject { subject: self.broker.subject_of(topic), reason: reason.clone() });
        self.events.record_refused(self.shard.id(), refused.collect());
    }

    async fn publish_gap(&self, db: &mut PgConnection, held: &mut HeldEvents) -> Result<(), RelayError> {
        if let Some(gap) = with_deadline(outbox::mark_relay_seen(db)).await? {
            self.broker.ensure_stream().await?;
            let event = OutgoingEvent::of_gap(self.cluster.id(), self.shard.id(), gap);
            let sent = self.broker.send_event(&event).await?;
            match self.broker.wait_for_ack(sent).await {
                Ok(()) => {
                    self.release_topic(held, event.topic());
                    with_deadline(outbox::remove_gap(db, gap)).await?;
                }
                // The gap is tried again at the next interval; the changes go on.
                Err(BrokerError::Refused(reason)) => self.hold_topic(held, event.topic(), None, &reason),
                Err(BrokerError::Unacknowledged) if self.broker.is_answering().await => {
                    self.hold_topic(held, event.topic(), None, UNACKNOWLEDGED);
                }
                Err(error) => return Err(error.into()),
            }
            self.report_refused(held);
        } else {
            held.release_topic(GAP_TOPIC); // there is none any more
        }
        Ok(())
    }
}

impl Drop for OutboxRelay<'_> {
    fn drop(&mut self) {
        // Another process may relay from here on, and know better.
        self.events.record_refused(self.shard.id(), Vec::new());
    }
}

/// The relay's position in the outbox. While no event is held back, each read begins at the front. Held events stay
/// in front and need not be read again and again; then the next read begins after the last event.
#[derive(Default)]
struct OutboxPosition {
    held: HeldEvents,
    /// Only events with a higher number are read.
    after: i64,
    /// When held events are tried again, and the length of that pause.
    retry: Option<(Instant, Duration)>,
}

impl OutboxPosition {
    /// True if held events are due for a new try.
    fn is_retry_due(&mut self) -> bool {
        let Some((at, waited)) = self.retry.filter(|_| !self.held.is_empty()) else { return false };
        if Instant::now() < at {
            return false;
        }
        self.held.retry_one_strand_per_topic(GAP_TOPIC);
        self.after = 0;
        let wait = (waited * 2).min(HELD_RETRY_MAX);
        self.retry = Some((Instant::now() + wait, wait));
        true
    }

    /// Moves the position behind `last`, or to the front if events were released there.
    fn advance(&mut self, last: i64, released: bool) {
        if self.held.is_empty() {
            *self = Self::default();
            return;
        }
        self.after = if released { 0 } else { last.saturating_sub(LATE_NUMBERS).max(self.after) };
        if released || self.retry.is_none() {
            self.retry = Some((Instant::now() + HELD_RETRY, HELD_RETRY));
        }
    }
}

/// Runs a statement with a deadline: a silent server counts as unreachable.
async fn with_deadline<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, RelayError> {
    Ok(tokio::time::timeout(STATEMENT_LIMIT, work).await.map_err(|_| RelayError::Late)??)
}

/// Splits off the first event of each slot. Both parts keep their order.
fn split_wave(changes: Vec<OutboxChange>) -> (Vec<OutboxChange>, Vec<OutboxChange>) {
    let mut slots = HashSet::new();
    changes.into_iter().partition(|change| slots.insert(change.slot))
}

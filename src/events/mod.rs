//! Events: each change of a file, a folder or a document, published to NATS `JetStream` at least once and in order
//! (docs/events.md).
//!
//! ```text
//! triggers → shardrive.outbox → outbox (statements) → relay (one a shard) → held → broker → JetStream
//!                             → retention (background): bounds the outbox and measures its length
//! ```

mod broker;
mod event;
mod held;
mod outbox;
mod relay;
mod retention;
mod settings;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::shard::{Cluster, ShardId};
use crate::telemetry::metrics::Counter;

pub use settings::{EventSettings, EventsUrl};

/// The events that wait in a shard's outbox.
#[derive(Clone, Default, Debug)]
pub struct OutboxStatus {
    /// Waiting events, at most.
    pub rows: u64,
    /// The waiting time of the oldest event, in seconds.
    pub lag_seconds: f64,
    /// The kind of the oldest event, such as `file.created`; `None` if the outbox is empty.
    pub oldest: Option<String>,
    /// Events dropped since the shard was set up.
    pub dropped: u64,
}

/// The state of the events of all shards.
pub struct EventsStatus {
    /// Events that this process has published.
    pub published: Counter,
    outboxes: Mutex<BTreeMap<ShardId, OutboxStatus>>,
    refused: Mutex<BTreeMap<ShardId, Vec<RefusedSubject>>>,
}

/// A subject whose events the broker refuses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedSubject {
    /// `shardrive.record.created`.
    pub subject: String,
    /// Why.
    pub reason: String,
}

impl EventsStatus {
    /// Starts the background tasks, also for shards that join later: the retention of each outbox, and with a URL the
    /// relays. The tasks end when the cluster shuts down.
    #[must_use]
    pub fn start(cluster: &Arc<Cluster>, settings: &EventSettings) -> Arc<Self> {
        let events =
            Arc::new(Self { published: Counter::new(), outboxes: Mutex::default(), refused: Mutex::default() });
        let (bounded, max_rows) = (Arc::clone(&events), settings.max_rows);
        cluster.run_periodically(move |_| retention::RetentionSetting { events: Arc::clone(&bounded), max_rows });
        if let Some(url) = &settings.url {
            let broker = Arc::new(broker::EventBroker::new(url, settings));
            let (tasks, status) = (Arc::clone(cluster), Arc::clone(&events));
            cluster.for_each_shard(move |shard| {
                let (broker, status) = (Arc::clone(&broker), Arc::clone(&status));
                tasks.spawn(relay::keep_relaying(Arc::clone(&tasks), Arc::clone(shard), broker, status));
            });
        }
        events
    }

    /// The latest known state of each shard's outbox.
    #[must_use]
    pub fn outbox_statuses(&self) -> BTreeMap<ShardId, OutboxStatus> {
        self.outboxes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The subjects that the broker refuses, by shard, for the shards that this process relays.
    #[must_use]
    pub fn refused_subjects(&self) -> BTreeMap<ShardId, Vec<RefusedSubject>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record_refused(&self, shard: ShardId, subjects: Vec<RefusedSubject>) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if subjects.is_empty() {
            refused.remove(&shard);
        } else {
            refused.insert(shard, subjects);
        }
    }

    fn record_outbox(&self, shard: ShardId, outbox: OutboxStatus) {
        self.outboxes.lock().unwrap_or_else(PoisonError::into_inner).insert(shard, outbox);
    }
}

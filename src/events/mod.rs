//! Events: each change of a file or a document, published to NATS `JetStream` at least once and in order
//! (docs/events.md).
//!
//! ```text
//! triggers → shardrive.outbox → outbox (statements) → relay (one a shard) → held → broker → JetStream
//!                             → bound (background): never too many, and how many there are
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

/// What waits in the outbox of a shard.
#[derive(Clone, Default, Debug)]
pub struct OutboxStatus {
    /// Events, at most.
    pub rows: u64,
    /// How long the oldest has waited, in seconds.
    pub lag_seconds: f64,
    /// What the oldest says: `file.created`; `None` if there is none.
    pub oldest: Option<String>,
    /// Events that were dropped since the shard was set up.
    pub dropped: u64,
}

/// What is known of the events of all shards.
pub struct EventsStatus {
    /// Events that this process has told.
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
    /// Starts the background tasks, for shards that are added later as well: the bound of each outbox, and with a URL the
    /// relays. They end when the cluster shuts down.
    #[must_use]
    pub fn start(cluster: &Arc<Cluster>, settings: &EventSettings) -> Arc<Self> {
        let events =
            Arc::new(Self { published: Counter::new(), outboxes: Mutex::default(), refused: Mutex::default() });
        let (bounded, max_rows) = (Arc::clone(&events), settings.max_rows);
        cluster.keep_doing(move |_| retention::RetentionSetting { events: Arc::clone(&bounded), max_rows });
        if let Some(url) = &settings.url {
            let broker = Arc::new(broker::EventBroker::new(url, settings));
            let (tasks, told) = (Arc::clone(cluster), Arc::clone(&events));
            cluster.for_each_shard(move |shard| {
                let (broker, told) = (Arc::clone(&broker), Arc::clone(&told));
                tasks.spawn(relay::keep(Arc::clone(&tasks), Arc::clone(shard), broker, told));
            });
        }
        events
    }

    /// What waits on each shard, as it was seen last.
    #[must_use]
    pub fn outboxes(&self) -> BTreeMap<ShardId, OutboxStatus> {
        self.outboxes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the broker refuses of the shards that this process relays.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<ShardId, Vec<RefusedSubject>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_refused(&self, shard: ShardId, subjects: Vec<RefusedSubject>) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if subjects.is_empty() {
            refused.remove(&shard);
        } else {
            refused.insert(shard, subjects);
        }
    }

    fn note(&self, shard: ShardId, outbox: OutboxStatus) {
        self.outboxes.lock().unwrap_or_else(PoisonError::into_inner).insert(shard, outbox);
    }
}

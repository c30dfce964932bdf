//! Single flight: one caller loads a value from the database, and the other callers of this process wait for it.
//!
//! A waiting caller may use the value only if no write was acknowledged between the reading and the caller's question.
//! The lease shows a write, because every write takes the lease away. So a load takes on callers only until its value
//! is sent to the cache, and gives them the value only if the lease was still there then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::commands::FillLease;

/// Readers that may wait for one load; further readers load by themselves.
const READERS: usize = 4096;

/// The entry that was kept, or nothing.
type LoadOutcome = Option<Bytes>;

/// All loads that are in progress.
#[derive(Default)]
pub(super) struct PendingLoads(Mutex<HashMap<Arc<str>, LoadWaiters>>);

struct LoadWaiters {
    lease: FillLease,
    /// The waiting readers. Mostly there are none, and then the list costs nothing.
    waiting: Vec<oneshot::Sender<Bytes>>,
}

/// A load in progress. Dropping it sends the waiting readers to the database.
pub(super) struct PendingLoad {
    loads: Arc<PendingLoads>,
    key: Arc<str>,
    lease: FillLease,
    /// The readers who came in time.
    waiting: Vec<oneshot::Sender<Bytes>>,
}

impl PendingLoads {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, LoadWaiters>> {
        // The map is whole after every statement, also after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a load, for which this lease was got.
    pub(super) fn begin(self: &Arc<Self>, key: &Arc<str>, lease: FillLease) -> PendingLoad {
        // An earlier load that took longer than its lease may still be there; its waiting readers go to the database.
        self.lock().insert(Arc::clone(key), LoadWaiters { lease, waiting: Vec::new() });
        PendingLoad { loads: Arc::clone(self), key: Arc::clone(key), lease, waiting: Vec::new() }
    }

    /// If a caller in this process loads the value: the outcome of the load.
    pub(super) fn join(&self, key: &str) -> Option<impl Future<Output = LoadOutcome> + use<>> {
        let (sender, outcome) = oneshot::channel();
        self.lock().get_mut(key).map(|seat| &mut seat.waiting).filter(|all| all.len() < READERS)?.push(sender);
        // The sender is gone without a word if the load failed.
        Some(async move { outcome.await.ok() })
    }
}

impl PendingLoad {
    pub(super) fn key(&self) -> &Arc<str> {
        &self.key
    }

    pub(super) fn lease(&self) -> FillLease {
        self.lease
    }

    /// Takes on no further readers: the value is about to be sent.
    pub(super) fn close(&mut self) {
        let mut seats = self.loads.lock();
        if seats.get(&self.key).is_some_and(|seat| seat.lease == self.lease) {
            self.waiting = seats.remove(&self.key).map(|seat| seat.waiting).unwrap_or_default();
        }
    }

    /// The value was kept, in place of the lease.
    pub(super) fn publish(mut self, entry: Bytes) {
        for waiting in self.waiting.drain(..) {
            // The reader may have gone away.
            let _ = waiting.send(entry.clone());
        }
    }
}

impl Drop for PendingLoad {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_came_in_time_get_what_was_kept() {
        let (loads, key) = (Arc::new(PendingLoads::default()), Arc::from("key"));
        let mut load = loads.begin(&key, FillLease::new());
        let first = loads.join("key").unwrap();
        assert!(loads.join("other").is_none());
        load.close();
        assert!(loads.join("key").is_none(), "after this, a value may be older than the question");
        load.publish(Bytes::from_static(&[1]));
        assert_eq!(first.await, Some(Bytes::from_static(&[1])));
    }

    #[tokio::test]
    async fn a_reading_that_fails_keeps_nobody_waiting() {
        let (loads, key) = (Arc::new(PendingLoads::default()), Arc::from("key"));
        let old = loads.begin(&key, FillLease::new());
        let waits_for_old = loads.join("key").unwrap();
        let new = loads.begin(&key, FillLease::new());
        drop(old);
        assert_eq!(waits_for_old.await, None);
        let waits_for_new = loads.join("key").expect("the end of the old one leaves the new one alone");
        drop(new);
        assert_eq!(waits_for_new.await, None);
        assert!(loads.join("key").is_none());
    }
}

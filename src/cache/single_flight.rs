//! Single flight: one caller loads a value from the database, and the other callers of this process wait for it.
//!
//! Whoever waits may use the value only if no write was acknowledged between the reading and the moment at which it asked.
//! The lease tells: it is gone after such a write. So a flight takes on waiters only until its value is sent to the cache,
//! and gives them the value only if the lease was still there then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::commands::FillLease;

/// Readers that may wait for one reading; more read by themselves.
const READERS: usize = 4096;

/// An entry that was kept, or nothing if it could not be.
type LoadOutcome = Option<Arc<Vec<u8>>>;

/// All readings that are in progress.
#[derive(Default)]
pub(super) struct PendingLoads(Mutex<HashMap<Arc<str>, LoadWaiters>>);

struct LoadWaiters {
    lease: FillLease,
    /// Mostly nobody, and then this costs nothing.
    waiting: Vec<oneshot::Sender<Arc<Vec<u8>>>>,
}

/// A reading in progress. Dropping it tells those who wait that they must read by themselves.
pub(super) struct PendingLoad {
    flights: Arc<PendingLoads>,
    key: Arc<str>,
    lease: FillLease,
    /// Those who came in time.
    waiting: Vec<oneshot::Sender<Arc<Vec<u8>>>>,
}

impl PendingLoads {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, LoadWaiters>> {
        // The map is whole after every statement, also after one that panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a reading, for which this lease was got.
    pub(super) fn begin(self: &Arc<Self>, key: &Arc<str>, lease: FillLease) -> PendingLoad {
        // An earlier reading that took longer than its lease may still be there; who waits for it must read by itself.
        self.lock().insert(Arc::clone(key), LoadWaiters { lease, waiting: Vec::new() });
        PendingLoad { flights: Arc::clone(self), key: Arc::clone(key), lease, waiting: Vec::new() }
    }

    /// If somebody in this process reads the value: what comes of it.
    pub(super) fn join(&self, key: &str) -> Option<impl Future<Output = LoadOutcome> + use<>> {
        let (sender, outcome) = oneshot::channel();
        self.lock().get_mut(key).map(|seat| &mut seat.waiting).filter(|all| all.len() < READERS)?.push(sender);
        // The sender is gone without a word if the reading failed.
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

    /// Takes on nobody any more: the value is about to be sent.
    pub(super) fn seal(&mut self) {
        let mut seats = self.flights.lock();
        if seats.get(&self.key).is_some_and(|seat| seat.lease == self.lease) {
            self.waiting = seats.remove(&self.key).map(|seat| seat.waiting).unwrap_or_default();
        }
    }

    /// The value was kept, in place of the lease.
    pub(super) fn land(mut self, entry: Arc<Vec<u8>>) {
        for waiting in self.waiting.drain(..) {
            // Whoever went away does not want to know.
            let _ = waiting.send(Arc::clone(&entry));
        }
    }
}

impl Drop for PendingLoad {
    fn drop(&mut self) {
        self.seal();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_came_in_time_get_what_was_kept() {
        let (flights, key) = (Arc::new(PendingLoads::default()), Arc::from("key"));
        let mut flight = flights.begin(&key, FillLease::new());
        let first = flights.join("key").unwrap();
        assert!(flights.join("other").is_none());
        flight.seal();
        assert!(flights.join("key").is_none(), "after this, a value may be older than the question");
        flight.land(Arc::new(vec![1]));
        assert_eq!(first.await, Some(Arc::new(vec![1])));
    }

    #[tokio::test]
    async fn a_reading_that_fails_keeps_nobody_waiting() {
        let (flights, key) = (Arc::new(PendingLoads::default()), Arc::from("key"));
        let old = flights.begin(&key, FillLease::new());
        let waits_for_old = flights.join("key").unwrap();
        let new = flights.begin(&key, FillLease::new());
        drop(old);
        assert_eq!(waits_for_old.await, None);
        let waits_for_new = flights.join("key").expect("the end of the old one leaves the new one alone");
        drop(new);
        assert_eq!(waits_for_new.await, None);
        assert!(flights.join("key").is_none());
    }
}

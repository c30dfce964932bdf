//! Changes of the same row, one after the other.
//!
//! Without this queue, every change of a popular row would hold a connection, and wait for the row's lock. No
//! connection would be left for the other rows of the shard. Callers wait here instead, without a connection, in the
//! order of coming; a caller that goes away leaves the queue. Another process may change the row as well, and waits at
//! the row's lock.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Callers that may wait for a row; more are refused.
const WAITING: usize = 256;

/// A queue for each row under change.
pub(crate) struct RowQueue<K> {
    rows: Rows<K>,
}

struct Row {
    turn: Arc<Semaphore>,
    /// Callers that change the row or wait for the row.
    callers: usize,
}

/// The right to change a row, until it is dropped.
pub(crate) struct RowTurn<'a, K: Hash + Eq> {
    // Given back first: the row stays in the list until its last caller has left.
    _turn: OwnedSemaphorePermit,
    _place: Place<'a, K>,
}

impl<K: Hash + Eq + Clone> RowQueue<K> {
    pub(crate) fn new() -> Self {
        Self { rows: Mutex::default() }
    }

    /// Waits until all earlier callers of this row are done. `None`: too many wait, or the wait took longer than
    /// `limit`.
    pub(crate) async fn wait_for_turn(&self, row: K, limit: Duration) -> Option<RowTurn<'_, K>> {
        let (place, turn) = self.join(row)?;
        let turn = tokio::time::timeout(limit, turn.acquire_owned()).await.ok()?.ok()?;
        Some(RowTurn { _turn: turn, _place: place })
    }

    fn join(&self, row: K) -> Option<(Place<'_, K>, Arc<Semaphore>)> {
        let mut rows = lock(&self.rows);
        let new = || Row { turn: Arc::new(Semaphore::new(1)), callers: 0 };
        let entry = rows.entry(row.clone()).or_insert_with(new);
        if entry.callers > WAITING {
            return None;
        }
        entry.callers += 1;
        Some((Place { rows: &self.rows, row }, Arc::clone(&entry.turn)))
    }
}

type Rows<K> = Mutex<HashMap<K, Row>>;

fn lock<K>(rows: &Rows<K>) -> MutexGuard<'_, HashMap<K, Row>> {
    // The list is whole after every statement, also after a panic.
    rows.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A caller's place in the queue of a row.
struct Place<'a, K: Hash + Eq> {
    rows: &'a Rows<K>,
    row: K,
}

impl<K: Hash + Eq> Drop for Place<'_, K> {
    fn drop(&mut self) {
        let mut rows = lock(self.rows);
        if let Some(entry) = rows.get_mut(&self.row) {
            entry.callers -= 1;
            if entry.callers == 0 {
                rows.remove(&self.row);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn callers_of_a_row_come_one_after_the_other_and_other_rows_do_not_wait() {
        let queue = RowQueue::new();
        let first = queue.wait_for_turn("a", LONG).await.unwrap();
        let mut second = Box::pin(queue.wait_for_turn("a", LONG));
        let mut third = Box::pin(queue.wait_for_turn("a", LONG));
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        assert!(queue.wait_for_turn("b", LONG).now_or_never().flatten().is_some());
        drop(second);
        drop(first);
        let third = third.await.unwrap();
        assert!(queue.wait_for_turn("a", LONG).now_or_never().is_none());
        drop(third);
        assert!(lock(&queue.rows).is_empty(), "nothing is kept of rows that nobody changes");
    }

    #[tokio::test]
    async fn a_queue_has_an_end_and_a_wait_has_one() {
        let queue = RowQueue::new();
        let turn = queue.wait_for_turn("a", LONG).await.unwrap();
        assert!(queue.wait_for_turn("a", Duration::ZERO).await.is_none());
        let mut waiting: Vec<_> = (0..WAITING).map(|_| Box::pin(queue.wait_for_turn("a", LONG))).collect();
        assert!(waiting.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        assert!(matches!(queue.wait_for_turn("a", LONG).now_or_never(), Some(None)), "it is full");
        drop(waiting);
        drop(turn);
        assert!(queue.wait_for_turn("a", LONG).await.is_some());
    }
}

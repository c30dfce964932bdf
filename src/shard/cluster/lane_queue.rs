//! The queue of a lane. Callers of a busy lane come again at once: the lane waits a moment for them, so that they share
//! a batch.
//!
//! A statement costs much and a row in it little. Without the wait a lane begins its next batch with the few calls that
//! came during the last one, while the callers whom it has just answered send their next calls. What the wait brings
//! stands in docs/decisions/0005-group-commit.md.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};

/// The part of the last batch, with the calls that are there already, for which a lane waits: the other callers are
/// slower, or ask another shard.
const PART: [usize; 2] = [2, 3];
/// The longest wait, a millisecond more by the runtime's clock, which ticks once a millisecond.
const LIMIT: Duration = Duration::from_millis(1);
/// After so many waits in vain, one after the other, the pauses between waits grow no longer.
const MOST_MISSES: u32 = 6;

/// A queue for so many calls. After a batch of fewer than `least` calls the lane does not wait.
pub(crate) fn lane_queue<T>(capacity: usize, least: usize) -> (LaneSender<T>, LaneReceiver<T>) {
    let (sender, receiver) = mpsc::channel(capacity);
    let gate = Arc::<Gate>::default();
    let lane = LaneReceiver { receiver, gate: Arc::clone(&gate), least, last: 0, misses: 0, pause: 0 };
    (LaneSender { sender, gate }, lane)
}

/// Where callers see that the lane waits for them.
#[derive(Default, Debug)]
struct Gate {
    /// The calls that the lane waits for; 0 while the lane does not wait.
    wanted: AtomicUsize,
    reached: Notify,
}

/// The callers' end of the queue.
#[derive(Debug)]
pub(crate) struct LaneSender<T> {
    sender: mpsc::Sender<T>,
    gate: Arc<Gate>,
}

impl<T> LaneSender<T> {
    /// Puts a call into the queue. The call comes back if the queue is full or the lane has ended.
    pub(crate) fn try_send(&self, call: T) -> Result<(), TrySendError<T>> {
        self.sender.try_send(call)?;
        // A lane that just misses this call waits until its time is up; the call stays in the queue.
        let wanted = self.gate.wanted.load(Ordering::SeqCst);
        if wanted != 0 && self.sender.max_capacity() - self.sender.capacity() >= wanted {
            self.gate.reached.notify_one();
        }
        Ok(())
    }
}

/// The lane's end of the queue.
#[derive(Debug)]
pub(crate) struct LaneReceiver<T> {
    receiver: mpsc::Receiver<T>,
    gate: Arc<Gate>,
    least: usize,
    /// The calls in the last batch.
    last: usize,
    /// Waits in vain since the last wait that brought the callers.
    misses: u32,
    /// How many batches begin without a wait, as waits were in vain.
    pause: u32,
}

impl<T> LaneReceiver<T> {
    /// Waits for calls, and adds at most `most` of them to `batch`; gives how many they are. 0: the queue is closed and
    /// empty. Cancel safe.
    pub(crate) async fn next_batch(&mut self, batch: &mut Vec<T>, most: usize) -> usize {
        self.gather(most).await;
        let taken = self.receiver.recv_many(batch, most).await;
        self.last = taken;
        taken
    }

    /// Waits for the callers of a busy lane. Where they do not come in time, the lane waits ever more rarely.
    async fn gather(&mut self, most: usize) {
        if self.last < self.least || self.receiver.is_closed() {
            return;
        }
        let callers = self.last + self.receiver.len();
        let wanted = part_of(callers.min(most).min(self.receiver.max_capacity()));
        if self.receiver.len() >= wanted {
            return;
        }
        if self.pause > 0 {
            self.pause -= 1;
            return;
        }
        self.gate.wanted.store(wanted, Ordering::SeqCst);
        let come = async {
            while self.receiver.len() < wanted {
                self.gate.reached.notified().await;
            }
        };
        let is_late = tokio::time::timeout(LIMIT, come).await.is_err();
        self.gate.wanted.store(0, Ordering::SeqCst);
        self.misses = if is_late { (self.misses + 1).min(MOST_MISSES) } else { 0 };
        self.pause = (1 << self.misses) - 1;
    }

    /// Takes no further calls. The calls in the queue can still be taken out.
    pub(crate) fn close(&mut self) {
        self.receiver.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.receiver.is_closed()
    }
}

fn part_of(callers: usize) -> usize {
    let [part, whole] = PART;
    callers * part / whole
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::time::Instant;

    use super::*;

    const MOST: usize = 100;

    /// A queue whose lane has just taken a batch of this size.
    async fn busy_queue(size: usize) -> (LaneSender<usize>, LaneReceiver<usize>) {
        let (sender, mut lane) = lane_queue(MOST, 4);
        (0..size).for_each(|call| sender.try_send(call).unwrap());
        assert_eq!(lane.next_batch(&mut Vec::new(), MOST).await, size);
        (sender, lane)
    }

    #[tokio::test(start_paused = true)]
    async fn a_lone_call_goes_at_once_and_a_busy_lane_waits_for_two_thirds() {
        for (size, wanted) in [(1, 1), (3, 1), (4, 2), (9, 6), (30, 20)] {
            let (sender, mut lane) = busy_queue(size).await;
            let mut batch = Vec::new();
            let mut next = Box::pin(lane.next_batch(&mut batch, MOST));
            for call in 0..wanted {
                assert!(next.as_mut().now_or_never().is_none(), "{call} of {wanted} after {size}");
                sender.try_send(call).unwrap();
            }
            assert_eq!(next.as_mut().now_or_never(), Some(wanted), "after {size}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_in_vain_become_rare_and_one_that_pays_makes_them_usual_again() {
        let (sender, mut lane) = busy_queue(9).await;
        let mut waits = 0;
        for _ in 0..300 {
            let start = Instant::now();
            sender.try_send(0).unwrap();
            lane.last = 9;
            assert_eq!(lane.next_batch(&mut Vec::new(), MOST).await, 1);
            waits += u32::from(start.elapsed() >= LIMIT);
        }
        assert_eq!(waits, 9, "with 1, 3, 7, 15, 31 and then 63 batches between them");
        (lane.last, lane.pause) = (9, 0);
        let send = async { (0..6).for_each(|call| sender.try_send(call).unwrap()) };
        let (taken, ()) = tokio::join!(async { lane.next_batch(&mut Vec::new(), MOST).await }, send);
        assert_eq!((taken, lane.misses, lane.pause), (6, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_and_a_closed_one_is_emptied() {
        let (sender, mut lane) = lane_queue(2, 1);
        let start = Instant::now();
        for last in [2, 100] {
            lane.last = last;
            (0..2).for_each(|call| sender.try_send(call).unwrap());
            assert!(matches!(sender.try_send(2), Err(TrySendError::Full(2))));
            assert_eq!(lane.next_batch(&mut Vec::new(), MOST).await, 2);
        }
        (0..2).for_each(|call| sender.try_send(call).unwrap());
        lane.last = 100;
        lane.close();
        assert!(lane.is_closed() && matches!(sender.try_send(3), Err(TrySendError::Closed(3))));
        let mut batch = Vec::new();
        assert_eq!(lane.next_batch(&mut batch, MOST).await, 2);
        assert_eq!(lane.next_batch(&mut batch, MOST).await, 0);
        assert_eq!((batch.as_slice(), start.elapsed()), (&[0, 1][..], Duration::ZERO), "nobody waited");
    }
}

//! Commands that no request waits for: fills, lease releases, removals, tombstones.
//!
//! One bounded queue and one task that sends what has gathered in a few pipelines. If the queue is full an errand is
//! forgotten: a lease and a tombstone end by themselves, and what is not kept is read again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::commands::{FillCommand, FillLease};
use super::shared_connection::ServerLink;
use super::single_flight::PendingLoad;

/// Errands that may wait.
const QUEUE: usize = 4096;
/// Errands in one pipeline.
const BATCH: usize = 128;
/// Bytes of values that may wait; more are not kept.
const BYTES: usize = 32 << 20;

/// Something to be done with a server.
pub(super) struct BackgroundCommand {
    pub(super) link: Arc<ServerLink>,
    pub(super) what: BackgroundAction,
}

/// What is to be done.
pub(super) enum BackgroundAction {
    /// Keep a value.
    Fill(PendingLoad, FillCommand),
    /// Give a lease back.
    Release(Arc<str>, FillLease),
    /// Remove whatever is kept.
    Remove(Vec<String>),
    /// Bar the keys for this long.
    Bar(Vec<String>, Duration),
}

/// Where errands are handed in.
pub(super) struct BackgroundSender {
    queue: mpsc::Sender<BackgroundCommand>,
    /// Bytes of values in the queue.
    waiting: Arc<AtomicUsize>,
}

/// The errands that are to be run.
pub(super) struct BackgroundQueue {
    queue: mpsc::Receiver<BackgroundCommand>,
    waiting: Arc<AtomicUsize>,
}

/// A queue, and its end.
pub(super) fn background_queue() -> (BackgroundSender, BackgroundQueue) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let waiting = Arc::new(AtomicUsize::new(0));
    (BackgroundSender { queue: sender, waiting: Arc::clone(&waiting) }, BackgroundQueue { queue, waiting })
}

impl BackgroundSender {
    /// Hands in an errand; it may be forgotten.
    pub(super) fn send(&self, link: &Arc<ServerLink>, what: BackgroundAction) {
        let link = Arc::clone(link);
        let what = match what {
            BackgroundAction::Fill(flight, fill) => {
                // Relaxed: the number bounds memory and orders nothing.
                let before = self.waiting.fetch_add(fill.entry.len(), Ordering::Relaxed);
                if before + fill.entry.len() > BYTES {
                    self.waiting.fetch_sub(fill.entry.len(), Ordering::Relaxed);
                    BackgroundAction::Release(Arc::clone(flight.key()), flight.lease())
                } else {
                    BackgroundAction::Fill(flight, fill)
                }
            }
            other => other,
        };
        if let Err(error) = self.queue.try_send(BackgroundCommand { link, what })
            && let BackgroundAction::Fill(_, fill) = error.into_inner().what
        {
            self.waiting.fetch_sub(fill.entry.len(), Ordering::Relaxed);
        }
    }
}

impl BackgroundQueue {
    /// Runs errands until `stop` is cancelled. What is left then ends by itself.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let mut errands = Vec::with_capacity(BATCH);
            match stop.run_until_cancelled(self.queue.recv_many(&mut errands, BATCH)).await {
                None | Some(0) => return,
                Some(_) => {}
            }
            // Mostly there is one link; after a loss, what was meant for the old one is not worth the while.
            while let Some(link) = errands.last().map(|errand| Arc::clone(&errand.link)) {
                let (mine, others) = errands.into_iter().partition(|errand| Arc::ptr_eq(&errand.link, &link));
                errands = others;
                self.run_batch(&link, mine).await;
            }
        }
    }

    async fn run_batch(&self, link: &ServerLink, errands: Vec<BackgroundCommand>) {
        let (mut flights, mut fills, mut leases, mut removed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for errand in errands {
            match errand.what {
                BackgroundAction::Fill(mut flight, fill) => {
                    self.waiting.fetch_sub(fill.entry.len(), Ordering::Relaxed);
                    flight.seal();
                    flights.push(flight);
                    fills.push(fill);
                }
                BackgroundAction::Release(key, lease) => leases.push((key, lease)),
                BackgroundAction::Remove(keys) => removed.extend(keys),
                BackgroundAction::Bar(keys, time) => {
                    link.bar(&keys, time).await;
                }
            }
        }
        if !fills.is_empty() {
            let kept = link.fill(fills.iter()).await.unwrap_or_default();
            for ((flight, fill), kept) in flights.into_iter().zip(fills).zip(kept) {
                if kept {
                    flight.land(fill.entry);
                }
            }
        }
        if !leases.is_empty() {
            link.release(leases.iter().map(|(key, lease)| (&**key, *lease))).await;
        }
        if !removed.is_empty() {
            link.remove(&removed).await;
        }
    }
}

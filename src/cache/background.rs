//! Commands that no request waits for: fills, lease releases, removals, tombstones.
//!
//! One bounded queue, and one task that sends the queued commands in a few pipelines. If the queue is full a command is
//! forgotten: a lease and a tombstone end by themselves, and a value that is not kept is read again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::commands::{FillCommand, FillLease};
use super::shared_connection::ServerLink;
use super::single_flight::PendingLoad;

/// Commands that may wait.
const QUEUE: usize = 4096;
/// Commands in one pipeline.
const BATCH: usize = 128;
/// Bytes of values that may wait; more are not kept.
const BYTES: usize = 32 << 20;

/// A command, and the link to its server.
pub(super) struct BackgroundCommand {
    pub(super) link: Arc<ServerLink>,
    pub(super) what: BackgroundAction,
}

/// What the command does.
pub(super) enum BackgroundAction {
    /// Keep a value.
    Fill(PendingLoad, FillCommand),
    /// Give a lease back.
    Release(Arc<str>, FillLease),
    /// Remove all entries.
    Remove(Vec<String>),
    /// Bar the keys for this long.
    Bar(Vec<String>, Duration),
}

/// The sender of background commands.
pub(super) struct BackgroundSender {
    queue: mpsc::Sender<BackgroundCommand>,
    /// Bytes of values in the queue.
    waiting: Arc<AtomicUsize>,
}

/// The commands that wait for their turn.
pub(super) struct BackgroundQueue {
    queue: mpsc::Receiver<BackgroundCommand>,
    waiting: Arc<AtomicUsize>,
}

/// A queue, and its sender.
pub(super) fn background_queue() -> (BackgroundSender, BackgroundQueue) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let waiting = Arc::new(AtomicUsize::new(0));
    (BackgroundSender { queue: sender, waiting: Arc::clone(&waiting) }, BackgroundQueue { queue, waiting })
}

impl BackgroundSender {
    /// Hands in a command, which may be forgotten.
    pub(super) fn send(&self, link: &Arc<ServerLink>, what: BackgroundAction) {
        let link = Arc::clone(link);
        let what = match what {
            BackgroundAction::Fill(pending, fill) => {
                // Relaxed: the number bounds memory and orders nothing.
                let before = self.waiting.fetch_add(fill.entry.len(), Ordering::Relaxed);
                if before + fill.entry.len() > BYTES {
                    self.waiting.fetch_sub(fill.entry.len(), Ordering::Relaxed);
                    BackgroundAction::Release(Arc::clone(pending.key()), pending.lease())
                } else {
                    BackgroundAction::Fill(pending, fill)
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
    /// Runs commands until `stop` is cancelled. Leases and tombstones that are left then end by themselves.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let mut commands = Vec::with_capacity(BATCH);
            match stop.run_until_cancelled(self.queue.recv_many(&mut commands, BATCH)).await {
                None | Some(0) => return,
                Some(_) => {}
            }
            // Mostly there is one link. After a loss, the commands for the old link are not worth the while.
            while let Some(link) = commands.last().map(|command| Arc::clone(&command.link)) {
                let (mine, others) = commands.into_iter().partition(|command| Arc::ptr_eq(&command.link, &link));
                commands = others;
                self.run_batch(&link, mine).await;
            }
        }
    }

    async fn run_batch(&self, link: &ServerLink, commands: Vec<BackgroundCommand>) {
        let (mut pending_loads, mut fills, mut leases, mut removed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for command in commands {
            match command.what {
                BackgroundAction::Fill(mut pending, fill) => {
                    self.waiting.fetch_sub(fill.entry.len(), Ordering::Relaxed);
                    pending.close();
                    pending_loads.push(pending);
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
            for ((pending, fill), kept) in pending_loads.into_iter().zip(fills).zip(kept) {
                if kept {
                    pending.publish(fill.entry);
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

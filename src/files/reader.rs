//! Gathered reads: small pages that are asked for at the same time are read by one statement.
//!
//! Each shard has a bounded queue and a few lanes. A lane takes what is in the queue, reads all of it by one statement
//! and answers each caller; while it waits for the shard, the next callers gather. Most of a small read's cost is that of
//! a statement, so this serves more reads with the same PostgreSQL (docs/decisions/0010-gathered-reads.md).
//!
//! A read that finds nobody before it goes straight to the shard, as the way through the queue costs it time and gathers
//! nothing. So do large pages, which would hold up the small ones of their batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::store::{ListBatch, ListByUser};
use super::{File, PageSize, UserId};
use crate::shard::{Cluster, MovingSlot, PerShard, Shard, ShardError, ShardId};

/// Larger pages are read alone.
const SMALL_PAGE: usize = 100;
/// Reads that may wait for one shard; more are refused as overload.
const QUEUE: usize = 4096;
/// Reads in one statement.
const BATCH: usize = 64;
/// Batches that one shard reads at the same time.
const LANES: usize = 1;
/// Reads of one shard that go straight to it at the same time.
const STRAIGHT: usize = 1;

/// A user's files from an id on, one more than the page holds; `None` if the shard does not own the user's slot.
type Answer = Result<Option<Vec<File>>, ShardError>;

struct Read {
    page: ListByUser,
    reply: oneshot::Sender<Answer>,
}

/// The way to one shard.
struct Gate {
    queue: mpsc::Sender<Read>,
    straight: AtomicUsize,
}

impl Gate {
    /// A place on the straight way, if one is free.
    fn enter(&self) -> Option<Straight<'_>> {
        let place = Straight(&self.straight);
        // Relaxed: the number orders nothing; a race gives one place too many or too few for a moment.
        (self.straight.fetch_add(1, Ordering::Relaxed) < STRAIGHT).then_some(place)
    }
}

/// A place on the straight way, given back when it is dropped.
struct Straight<'a>(&'a AtomicUsize);

impl Drop for Straight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The lanes of all shards.
pub(super) struct Reader {
    cluster: Arc<Cluster>,
    gates: PerShard<Gate>,
}

impl Reader {
    /// There will be lanes for each shard. They end when the cluster shuts down.
    pub(super) fn start(cluster: Arc<Cluster>) -> Self {
        Self { cluster, gates: PerShard::new() }
    }

    /// The way to a shard, opened at its first read, so that a shard that is added later has one too.
    fn gate(&self, shard: &Arc<Shard>) -> &Gate {
        self.gates.get_or_make(shard.id(), || {
            let (sender, queue) = mpsc::channel(QUEUE);
            let queue = Arc::new(Mutex::new(queue));
            for _ in 0..LANES {
                let stop = self.cluster.stopping().clone();
                self.cluster.spawn(run_lane(Arc::clone(shard), Arc::clone(&queue), stop));
            }
            Gate { queue: sender, straight: AtomicUsize::new(0) }
        })
    }

    /// The files of a user from an id on, newest first: one more than the page holds, if there are more.
    ///
    /// # Errors
    /// `Overloaded` if the queue is full; otherwise see [`ShardError`].
    pub(super) async fn list(
        &self,
        user: UserId,
        from: Uuid,
        size: PageSize,
    ) -> Result<(ShardId, Vec<File>), ShardError> {
        let page = ListByUser { user, from, size };
        let slot = user.slot();
        if size.get() > SMALL_PAGE {
            return self.cluster.run(slot, &page).await;
        }
        let mut moving = MovingSlot::new(slot, self.cluster.limits());
        loop {
            let shard = self.cluster.owner(slot)?;
            shard.check()?;
            let id = shard.id();
            let gate = self.gate(shard);
            if let Some(_place) = gate.enter() {
                return self.cluster.run(slot, &page).await;
            }
            let (reply, answer) = oneshot::channel();
            gate.queue.try_send(Read { page: page.clone(), reply }).map_err(|error| match error {
                TrySendError::Full(_) => ShardError::Overloaded { shard: id },
                TrySendError::Closed(_) => ShardError::Unavailable { shard: id },
            })?;
            match shard.while_healthy(answer).await? {
                Ok(Ok(Some(files))) => return Ok((id, files)),
                Ok(Ok(None)) => moving.wait_for_owner(&self.cluster, id).await?,
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(ShardError::Unavailable { shard: id }),
            }
        }
    }
}

async fn run_lane(shard: Arc<Shard>, queue: Arc<Mutex<mpsc::Receiver<Read>>>, stop: CancellationToken) {
    loop {
        let mut reads = Vec::with_capacity(BATCH);
        let gathering = async { queue.lock().await.recv_many(&mut reads, BATCH).await };
        match stop.run_until_cancelled(gathering).await {
            None | Some(0) => return,
            Some(_) => {}
        }
        reads.retain(|read| !read.reply.is_closed());
        if !reads.is_empty() {
            read_batch(&shard, reads).await;
        }
    }
}

async fn read_batch(shard: &Shard, reads: Vec<Read>) {
    let (pages, replies): (Vec<_>, Vec<_>) = reads.into_iter().map(|read| (read.page, read.reply)).unzip();
    let result = Box::pin(shard.run(&ListBatch { pages: &pages })).await;
    match result {
        Ok(found) => {
            // A caller who went away does not want to know.
            for (reply, files) in replies.into_iter().zip(found.unwrap_or_default()) {
                let _ = reply.send(Ok(files));
            }
        }
        Err(error) => {
            for reply in replies {
                let _ = reply.send(Err(error.again()));
            }
        }
    }
}

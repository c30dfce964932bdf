//! Gathered reads: small reads that are asked for at the same time are answered by one statement.
//!
//! Each shard has a bounded queue and a few lanes. A lane takes what is in the queue, reads all of it by one statement
//! and answers each caller; while it waits for the shard, the next callers gather. Most of a small read's cost is that of
//! a statement, so this serves more reads with the same PostgreSQL (docs/decisions/0010-gathered-reads.md).
//!
//! A read that finds nobody before it goes straight to the shard, as the way through the queue costs it time and gathers
//! nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::PgConnection;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::cluster::MovingSlot;
use super::{Cluster, Shard, ShardCall, ShardError, ShardId, Slot};

/// Reads that may wait for one shard; more are refused as overload.
const QUEUE: usize = 4096;
/// Reads in one statement.
const BATCH: usize = 64;
/// Batches that one shard reads at the same time.
const LANES: usize = 1;
/// Reads of one shard that go straight to it at the same time.
const STRAIGHT: usize = 1;

/// A small read of one slot. As a [`ShardCall`] it is read alone, and [`BatchRead::call_all`] reads many at once.
pub trait BatchRead: ShardCall<Output: 'static> + Send + 'static {
    /// The slot that it is about.
    fn slot(&self) -> Slot;

    /// Answers all of `reads`, which are of any slots and may be alike, by one statement on `connection`, which leads
    /// to `shard`: one entry for each, in their order. `None`: the shard does not own that read's slot.
    ///
    /// The future may be dropped at any await; its connection is closed then.
    fn call_all(
        reads: &[Self],
        connection: &mut PgConnection,
        shard: ShardId,
    ) -> impl Future<Output = Result<Vec<Option<Self::Output>>, sqlx::Error>> + Send
    where
        Self: Sized;
}

/// What a lane says of a read.
enum Reply<R: BatchRead> {
    Answer(R::Output),
    /// The shard does not own the read's slot.
    NotOwner(R),
    Failed(ShardError),
}

struct Waiting<R: BatchRead> {
    read: R,
    reply: oneshot::Sender<Reply<R>>,
}

/// The way to one shard.
struct Gate<R: BatchRead> {
    queue: mpsc::Sender<Waiting<R>>,
    straight: AtomicUsize,
}

impl<R: BatchRead> Gate<R> {
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

/// The lanes of all shards, for one kind of read.
pub struct Gather<R: BatchRead> {
    cluster: Arc<Cluster>,
    gates: Vec<Gate<R>>,
}

impl<R: BatchRead> Gather<R> {
    /// Starts the lanes. They end when the cluster shuts down.
    #[must_use]
    pub fn start(cluster: Arc<Cluster>) -> Self {
        let start_lanes = |shard: &Arc<Shard>| {
            let (sender, queue) = mpsc::channel(QUEUE);
            let queue = Arc::new(Mutex::new(queue));
            for _ in 0..LANES {
                cluster.spawn(run_lane::<R>(Arc::clone(shard), Arc::clone(&queue), cluster.stopping().clone()));
            }
            Gate { queue: sender, straight: AtomicUsize::new(0) }
        };
        let gates = cluster.shards().iter().map(start_lanes).collect();
        Self { cluster, gates }
    }

    /// Reads on the shard that owns the slot, as [`Cluster::run`] does, together with others who ask now.
    ///
    /// # Errors
    /// `Overloaded` if the queue is full; otherwise see [`ShardError`].
    pub async fn read(&self, mut read: R) -> Result<(ShardId, R::Output), ShardError> {
        let slot = read.slot();
        let mut moving = MovingSlot::new(slot, self.cluster.limits());
        loop {
            let shard = self.cluster.owner(slot)?;
            shard.check()?;
            let id = shard.id();
            let gate = self.gates.get(id.index()).ok_or(ShardError::Moving)?;
            if let Some(_place) = gate.enter() {
                return self.cluster.run(slot, &read).await;
            }
            let (reply, answer) = oneshot::channel();
            gate.queue.try_send(Waiting { read, reply }).map_err(|error| match error {
                TrySendError::Full(_) => ShardError::Overloaded { shard: id },
                TrySendError::Closed(_) => ShardError::Unavailable { shard: id },
            })?;
            match shard.while_healthy(answer).await? {
                Ok(Reply::Answer(output)) => return Ok((id, output)),
                Ok(Reply::NotOwner(back)) => read = back,
                Ok(Reply::Failed(error)) => return Err(error),
                Err(_) => return Err(ShardError::Unavailable { shard: id }),
            }
            moving.wait_for_owner(&self.cluster, id).await?;
        }
    }
}

async fn run_lane<R: BatchRead>(
    shard: Arc<Shard>,
    queue: Arc<Mutex<mpsc::Receiver<Waiting<R>>>>,
    stop: CancellationToken,
) {
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        let gathering = async { queue.lock().await.recv_many(&mut batch, BATCH).await };
        match stop.run_until_cancelled(gathering).await {
            None | Some(0) => return,
            Some(_) => {}
        }
        batch.retain(|waiting| !waiting.reply.is_closed());
        if !batch.is_empty() {
            answer_batch(&shard, batch).await;
        }
    }
}

/// Several reads as one call. It always has an answer: which of them are the shard's is told for each.
struct Batch<R>(Vec<R>);

impl<R: BatchRead> ShardCall for Batch<R> {
    type Output = Vec<Option<R::Output>>;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        R::call_all(&self.0, connection, shard).await.map(Some)
    }
}

async fn answer_batch<R: BatchRead>(shard: &Shard, batch: Vec<Waiting<R>>) {
    let (reads, replies): (Vec<_>, Vec<_>) = batch.into_iter().map(|waiting| (waiting.read, waiting.reply)).unzip();
    let reads = Batch(reads);
    let result = Box::pin(shard.run(&reads)).await;
    // A caller who went away does not want to know.
    match result {
        Ok(answers) => {
            for ((reply, read), answer) in replies.into_iter().zip(reads.0).zip(answers.unwrap_or_default()) {
                let _ = reply.send(answer.map_or_else(|| Reply::NotOwner(read), Reply::Answer));
            }
        }
        Err(error) => {
            for reply in replies {
                let _ = reply.send(Reply::Failed(error.again()));
            }
        }
    }
}

//! Batched reads: one statement answers many small reads that wait at the same time.
//!
//! Each thread that asks has a lane for each shard: a bounded queue and a task. The lane empties the queue, reads all
//! of the batch by one statement, and answers each caller. While the lane waits for the shard, the next callers gather,
//! and a busy lane waits a moment for those whom it has just answered ([`lane_queue`]). Most of a small read's cost is
//! the statement, so batches serve more reads with the same PostgreSQL (docs/decisions/0010-batched-reads.md).
//!
//! The lane and its connection live on the runtime of the asking thread: beside the statement, a read's largest cost
//! was the waking of other threads. An HTTP worker that ends takes its lanes along, after its requests; nothing is
//! lost, as these are reads.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::PgConnection;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::shard::call::ShardCall;
use crate::shard::cluster::lane_queue::{LaneReceiver, LaneSender, lane_queue};
use crate::shard::cluster::moving_slot::MovingSlot;
use crate::shard::cluster::routing::Cluster;
use crate::shard::error::ShardError;
use crate::shard::server::pool::ShardPool;
use crate::shard::server::shard::Shard;
use crate::shard::slot::{ShardId, Slot};
use crate::telemetry::{SpanLink, batch_span, record_route};

/// Reads of a thread that may wait for a shard; more are refused as overload.
const QUEUE: usize = 4096;
/// Reads in one statement.
const BATCH: usize = 64;
/// After a batch of fewer reads a lane does not wait for its callers.
const BUSY: usize = 2;

/// A small read of one slot. [`ShardCall`] reads alone, and [`BatchRead::call_all`] reads many at once.
pub trait BatchRead: ShardCall<Output: 'static> + Send + 'static {
    /// The slot of the read.
    fn slot(&self) -> Slot;

    /// Answers all of `reads`, which are of any slots and may be alike, by one statement on `connection`: one entry for
    /// each, in their order. `None`: the connection's shard does not own that read's slot.
    ///
    /// The future may be dropped at any await; its connection is closed then.
    fn call_all(
        reads: &[Self],
        connection: &mut PgConnection,
    ) -> impl Future<Output = Result<Vec<Option<Self::Output>>, sqlx::Error>> + Send
    where
        Self: Sized;
}

/// A lane's reply to a read.
enum ReadReply<R: BatchRead> {
    Answer(R::Output),
    /// The shard does not own the read's slot.
    NotOwner(R),
    Failed(ShardError),
}

struct WaitingRead<R: BatchRead> {
    read: R,
    /// When its caller has waited long enough.
    until: Instant,
    reply: oneshot::Sender<ReadReply<R>>,
    link: Option<SpanLink>,
}

/// The number of the next `BatchedReads`: each has its own.
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The queues of this thread's lanes to the shards, by the number of the `BatchedReads`.
    static QUEUES: RefCell<HashMap<usize, Box<dyn Any>>> = RefCell::new(HashMap::new());
}

/// A thread's queues, in the order of the shards.
type ReadQueues<R> = Vec<LaneSender<WaitingRead<R>>>;

/// The lanes of all shards, for one kind of read.
pub struct BatchedReads<R: BatchRead> {
    cluster: Arc<Cluster>,
    number: usize,
    kind: PhantomData<fn(R)>,
}

impl<R: BatchRead> BatchedReads<R> {
    /// Lanes on these shards; each starts when its thread first asks, and ends when the cluster shuts down.
    #[must_use]
    pub fn start(cluster: Arc<Cluster>) -> Self {
        // Relaxed: the number orders nothing.
        Self { cluster, number: NEXT.fetch_add(1, Ordering::Relaxed), kind: PhantomData }
    }

    /// Starts this thread's lane to a shard.
    fn start_lane(&self, shard: &Arc<Shard>) -> LaneSender<WaitingRead<R>> {
        let (sender, queue) = lane_queue(QUEUE, BUSY);
        let stop = self.cluster.stop_token().clone();
        self.cluster.spawn_on_current_runtime(run_lane(Arc::clone(shard), shard.thread_pool(), queue, stop));
        sender
    }

    /// Puts a read into this thread's queue for the shard.
    fn enqueue(&self, shard: ShardId, waiting: WaitingRead<R>) -> Result<(), ShardError> {
        QUEUES.with_borrow_mut(|all| {
            let queues = all.entry(self.number).or_insert_with(|| Box::new(ReadQueues::<R>::new()));
            let queues: &mut ReadQueues<R> = queues.downcast_mut().ok_or(ShardError::Moving)?;
            // All queues at the thread's first read, and the missing queues when the cluster has grown.
            if queues.len() <= shard.index() {
                let missing = self.cluster.shards().iter().skip(queues.len());
                queues.extend(missing.map(|shard| self.start_lane(shard)));
            }
            let queue = queues.get(shard.index()).ok_or(ShardError::Moving)?;
            queue.try_send(waiting).map_err(|error| match error {
                TrySendError::Full(_) => ShardError::Overloaded { shard },
                TrySendError::Closed(_) => ShardError::Unavailable { shard },
            })
        })
    }

    /// Reads on the shard that owns the slot, as [`Cluster::run`] does, together with other callers.
    ///
    /// # Errors
    /// `Overloaded` if the queue is full; otherwise see [`ShardError`].
    pub async fn read(&self, mut read: R) -> Result<(ShardId, R::Output), ShardError> {
        let slot = read.slot();
        let mut moving = MovingSlot::new(slot, self.cluster.limits());
        loop {
            let shard = self.cluster.owner(slot)?;
            let id = shard.id();
            record_route(slot.number(), id.number());
            let watched = shard.time_call(std::any::type_name::<R>());
            if let Err(away) = shard.require_healthy() {
                return watched.finish(Err(away));
            }
            let (reply, answer) = oneshot::channel();
            let until = Instant::now() + self.cluster.limits().call_timeout;
            if let Err(error) = self.enqueue(id, WaitingRead { read, until, reply, link: watched.span.batch_link() }) {
                return watched.finish(Err(error));
            }
            // The lane keeps the time, for a batch at once, and looks at the shard's health.
            match answer.await {
                Ok(ReadReply::Answer(output)) => return Ok((id, output)),
                Ok(ReadReply::NotOwner(back)) => read = back,
                Ok(ReadReply::Failed(error)) => return watched.finish(Err(error)),
                Err(_) => return watched.finish(Err(ShardError::Unavailable { shard: id })),
            }
            drop(watched);
            moving.wait_for_owner(&self.cluster, id).await?;
        }
    }
}

async fn run_lane<R: BatchRead>(
    shard: Arc<Shard>,
    pool: ShardPool,
    mut queue: LaneReceiver<WaitingRead<R>>,
    stop: CancellationToken,
) {
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        match stop.run_until_cancelled(queue.next_batch(&mut batch, BATCH)).await {
            None | Some(0) => return,
            Some(_) => {}
        }
        batch.retain(|waiting| !waiting.reply.is_closed());
        answer_batch(&shard, &pool, batch).await;
        // Callers who were answered run on this thread: their answers go out, and next requests come in.
        tokio::task::yield_now().await;
    }
}

/// Several reads as one call. The call always has an answer, which says for each read whether the shard owns the slot.
struct ReadBatch<R>(Vec<R>);

impl<R: BatchRead> ShardCall for ReadBatch<R> {
    type Output = Vec<Option<R::Output>>;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        R::call_all(&self.0, connection).await.map(Some)
    }
}

async fn answer_batch<R: BatchRead>(shard: &Shard, pool: &ShardPool, mut batch: Vec<WaitingRead<R>>) {
    // The first read has waited longest, and all reads of the batch wait for the same statement.
    let Some(until) = batch.first().map(|waiting| waiting.until) else { return };
    shard.counters().read_batches.observe_size(batch.len());
    let links = batch.iter_mut().filter_map(|waiting| waiting.link.take());
    let mut span = batch_span("BatchedRead", shard.id().number(), links);
    span.count_rows(batch.len());
    let (reads, replies): (Vec<_>, Vec<_>) = batch.into_iter().map(|waiting| (waiting.read, waiting.reply)).unzip();
    let reads = ReadBatch(reads);
    let call = Box::pin(tokio::time::timeout_at(until, shard.run_on(pool, &reads))).await;
    let result = call.unwrap_or(Err(ShardError::Timeout { shard: shard.id() }));
    // The caller may have gone away.
    match result {
        Ok(answers) => {
            for ((reply, read), answer) in replies.into_iter().zip(reads.0).zip(answers.unwrap_or_default()) {
                let _ = reply.send(answer.map_or_else(|| ReadReply::NotOwner(read), ReadReply::Answer));
            }
        }
        Err(error) => {
            span.set_failed(error.kind_name());
            for reply in replies {
                let _ = reply.send(ReadReply::Failed(error.copy_for_caller()));
            }
        }
    }
}

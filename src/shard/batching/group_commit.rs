//! Group commit: one statement in one transaction stores many single writes, each answered on its own.
//!
//! Each shard has a lane: a bounded queue and a task with a connection of its own. While one batch commits, the next
//! one gathers in the queue; a lone write goes at once. Each caller gets the answer for its own row:
//!
//! - the rows of slots that the guard refuses go back to their callers, who send them to the right shard;
//!   the other rows of the batch are stored without them;
//! - a row that PostgreSQL refuses is found by halving the batch, and fails alone;
//! - a row whose `Idempotency-Key` the shard has already is answered with what is kept for it, and not stored;
//! - a batch whose connection broke is sent again on a new one: storing a row twice does what storing it once does.
//!
//! A caller that goes away takes its row out of the queue, unless it is in a batch already.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::shard::cluster::append_only::PerShard;
use crate::shard::cluster::known_map::MovingSlot;
use crate::shard::cluster::routing::Cluster;
use crate::shard::error::ShardError;
use crate::shard::idempotency::{CallOutcome, RequestKey, StoredOutcome, find_refused, is_key_there};
use crate::shard::server::fault::{DbFault, ServerResource, refused_slots};
use crate::shard::server::pool::ConnectionLease;
use crate::shard::server::shard::{ServerSession, Shard};
use crate::shard::slot::{ShardId, Slot};
use crate::telemetry::{SpanLink, batch_span, note_place};

/// How often a batch is tried again after a broken connection or a deadlock.
const RETRIES: u32 = 3;
/// Between two tries to open a lane's connection before it is needed.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);

/// How much a lane takes on.
#[derive(Clone, Copy, Debug)]
pub struct WriterLimits {
    /// Writes that may wait for one shard; more are refused as overload.
    pub queue: usize,
    /// Rows in one transaction at most.
    pub batch: usize,
}

/// Rows that are stored many at once. Storing the same row twice must do what storing it once does.
pub(crate) trait BatchWrite: Send + Sync + 'static {
    /// What one caller writes.
    type Row: Send + Sync + 'static;
    /// What became of it.
    type Answer: Send + 'static;
    /// What must be seen to around a write, besides the shard.
    type Mark: WriteMark;

    /// The slot that the row is in.
    fn slot(row: &Self::Row) -> Slot;

    /// The key under which what becomes of the row is kept. Rows with one are stored by a statement that keeps it.
    fn key(row: &Self::Row) -> Option<&RequestKey>;

    /// The order of the table's primary key: two lanes that write in it can never wait for each other. Rows that are
    /// equal stay in the order in which they came.
    fn order(a: &Self::Row, b: &Self::Row) -> Ordering;

    /// Called before rows are sent to the shard, with those of one transaction.
    fn before(&self, rows: &[&Self::Row]) -> impl Future<Output = Self::Mark> + Send;

    /// Stores the rows, which are in order, in one transaction; gives the answer to each, in their order. The guard
    /// refuses foreign slots with an error, and so does the table of keys a key that is there. No two of the rows have the
    /// same key.
    ///
    /// The future may be dropped at any await; its connection is closed then.
    fn store(
        connection: &mut PgConnection,
        shard: ShardId,
        rows: &[&Self::Row],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, sqlx::Error>> + Send;
}

/// A write that is on its way, for those who must know of it besides the shard. Dropped if nobody knows its outcome.
pub(crate) trait WriteMark: Send {
    /// The shard has committed: only after this may anybody be told.
    fn settle(self) -> impl Future<Output = Result<(), ShardError>> + Send;

    /// The shard has certainly changed nothing.
    fn release(self);
}

enum WriteReply<W: BatchWrite> {
    Stored(W::Row, W::Answer),
    /// An earlier request with the row's key was stored.
    Known(W::Row, StoredOutcome),
    /// The shard does not own the row's slot.
    NotOwner(W::Row),
    Failed(ShardError),
}

struct QueuedWrite<W: BatchWrite> {
    row: W::Row,
    reply: oneshot::Sender<WriteReply<W>>,
    link: Option<SpanLink>,
}

impl<W: BatchWrite> QueuedWrite<W> {
    fn answer(self, reply: impl FnOnce(W::Row) -> WriteReply<W>) {
        // A caller who went away does not want to know.
        let _ = self.reply.send(reply(self.row));
    }

    fn slot(&self) -> Slot {
        W::slot(&self.row)
    }

    fn key(&self) -> Option<(Slot, Uuid)> {
        W::key(&self.row).map(|key| (self.slot(), key.key))
    }
}

/// The lanes of all shards for one kind of row.
pub(crate) struct GroupCommit<W: BatchWrite> {
    cluster: Arc<Cluster>,
    limits: WriterLimits,
    /// That of a shard that is added later is started by the shard's first write.
    writer: Box<dyn Fn() -> W + Send + Sync>,
    lanes: PerShard<mpsc::Sender<QueuedWrite<W>>>,
}

impl<W: BatchWrite> GroupCommit<W> {
    /// There is a lane for each shard, with a `writer` of its own, and a connection before the first write comes: later the
    /// server may have none to give. When the cluster shuts down, a lane stores what is
    /// in its queue and ends.
    pub(crate) fn start(
        cluster: Arc<Cluster>,
        limits: WriterLimits,
        writer: impl Fn() -> W + Send + Sync + 'static,
    ) -> Self {
        let commit = Self { cluster, limits, writer: Box::new(writer), lanes: PerShard::new() };
        for shard in commit.cluster.shards() {
            commit.lane(shard);
        }
        commit
    }

    fn lane(&self, shard: &Arc<Shard>) -> &mpsc::Sender<QueuedWrite<W>> {
        self.lanes.get_or_make(shard.id(), || {
            let (sender, queue) = mpsc::channel(self.limits.queue);
            let lane = CommitLane { shard: Arc::clone(shard), writer: (self.writer)(), session: None };
            self.cluster.spawn(lane.run(queue, self.limits.batch, self.cluster.stop_token().clone()));
            sender
        })
    }

    /// Stores a row on the shard that owns its slot; the answer comes after the commit.
    ///
    /// # Errors
    /// `Overloaded` if the queue is full; otherwise see [`ShardError`]. After `Unavailable` and `Timeout` the row may
    /// be stored all the same.
    pub(crate) async fn write(&self, mut row: W::Row) -> Result<(ShardId, W::Row, CallOutcome<W::Answer>), ShardError> {
        let slot = W::slot(&row);
        let mut moving = MovingSlot::new(slot, self.cluster.limits());
        loop {
            let shard = self.cluster.owner(slot)?;
            shard.require_healthy()?;
            let id = shard.id();
            note_place(slot.number(), id.number());
            let watched = shard.time_call::<W>();
            let (reply, answer) = oneshot::channel();
            // Before the lane can take it out again.
            shard.counters().commit_queue.add(1);
            if let Err(refused) = self.lane(shard).try_send(QueuedWrite { row, reply, link: watched.span.link() }) {
                shard.counters().commit_queue.add(-1);
                return watched.finish(Err(match refused {
                    TrySendError::Full(_) => ShardError::Overloaded { shard: id },
                    TrySendError::Closed(_) => ShardError::Unavailable { shard: id },
                }));
            }
            match shard.while_healthy(answer).await {
                Ok(Ok(WriteReply::Stored(row, answer))) => return Ok((id, row, CallOutcome::Now(answer))),
                Ok(Ok(WriteReply::Known(row, known))) => return Ok((id, row, CallOutcome::Before(known))),
                Ok(Ok(WriteReply::NotOwner(back))) => row = back,
                Ok(Ok(WriteReply::Failed(error))) | Err(error) => return watched.finish(Err(error)),
                Ok(Err(_)) => return watched.finish(Err(ShardError::Unavailable { shard: id })),
            }
            drop(watched);
            moving.wait_for_owner(&self.cluster, id).await?;
        }
    }
}

/// One shard's writes.
struct CommitLane<W> {
    shard: Arc<Shard>,
    writer: W,
    session: Option<ServerSession>,
}

impl<W: BatchWrite> CommitLane<W> {
    async fn run(mut self, mut queue: mpsc::Receiver<QueuedWrite<W>>, batch: usize, stop: CancellationToken) {
        let mut writes = Vec::with_capacity(batch);
        loop {
            tokio::select! {
                biased;
                taken = queue.recv_many(&mut writes, batch) => if taken == 0 { return },
                session = connect_early(&self.shard), if self.session.is_none() => {
                    self.session = Some(session);
                    continue;
                }
                // Nothing comes in any more; what is in the queue is still taken out.
                () = stop.cancelled(), if !queue.is_closed() => queue.close(),
            }
            let counters = self.shard.counters();
            counters.commit_queue.add(-i64::try_from(writes.len()).unwrap_or(0));
            writes.retain(|write| !write.reply.is_closed());
            if !writes.is_empty() {
                counters.commit_batches.observe_size(writes.len());
            }
            self.store(std::mem::replace(&mut writes, Vec::with_capacity(batch))).await;
        }
    }

    /// Stores a batch and answers every row of it. Not cancel safe: a lane is never dropped in the middle.
    async fn store(&mut self, mut writes: Vec<QueuedWrite<W>>) {
        let links = writes.iter_mut().filter_map(|write| write.link.take());
        let mut span = batch_span("GroupCommit", self.shard.id().number(), links);
        span.count_rows(writes.len());
        writes.sort_by(|a, b| W::order(&a.row, &b.row));
        let mut batches = vec![writes];
        let (mut tries, mut key_tries) = (0, 0);
        while let Some(mut batch) = batches.pop() {
            if batch.is_empty() {
                continue;
            }
            // Of two with one key the second comes after the first is stored, and finds its key.
            let twice = split_repeated(&mut batch);
            if !twice.is_empty() {
                batches.push(twice);
            }
            let rows: Vec<_> = batch.iter().map(|write| &write.row).collect();
            let mark = self.writer.before(&rows).await;
            let error = match self.insert(&rows).await {
                Ok(answers) => {
                    match mark.settle().await {
                        Ok(()) => answer_all(batch, answers),
                        Err(error) => fail_all(batch, || error.copy_for_caller()),
                    }
                    continue;
                }
                Err(BatchRefusal::Shard(error)) => {
                    fail_all(batch, || error.copy_for_caller());
                    continue;
                }
                Err(BatchRefusal::Database(error)) => error,
            };
            if is_key_there(&error) && key_tries < RETRIES {
                key_tries += 1;
                // Whoever stored it may have died before the cache knew: it is told before the client is.
                if let Err(error) = mark.settle().await {
                    fail_all(batch, || error.copy_for_caller());
                    continue;
                }
                match self.known(&batch).await {
                    Ok(known) => {
                        key_tries = if known.is_empty() { key_tries } else { 0 };
                        batches.push(answer_known(batch, known));
                    }
                    Err(error) => fail_all(batch, || error.copy_for_caller()),
                }
                continue;
            }
            match self.shard.record_fault(&error) {
                DbFault::NotOwner => {
                    mark.release();
                    let refused =
                        refused_slots(&error).unwrap_or_else(|| batch.iter().map(QueuedWrite::slot).collect());
                    let refused: HashSet<Slot> = refused.into_iter().collect();
                    let (foreign, owned) = batch.into_iter().partition(|write| refused.contains(&write.slot()));
                    Vec::into_iter(foreign).for_each(|write: QueuedWrite<W>| write.answer(WriteReply::NotOwner));
                    batches.push(owned);
                }
                DbFault::ConnectionLost | DbFault::Conflict if tries < RETRIES => {
                    tries += 1;
                    batches.push(batch);
                }
                // Perhaps another server is the primary by now; once is enough to find out.
                DbFault::ReadOnly if tries == 0 => {
                    mark.release();
                    tries = RETRIES;
                    // A server that is known to be read-only goes on with reads.
                    if self.shard.takes_writes() {
                        self.shard.close_idle_connections();
                    }
                    batches.push(batch);
                }
                DbFault::RowRefused | DbFault::Unexpected if batch.len() > 1 => {
                    mark.release();
                    let second = batch.split_off(batch.len() / 2);
                    batches.extend([second, batch]);
                }
                fault => {
                    match fault {
                        fault if fault.counts_as_loss() => self.shard.record_loss(),
                        DbFault::Exhausted(_) => {}
                        _ => self.shard.request_probe(),
                    }
                    let error = fault.into_error(self.shard.id(), error);
                    span.fail(error.kind_name());
                    fail_all(batch, || error.copy_for_caller());
                }
            }
        }
    }

    /// What is kept for the keys of a batch, one of which is there already.
    async fn known(&mut self, batch: &[QueuedWrite<W>]) -> Result<HashMap<(Slot, Uuid), StoredOutcome>, ShardError> {
        let keys: Vec<_> = batch.iter().filter_map(QueuedWrite::key).collect();
        let id = self.shard.id();
        let found = self.on_connection(async |connection| find_refused(connection, id, &keys).await).await;
        match found {
            Ok(found) => Ok(found.into_iter().map(|(slot, key, known)| ((slot, key), known)).collect()),
            Err(BatchRefusal::Shard(error)) => Err(error),
            Err(BatchRefusal::Database(error)) => Err(DbFault::of(&error).into_error(id, error)),
        }
    }

    /// One try.
    async fn insert(&mut self, rows: &[&W::Row]) -> Result<Vec<W::Answer>, BatchRefusal> {
        let id = self.shard.id();
        self.on_connection(async |connection| W::store(connection, id, rows).await).await
    }

    /// Works on the lane's connection, which is kept only if the server answered on it. While the server gives no new one, it
    /// is one of the shard's pool.
    async fn on_connection<T>(
        &mut self,
        run: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, BatchRefusal> {
        let shard = Arc::clone(&self.shard);
        let taken = self.session.take();
        let work = async {
            let mut held = match ServerSession::reuse_or_connect(&shard, taken).await {
                Ok(session) => Held::Own(session),
                Err(error) if DbFault::of(&error) == DbFault::Exhausted(ServerResource::Connections) => {
                    Held::Lent(shard.lease().await.map_err(BatchRefusal::Shard)?)
                }
                Err(error) => return Err(BatchRefusal::Database(error)),
            };
            let result = run(held.connection()).await;
            Ok((held, result))
        };
        let done = shard.while_healthy(work).await.map_err(|error| {
            if matches!(error, ShardError::Timeout { .. }) {
                shard.record_loss();
            }
            BatchRefusal::Shard(error)
        });
        let (held, result) = done??;
        if !result.as_ref().is_err_and(|error| DbFault::of(error).ends_connection()) {
            shard.record_answer();
            match held {
                Held::Own(session) => self.session = Some(session),
                Held::Lent(lease) => lease.give_back(),
            }
        }
        result.map_err(BatchRefusal::Database)
    }
}

/// What a batch is stored over.
enum Held {
    Own(ServerSession),
    Lent(ConnectionLease),
}

impl Held {
    fn connection(&mut self) -> &mut PgConnection {
        match self {
            Self::Own(session) => &mut session.connection,
            Self::Lent(lease) => lease,
        }
    }
}

/// Opens a lane's connection before it is needed; tries for as long as it takes.
async fn connect_early(shard: &Shard) -> ServerSession {
    loop {
        if shard.require_healthy().is_ok()
            && let Ok(session) = ServerSession::reuse_or_connect(shard, None).await
        {
            return session;
        }
        tokio::time::sleep(CONNECT_PAUSE).await;
    }
}

enum BatchRefusal {
    Shard(ShardError),
    Database(sqlx::Error),
}

/// Takes out of a batch the rows whose key an earlier row has.
fn split_repeated<W: BatchWrite>(batch: &mut Vec<QueuedWrite<W>>) -> Vec<QueuedWrite<W>> {
    let mut keys = HashSet::new();
    let is_repeated = |write: &QueuedWrite<W>| write.key().is_some_and(|key| !keys.insert(key));
    // Without keys, as most batches are, nothing is allocated.
    let repeated: Vec<bool> = if batch.iter().any(|write| write.key().is_some()) {
        batch.iter().map(is_repeated).collect()
    } else {
        return Vec::new();
    };
    let (mut first, mut twice) = (Vec::with_capacity(batch.len()), Vec::new());
    for (write, repeated) in batch.drain(..).zip(repeated) {
        if repeated { twice.push(write) } else { first.push(write) }
    }
    *batch = first;
    twice
}

/// Answers the rows whose keys are known; gives the others.
fn answer_known<W: BatchWrite>(
    batch: Vec<QueuedWrite<W>>,
    mut known: HashMap<(Slot, Uuid), StoredOutcome>,
) -> Vec<QueuedWrite<W>> {
    let mut others = Vec::with_capacity(batch.len());
    for write in batch {
        match write.key().and_then(|key| known.remove(&key)) {
            Some(known) => write.answer(|row| WriteReply::Known(row, known)),
            None => others.push(write),
        }
    }
    others
}

fn answer_all<W: BatchWrite>(batch: Vec<QueuedWrite<W>>, answers: Vec<W::Answer>) {
    for (write, answer) in batch.into_iter().zip(answers) {
        write.answer(|row| WriteReply::Stored(row, answer));
    }
}

fn fail_all<W: BatchWrite>(batch: Vec<QueuedWrite<W>>, error: impl Fn() -> ShardError) {
    for write in batch {
        write.answer(|_| WriteReply::Failed(error()));
    }
}

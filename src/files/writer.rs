//! Group commit: single writes that come at the same time are stored by one statement in one transaction.
//!
//! Each shard has a lane: a bounded queue and a task with a connection of its own. While one batch commits, the next
//! one gathers in the queue; a lone write goes at once. Each caller gets the answer for its own row:
//!
//! - the rows of slots that the guard refuses go back to their callers, who send them to the right shard;
//!   the other rows of the batch are stored without them;
//! - a row that PostgreSQL refuses is found by halving the batch, and fails alone;
//! - a batch whose connection broke is sent again on a new one: every row has an id, so it is stored once.
//!
//! A caller that goes away takes its row out of the queue, unless it is in a batch already.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::NewFile;
use super::service::page_key;
use super::store::insert_batch;
use crate::cache::Cache;
use crate::shard::{Cluster, DbFault, MovingSlot, Shard, ShardError, ShardId, Slot, refused_slots};

/// How often a batch is tried again after a broken connection or a deadlock.
const RETRIES: u32 = 3;

/// How much a lane takes on.
#[derive(Clone, Copy, Debug)]
pub struct WriterLimits {
    /// Writes that may wait for one shard; more are refused as overload.
    pub queue: usize,
    /// Rows in one transaction at most.
    pub batch: usize,
}

/// What became of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Written {
    /// It is stored, since this time.
    Inserted(DateTime<Utc>),
    /// A row with this id was there already.
    Exists,
}

enum Reply {
    Written(NewFile, Written),
    /// The shard does not own the row's slot.
    NotOwner(NewFile),
    Failed(ShardError),
}

struct Write {
    file: NewFile,
    reply: oneshot::Sender<Reply>,
}

impl Write {
    fn answer(self, reply: impl FnOnce(NewFile) -> Reply) {
        // A caller who went away does not want to know.
        let _ = self.reply.send(reply(self.file));
    }
}

/// The lanes of all shards.
pub(super) struct Writer {
    cluster: Arc<Cluster>,
    lanes: Vec<mpsc::Sender<Write>>,
}

impl Writer {
    /// Starts a lane for each shard. When the cluster shuts down, a lane stores what is in its queue and ends.
    pub(super) fn start(cluster: Arc<Cluster>, cache: &Arc<Cache>, limits: WriterLimits) -> Self {
        let start_lane = |shard: &Arc<Shard>| {
            let (sender, queue) = mpsc::channel(limits.queue);
            let lane = Lane { shard: Arc::clone(shard), cache: Arc::clone(cache), connection: None };
            cluster.spawn(lane.run(queue, limits.batch, cluster.stopping().clone()));
            sender
        };
        let lanes = cluster.shards().iter().map(start_lane).collect();
        Self { cluster, lanes }
    }

    /// Stores a file on the shard that owns its slot; the answer comes after the commit.
    ///
    /// # Errors
    /// `Overloaded` if the queue is full; otherwise see [`ShardError`]. After `Unavailable` and `Timeout` the row may
    /// be stored all the same.
    pub(super) async fn write(&self, mut file: NewFile) -> Result<(ShardId, NewFile, Written), ShardError> {
        let slot = file.user.slot();
        let mut moving = MovingSlot::new(slot, self.cluster.limits());
        loop {
            let shard = self.cluster.owner(slot)?;
            shard.check()?;
            let id = shard.id();
            let lane = self.lanes.get(id.index()).ok_or(ShardError::Moving)?;
            let (reply, answer) = oneshot::channel();
            lane.try_send(Write { file, reply }).map_err(|error| match error {
                TrySendError::Full(_) => ShardError::Overloaded { shard: id },
                TrySendError::Closed(_) => ShardError::Unavailable { shard: id },
            })?;
            match shard.while_healthy(answer).await? {
                Ok(Reply::Written(file, written)) => return Ok((id, file, written)),
                Ok(Reply::NotOwner(back)) => file = back,
                Ok(Reply::Failed(error)) => return Err(error),
                Err(_) => return Err(ShardError::Unavailable { shard: id }),
            }
            moving.wait_for_owner(&self.cluster, id).await?;
        }
    }
}

/// One shard's writes.
struct Lane {
    shard: Arc<Shard>,
    cache: Arc<Cache>,
    connection: Option<PgConnection>,
}

impl Lane {
    async fn run(mut self, mut queue: mpsc::Receiver<Write>, batch: usize, stop: CancellationToken) {
        let _writer = self.cache.writer();
        let mut writes = Vec::with_capacity(batch);
        loop {
            tokio::select! {
                biased;
                taken = queue.recv_many(&mut writes, batch) => if taken == 0 { return },
                // Nothing comes in any more; what is in the queue is still taken out.
                () = stop.cancelled(), if !queue.is_closed() => queue.close(),
            }
            writes.retain(|write| !write.reply.is_closed());
            self.store(std::mem::replace(&mut writes, Vec::with_capacity(batch))).await;
        }
    }

    /// Stores a batch and answers every row of it. Not cancel safe: a lane is never dropped in the middle.
    async fn store(&mut self, writes: Vec<Write>) {
        let mut batches = vec![writes];
        let mut tries = 0;
        while let Some(mut batch) = batches.pop() {
            if batch.is_empty() {
                continue;
            }
            // In the order of the primary key: it is the table's order, and two lanes can never wait for each other.
            batch.sort_by_key(|write| (write.file.user, write.file.id));
            let users = batch.chunk_by(|a, b| a.file.user == b.file.user).flat_map(<[_]>::first);
            let mark = self.cache.before_write(users.map(|write| page_key(write.file.user)).collect()).await;
            let error = match self.insert(&batch).await {
                Ok(inserted) => {
                    match mark.settle().await {
                        Ok(()) => answer_written(batch, inserted),
                        Err(error) => fail_all(batch, || error.again()),
                    }
                    continue;
                }
                Err(Refusal::Shard(error)) => {
                    fail_all(batch, || error.again());
                    continue;
                }
                Err(Refusal::Database(error)) => error,
            };
            match DbFault::of(&error) {
                DbFault::NotOwner => {
                    mark.release();
                    let refused = refused_slots(&error).unwrap_or_else(|| batch.iter().map(slot_of).collect());
                    let refused: HashSet<Slot> = refused.into_iter().collect();
                    let (foreign, owned) = batch.into_iter().partition(|write| refused.contains(&slot_of(write)));
                    Vec::into_iter(foreign).for_each(|write: Write| write.answer(Reply::NotOwner));
                    batches.push(owned);
                }
                DbFault::ConnectionLost | DbFault::Conflict if tries < RETRIES => {
                    tries += 1;
                    batches.push(batch);
                }
                DbFault::RowRefused | DbFault::Unexpected if batch.len() > 1 => {
                    mark.release();
                    let second = batch.split_off(batch.len() / 2);
                    batches.extend([second, batch]);
                }
                fault => {
                    self.shard.suspect();
                    let error = fault.into_error(self.shard.id(), error);
                    fail_all(batch, || error.again());
                }
            }
        }
    }

    /// One try. The connection is kept only if the server answered on it.
    async fn insert(&mut self, batch: &[Write]) -> Result<Inserted, Refusal> {
        let shard = Arc::clone(&self.shard);
        let taken = self.connection.take();
        let work = async {
            let mut connection = match taken {
                Some(connection) => connection,
                None => shard.connect().await?,
            };
            let files: Vec<_> = batch.iter().map(|write| &write.file).collect();
            let result = insert_batch(&mut connection, &files).await;
            Ok::<_, sqlx::Error>((connection, result))
        };
        let (connection, result) =
            shard.while_healthy(work).await.map_err(Refusal::Shard)?.map_err(Refusal::Database)?;
        if !matches!(result.as_ref().map_err(DbFault::of), Err(DbFault::ConnectionLost | DbFault::Unavailable)) {
            self.connection = Some(connection);
        }
        result.map_err(Refusal::Database)
    }
}

type Inserted = Vec<(Uuid, DateTime<Utc>)>;

enum Refusal {
    Shard(ShardError),
    Database(sqlx::Error),
}

fn slot_of(write: &Write) -> Slot {
    write.file.user.slot()
}

/// Of two rows with one id the first was stored, the second finds it there.
fn answer_written(batch: Vec<Write>, inserted: Inserted) {
    let mut new: HashMap<Uuid, DateTime<Utc>> = inserted.into_iter().collect();
    for write in batch {
        let written = new.remove(&write.file.id).map_or(Written::Exists, Written::Inserted);
        write.answer(|file| Reply::Written(file, written));
    }
}

fn fail_all(batch: Vec<Write>, error: impl Fn() -> ShardError) {
    for write in batch {
        write.answer(|_| Reply::Failed(error()));
    }
}

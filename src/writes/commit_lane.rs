//! A shard's lane of group commit: takes batches from the queue, stores each batch, and answers each row.
//!
//! - The guard refuses rows of foreign slots. These rows go back to their callers, who send the rows to the right
//!   shard; the other rows of the batch are stored alone.
//! - Halving the batch finds a row that PostgreSQL refuses, and the row fails alone.
//! - A row whose `Idempotency-Key` the shard has already gets the stored outcome, and is not stored. A key that a move
//!   has left behind stands before the guard: its row goes back to its caller, too.
//! - A batch whose connection broke is sent again on a new connection, if storing a row twice changes nothing more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;
use uuid::Uuid;

use super::batch_write::{BatchWrite, QueuedWrite, WriteReply};
use super::door::SlotWrites;
use super::refused_rows::{halve, split_refused};
use crate::shard::{
    DbFault, KeysThere, LaneConnection, LaneError, LaneReceiver, Shard, ShardError, Slot, StoredOutcome, find_refused,
    is_key_there, refused_slots,
};
use crate::telemetry::batch_span;

/// How often a batch is tried again after a broken connection or a deadlock.
const RETRIES: u32 = 3;

/// A shard's writes.
pub(super) struct CommitLane {
    writes: SlotWrites,
    shard: Arc<Shard>,
    connection: LaneConnection,
    _writer: TaskTrackerToken,
}

/// The rest of a batch after a try, and the number of tries.
struct Remainder<W: BatchWrite> {
    batches: Vec<Vec<QueuedWrite<W>>>,
    tries: u32,
    key_tries: u32,
}

impl CommitLane {
    pub(super) fn new(writes: &SlotWrites, connection: LaneConnection) -> Self {
        Self { writes: writes.clone(), shard: Arc::clone(connection.shard()), connection, _writer: writes.hold_cache() }
    }

    pub(super) async fn run<W: BatchWrite>(
        mut self,
        mut queue: LaneReceiver<QueuedWrite<W>>,
        batch: usize,
        stop: CancellationToken,
    ) {
        let mut writes = Vec::with_capacity(batch);
        loop {
            tokio::select! {
                biased;
                taken = queue.next_batch(&mut writes, batch) => if taken == 0 { return },
                () = self.connection.open(), if !self.connection.is_open() => continue,
                // No further write comes in; the writes in the queue are still taken out.
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
    async fn store<W: BatchWrite>(&mut self, mut writes: Vec<QueuedWrite<W>>) {
        let links = writes.iter_mut().filter_map(|write| write.link.take());
        let mut span = batch_span("GroupCommit", self.shard.id().number(), links);
        span.count_rows(writes.len());
        writes.sort_by(|a, b| W::order(&a.row, &b.row));
        let mut remainder = Remainder { batches: vec![writes], tries: 0, key_tries: 0 };
        while let Some(mut batch) = remainder.batches.pop() {
            if batch.is_empty() {
                continue;
            }
            // Of two writes with the same key the second comes after the first is stored, and finds the key.
            let repeated = split_repeated(&mut batch);
            if !repeated.is_empty() {
                remainder.batches.push(repeated);
            }
            let rows: Vec<_> = batch.iter().map(|write| &write.row).collect();
            let stored = self.writes.store_batch::<W>(&mut self.connection, &rows).await;
            match stored {
                Ok(Ok(answers)) => answer_all(batch, answers),
                Ok(Err(error)) => {
                    if let Some(failed) = self.refused(batch, error, &mut remainder).await {
                        span.set_failed(failed);
                    }
                }
                Err(error) => fail_all(batch, || error.copy_for_caller()),
            }
        }
    }

    /// Answers the rows of a batch that the database has refused, or puts the rows back for another try; gives the kind
    /// of the error that ends the batch.
    async fn refused<W: BatchWrite>(
        &mut self,
        batch: Vec<QueuedWrite<W>>,
        error: sqlx::Error,
        remainder: &mut Remainder<W>,
    ) -> Option<&'static str> {
        if is_key_there(&error) && remainder.key_tries < RETRIES {
            remainder.key_tries += 1;
            match self.find_keys(&batch).await {
                Ok(there) => {
                    if !there.known.is_empty() || !there.foreign.is_empty() {
                        remainder.key_tries = 0;
                    }
                    remainder.batches.push(answer_known(give_back(batch, &there.foreign), there.known));
                }
                Err(error) => fail_all(batch, || error.copy_for_caller()),
            }
            return None;
        }
        match self.shard.record_fault(&error) {
            DbFault::NotOwner => {
                let refused = refused_slots(&error).unwrap_or_else(|| batch.iter().map(QueuedWrite::slot).collect());
                remainder.batches.push(give_back(batch, &refused));
            }
            DbFault::ConnectionLost if W::IS_REPEATABLE && remainder.tries < RETRIES => {
                remainder.tries += 1;
                remainder.batches.push(batch);
            }
            DbFault::Conflict if remainder.tries < RETRIES => {
                remainder.tries += 1;
                remainder.batches.push(batch);
            }
            // Perhaps another server is the primary by now; once is enough to find out.
            DbFault::ReadOnly if remainder.tries == 0 => {
                remainder.tries = RETRIES;
                // A server that is known to be read-only goes on with reads.
                if self.shard.takes_writes() {
                    self.shard.close_idle_connections();
                }
                remainder.batches.push(batch);
            }
            DbFault::RowRefused | DbFault::Unexpected if batch.len() > 1 => remainder.batches.extend(halve(batch)),
            fault => {
                match fault {
                    fault if fault.counts_as_loss() => self.shard.record_loss(),
                    DbFault::Exhausted(_) => {}
                    _ => self.shard.request_probe(),
                }
                let error = fault.into_error(self.shard.id(), error);
                fail_all(batch, || error.copy_for_caller());
                return Some(error.kind_name());
            }
        }
        None
    }

    /// What the shard has of the keys of a batch: it has refused at least one of them.
    async fn find_keys<W: BatchWrite>(&mut self, batch: &[QueuedWrite<W>]) -> Result<KeysThere, ShardError> {
        let keys: Vec<_> = batch.iter().filter_map(QueuedWrite::key).collect();
        let id = self.shard.id();
        let found = self.connection.run(async |connection| find_refused(connection, &keys).await).await;
        match found {
            Ok(found) => Ok(found),
            Err(LaneError::Shard(error)) => Err(error),
            Err(LaneError::Database(error)) => Err(DbFault::of(&error).into_error(id, error)),
        }
    }
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
    let (mut first, mut later) = (Vec::with_capacity(batch.len()), Vec::new());
    for (write, repeated) in batch.drain(..).zip(repeated) {
        if repeated { later.push(write) } else { first.push(write) }
    }
    *batch = first;
    later
}

/// Sends the rows of slots that the shard does not own back to their callers; gives the other rows.
fn give_back<W: BatchWrite>(batch: Vec<QueuedWrite<W>>, slots: &[Slot]) -> Vec<QueuedWrite<W>> {
    let (foreign, owned) = split_refused(batch, slots, QueuedWrite::slot);
    foreign.into_iter().for_each(|write| write.answer(WriteReply::NotOwner));
    owned
}

/// Answers the rows whose keys have a stored outcome; gives the other rows.
fn answer_known<W: BatchWrite>(
    batch: Vec<QueuedWrite<W>>,
    known: Vec<(Slot, Uuid, StoredOutcome)>,
) -> Vec<QueuedWrite<W>> {
    let mut known: HashMap<_, _> = known.into_iter().map(|(slot, key, known)| ((slot, key), known)).collect();
    let mut others = Vec::with_capacity(batch.len());
    for write in batch {
        match write.key().and_then(|key| known.remove(&key)) {
            Some(known) => write.answer(|row| WriteReply::StoredBefore(row, known)),
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

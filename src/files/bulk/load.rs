//! Storing a stream of files: routed into a batch for each shard, and all shards written at the same time.
//!
//! A shard has a queue of two batches and two tasks that store them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::batch::{LoadRow, RowIdentity};
use super::folders::FolderRow;
use super::lane::{LoadBatch, LoadLane};
use super::loaded::LoadSummary;
use super::parse::{BodyFormat, RecordFault, RecordPosition};
use crate::files::input::LoadedFile;
use crate::files::path::DrivePath;
use crate::files::service::FileService;
use crate::shard::{Cluster, ShardError, ShardId};
use crate::telemetry::metrics::BULK_ROWS;
use crate::telemetry::{current_request, with_request_if_any};
use crate::writes::SlotWrites;

/// Batches that wait for one shard.
const QUEUE: usize = 2;
/// Batches that one shard stores at the same time.
const LANES: usize = 2;
/// The bytes of a batch that is sent before it has all its rows: a thousand long paths must not fill the memory.
const BATCH_BYTES: usize = 1 << 20;
/// The rows of one batch of every shard, added up: with more shards, each has smaller batches. So the batches of a load
/// take no more memory with 64 shards than with four.
const ROWS_OF_ALL_SHARDS: usize = 64_000;
/// The least rows of a full batch, with any number of shards.
const LEAST_ROWS: usize = 1_000;
/// The most rows of a batch of a listing. All are one user's, whose other changes may wait for the batch.
const LISTING_ROWS: usize = 8_000;
/// How long a row waits for more rows of its batch.
const LINGER: Duration = Duration::from_secs(1);

/// How much a load takes on at once.
#[derive(Clone, Copy, Debug)]
pub struct BulkLimits {
    /// Rows in one transaction, at most.
    pub batch_rows: usize,
    /// The longest record, in bytes.
    pub record_bytes: usize,
    /// The most test files that one request may ask for.
    pub max_count: u64,
    /// Loads at the same time.
    pub loads: usize,
}

impl BulkLimits {
    /// Rows in one transaction of a load that is spread over so many shards.
    fn batch_rows_for(&self, identity: RowIdentity, shards: usize) -> usize {
        let most = match identity {
            RowIdentity::Id => (ROWS_OF_ALL_SHARDS / shards.max(1)).max(LEAST_ROWS),
            RowIdentity::Path => LISTING_ROWS,
        };
        self.batch_rows.min(most)
    }
}

/// A load in progress. Dropping it stops it: what is stored stays, what is not is forgotten.
pub struct BulkLoad {
    cluster: Arc<Cluster>,
    writes: SlotWrites,
    limits: BulkLimits,
    identity: RowIdentity,
    batches: HashMap<ShardId, RowBatch>,
    /// Folders that a listing names, and that are not sent yet.
    folders: Vec<FolderRow>,
    /// When batches are sent although they are not full; `None` while they hold no row.
    due: Option<Instant>,
    queues: HashMap<ShardId, mpsc::Sender<LoadBatch>>,
    tasks: JoinSet<(LoadSummary, Result<(), ShardError>)>,
    loaded: LoadSummary,
}

/// Rows that are collected for one shard.
struct RowBatch {
    rows: Vec<LoadRow>,
    bytes: usize,
}

impl RowBatch {
    fn new(rows: usize) -> Self {
        Self { rows: Vec::with_capacity(rows), bytes: 0 }
    }
}

impl BulkLoad {
    /// Begins a load.
    #[must_use]
    pub fn start(files: &FileService, limits: BulkLimits, identity: RowIdentity) -> Self {
        let cluster = Arc::clone(files.cluster());
        let distribution = cluster.shards().iter().map(|shard| (shard.id().number(), 0)).collect();
        Self {
            cluster,
            writes: files.writes().clone(),
            limits,
            identity,
            batches: HashMap::new(),
            folders: Vec::new(),
            due: None,
            queues: HashMap::new(),
            tasks: JoinSet::new(),
            loaded: LoadSummary { distribution, ..LoadSummary::default() },
        }
    }

    /// Takes the file of a record. Waits while the queue of its shard is full.
    ///
    /// # Errors
    /// If its shard does not store any more; [`BulkLoad::finish`] tells why.
    pub async fn push(&mut self, place: RecordPosition, loaded: LoadedFile) -> Result<(), ShardError> {
        let LoadedFile { file, warning } = loaded;
        if let Some(fault) = warning {
            self.loaded.warn(RecordFault { place, fault });
        }
        let shard = self.cluster.owner(file.user().slot())?.id();
        let full = self.limits.batch_rows_for(self.identity, self.cluster.shards().len());
        let batch = self.batches.entry(shard).or_insert_with(|| RowBatch::new(full));
        batch.bytes += file.text_bytes();
        batch.rows.push(LoadRow { place, file });
        self.due.get_or_insert_with(|| Instant::now() + LINGER);
        if batch.rows.len() >= full || batch.bytes >= BATCH_BYTES {
            let batch = std::mem::replace(batch, RowBatch::new(full));
            self.send_rows(shard, batch.rows).await?;
        }
        Ok(())
    }

    /// Waits until a row has waited for more rows of its batch long enough; for ever while there is none.
    pub async fn has_waited(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Sends every batch as it is: what a slow body has brought is stored before its end.
    ///
    /// # Errors
    /// If a shard does not store any more; [`BulkLoad::finish`] tells why.
    pub async fn send_waiting(&mut self) -> Result<(), ShardError> {
        self.due = None;
        self.send_folders().await?;
        for (shard, batch) in std::mem::take(&mut self.batches) {
            self.send_rows(shard, batch.rows).await?;
        }
        Ok(())
    }

    /// Notes a record that is not stored.
    pub fn reject(&mut self, rejection: RecordFault) {
        self.loaded.reject(rejection);
    }

    /// Takes a folder of a listing.
    ///
    /// # Errors
    /// As [`BulkLoad::push`].
    pub async fn push_folder(
        &mut self,
        place: RecordPosition,
        format: BodyFormat,
        path: DrivePath,
    ) -> Result<(), ShardError> {
        let BodyFormat::Lsjson(user) = format else { return Ok(()) }; // other formats have no folders
        self.folders.push(FolderRow { place, user, path });
        self.due.get_or_insert_with(|| Instant::now() + LINGER);
        if self.folders.len() >= self.limits.batch_rows_for(RowIdentity::Path, 1) {
            self.send_folders().await
        } else {
            Ok(())
        }
    }

    async fn send_folders(&mut self) -> Result<(), ShardError> {
        let folders = std::mem::take(&mut self.folders);
        let Some(user) = folders.first().map(|row| row.user) else { return Ok(()) };
        let shard = self.cluster.owner(user.slot())?.id();
        self.send(shard, LoadBatch::Folders(folders)).await
    }

    /// Stores what is left and waits for all of it.
    ///
    /// # Errors
    /// The first shard's error; what was stored all the same is counted beside it.
    pub async fn finish(mut self) -> (LoadSummary, Result<(), ShardError>) {
        let mut outcome = self.send_folders().await;
        for (shard, batch) in std::mem::take(&mut self.batches) {
            outcome = outcome.and(self.send_rows(shard, batch.rows).await);
        }
        self.queues.clear();
        while let Some(done) = self.tasks.join_next().await {
            match done {
                Ok((loaded, result)) => {
                    self.loaded.add(loaded);
                    // The task knows why; the sender only that the queue was closed.
                    if result.is_err() {
                        outcome = result;
                    }
                }
                Err(broken) => {
                    log::error!("a loading task broke off: {broken}");
                    outcome = Err(ShardError::Unavailable { shard: ShardId::default() });
                }
            }
        }
        (self.loaded, outcome)
    }

    async fn send_rows(&mut self, shard: ShardId, rows: Vec<LoadRow>) -> Result<(), ShardError> {
        if rows.is_empty() {
            return Ok(());
        }
        BULK_ROWS.accepted.add(u64::try_from(rows.len()).unwrap_or(u64::MAX));
        self.send(shard, LoadBatch::Files(rows)).await
    }

    async fn send(&mut self, shard: ShardId, batch: LoadBatch) -> Result<(), ShardError> {
        if let Some(shard) = self.cluster.shard(shard) {
            shard.require_healthy()?;
        }
        let queue = self.queues.entry(shard).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(QUEUE);
            let (receiver, known) = (Arc::new(Mutex::new(receiver)), Arc::default());
            for _ in 0..LANES {
                let lane = LoadLane::new(&self.writes, &known, self.identity).store_batches(Arc::clone(&receiver));
                let lane = with_request_if_any(current_request(), lane);
                self.tasks.spawn_on(lane, self.cluster.runtime());
            }
            sender
        });
        queue.send(batch).await.map_err(|_| ShardError::Unavailable { shard })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_smaller_with_many_shards_and_of_listings() {
        let rows = |batch_rows, identity, shards| {
            BulkLimits { batch_rows, record_bytes: 0, max_count: 0, loads: 0 }.batch_rows_for(identity, shards)
        };
        for (shards, expected) in [(1, 16_000), (4, 16_000), (8, 8_000), (64, 1_000), (5_040, 1_000)] {
            assert_eq!(rows(16_000, RowIdentity::Id, shards), expected, "{shards} shards");
            assert_eq!(rows(16_000, RowIdentity::Path, shards), 8_000);
            assert_eq!(rows(50, RowIdentity::Id, shards), 50);
        }
    }
}

//! Storing a stream of files: routed into a batch for each shard, and all shards written at the same time.
//!
//! A shard has a queue of two batches and two tasks that store them, each batch in a transaction of its own, short
//! enough never to hold up a change of ownership. A batch that the guard refuses is stored without the refused rows,
//! and those are sent after their slots.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::batch::{BatchFate, LoadRow, StoreBatch, StoreMethod};
use super::parse::{RecordFault, RecordPlace};
use crate::cache::Cache;
use crate::files::input::LoadedFile;
use crate::files::service::{FileService, page_key};
use crate::payload::FieldFault;
use crate::shard::{Cluster, MovingSlot, Shard, ShardError, ShardId, Slot};
use crate::telemetry::metrics::BULK_ROWS;
use crate::telemetry::{current_request, in_name_of};

/// Batches that wait for one shard.
const QUEUE: usize = 2;
/// Batches that one shard stores at the same time.
const LANES: usize = 2;
/// The bytes of a batch that is sent before it has all its rows: a thousand long paths must not fill the memory.
const BATCH_BYTES: usize = 1 << 20;
/// How long a row waits for more rows of its batch.
const LINGER: Duration = Duration::from_secs(1);
/// How many rejections are listed one by one.
const LISTED: usize = 100;

/// How much a load takes on at once.
#[derive(Clone, Copy, Debug)]
pub struct BulkLimits {
    /// Rows in one transaction.
    pub batch_rows: usize,
    /// The longest record, in bytes.
    pub record_bytes: usize,
    /// The most test files that one request may ask for.
    pub max_count: u64,
    /// Loads at the same time.
    pub loads: usize,
}

/// What a load has done.
#[derive(Clone, Default, Debug)]
pub struct LoadSummary {
    /// Files stored.
    pub inserted: u64,
    /// Files that were there already.
    pub duplicates: u64,
    /// Records that cannot be stored.
    pub rejected: u64,
    /// Files taken without a field that cannot be kept.
    pub warned: u64,
    /// Folders of a listing, which are no files.
    pub folders: u64,
    /// Files stored on each shard.
    pub distribution: BTreeMap<u16, u64>,
    /// The first 100 rejections.
    pub rejections: Vec<RecordFault>,
    /// The first 100 warnings.
    pub warnings: Vec<RecordFault>,
}

impl LoadSummary {
    fn reject(&mut self, rejection: RecordFault) {
        self.rejected += 1;
        BULK_ROWS.rejected.add(1);
        if self.rejections.len() < LISTED {
            self.rejections.push(rejection);
        }
    }

    fn warn(&mut self, warning: RecordFault) {
        self.warned += 1;
        if self.warnings.len() < LISTED {
            self.warnings.push(warning);
        }
    }

    fn add(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.warned += other.warned;
        self.folders += other.folders;
        for (shard, rows) in other.distribution {
            *self.distribution.entry(shard).or_default() += rows;
        }
        add_first(&mut self.rejections, other.rejections);
        add_first(&mut self.warnings, other.warnings);
    }
}

/// Keeps the faults that stand first in the body.
fn add_first(faults: &mut Vec<RecordFault>, others: Vec<RecordFault>) {
    faults.extend(others);
    faults.sort_by_key(|fault| fault.place.line);
    faults.truncate(LISTED);
}

/// A load in progress. Dropping it stops it: what is stored stays, what is not is forgotten.
pub struct BulkLoad {
    cluster: Arc<Cluster>,
    cache: Arc<Cache>,
    limits: BulkLimits,
    batches: HashMap<ShardId, RowBatch>,
    /// When batches are sent although they are not full; `None` while they hold no row.
    due: Option<Instant>,
    queues: HashMap<ShardId, mpsc::Sender<Vec<LoadRow>>>,
    tasks: JoinSet<(LoadSummary, Result<(), ShardError>)>,
    loaded: LoadSummary,
}

/// Rows that are gathered for one shard.
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
    pub fn start(files: &FileService, limits: BulkLimits) -> Self {
        let cluster = Arc::clone(files.cluster());
        let distribution = cluster.shards().iter().map(|shard| (shard.id().number(), 0)).collect();
        Self {
            cluster,
            cache: Arc::clone(files.cache()),
            limits,
            batches: HashMap::new(),
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
    pub async fn push(&mut self, place: RecordPlace, loaded: LoadedFile) -> Result<(), ShardError> {
        let LoadedFile { file, warning } = loaded;
        if let Some(fault) = warning {
            self.loaded.warn(RecordFault { place, fault });
        }
        let shard = self.cluster.owner(file.user().slot())?.id();
        let full = self.limits.batch_rows;
        let batch = self.batches.entry(shard).or_insert_with(|| RowBatch::new(full));
        batch.bytes += file.text_bytes();
        batch.rows.push(LoadRow { place, file });
        self.due.get_or_insert_with(|| Instant::now() + LINGER);
        if batch.rows.len() >= full || batch.bytes >= BATCH_BYTES {
            let batch = std::mem::replace(batch, RowBatch::new(full));
            self.send(shard, batch.rows).await?;
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
        for (shard, batch) in std::mem::take(&mut self.batches) {
            self.send(shard, batch.rows).await?;
        }
        Ok(())
    }

    /// Notes a record that is not stored.
    pub fn reject(&mut self, rejection: RecordFault) {
        self.loaded.reject(rejection);
    }

    /// Notes a folder of a listing.
    pub fn skip_folder(&mut self) {
        self.loaded.folders += 1;
    }

    /// Stores what is left and waits for all of it.
    ///
    /// # Errors
    /// The first shard's error; what was done all the same is told beside it.
    pub async fn finish(mut self) -> (LoadSummary, Result<(), ShardError>) {
        let mut outcome = Ok(());
        for (shard, batch) in std::mem::take(&mut self.batches) {
            outcome = outcome.and(self.send(shard, batch.rows).await);
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

    async fn send(&mut self, shard: ShardId, batch: Vec<LoadRow>) -> Result<(), ShardError> {
        if batch.is_empty() {
            return Ok(());
        }
        if let Some(shard) = self.cluster.shard(shard) {
            shard.check()?;
        }
        BULK_ROWS.accepted.add(as_count(batch.len()));
        let queue = self.queues.entry(shard).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(QUEUE);
            let receiver = Arc::new(Mutex::new(receiver));
            for _ in 0..LANES {
                let lane = store_batches(Arc::clone(&self.cluster), Arc::clone(&self.cache), Arc::clone(&receiver));
                let lane = in_name_of(current_request(), lane);
                self.tasks.spawn_on(lane, self.cluster.runtime());
            }
            sender
        });
        queue.send(batch).await.map_err(|_| ShardError::Unavailable { shard })
    }
}

/// Stores batch after batch, until there are no more or a shard fails; then the queue is closed.
async fn store_batches(
    cluster: Arc<Cluster>,
    cache: Arc<Cache>,
    queue: Arc<Mutex<mpsc::Receiver<Vec<LoadRow>>>>,
) -> (LoadSummary, Result<(), ShardError>) {
    let mut loaded = LoadSummary::default();
    let mut way = StoreMethod::Copy;
    loop {
        let next = queue.lock().await.recv().await;
        let Some(batch) = next else { return (loaded, Ok(())) };
        if let Err(error) = store_batch(&cluster, &cache, batch, &mut way, &mut loaded).await {
            queue.lock().await.close();
            return (loaded, Err(error));
        }
    }
}

/// Stores a batch, wherever its slots are by now.
async fn store_batch(
    cluster: &Cluster,
    cache: &Arc<Cache>,
    batch: Vec<LoadRow>,
    way: &mut StoreMethod,
    loaded: &mut LoadSummary,
) -> Result<(), ShardError> {
    let mut parts = vec![batch];
    let mut moving: Option<MovingSlot> = None;
    while let Some(part) = parts.pop() {
        for (shard, mut rows) in by_owner(cluster, part)? {
            // In the order of the primary key: the pages of a user lie together, and no two loads can wait in a ring.
            rows.sort_unstable_by_key(|row| (row.file.user(), row.file.id()));
            let users = rows.chunk_by(|a, b| a.file.user() == b.file.user()).flat_map(<[_]>::first);
            let mark = cache.before_write(users.map(|row| page_key(row.file.user())).collect()).await;
            let call = StoreBatch::new(&rows, *way);
            match Box::pin(shard.run(&call)).await {
                Ok(Some(BatchFate::Stored { inserted, taken })) => {
                    Box::pin(mark.settle()).await?;
                    // A listing that was loaded before goes on like this, and new files go on being new.
                    *way = if inserted == rows.len() { StoreMethod::Copy } else { StoreMethod::Insert };
                    count(&rows, shard.id(), inserted, &taken, loaded);
                }
                Ok(Some(BatchFate::Refused(slots))) => {
                    mark.release();
                    let (foreign, owned) = split_refused(rows, &slots);
                    let slot = foreign.first().map_or_else(|| Slot::of_user(0), |row| row.file.user().slot());
                    moving
                        .get_or_insert_with(|| MovingSlot::new(slot, cluster.limits()))
                        .wait_for_owner(cluster, shard.id())
                        .await?;
                    parts.extend([foreign, owned]);
                }
                Ok(None) => return Err(ShardError::Moving),
                Err(ShardError::RowRefused { .. }) if rows.len() > 1 => {
                    mark.release();
                    let second = rows.split_off(rows.len() / 2);
                    parts.extend([second, rows]);
                }
                Err(ShardError::RowRefused { constraint, .. }) => {
                    mark.release();
                    for row in rows {
                        let why = constraint.as_deref().map_or_else(
                            || "the database cannot hold it".to_owned(),
                            |constraint| format!("the database's rule {constraint} forbids it"),
                        );
                        loaded.reject(RecordFault { place: row.place, fault: FieldFault::new("", why) });
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// A shard and the rows that it owns.
type ShardRows = (Arc<Shard>, Vec<LoadRow>);

fn by_owner(cluster: &Cluster, rows: Vec<LoadRow>) -> Result<impl Iterator<Item = ShardRows>, ShardError> {
    let mut groups: BTreeMap<ShardId, ShardRows> = BTreeMap::new();
    for row in rows {
        let owner = cluster.owner(row.file.user().slot())?;
        groups.entry(owner.id()).or_insert_with(|| (Arc::clone(owner), Vec::new())).1.push(row);
    }
    Ok(groups.into_values())
}

fn split_refused(rows: Vec<LoadRow>, refused: &[Slot]) -> (Vec<LoadRow>, Vec<LoadRow>) {
    let refused: HashSet<Slot> = refused.iter().copied().collect();
    rows.into_iter().partition(|row| refused.contains(&row.file.user().slot()))
}

fn as_count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn count(rows: &[LoadRow], shard: ShardId, inserted: usize, taken: &[uuid::Uuid], loaded: &mut LoadSummary) {
    loaded.inserted += as_count(inserted);
    BULK_ROWS.stored.add(as_count(inserted));
    loaded.duplicates += as_count(rows.len().saturating_sub(inserted + taken.len()));
    *loaded.distribution.entry(shard.number()).or_default() += as_count(inserted);
    let taken: HashSet<_> = taken.iter().copied().collect();
    for row in rows.iter().filter(|row| taken.contains(&row.file.id())) {
        let fault = FieldFault::new("file_id", "belongs to another user's file");
        loaded.reject(RecordFault { place: row.place, fault });
    }
}

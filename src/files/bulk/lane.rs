//! One of the tasks that store a load's batches on a shard: each batch in a transaction of its own, and in two while a
//! move of the shard's slots could wait for the batch. A batch that the guard refuses is stored without the refused
//! rows, and those go to their slots' owner.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::PgConnection;
use tokio::sync::{Mutex, mpsc};
use uuid::Uuid;

use super::batch::{BatchFate, LoadRow, RowIdentity, StoreBatch, StoreMethod, StoredRows};
use super::folders::{FolderRow, MakeFolders};
use super::loaded::LoadSummary;
use super::parse::RecordFault;
use crate::files::limits::fault_of_constraint;
use crate::files::model::UserId;
use crate::files::placement::KnownFolders;
use crate::files::statistics::{MANY_ROWS, refresh_statistics};
use crate::payload::FieldFault;
use crate::shard::{Cluster, MovingSlot, Shard, ShardCall, ShardError, ShardId, Slot, WorkKind};
use crate::telemetry::metrics::BULK_ROWS;
use crate::writes::{SlotWrites, halve, split_refused};

/// Larger batches are halved while a move is on, as the move's write freeze waits for batches that are about to commit.
/// A batch that began before the move may be larger: the freeze comes only after the copy of all rows.
const ROWS_WHILE_MOVING: usize = 8_000;

/// What a lane stores at once.
pub(super) enum LoadBatch {
    /// Files.
    Files(Vec<LoadRow>),
    /// Folders that a listing names, all of one user.
    Folders(Vec<FolderRow>),
}

/// A task that stores batches of a shard.
pub(super) struct LoadLane {
    cluster: Arc<Cluster>,
    writes: SlotWrites,
    known: Arc<KnownFolders>,
    identity: RowIdentity,
    way: StoreMethod,
    loaded: LoadSummary,
}

impl LoadLane {
    pub(super) fn new(writes: &SlotWrites, known: &Arc<KnownFolders>, identity: RowIdentity) -> Self {
        let (cluster, writes, known) = (Arc::clone(writes.cluster()), writes.clone(), Arc::clone(known));
        Self { cluster, writes, known, identity, way: StoreMethod::Copy, loaded: LoadSummary::default() }
    }

    /// Stores batch after batch, until there are no more or a shard fails; then the queue is closed.
    pub(super) async fn store_batches(
        mut self,
        queue: Arc<Mutex<mpsc::Receiver<LoadBatch>>>,
    ) -> (LoadSummary, Result<(), ShardError>) {
        loop {
            let next = queue.lock().await.recv().await;
            let Some(batch) = next else { return (self.loaded, Ok(())) };
            let stored = match batch {
                LoadBatch::Files(rows) => self.store_batch(rows).await,
                LoadBatch::Folders(rows) => self.make_folders(rows).await,
            };
            if let Err(error) = stored {
                queue.lock().await.close();
                return (self.loaded, Err(error));
            }
        }
    }

    /// Stores a batch, wherever its slots are by now.
    async fn store_batch(&mut self, batch: Vec<LoadRow>) -> Result<(), ShardError> {
        let is_large = batch.len() > ROWS_WHILE_MOVING && self.may_be_moving(&batch).await;
        let mut parts = if is_large { halve(batch).into() } else { vec![batch] };
        let mut moving: Option<MovingSlot> = None;
        while let Some(part) = parts.pop() {
            for (shard, mut rows) in by_owner(&self.cluster, part)? {
                sort(&mut rows);
                let batch = StoreBatch::new(&rows, &self.known, self.identity, self.way);
                match Box::pin(self.writes.run_on(&shard, &batch)).await {
                    Ok(Some(BatchFate::Stored(stored))) => {
                        self.refresh_statistics(&shard, stored.inserted).await;
                        // A listing that was loaded before goes on like this, and new files go on being new.
                        self.way = if stored.inserted == rows.len() { StoreMethod::Copy } else { StoreMethod::Insert };
                        for place in stored.taken.iter().filter_map(|number| rows.get(*number)).map(|row| row.place) {
                            let fault = FieldFault::new("path", "is the path of another entry");
                            self.loaded.reject(RecordFault { place, fault });
                        }
                        self.count(rows.len(), shard.id(), &stored);
                    }
                    Ok(Some(BatchFate::Refused(slots))) => {
                        let (foreign, owned) = split_refused(rows, &slots, |row| row.file.user().slot());
                        let slot = foreign.first().map_or_else(|| Slot::of_user(0), |row| row.file.user().slot());
                        moving
                            .get_or_insert_with(|| MovingSlot::new(slot, self.cluster.limits()))
                            .wait_for_owner(&self.cluster, shard.id())
                            .await?;
                        parts.extend([foreign, owned]);
                    }
                    Ok(None) => return Err(ShardError::Moving),
                    Err(ShardError::RowRefused { .. }) if rows.len() > 1 => {
                        parts.extend(halve(rows));
                    }
                    Err(ShardError::RowRefused { constraint, .. }) => {
                        let fault = refused_fault(constraint.as_deref());
                        for row in rows {
                            let fault = fault.clone();
                            self.loaded.reject(RecordFault { place: row.place, fault });
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// True if the shard of a batch takes part in a move, or does not say. Why it does not, the batch will tell.
    async fn may_be_moving(&self, batch: &[LoadRow]) -> bool {
        let Some(row) = batch.first() else { return false };
        let Ok(shard) = self.cluster.owner(row.file.user().slot()) else { return true };
        !matches!(shard.run(&HasMoves).await, Ok(Some(false)))
    }

    /// Lets the planner know of a table that was small before this load.
    async fn refresh_statistics(&mut self, shard: &Shard, inserted: usize) {
        let before = self.loaded.inserted;
        if before < MANY_ROWS && before + as_count(inserted) >= MANY_ROWS {
            refresh_statistics(shard).await;
        }
    }

    /// Makes the folders of a listing. A folder that cannot be made is a rejected line.
    async fn make_folders(&mut self, rows: Vec<FolderRow>) -> Result<(), ShardError> {
        let mut parts = vec![rows];
        while let Some(rows) = parts.pop() {
            let Some(slot) = rows.first().map(|row| row.user.slot()) else { continue };
            match self.writes.run(slot, &MakeFolders(&rows), None).await {
                Ok(_) => self.loaded.folders += as_count(rows.len()),
                Err(ShardError::RowRefused { .. }) if rows.len() > 1 => parts.extend(halve(rows)),
                Err(ShardError::RowRefused { constraint, .. }) => {
                    let fault = refused_fault(constraint.as_deref());
                    rows.iter()
                        .for_each(|row| self.loaded.reject(RecordFault { place: row.place, fault: fault.clone() }));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn count(&mut self, rows: usize, shard: ShardId, stored: &StoredRows) {
        let StoredRows { inserted, updated, ref taken } = *stored;
        let loaded = &mut self.loaded;
        loaded.inserted += as_count(inserted);
        loaded.updated += as_count(updated);
        BULK_ROWS.stored.add(as_count(inserted));
        let others = as_count(rows.saturating_sub(inserted + updated + taken.len()));
        match self.identity {
            RowIdentity::Id => loaded.duplicates += others,
            RowIdentity::Path => loaded.unchanged += others,
        }
        *loaded.distribution.entry(shard.number()).or_default() += as_count(inserted);
    }
}

/// Asks a shard whether it takes part in a move.
struct HasMoves;

impl ShardCall for HasMoves {
    type Output = bool;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<bool>, sqlx::Error> {
        sqlx::query_scalar(include_str!("../../../sql/files/has_moves.sql")).fetch_one(connection).await.map(Some)
    }

    fn work_kind(&self) -> WorkKind {
        WorkKind::PointRead
    }
}

/// Rows lie in the order of the indexes by which they are told apart, paths first: no two loads can wait in a ring. New
/// rows without a path, whose ids no other load can have, come after them in the order of their ids: so the index of
/// ids grows at its end.
fn sort(rows: &mut [LoadRow]) {
    fn key(row: &LoadRow) -> (bool, Option<(UserId, Option<&str>)>, Uuid) {
        let file = &row.file;
        let is_new = !file.has_own_id() && file.path().is_none();
        (is_new, (!is_new).then(|| (file.user(), file.path())), file.id())
    }
    rows.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
}

/// A shard and the rows that it owns.
type ShardRows = (Arc<Shard>, Vec<LoadRow>);

/// Groups rows by their owners. Rows of one owner, as nearly all batches have, stay where they are.
fn by_owner(cluster: &Cluster, rows: Vec<LoadRow>) -> Result<Vec<ShardRows>, ShardError> {
    let map = cluster.map();
    let owner = |row: &LoadRow| map.owner(row.file.user().slot());
    let mut groups: BTreeMap<ShardId, Vec<LoadRow>> = BTreeMap::new();
    match rows.first().map(owner) {
        Some(first) if rows.iter().all(|row| owner(row) == first) => drop(groups.insert(first, rows)),
        _ => rows.into_iter().for_each(|row| groups.entry(owner(&row)).or_default().push(row)),
    }
    let with_shard = |(id, rows)| Ok((Arc::clone(cluster.shard(id).ok_or(ShardError::Moving)?), rows));
    groups.into_iter().map(with_shard).collect()
}

/// Why the database refused a row.
fn refused_fault(constraint: Option<&str>) -> FieldFault {
    constraint.and_then(fault_of_constraint).unwrap_or_else(|| FieldFault::new("", "the database cannot hold it"))
}

fn as_count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

//! One batch of a load: stored as a whole by one transaction, by `COPY` where that can be.
//!
//! `COPY` takes half of the server's time of an `INSERT`, but fails at the first row that is there already. Such a
//! batch is stored by an `INSERT` that leaves those rows out (docs/decisions/0007-bulk-loads.md).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::Connection as _;
use sqlx::postgres::{PgBindIterExt, PgConnection, PgCopyIn};

use super::copy;
use super::parse::RecordPosition;
use crate::cache::CacheKey;
use crate::files::insert::bind_columns;
use crate::files::model::NewFile;
use crate::files::page::spoiled_keys;
use crate::files::placement::{BatchFolders, KnownFolders, hold_drives, place_files};
use crate::shard::{ShardId, Slot, WorkKind, is_conflict, is_duplicate_key, refused_slots};
use crate::writes::SlotWrite;

/// A file of a load, and where its record stands.
pub(super) struct LoadRow {
    pub(super) place: RecordPosition,
    pub(super) file: NewFile,
}

/// By what a row is known that is there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowIdentity {
    /// By the user and the file's id: the row stays as it is.
    Id,
    /// By the user and the path: the row becomes what the listing says.
    Path,
}

/// Stores the rows of a batch, each once.
pub(super) struct StoreBatch<'a> {
    rows: &'a [LoadRow],
    known: &'a KnownFolders,
    identity: RowIdentity,
    way: StoreMethod,
    tries: AtomicU32,
}

/// How a batch is tried first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StoreMethod {
    /// By `COPY`: rows that are there already are not expected.
    Copy,
    /// By `INSERT`: the batch before had such rows.
    Insert,
}

/// What became of a batch.
pub(super) enum BatchFate {
    /// It is stored.
    Stored(StoredRows),
    /// Nothing is stored, as the shard does not own these slots.
    Refused(Vec<Slot>),
}

/// What became of the rows of a batch. The others were there already.
pub(super) struct StoredRows {
    pub(super) inserted: usize,
    pub(super) updated: usize,
    /// The numbers of rows whose folder has another entry of their name.
    pub(super) taken: Vec<usize>,
}

impl<'a> StoreBatch<'a> {
    pub(super) fn new(rows: &'a [LoadRow], known: &'a KnownFolders, identity: RowIdentity, way: StoreMethod) -> Self {
        Self { rows, known, identity, way, tries: AtomicU32::new(0) }
    }

    fn files(&self) -> impl Iterator<Item = &NewFile> + Clone {
        self.rows.iter().map(|row| &row.file)
    }

    /// `None`: a row is there already, and nothing was stored.
    async fn copy(&self, connection: &mut PgConnection, folders: &BatchFolders) -> Result<Option<usize>, sqlx::Error> {
        let bytes: usize = self.files().map(|file| file.text_bytes() + 112).sum();
        let rows = copy::encode(self.files().zip(folders.iter().copied()), bytes)?;
        let mut stream: PgCopyIn<_> = connection.copy_in_raw(include_str!("../../../sql/files/copy_batch.sql")).await?;
        stream.send(rows).await?;
        match stream.finish().await {
            Ok(_) => Ok(Some(self.rows.len())),
            Err(error) if is_duplicate_key(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn store(&self, connection: &mut PgConnection, shard: ShardId) -> Result<BatchFate, sqlx::Error> {
        let again = self.tries.fetch_add(1, Ordering::Relaxed) > 0;
        match self.try_store(connection, shard, false, again).await {
            // A folder was deleted for good between the look and the rows. Now the folders stay until the commit.
            Err(error) if is_conflict(&error) => {
                let mut transaction = connection.begin().await?;
                hold_drives(&mut transaction, self.files().map(|file| file.user)).await?;
                let fate = self.try_store(&mut transaction, shard, true, again).await?;
                transaction.commit().await?;
                Ok(fate)
            }
            done => done,
        }
    }

    async fn try_store(
        &self,
        connection: &mut PgConnection,
        shard: ShardId,
        is_held: bool,
        again: bool,
    ) -> Result<BatchFate, sqlx::Error> {
        // Before the rows, and committed: the statements of rows find every folder, and make none while they hold rows.
        let folders = place_files(connection, self.known, is_held, self.files()).await?;
        // A COPY that meets a row which is there would end the transaction.
        if self.way == StoreMethod::Copy
            && !is_held
            && let Some(inserted) = self.copy(connection, &folders).await?
        {
            return Ok(BatchFate::Stored(StoredRows { inserted, updated: 0, taken: Vec::new() }));
        }
        match self.identity {
            RowIdentity::Id => self.insert(connection, &folders, again).await,
            RowIdentity::Path => self.merge(connection, shard, &folders, again).await,
        }
    }

    async fn insert(
        &self,
        connection: &mut PgConnection,
        folders: &BatchFolders,
        again: bool,
    ) -> Result<BatchFate, sqlx::Error> {
        // The guard sees stored rows alone. A row that a move has left behind must not make the new row a duplicate.
        let slots: BTreeSet<i32> = self.files().map(|file| file.user.slot().to_sql()).collect();
        let foreign: Vec<i32> = sqlx::query_scalar(include_str!("../../../sql/files/list_foreign_slots.sql"))
            .bind(slots.into_iter().bind_iter())
            .fetch_all(&mut *connection)
            .await?;
        if !foreign.is_empty() {
            return Ok(BatchFate::Refused(foreign.into_iter().filter_map(Slot::from_sql).collect()));
        }
        let statement = sqlx::query(include_str!("../../../sql/files/load_batch.sql"));
        let done = bind_columns!(statement, self.files(), folders).execute(&mut *connection).await?;
        let mut inserted = usize::try_from(done.rows_affected()).unwrap_or(self.rows.len());
        if again {
            // The connection of the first try broke after its commit: the minted rows that are there are its own.
            inserted = inserted.max(self.files().filter(|file| file.minted).count());
        }
        let taken = if inserted < self.rows.len() { self.find_absent(connection).await? } else { Vec::new() };
        Ok(BatchFate::Stored(StoredRows { inserted, updated: 0, taken }))
    }

    /// The rows that are not there under their ids.
    async fn find_absent(&self, connection: &mut PgConnection) -> Result<Vec<usize>, sqlx::Error> {
        if self.files().all(|file| file.path().is_none()) {
            return Ok(Vec::new());
        }
        let places: Vec<i64> = sqlx::query_scalar(include_str!("../../../sql/files/find_absent.sql"))
            .bind(self.files().map(|file| file.user.get()).bind_iter())
            .bind(self.files().map(|file| file.id).bind_iter())
            .fetch_all(connection)
            .await?;
        Ok(places.into_iter().filter_map(|place| usize::try_from(place - 1).ok()).collect())
    }

    /// The rows of a listing are all of one user.
    async fn merge(
        &self,
        connection: &mut PgConnection,
        shard: ShardId,
        folders: &BatchFolders,
        again: bool,
    ) -> Result<BatchFate, sqlx::Error> {
        let Some(slot) = self.files().next().map(|file| file.user.slot()) else {
            return Ok(BatchFate::Stored(StoredRows { inserted: 0, updated: 0, taken: Vec::new() }));
        };
        let statement = sqlx::query_as(include_str!("../../../sql/files/load_listing.sql"));
        let (owned, mut inserted, updated): (bool, i64, i64) = bind_columns!(statement, self.files(), folders)
            .bind(slot.to_sql())
            .bind(shard.to_sql())
            .fetch_one(&mut *connection)
            .await?;
        if !owned {
            return Ok(BatchFate::Refused(vec![slot]));
        }
        if again {
            // What the first try committed before its connection broke is there under its ids.
            inserted = sqlx::query_scalar(include_str!("../../../sql/files/count_stored.sql"))
                .bind(self.files().map(|file| file.user.get()).bind_iter())
                .bind(self.files().map(|file| file.id).bind_iter())
                .fetch_one(connection)
                .await?;
        }
        let count = |rows: i64| usize::try_from(rows).unwrap_or_default();
        Ok(BatchFate::Stored(StoredRows { inserted: count(inserted), updated: count(updated), taken: Vec::new() }))
    }
}

impl SlotWrite for StoreBatch<'_> {
    type Output = BatchFate;

    fn cache_keys(&self) -> Vec<CacheKey> {
        let users = self.rows.chunk_by(|a, b| a.file.user() == b.file.user()).flat_map(<[_]>::first);
        users.flat_map(|row| spoiled_keys(row.file.user())).collect()
    }

    async fn apply(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<BatchFate>, sqlx::Error> {
        match self.store(connection, shard).await {
            Ok(fate) => Ok(Some(fate)),
            Err(error) => refused_slots(&error).map(|slots| Some(BatchFate::Refused(slots))).ok_or(error),
        }
    }

    fn has_changed(fate: &BatchFate) -> bool {
        matches!(fate, BatchFate::Stored(_))
    }

    fn work_kind(&self) -> WorkKind {
        WorkKind::Load
    }
}

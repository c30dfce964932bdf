//! One batch of a load: stored as a whole by one transaction, by `COPY` where that can be.
//!
//! `COPY` takes half of the server's time of an `INSERT`, but fails at the first row that is there already. Such a batch
//! is stored by an `INSERT` that leaves those rows out (docs/decisions/0007-bulk-loads.md).

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::{PgBindIterExt, PgConnection, PgCopyIn};
use uuid::Uuid;

use super::copy;
use super::parse::RecordPlace;
use crate::files::model::NewFile;
use crate::files::store::bind_columns;
use crate::shard::{ShardCall, ShardId, Slot, is_duplicate_key, refused_slots};

/// A file of a load, and where its record stands.
pub(super) struct LoadRow {
    pub(super) place: RecordPlace,
    pub(super) file: NewFile,
}

/// Stores the rows of a batch, each once.
pub(super) struct StoreBatch<'a> {
    rows: &'a [LoadRow],
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
    /// It is stored: so many rows are new, and these ids belong to other users' files.
    Stored { inserted: usize, taken: Vec<Uuid> },
    /// Nothing is stored, as the shard does not own these slots.
    Refused(Vec<Slot>),
}

impl<'a> StoreBatch<'a> {
    pub(super) fn new(rows: &'a [LoadRow], way: StoreMethod) -> Self {
        Self { rows, way, tries: AtomicU32::new(0) }
    }

    fn files(&self) -> impl Iterator<Item = &NewFile> {
        self.rows.iter().map(|row| &row.file)
    }

    /// `None`: a row is there already, and nothing was stored.
    async fn copy(&self, connection: &mut PgConnection) -> Result<Option<usize>, sqlx::Error> {
        let bytes: usize = self.files().map(|file| file.text_bytes() + 96).sum();
        let rows = copy::encode(self.files(), bytes)?;
        let mut stream: PgCopyIn<_> = connection.copy_in_raw(include_str!("../../../sql/files/copy_batch.sql")).await?;
        stream.send(rows).await?;
        match stream.finish().await {
            Ok(_) => Ok(Some(self.rows.len())),
            Err(error) if is_duplicate_key(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn insert(&self, connection: &mut PgConnection) -> Result<usize, sqlx::Error> {
        let statement = sqlx::query(include_str!("../../../sql/files/load_batch.sql"));
        let done = bind_columns!(statement, self.files()).execute(connection).await?;
        Ok(usize::try_from(done.rows_affected()).unwrap_or(self.rows.len()))
    }

    async fn store(&self, connection: &mut PgConnection) -> Result<usize, sqlx::Error> {
        if self.way == StoreMethod::Copy
            && let Some(inserted) = self.copy(connection).await?
        {
            return Ok(inserted);
        }
        self.insert(connection).await
    }
}

impl ShardCall for StoreBatch<'_> {
    type Output = BatchFate;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<BatchFate>, sqlx::Error> {
        let again = self.tries.fetch_add(1, Ordering::Relaxed) > 0;
        let mut inserted = match self.store(connection).await {
            Ok(inserted) => inserted,
            Err(error) => return refused_slots(&error).map(|slots| Some(BatchFate::Refused(slots))).ok_or(error),
        };
        if again {
            // The connection of the first try broke after its commit: the minted rows that are there are its own.
            inserted = inserted.max(self.files().filter(|file| file.minted).count());
        }
        let mut taken = Vec::new();
        if inserted < self.rows.len() {
            taken = sqlx::query_scalar(include_str!("../../../sql/files/find_taken_ids.sql"))
                .bind(self.files().map(|file| file.user.get()).bind_iter())
                .bind(self.files().map(|file| file.id).bind_iter())
                .fetch_all(connection)
                .await?;
        }
        Ok(Some(BatchFate::Stored { inserted, taken }))
    }
}

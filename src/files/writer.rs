//! Single files that come at the same time, stored by one statement; see [`GroupCommit`].

use std::cmp::Ordering;
use std::collections::HashMap;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tokio_util::task::task_tracker::TaskTrackerToken;
use uuid::Uuid;

use super::NewFile;
use super::service::page_key;
use super::store::insert_batch;
use crate::cache::{Cache, Mark};
use crate::shard::{BatchWrite, GroupCommit, Slot};

/// The lanes of all shards.
pub(super) type Writer = GroupCommit<InsertFiles>;

/// What became of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Written {
    /// It is stored, since this time.
    Inserted(DateTime<Utc>),
    /// A row with this id was there already.
    Exists,
}

/// Stores each file once: it has its id before it is sent.
pub(super) struct InsertFiles {
    cache: Arc<Cache>,
    /// Until the last write is answered, the cache must be there.
    _writer: TaskTrackerToken,
}

impl InsertFiles {
    pub(super) fn new(cache: &Arc<Cache>) -> Self {
        Self { cache: Arc::clone(cache), _writer: cache.writer() }
    }
}

impl BatchWrite for InsertFiles {
    type Row = NewFile;
    type Answer = Written;
    type Mark = Mark;

    fn slot(file: &NewFile) -> Slot {
        file.user.slot()
    }

    fn order(a: &NewFile, b: &NewFile) -> Ordering {
        (a.user, a.id).cmp(&(b.user, b.id))
    }

    async fn before(&self, files: &[&NewFile]) -> Mark {
        let users = files.chunk_by(|a, b| a.user == b.user).flat_map(<[_]>::first);
        self.cache.before_write(users.map(|file| page_key(file.user)).collect()).await
    }

    async fn store(connection: &mut PgConnection, files: &[&NewFile]) -> Result<Vec<Written>, sqlx::Error> {
        let mut inserted: HashMap<Uuid, _> = insert_batch(connection, files).await?.into_iter().collect();
        // Of two rows with one id the first was stored, the second finds it there.
        let written = |file: &&NewFile| inserted.remove(&file.id).map_or(Written::Exists, Written::Inserted);
        Ok(files.iter().map(written).collect())
    }
}

//! Single files that come at the same time, stored by one statement; see [`GroupCommit`].

use std::cmp::Ordering;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::NewFile;
use super::store::insert_batch;
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
pub(super) struct InsertFiles;

impl BatchWrite for InsertFiles {
    type Row = NewFile;
    type Answer = Written;

    fn slot(file: &NewFile) -> Slot {
        file.user.slot()
    }

    fn order(a: &NewFile, b: &NewFile) -> Ordering {
        (a.user, a.id).cmp(&(b.user, b.id))
    }

    async fn store(connection: &mut PgConnection, files: &[&NewFile]) -> Result<Vec<Written>, sqlx::Error> {
        let mut inserted: HashMap<Uuid, _> = insert_batch(connection, files).await?.into_iter().collect();
        // Of two rows with one id the first was stored, the second finds it there.
        let written = |file: &&NewFile| inserted.remove(&file.id).map_or(Written::Exists, Written::Inserted);
        Ok(files.iter().map(written).collect())
    }
}

//! Single documents, stored in batches by [`GroupCommit`].

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::postgres::{PgBindIterExt, PgConnection};

use super::cached::spoiled_keys;
use super::place::RecordPlace;
use super::store::RecordVersion;
use super::{Collection, Document};
use crate::cache::CacheKey;
use crate::shard::{RequestKey, ShardId, Slot};
use crate::writes::{BatchWrite, GroupCommit};

/// The lanes of all shards.
pub(super) type RecordWriter = GroupCommit<PutRecords>;

/// A document to be stored under its key, in place of the present document.
pub(super) struct PutRecord {
    pub(super) collection: Arc<Collection>,
    pub(super) place: RecordPlace,
    pub(super) document: Document,
    /// The idempotency key of the request.
    pub(super) key: Option<RequestKey>,
}

impl PutRecord {
    fn id(&self) -> (&str, &str) {
        (self.collection.name.as_str(), &self.place.key)
    }
}

/// The outcome of a write.
#[derive(Clone, Copy, Debug)]
pub(super) struct PutOutcome {
    pub(super) state: RecordVersion,
    pub(super) created: bool,
}

/// Stores each document. Of several writes of one key in a batch, the last one stays.
pub(super) struct PutRecords;

impl BatchWrite for PutRecords {
    type Row = PutRecord;
    type Answer = PutOutcome;

    fn slot(put: &PutRecord) -> Slot {
        put.place.slot
    }

    fn key(put: &PutRecord) -> Option<&RequestKey> {
        put.key.as_ref()
    }

    fn order(a: &PutRecord, b: &PutRecord) -> Ordering {
        a.id().cmp(&b.id())
    }

    fn cache_keys(puts: &[&PutRecord]) -> Vec<CacheKey> {
        puts.iter().flat_map(|put| spoiled_keys(&put.collection.name, &put.place)).collect()
    }

    async fn store(
        connection: &mut PgConnection,
        shard: ShardId,
        puts: &[&PutRecord],
    ) -> Result<Vec<PutOutcome>, sqlx::Error> {
        // Writes of one key lie side by side, in the order in which they came.
        let last: Vec<&PutRecord> =
            puts.chunk_by(|a, b| a.id() == b.id()).filter_map(|same| same.last().copied()).collect();
        let keyed = keyed(puts);
        let statement = match keyed.is_empty() {
            true => include_str!("../../sql/records/put_batch.sql"),
            false => include_str!("../../sql/records/put_batch_keyed.sql"),
        };
        let mut statement = sqlx::query(statement)
            .bind(last.iter().map(|put| put.collection.name.as_str()).bind_iter())
            .bind(last.iter().map(|put| &*put.place.key).bind_iter())
            .bind(last.iter().map(|put| put.place.slot.to_sql()).bind_iter())
            .bind(last.iter().map(|put| put.place.shard_key.as_deref()).bind_iter())
            .bind(last.iter().map(|put| put.document.as_str()).bind_iter());
        if !keyed.is_empty() {
            statement = statement
                .bind(keyed.iter().map(|keyed| keyed.put.id().0).bind_iter())
                .bind(keyed.iter().map(|keyed| keyed.put.id().1).bind_iter())
                .bind(keyed.iter().map(|keyed| keyed.key.key).bind_iter())
                .bind(keyed.iter().map(|keyed| keyed.key.request).bind_iter())
                .bind(keyed.iter().map(|keyed| i32::from(!keyed.is_last)).bind_iter())
                .bind(keyed.iter().map(|keyed| keyed.is_first).bind_iter())
                .bind(shard.to_sql());
        }
        let rows = statement.fetch_all(connection).await?;
        let mut written: HashMap<(&str, &str), PutOutcome> = HashMap::with_capacity(rows.len());
        for row in &rows {
            let (state, created) = (RecordVersion::in_row(row, 2)?, row.try_get(5)?);
            written.insert((row.try_get(0)?, row.try_get(1)?), PutOutcome { state, created });
        }
        let answers = puts.chunk_by(|a, b| a.id() == b.id()).filter_map(|same| {
            let last = *written.get(&same.first()?.id())?;
            Some((0..same.len()).map(move |place| answer(last, place, same.len())))
        });
        Ok(answers.flatten().collect())
    }
}

/// A write whose outcome is to be kept.
struct KeyedPut<'a> {
    put: &'a PutRecord,
    key: RequestKey,
    is_first: bool,
    is_last: bool,
}

/// The writes of a batch that have an idempotency key. Nothing is allocated if no write has one.
fn keyed<'a>(puts: &[&'a PutRecord]) -> Vec<KeyedPut<'a>> {
    let same = puts.chunk_by(|a, b| a.id() == b.id());
    let keyed = same.flat_map(|same| {
        (0..).zip(same).filter_map(|(place, put)| {
            let (is_first, is_last) = (place == 0, place + 1 == same.len());
            Some(KeyedPut { put, key: put.key?, is_first, is_last })
        })
    });
    keyed.collect()
}

/// The answer to one of several writes of a key in a batch. All but the last write were overwritten at once: the
/// document does not have their version any more.
fn answer(last: PutOutcome, place: usize, writes: usize) -> PutOutcome {
    let (is_first, is_last) = (place == 0, place + 1 == writes);
    let version = if is_last { last.state.version } else { last.state.version - 1 };
    PutOutcome { state: RecordVersion { version, ..last.state }, created: last.created && is_first }
}

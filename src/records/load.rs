//! Bulk loads of documents: many single writes at once, which group commit puts together.
//!
//! A bad document costs itself alone. The documents on their way are bounded, by number and by bytes; at the bound, the
//! reading of the stream waits.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::{Collection, Document, RecordError, RecordService, StoredRecord, WriteCondition};
use crate::shard::ShardError;
use crate::telemetry::metrics::BULK_ROWS;

/// Documents on their way at the same time.
const IN_FLIGHT: usize = 1024;
/// The bytes of these documents; one more document may be on its way.
const IN_FLIGHT_BYTES: usize = 8 << 20;
/// How many rejections are listed one by one.
const LISTED: usize = 100;

/// What a load has done.
#[derive(Default, Debug)]
pub struct LoadedRecords {
    /// Documents stored.
    pub stored: u64,
    /// Stored documents that replaced another document.
    pub replaced: u64,
    /// Documents that cannot be stored.
    pub rejected: u64,
    /// Documents stored on each shard.
    pub distribution: BTreeMap<u16, u64>,
    /// The lines of the first 100 rejections, and why.
    pub rejections: Vec<(u64, RecordError)>,
}

/// A load in progress. Dropping it stops the load: stored documents stay.
pub struct RecordLoad {
    records: Arc<RecordService>,
    collection: Arc<Collection>,
    writes: FuturesUnordered<BoxFuture<'static, LoadWrite>>,
    bytes: usize,
    /// The keys of the documents on their way: of two documents with one key the later one must come second.
    keys: HashSet<Box<str>>,
    loaded: LoadedRecords,
}

struct LoadWrite {
    line: u64,
    bytes: usize,
    key: Box<str>,
    result: Result<StoredRecord, RecordError>,
}

impl RecordLoad {
    /// Begins a load.
    #[must_use]
    pub fn start(records: Arc<RecordService>, collection: Arc<Collection>) -> Self {
        let (writes, keys) = (FuturesUnordered::new(), HashSet::new());
        Self { records, collection, writes, bytes: 0, keys, loaded: LoadedRecords::default() }
    }

    /// Takes the document on a line, in place of a document with the same key. Waits while too many documents are on
    /// their way.
    ///
    /// # Errors
    /// If a shard stores no more documents.
    pub async fn push(&mut self, line: u64, text: &[u8]) -> Result<(), ShardError> {
        while self.writes.len() >= IN_FLIGHT || self.bytes >= IN_FLIGHT_BYTES {
            self.finish_one().await?;
        }
        let placed = Document::read(text).and_then(|document| {
            let place = self.records.place_new(&self.collection, &document)?;
            Ok((document, place))
        });
        match placed {
            Err(error) => self.reject(line, error),
            Ok((document, place)) => {
                while self.keys.contains(&place.key) {
                    self.finish_one().await?;
                }
                let (records, collection) = (Arc::clone(&self.records), Arc::clone(&self.collection));
                let (bytes, key) = (text.len(), place.key.clone());
                self.bytes += bytes;
                BULK_ROWS.accepted.add(1);
                self.keys.insert(key.clone());
                self.writes.push(Box::pin(async move {
                    let result = records.put_at(&collection, place, document, WriteCondition::Any, None).await;
                    LoadWrite { line, bytes, key, result }
                }));
            }
        }
        Ok(())
    }

    /// Counts a document that is not stored.
    pub fn reject(&mut self, line: u64, why: RecordError) {
        self.loaded.rejected += 1;
        BULK_ROWS.rejected.add(1);
        if self.loaded.rejections.len() < LISTED {
            self.loaded.rejections.push((line, why));
        }
    }

    /// Waits for the documents on their way.
    ///
    /// # Errors
    /// The first shard's error; the summary holds all that was stored in spite of it.
    pub async fn finish(mut self) -> (LoadedRecords, Result<(), ShardError>) {
        let mut outcome = Ok(());
        while !self.writes.is_empty() {
            outcome = outcome.and(self.finish_one().await);
        }
        self.loaded.rejections.sort_by_key(|(line, _)| *line);
        (self.loaded, outcome)
    }

    /// True while documents are on their way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Waits for one of the documents on their way. Cancel safe: no result is lost.
    ///
    /// # Errors
    /// If its shard stores no more documents.
    pub async fn finish_one(&mut self) -> Result<(), ShardError> {
        let Some(LoadWrite { line, bytes, key, result }) = self.writes.next().await else { return Ok(()) };
        self.bytes = self.bytes.saturating_sub(bytes);
        self.keys.remove(&key);
        match result {
            Ok(stored) => {
                self.loaded.stored += 1;
                BULK_ROWS.stored.add(u64::from(stored.created));
                self.loaded.replaced += u64::from(!stored.created);
                *self.loaded.distribution.entry(stored.shard.number()).or_default() += 1;
            }
            Err(RecordError::Shard(error @ ShardError::RowRefused { .. })) => self.reject(line, error.into()),
            Err(RecordError::Shard(error)) => return Err(error),
            Err(error) => self.reject(line, error),
        }
        Ok(())
    }
}

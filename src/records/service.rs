//! The rules of documents, above the statements.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::cached::{RecordCodec, cache_key};
use super::catalog::CollectionCatalog;
use super::changes::{CreateRecord, DeleteOutcome, DeleteRecord, ReplaceOutcome, ReplaceRecord};
use super::kept::{found_before, stored_before};
use super::list::{ListAll, ListOfKey};
use super::patch::{PatchOutcome, PatchRecord};
use super::place::RecordPlace;
use super::store::{FindOutcome, FindRecord, RecordVersion};
use super::writer::{PutOutcome, PutRecord, RecordWriter};
use super::{
    BuiltIn, Collection, CollectionName, Document, FoundRecord, Record, RecordCursor, RecordError, RecordPage,
    RecordsPerKey, StoredRecord, WriteCondition,
};
use crate::cache::{Cache, CacheKey};
use crate::payload::{FieldFault, PageSize};
use crate::shard::{BatchedReads, CallOutcome, Cluster, IdClock, ReadConsistency, RequestKey, ShardError, ShardId};
use crate::writes::{RowQueue, RowTurn, SlotWrites, WriterLimits};

/// The documents of all collections.
pub struct RecordService {
    cluster: Arc<Cluster>,
    cache: Arc<Cache>,
    catalog: CollectionCatalog,
    writes: SlotWrites,
    writer: RecordWriter,
    reader: BatchedReads<FindRecord>,
    /// Turns for documents that change otherwise than by group commit.
    changes: RowQueue<CacheKey>,
    ids: IdClock,
}

impl RecordService {
    /// Starts the writers and readers, which end when the cluster shuts down.
    #[must_use]
    pub fn start(cluster: Arc<Cluster>, cache: Arc<Cache>, limits: WriterLimits) -> Self {
        let catalog = CollectionCatalog::new(Arc::clone(&cluster));
        let writes = SlotWrites::new(Arc::clone(&cluster), Arc::clone(&cache));
        let writer = RecordWriter::start(writes.clone(), limits);
        let reader = BatchedReads::start(Arc::clone(&cluster));
        Self { cluster, cache, catalog, writes, writer, reader, changes: RowQueue::new(), ids: IdClock::default() }
    }

    /// All collections, in the order of their names.
    ///
    /// # Errors
    /// If no shard answers.
    pub async fn collections(&self) -> Result<Vec<Arc<Collection>>, RecordError> {
        self.catalog.refresh(Duration::ZERO).await?;
        Ok(self.catalog.all())
    }

    /// The collection of this name.
    ///
    /// # Errors
    /// `NoCollection`, or a shard's error if no shard answers.
    pub async fn collection(&self, name: &CollectionName) -> Result<Arc<Collection>, RecordError> {
        self.catalog.get(name).await
    }

    /// One of the collections that every shard has from the start.
    ///
    /// # Errors
    /// A shard's error if no shard has answered since the start.
    pub async fn built_in(&self, which: BuiltIn) -> Result<Arc<Collection>, RecordError> {
        self.catalog.built_in(which).await
    }

    /// Declares a collection on every shard; true if the collection is new. Declaring it again changes nothing.
    ///
    /// # Errors
    /// `CollectionDiffers`, or a shard's error: every shard must be there.
    pub async fn declare(&self, collection: Collection) -> Result<bool, RecordError> {
        self.catalog.declare(collection).await
    }

    /// The document under a key.
    ///
    /// # Errors
    /// `NotFound`, or the shard's error.
    pub async fn find(&self, collection: &Arc<Collection>, key: &str) -> Result<FoundRecord, RecordError> {
        self.find_at(collection, &collection.locate(key)?).await
    }

    /// As [`RecordService::find`], if need be from a replica: a change of the last moments may not show. The cache
    /// takes no part.
    ///
    /// # Errors
    /// As there.
    pub async fn find_eventually(&self, collection: &Arc<Collection>, key: &str) -> Result<FoundRecord, RecordError> {
        let place = collection.locate(key)?;
        let find = FindRecord { collection: Arc::clone(collection), place: place.clone() };
        match self.cluster.read(ReadConsistency::Eventual, place.slot, &find).await? {
            (shard, FindOutcome::Found(Some(record))) => Ok(FoundRecord { record, shard, from_cache: false }),
            _ => Err(not_found(collection, &place)),
        }
    }

    async fn find_at(&self, collection: &Arc<Collection>, place: &RecordPlace) -> Result<FoundRecord, RecordError> {
        let codec = RecordCodec { key: &place.key };
        let load = self.load(collection, place);
        let found = Box::pin(self.cache.read(&cache_key(&collection.name, place), &codec, load)).await?;
        let record = found.value.ok_or_else(|| not_found(collection, place))?;
        Ok(FoundRecord { record, shard: found.shard, from_cache: found.from_cache })
    }

    /// The document as its shard has it.
    async fn load(
        &self,
        collection: &Arc<Collection>,
        place: &RecordPlace,
    ) -> Result<(ShardId, Option<Record>), ShardError> {
        let find = || FindRecord { collection: Arc::clone(collection), place: place.clone() };
        let (mut shard, mut looked) = self.reader.read(find()).await?;
        if matches!(looked, FindOutcome::Large) {
            (shard, looked) = self.cluster.run(place.slot, &find()).await?;
        }
        match looked {
            FindOutcome::Found(record) => Ok((shard, record)),
            FindOutcome::Large => Ok((shard, None)), // never: a single read has no limit of size
        }
    }

    /// Stores a new document, by the field that holds its shard key; gives the place.
    ///
    /// # Errors
    /// `Exists` if the key is taken, `Field` if the field is wrong; otherwise the shard's error, after which the
    /// document may be stored all the same.
    pub async fn create(
        &self,
        collection: &Arc<Collection>,
        document: Document,
        key: Option<RequestKey>,
    ) -> Result<StoredRecord, RecordError> {
        let place = collection.place_new(&document, &self.ids, key.as_ref())?;
        match collection.records_per_key {
            RecordsPerKey::One => self.put_at(collection, place, document, WriteCondition::Absent, key).await,
            // No other document has the minted key.
            RecordsPerKey::Many => self.put_at(collection, place, document, WriteCondition::Any, key).await,
        }
    }

    /// Stores a document under a key, in place of the present document, if the condition holds. Where keys are minted,
    /// there must be a document to replace.
    ///
    /// # Errors
    /// `NotFound`, `Exists`, `Changed` if the condition does not hold; `KeyFixed` if the document names another shard
    /// key; otherwise the shard's error, after which the document may be stored all the same.
    pub async fn put(
        &self,
        collection: &Arc<Collection>,
        key: &str,
        document: Document,
        condition: WriteCondition,
        request: Option<RequestKey>,
    ) -> Result<StoredRecord, RecordError> {
        let mut place = collection.locate(key)?;
        collection.check_shard_key(&mut place, &document)?;
        let condition = match (collection.records_per_key, condition) {
            (RecordsPerKey::Many, WriteCondition::Any) => WriteCondition::Present,
            (RecordsPerKey::Many, WriteCondition::Absent) => {
                let why = format!("keys of {} are minted; use POST to create a document", collection.name);
                return Err(FieldFault::new("If-None-Match", why).into());
            }
            (_, condition) => condition,
        };
        self.put_at(collection, place, document, condition, request).await
    }

    pub(super) async fn put_at(
        &self,
        collection: &Arc<Collection>,
        place: RecordPlace,
        document: Document,
        condition: WriteCondition,
        key: Option<RequestKey>,
    ) -> Result<StoredRecord, RecordError> {
        match condition {
            WriteCondition::Any => {
                let put = PutRecord { collection: Arc::clone(collection), place, document, key };
                match self.writer.write(put).await? {
                    (shard, put, CallOutcome::Applied(PutOutcome { state, created })) => {
                        Ok(stored(put.place, shard, state, created))
                    }
                    (_, put, CallOutcome::Replayed(known)) => stored_before(&known, put.key.as_ref()),
                }
            }
            WriteCondition::Absent => {
                let create = CreateRecord { collection: &collection.name, place: &place, document: &document };
                let _turn = self.wait_for_turn(collection, &place).await?;
                match self.writes.run(place.slot, &create, key.as_ref()).await? {
                    (shard, CallOutcome::Applied(Some(state))) => Ok(stored(place, shard, state, true)),
                    (_, CallOutcome::Applied(None)) => {
                        Err(RecordError::Exists { collection: collection.name.clone(), key: place.key })
                    }
                    (_, CallOutcome::Replayed(known)) => stored_before(&known, key.as_ref()),
                }
            }
            WriteCondition::Present | WriteCondition::Version(_) => {
                self.replace(collection, place, &document, condition, key.as_ref()).await
            }
        }
    }

    async fn replace(
        &self,
        collection: &Collection,
        place: RecordPlace,
        document: &Document,
        condition: WriteCondition,
        key: Option<&RequestKey>,
    ) -> Result<StoredRecord, RecordError> {
        let expected = condition.version();
        let replace = ReplaceRecord { collection: &collection.name, place: &place, document, expected };
        let _turn = self.wait_for_turn(collection, &place).await?;
        let (shard, outcome) = match self.writes.run(place.slot, &replace, key).await? {
            (shard, CallOutcome::Applied(outcome)) => (shard, outcome),
            (_, CallOutcome::Replayed(known)) => return stored_before(&known, key),
        };
        match outcome {
            ReplaceOutcome::Done(state) => Ok(stored(place, shard, state, false)),
            ReplaceOutcome::Changed(found) => Err(RecordError::Changed { found: Some(found) }),
            ReplaceOutcome::OtherKey => Err(RecordError::KeyFixed),
            ReplaceOutcome::Missing if condition == WriteCondition::Present => Err(not_found(collection, &place)),
            ReplaceOutcome::Missing => Err(RecordError::Changed { found: None }),
        }
    }

    /// Changes a document by a patch (JSON Merge Patch, RFC 7396), and gives the changed document. Patches of one
    /// document come one after the other, and none of them is lost.
    ///
    /// # Errors
    /// `NotFound`; `Changed` if the document is not in the version that the condition names; `Contended` if too many
    /// wait to change it; otherwise the shard's error, after which the document may be changed all the same.
    pub async fn patch(
        &self,
        collection: &Arc<Collection>,
        key: &str,
        patch: &Document,
        condition: WriteCondition,
        request: Option<RequestKey>,
    ) -> Result<FoundRecord, RecordError> {
        let place = collection.locate(key)?;
        let (expected, is_committing) = (condition.version(), AtomicBool::new(false));
        let change = PatchRecord { collection, place: &place, patch, expected, is_committing };
        let _turn = self.wait_for_turn(collection, &place).await?;
        let (shard, outcome) = match self.writes.run(place.slot, &change, request.as_ref()).await? {
            (shard, CallOutcome::Applied(outcome)) => (shard, outcome),
            (_, CallOutcome::Replayed(known)) => return found_before(&known, request.as_ref()),
        };
        match outcome {
            PatchOutcome::Done(record) => Ok(FoundRecord { record, shard, from_cache: false }),
            PatchOutcome::Missing => Err(not_found(collection, &place)),
            PatchOutcome::Changed(found) => Err(RecordError::Changed { found: Some(found) }),
            PatchOutcome::Refused(error) => Err(error),
        }
    }

    /// Waits until earlier changes of the document are done. Each change holds a connection, and many changes of one
    /// document must leave connections to the other documents of the shard.
    async fn wait_for_turn(
        &self,
        collection: &Collection,
        place: &RecordPlace,
    ) -> Result<RowTurn<'_, CacheKey>, RecordError> {
        let limit = self.cluster.limits().call_timeout;
        self.changes.wait_for_turn(cache_key(&collection.name, place), limit).await.ok_or(RecordError::Contended)
    }

    /// Deletes a document; gives the shard that held the document.
    ///
    /// # Errors
    /// `NotFound`; `Changed` if the document is not in the version that the condition names; otherwise the shard's
    /// error, after which the document may be deleted all the same.
    pub async fn delete(
        &self,
        collection: &Arc<Collection>,
        key: &str,
        condition: WriteCondition,
    ) -> Result<ShardId, RecordError> {
        let place = collection.locate(key)?;
        let delete = DeleteRecord { collection: &collection.name, place: &place, expected: condition.version() };
        let _turn = self.wait_for_turn(collection, &place).await?;
        match self.writes.run(place.slot, &delete, None).await? {
            (shard, CallOutcome::Applied(DeleteOutcome::Done)) => Ok(shard),
            (_, CallOutcome::Applied(DeleteOutcome::Changed(found))) => {
                Err(RecordError::Changed { found: Some(found) })
            }
            _ => Err(not_found(collection, &place)),
        }
    }

    /// A page of a collection: the documents of one shard key, or all. Several documents of one shard key may come from
    /// a replica if `consistency` allows a replica.
    ///
    /// # Errors
    /// `Field` if the shard key is no key of the collection; a shard's error if no shard answered.
    pub async fn list(
        &self,
        collection: &Arc<Collection>,
        shard_key: Option<&str>,
        size: PageSize,
        after: Option<&RecordCursor>,
        consistency: ReadConsistency,
    ) -> Result<RecordPage, RecordError> {
        let Some(key) = shard_key else {
            return Ok(ListAll { collection, after, size, shards: self.cluster.shards().len() }
                .page(&self.cluster)
                .await?);
        };
        let place = collection.place_of(key).map_err(|fault| FieldFault::new("shard_key", fault.reason))?;
        match collection.records_per_key {
            RecordsPerKey::Many => {
                let (_, page) =
                    ListOfKey { collection, place: &place, after, size }.page(&self.cluster, consistency).await?;
                Ok(page)
            }
            RecordsPerKey::One => {
                let found = match self.find_at(collection, &place).await {
                    Ok(found) => Some(found.record),
                    Err(RecordError::NotFound { .. }) => None,
                    Err(error) => return Err(error),
                };
                Ok(RecordPage { records: found.into_iter().collect(), next: None, missing: Vec::new() })
            }
        }
    }

    /// The first documents of a collection on each shard, to look at.
    pub async fn of_each_shard(
        &self,
        collection: &Collection,
        size: PageSize,
    ) -> Vec<(ShardId, Result<RecordPage, ShardError>)> {
        ListAll { collection, after: None, size, shards: self.cluster.shards().len() }
            .of_each_shard(&self.cluster)
            .await
    }

    /// The place of a new document, for a load.
    pub(super) fn place_new(&self, collection: &Collection, document: &Document) -> Result<RecordPlace, FieldFault> {
        collection.place_new(document, &self.ids, None)
    }
}

fn stored(place: RecordPlace, shard: ShardId, state: RecordVersion, created: bool) -> StoredRecord {
    let RecordVersion { version, created_at, updated_at } = state;
    StoredRecord { key: place.key, shard, created, version, created_at, updated_at }
}

fn not_found(collection: &Collection, place: &RecordPlace) -> RecordError {
    RecordError::NotFound { collection: collection.name.clone(), key: place.key.clone() }
}

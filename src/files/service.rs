//! What can be done with files: the rules above the statements.

use std::sync::Arc;

use serde::Deserialize;
use uuid::Uuid;

use super::delete::{DeleteLanes, FileDelete};
use super::error::FileError;
use super::insert::{InsertLanes, InsertOutcome};
use super::lookup::FileLookup;
use super::model::{File, FileCursor, FileInsert, FilePatch, NewFile, UserId};
use super::page::{FilePage, PageCodec, page_key, spoiled_keys};
use super::store::{FileMatch, FindById, FindState, ListByUser};
use super::tag::FileCondition;
use super::update::{FileUpdate, UpdateLanes};
use crate::cache::Cache;
use crate::payload::PageSize;
use crate::shard::{
    BatchedReads, CallOutcome, Cluster, IdClock, ReadConsistency, RequestKey, ShardError, ShardId, StoredOutcome,
    slot_of_id, time_of_micros,
};
use crate::writes::{RowQueue, RowTurn, SlotWrites, WriterLimits};

/// Larger pages are read alone: they would hold up the small ones of their batch.
const SMALL_PAGE: usize = 100;

/// How often a change under a condition is tried anew. A second try is needed only where a file was changed between the
/// look at its state and the change, and is then in the state asked for again.
const STATE_TRIES: u32 = 5;

/// A file that was stored, now or before.
#[derive(Clone, Debug)]
pub struct IngestedFile {
    /// The file as it is stored.
    pub file: File,
    /// Where it is stored.
    pub shard: ShardId,
    /// True if it was stored by an earlier request; this one changed nothing.
    pub duplicate: bool,
}

/// What is kept of a file that was stored for a key: the rest stands in the request.
#[derive(Deserialize)]
struct KeptInsert {
    file_id: Uuid,
    /// Microseconds since 1970.
    created_at: i64,
    #[serde(default)]
    folder_id: Option<Uuid>,
}

/// The files of all users.
pub struct FileService {
    cluster: Arc<Cluster>,
    cache: Arc<Cache>,
    writes: SlotWrites,
    inserts: InsertLanes,
    updates: UpdateLanes,
    deletes: DeleteLanes,
    pages: BatchedReads<ListByUser>,
    lookup: FileLookup,
    /// Of the files that are being changed or deleted.
    changes: RowQueue<(UserId, Uuid)>,
    ids: IdClock,
}

impl FileService {
    /// Starts the writers and readers. They end when the cluster shuts down.
    #[must_use]
    pub fn start(cluster: Arc<Cluster>, cache: Arc<Cache>, limits: WriterLimits) -> Self {
        let writes = SlotWrites::new(Arc::clone(&cluster), Arc::clone(&cache));
        Self {
            inserts: InsertLanes::start(writes.clone(), limits),
            updates: UpdateLanes::start_on_pools(writes.clone(), limits),
            deletes: DeleteLanes::start_on_pools(writes.clone(), limits),
            pages: BatchedReads::start(Arc::clone(&cluster)),
            lookup: FileLookup::start(Arc::clone(&cluster)),
            changes: RowQueue::new(),
            ids: IdClock::default(),
            cluster,
            cache,
            writes,
        }
    }

    /// The maker of ids.
    #[must_use]
    pub fn ids(&self) -> &IdClock {
        &self.ids
    }

    /// The door for changes of files.
    pub(super) fn writes(&self) -> &SlotWrites {
        &self.writes
    }

    /// The shards below.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Stores a file once. Returns after the shard's commit. A second one with the same key is answered as the first
    /// was.
    ///
    /// # Errors
    /// The shard's error; after `Timeout` and `Unavailable` it may be stored all the same.
    pub async fn ingest(&self, mut new: NewFile, key: Option<RequestKey>) -> Result<IngestedFile, FileError> {
        loop {
            let (shard, FileInsert { file, .. }, made) = self.inserts.write(FileInsert { file: new, key }).await?;
            let known = match (made, &key) {
                (CallOutcome::Applied(InsertOutcome::Inserted(at, folder)), _) => {
                    return Ok(IngestedFile { file: file.stored(at, folder), shard, duplicate: false });
                }
                (CallOutcome::Replayed(known), _) => Some(known),
                // Perhaps by an earlier request with this key.
                (CallOutcome::Applied(InsertOutcome::Exists), Some(key)) => {
                    self.cluster.find_key(file.user.slot(), key).await?
                }
                (CallOutcome::Applied(InsertOutcome::Exists), None) => None,
            };
            if let (Some(known), Some(key)) = (known, &key) {
                return Ok(ingested_before(file, &known, key)?);
            }
            let stored = FindById { slot: file.user.slot(), id: file.id, user: Some(file.user) };
            let (shard, stored) = self.cluster.run(file.user.slot(), &stored).await?;
            // A minted id is there already if its first try lost the connection after the commit.
            if let FileMatch::One(stored) = stored {
                return Ok(IngestedFile { file: *stored, shard, duplicate: !file.minted });
            }
            if file.path().is_some() {
                return Err(FileError::NameTaken);
            }
            // The file was deleted meanwhile.
            new = file;
        }
    }

    /// A page of a user's files, newest first: by id, which for minted ids is the order of their making.
    ///
    /// # Errors
    /// The shard's error. A user without files is none.
    pub async fn list(
        &self,
        user: UserId,
        size: PageSize,
        after: Option<FileCursor>,
    ) -> Result<(ShardId, FilePage), ShardError> {
        let from = match after {
            None => {
                let codec = PageCodec { size };
                let load = self.read_page(user, Uuid::max(), size);
                let found = Box::pin(self.cache.read(&page_key(user), &codec, load)).await?;
                return Ok((found.shard, found.value));
            }
            Some(cursor) => match cursor.next_id() {
                Some(id) => id,
                None => return Ok((self.cluster.owner(user.slot())?.id(), FilePage::empty())),
            },
        };
        self.read_page(user, from, size).await
    }

    /// As [`FileService::list`], if need be from a replica: the page may lack what was stored in the last moments. The
    /// cache has no part in it, as it holds only what is up to date.
    ///
    /// # Errors
    /// As there.
    pub async fn list_eventually(
        &self,
        user: UserId,
        size: PageSize,
        after: Option<FileCursor>,
    ) -> Result<(ShardId, FilePage), ShardError> {
        let from = match after.map(FileCursor::next_id) {
            None => Uuid::max(),
            Some(Some(id)) => id,
            Some(None) => return self.list(user, size, after).await,
        };
        let page = ListByUser { user, from, size };
        self.cluster.read(ReadConsistency::Eventual, user.slot(), &page).await
    }

    async fn read_page(&self, user: UserId, from: Uuid, size: PageSize) -> Result<(ShardId, FilePage), ShardError> {
        let page = ListByUser { user, from, size };
        match size.get() {
            ..=SMALL_PAGE => self.pages.read(page).await,
            _ => self.cluster.run(user.slot(), &page).await,
        }
    }

    /// A file by its id: of this user, or without one the only file under the id.
    ///
    /// # Errors
    /// `NotFound`; `SeveralUsers`; for an id that was not made here only after every shard has answered.
    pub async fn find(&self, id: Uuid, user: Option<UserId>) -> Result<(ShardId, File), FileError> {
        self.lookup.find(id, user).await
    }

    /// Changes a file: of this user, or without one the only file under the id. Doing it twice does the same as doing
    /// it once; with a key the second one changes nothing, and is answered as the first was.
    ///
    /// # Errors
    /// `NotFound`, `SeveralUsers`, `Changed` if the condition does not hold, or the shard's error.
    pub async fn update(
        &self,
        id: Uuid,
        user: Option<UserId>,
        patch: FilePatch,
        condition: FileCondition,
        key: Option<RequestKey>,
    ) -> Result<(ShardId, File), FileError> {
        // Before the file is looked for: the file may be gone since, or in another state.
        if let Some(key) = &key
            && let Some(updated) = Box::pin(self.find_update(id, user, key)).await?
        {
            return Ok(updated);
        }
        let user = self.owner(id, user).await?;
        let _turn = self.wait_for_turn(user, id).await?;
        let mut update = FileUpdate { user, id, patch, state: None, is_held: false };
        for _ in 0..STATE_TRIES {
            update.state = self.expected_state(user, id, condition).await?;
            let made;
            (update, made) = self.make_update(update, key.as_ref()).await?;
            match made {
                (shard, Some(file)) => return Ok((shard, file)),
                _ if update.state.is_none() => return Err(FileError::NotFound(id)),
                _ => {}
            }
        }
        Err(FileError::Changed(id))
    }

    /// Makes a change together with others, or by itself if another transaction holds the file: only then a change
    /// waits. New folders and the outcome of a key need a transaction of their own as well, and a change of a required
    /// state is never made twice.
    async fn make_update(
        &self,
        mut update: FileUpdate,
        key: Option<&RequestKey>,
    ) -> Result<(FileUpdate, (ShardId, Option<File>)), FileError> {
        if key.is_none() && update.patch.path.is_none() && update.state.is_none() {
            match self.updates.write(update).await? {
                (shard, update, CallOutcome::Applied(Some(file))) => return Ok((update, (shard, Some(file)))),
                (_, back, _) => update = FileUpdate { is_held: true, ..back },
            }
            // Left out as there is no such file? Then this read says so.
            Box::pin(self.find(update.id, Some(update.user))).await?;
        }
        // Boxed, as are other rare ways: a request's future is moved as it is, however little of it is used.
        let alone = Box::pin(self.writes.run(update.user.slot(), &update, key));
        let made = match (alone.await?, key) {
            ((_, CallOutcome::Replayed(known)), Some(key)) => (known.shard, Some(known.outcome_of(key)?)),
            ((shard, CallOutcome::Replayed(_)), None) => (shard, None), // never: no key, no stored outcome
            ((shard, CallOutcome::Applied(file)), _) => (shard, file),
        };
        Ok((update, made))
    }

    /// The file as an earlier request with the key has made it.
    async fn find_update(
        &self,
        id: Uuid,
        user: Option<UserId>,
        key: &RequestKey,
    ) -> Result<Option<(ShardId, File)>, FileError> {
        let known = match user.map(UserId::slot).or_else(|| slot_of_id(id)) {
            Some(slot) => self.cluster.find_key(slot, key).await?,
            None => self.cluster.search_key(key).await?,
        };
        let Some(known) = known else { return Ok(None) };
        let file: File = known.outcome_of(key)?;
        if let Some(user) = UserId::new(file.user_id) {
            self.writes.forget_values(spoiled_keys(user).into()).await?;
        }
        Ok(Some((known.shard, file)))
    }

    /// The state that a statement must find, if the condition names one and the file is in it now.
    async fn expected_state(
        &self,
        user: UserId,
        id: Uuid,
        condition: FileCondition,
    ) -> Result<Option<String>, FileError> {
        let FileCondition::Tag(tag) = condition else { return Ok(None) };
        let (_, found) = Box::pin(self.cluster.run(user.slot(), &FindState { user, id })).await?;
        let (file, state) = found.ok_or(FileError::NotFound(id))?;
        if tag == Some(file.tag()) { Ok(Some(state)) } else { Err(FileError::Changed(id)) }
    }

    /// Deletes a file: of this user, or without one the only file under the id; gives where it was.
    ///
    /// # Errors
    /// `NotFound`, `SeveralUsers`, `Changed` if the condition does not hold, or the shard's error; after `Timeout` and
    /// `Unavailable` it may be deleted all the same.
    pub async fn delete(&self, id: Uuid, user: Option<UserId>, condition: FileCondition) -> Result<ShardId, FileError> {
        let user = self.owner(id, user).await?;
        let _turn = self.wait_for_turn(user, id).await?;
        for _ in 0..STATE_TRIES {
            let state = self.expected_state(user, id, condition).await?;
            // Together with others, or by itself if another transaction holds the file, as a change is made.
            let delete = match self.deletes.write(FileDelete { user, id, state }).await? {
                (shard, _, CallOutcome::Applied(true)) => return Ok(shard),
                (_, delete, _) => delete,
            };
            // Left out as there is no such file? Then this read says so.
            Box::pin(self.find(id, Some(user))).await?;
            match (Box::pin(self.writes.run(user.slot(), &delete, None)).await?, delete.state) {
                ((shard, CallOutcome::Applied(true)), _) => return Ok(shard),
                (_, None) => return Err(FileError::NotFound(id)),
                (_, Some(_)) => {}
            }
        }
        Err(FileError::Changed(id))
    }

    /// Whose file it is that a request is about, if the request does not say so.
    async fn owner(&self, id: Uuid, user: Option<UserId>) -> Result<UserId, FileError> {
        match user {
            Some(user) => Ok(user),
            None => UserId::new(Box::pin(self.find(id, None)).await?.1.user_id).ok_or(FileError::NotFound(id)),
        }
    }

    /// Waits until earlier changes of the file are done. Each holds a connection, and many changes of one file must
    /// leave connections to the other files of the shard.
    async fn wait_for_turn(&self, user: UserId, id: Uuid) -> Result<RowTurn<'_, (UserId, Uuid)>, FileError> {
        let limit = self.cluster.limits().call_timeout;
        self.changes.wait_for_turn((user, id), limit).await.ok_or(FileError::Contended(id))
    }
}

/// The answer to a request that was answered before: the file as it was stored then.
fn ingested_before(mut file: NewFile, known: &StoredOutcome, key: &RequestKey) -> Result<IngestedFile, ShardError> {
    let KeptInsert { file_id, created_at, folder_id } = known.outcome_of(key)?;
    file.id = file_id;
    let at = time_of_micros(known.shard, created_at)?;
    Ok(IngestedFile { file: file.stored(at, folder_id), shard: known.shard, duplicate: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_that_cannot_be_read_is_no_file_of_1970() {
        let key = RequestKey { key: Uuid::nil(), request: Uuid::max() };
        let ingested = |outcome: &str| {
            let file = NewFile::test_file(UserId::new(42).unwrap(), &IdClock::default());
            let known = StoredOutcome::new(Uuid::max(), ShardId::new(1), outcome.to_owned());
            ingested_before(file, &known, &key)
        };
        let good = r#"{"file_id":"019a9e4b-3f21-7c5a-9e02-7a002a5d4c1e","created_at":7}"#;
        assert_eq!(ingested(good).unwrap().file.created_at.timestamp_micros(), 7);
        for bad in [good.replace(":7", ":9223372036854775807"), good.replace(":7", ":null"), "{}".into(), String::new()]
        {
            let outcome = ingested(&bad);
            assert!(matches!(outcome, Err(ShardError::Unexpected { .. })), "{bad}: {outcome:?}");
        }
    }
}

//! What can be done with files: the rules above the statements.

use crate::files::page_codec::{page_key, spoiled_keys};
use std::sync::Arc;

use serde::Deserialize;
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::limits::{LISTED_PATH_INDEX, fault_of_constraint};
use super::model::{File, FileCursor, FileInsert, FilePage, FilePageSize, FilePatch, NewFile, UserId};
use super::page_codec::PageCodec;
use super::store::{DeleteFile, FindById, FindState, ListByUser, SearchById, UpdateFile};
use super::tag::FileCondition;
use super::writer::{FileWriter, InsertFiles, InsertOutcome};
use crate::cache::{Cache, PendingWrite};
use crate::payload::FieldFault;
use crate::shard::{
    BatchedReads, CallOutcome, Cluster, IdClock, IdempotentCall, ReadConsistency, RequestKey, RowQueue, RowTurn,
    ShardError, ShardId, Slot, SlotCoverage, StoredOutcome, WriterLimits, slot_in, time_of_micros,
};

/// Larger pages are read alone: they would hold up the small ones of their batch.
const SMALL_PAGE: usize = 100;

/// How often a change under a condition is tried anew. A second try is needed only where a file was changed between the look at its
/// state and the change, and is then in the state asked for again.
const STATE_TRIES: u32 = 5;

/// Why a file was not stored, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is no such file.
    #[error("there is no file {0}")]
    NotFound(Uuid),
    /// Another user has stored a file under this id.
    #[error("the id {0} belongs to another user's file")]
    IdTaken(Uuid),
    /// It is not in the state that the client named.
    #[error("the file {0} is in another state than If-Match names; read it anew")]
    Changed(Uuid),
    /// Too many callers wait to change the file.
    #[error("too many changes of the file {0} are waiting; try again")]
    Contended(Uuid),
    /// Another file of the user, which was imported too, has the path.
    #[error("path: another imported file of this user has it")]
    PathTaken,
    /// A field would become what it must not be.
    #[error("{0}")]
    Field(FieldFault),
    /// The shard did not do it.
    #[error(transparent)]
    Shard(ShardError),
}

impl From<ShardError> for FileError {
    fn from(error: ShardError) -> Self {
        let ShardError::RowRefused { constraint: Some(constraint), .. } = &error else { return Self::Shard(error) };
        match fault_of_constraint(constraint) {
            Some(fault) => Self::Field(fault),
            None if constraint == LISTED_PATH_INDEX => Self::PathTaken,
            None => Self::Shard(error),
        }
    }
}

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
}

/// The files of all users.
pub struct FileService {
    cluster: Arc<Cluster>,
    cache: Arc<Cache>,
    writer: FileWriter,
    pages: BatchedReads<ListByUser>,
    finds: BatchedReads<FindById>,
    /// Of the files that are being changed or deleted.
    changes: RowQueue<Uuid>,
    ids: IdClock,
}

impl FileService {
    /// Starts the writers and readers. They end when the cluster shuts down.
    #[must_use]
    pub fn start(cluster: Arc<Cluster>, cache: Arc<Cache>, limits: WriterLimits) -> Self {
        let for_writers = Arc::clone(&cache);
        let writer = FileWriter::start(Arc::clone(&cluster), limits, move || InsertFiles::new(&for_writers));
        let (pages, finds) = (BatchedReads::start(Arc::clone(&cluster)), BatchedReads::start(Arc::clone(&cluster)));
        Self { cluster, cache, writer, pages, finds, changes: RowQueue::new(), ids: IdClock::default() }
    }

    /// The maker of ids.
    #[must_use]
    pub fn ids(&self) -> &IdClock {
        &self.ids
    }

    /// The cache of pages.
    #[must_use]
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// The shards below.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Stores a file once. Returns after the shard's commit. A second one with the same key is answered as the first was.
    ///
    /// # Errors
    /// `IdTaken`, or the shard's error; after `Timeout` and `Unavailable` it may be stored all the same.
    pub async fn ingest(&self, mut new: NewFile, key: Option<RequestKey>) -> Result<IngestedFile, FileError> {
        loop {
            let (shard, FileInsert { mut file, .. }, made) = self.writer.write(FileInsert { file: new, key }).await?;
            let known = match (made, &key) {
                (CallOutcome::Now(InsertOutcome::Inserted(at)), _) => {
                    return Ok(IngestedFile { file: file.stored(at), shard, duplicate: false });
                }
                (CallOutcome::Before(known), _) => Some(known),
                // Perhaps by an earlier request with this key.
                (CallOutcome::Now(InsertOutcome::Exists), Some(key)) => {
                    self.cluster.find_key(file.user.slot(), key).await?
                }
                (CallOutcome::Now(InsertOutcome::Exists), None) => None,
            };
            if let (Some(known), Some(key)) = (known, &key) {
                return Ok(ingested_before(file, &known, key)?);
            }
            let (shard, stored) = self.search(file.user.slot(), file.id).await?;
            // A minted id is there already if its first try lost the connection after the commit.
            if let Some(stored) = stored.filter(|stored| stored.user_id == file.user.get()) {
                return Ok(IngestedFile { file: stored, shard, duplicate: !file.minted });
            }
            if !file.minted {
                return Err(FileError::IdTaken(file.id));
            }
            // Two processes minted the same id: once in many years, and no reason to bother the client.
            file.id = self.ids.mint(file.user.slot());
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
        size: FilePageSize,
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
                None => return Ok((self.cluster.owner(user.slot())?.id(), FilePage { files: Vec::new(), next: None })),
            },
        };
        self.read_page(user, from, size).await
    }

    /// As [`FileService::list`], if need be from a replica: the page may lack what was stored in the last moments. The cache has no part in
    /// it, as it holds only what is up to date.
    ///
    /// # Errors
    /// As there.
    pub async fn list_eventually(
        &self,
        user: UserId,
        size: FilePageSize,
        after: Option<FileCursor>,
    ) -> Result<(ShardId, FilePage), ShardError> {
        let from = match after.map(FileCursor::next_id) {
            None => Uuid::max(),
            Some(Some(id)) => id,
            Some(None) => return self.list(user, size, after).await,
        };
        let page = ListByUser { user, from, size };
        let (shard, files) = self.cluster.read(ReadConsistency::Eventual, user.slot(), &page).await?;
        Ok((shard, cut(files, size)))
    }

    async fn read_page(&self, user: UserId, from: Uuid, size: FilePageSize) -> Result<(ShardId, FilePage), ShardError> {
        // One more than the page holds, if there are more.
        let page = ListByUser { user, from, size };
        let (shard, files) = match size.get() {
            ..=SMALL_PAGE => self.pages.read(page).await?,
            _ => self.cluster.run(user.slot(), &page).await?,
        };
        Ok((shard, cut(files, size)))
    }

    /// A file by its id; with `only`, one of another user is as one that is not there.
    ///
    /// # Errors
    /// `NotFound`; for an id that was not made here only after every shard has answered.
    pub async fn find(&self, id: Uuid, only: Option<UserId>) -> Result<(ShardId, File), FileError> {
        let (shard, file) = self.find_any(id).await?;
        match only {
            Some(user) if user.get() != file.user_id => Err(FileError::NotFound(id)),
            _ => Ok((shard, file)),
        }
    }

    async fn find_any(&self, id: Uuid) -> Result<(ShardId, File), FileError> {
        if let Some(slot) = slot_in(id) {
            let (shard, file) = self.finds.read(FindById { slot, id }).await?;
            return file.map(|file| (shard, file)).ok_or(FileError::NotFound(id));
        }
        self.search_everywhere(id).await
    }

    /// Changes a file, with `only` one of this user alone. Doing it twice does the same as doing it once; with a key the
    /// second one changes nothing, and is answered as the first was.
    ///
    /// # Errors
    /// `NotFound`, `Changed` if the condition does not hold, or the shard's error.
    pub async fn update(
        &self,
        id: Uuid,
        only: Option<UserId>,
        patch: &FilePatch,
        condition: FileCondition,
        key: Option<RequestKey>,
    ) -> Result<(ShardId, File), FileError> {
        let _turn = self.wait_for_turn(id).await?;
        if let Some(key) = &key {
            return Box::pin(self.update_once(id, only, patch, condition, key)).await;
        }
        for _ in 0..STATE_TRIES {
            let (slot, mark) = self.before_change(id, only).await?;
            let state = self.expected_state(slot, id, only, condition).await?;
            let call = UpdateFile { slot, id, only, patch, state: state.as_deref() };
            let (shard, file) = self.cluster.run(slot, &call).await?;
            self.after_change(mark, file.as_ref().map(|file| file.user_id)).await?;
            match file {
                Some(file) => return Ok((shard, file)),
                None if state.is_none() => return Err(FileError::NotFound(id)),
                None => {}
            }
        }
        Err(FileError::Changed(id))
    }

    /// The state that a statement must find, if the condition names one and the file is in it now.
    async fn expected_state(
        &self,
        slot: Slot,
        id: Uuid,
        only: Option<UserId>,
        condition: FileCondition,
    ) -> Result<Option<String>, FileError> {
        let FileCondition::Tag(tag) = condition else { return Ok(None) };
        let (_, found) = self.cluster.run(slot, &FindState { slot, id, only }).await?;
        let (file, state) = found.ok_or(FileError::NotFound(id))?;
        if tag == Some(file.tag()) { Ok(Some(state)) } else { Err(FileError::Changed(id)) }
    }

    async fn update_once(
        &self,
        id: Uuid,
        only: Option<UserId>,
        patch: &FilePatch,
        condition: FileCondition,
        key: &RequestKey,
    ) -> Result<(ShardId, File), FileError> {
        // Before the file is looked for: it may be gone since.
        if let Some(slot) = slot_in(id)
            && let Some(known) = self.cluster.find_key(slot, key).await?
        {
            let file: File = known.outcome_of(key)?;
            self.after_change(None, Some(file.user_id)).await?;
            return Ok((known.shard, file));
        }
        for _ in 0..STATE_TRIES {
            let (slot, mark) = self.before_change(id, only).await?;
            let state = self.expected_state(slot, id, only, condition).await?;
            let call = UpdateFile { slot, id, only, patch, state: state.as_deref() };
            let seal = |file: &Option<File>| file.as_ref().and_then(|file| serde_json::to_string(file).ok());
            let (shard, made) = self.cluster.run(slot, &IdempotentCall { call: &call, slot, key, seal }).await?;
            let (shard, file) = match made {
                CallOutcome::Now(file) => (shard, file),
                CallOutcome::Before(known) => (known.shard, Some(known.outcome_of::<File>(key)?)),
            };
            self.after_change(mark, file.as_ref().map(|file| file.user_id)).await?;
            match file {
                Some(file) => return Ok((shard, file)),
                None if state.is_none() => return Err(FileError::NotFound(id)),
                None => {}
            }
        }
        Err(FileError::Changed(id))
    }

    /// Deletes a file, with `only` one of this user alone; gives where it was.
    ///
    /// # Errors
    /// `NotFound`, `Changed` if the condition does not hold, or the shard's error; after `Timeout` and `Unavailable` it may be
    /// deleted all the same.
    pub async fn delete(&self, id: Uuid, only: Option<UserId>, condition: FileCondition) -> Result<ShardId, FileError> {
        let _turn = self.wait_for_turn(id).await?;
        for _ in 0..STATE_TRIES {
            let (slot, mark) = self.before_change(id, only).await?;
            let state = self.expected_state(slot, id, only, condition).await?;
            let (shard, owner) =
                self.cluster.run(slot, &DeleteFile { slot, id, only, state: state.as_deref() }).await?;
            self.after_change(mark, owner).await?;
            match owner {
                Some(_) => return Ok(shard),
                None if state.is_none() => return Err(FileError::NotFound(id)),
                None => {}
            }
        }
        Err(FileError::Changed(id))
    }

    /// Waits until earlier changes of the file are done. Each holds a connection, and many changes of one file must leave
    /// connections to the other files of the shard.
    async fn wait_for_turn(&self, id: Uuid) -> Result<RowTurn<'_, Uuid>, FileError> {
        let limit = self.cluster.limits().call_timeout;
        self.changes.wait_for_turn(id, limit).await.ok_or(FileError::Contended(id))
    }

    /// The slot of a file that is to be changed. While a cache is in use somewhere, its page is marked as well, for
    /// which the file is looked up: its id alone does not tell whose it is.
    async fn before_change(&self, id: Uuid, only: Option<UserId>) -> Result<(Slot, Option<PendingWrite>), FileError> {
        if let Some(slot) = slot_in(id).filter(|_| !self.cache.is_in_use()) {
            return Ok((slot, None));
        }
        let (_, file) = self.find(id, only).await?;
        let Some(user) = UserId::new(file.user_id) else { return Err(FileError::NotFound(id)) };
        let mark = self.cache.before_write(spoiled_keys(user).into()).await;
        Ok((user.slot(), Some(mark)))
    }

    /// After the database's answer: whose file was changed, if there was one.
    async fn after_change(&self, mark: Option<PendingWrite>, user: Option<i64>) -> Result<(), ShardError> {
        match (mark, user.and_then(UserId::new)) {
            (Some(mark), Some(_)) => mark.settle().await,
            (None, Some(user)) => self.cache.mark(spoiled_keys(user).into()).settle().await,
            (Some(mark), None) => {
                mark.release();
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }

    async fn search(&self, slot: Slot, id: Uuid) -> Result<(ShardId, Option<File>), ShardError> {
        self.cluster.run(slot, &FindById { slot, id }).await
    }

    /// Asks every shard. "Not found" needs the answer of each, and that together they spoke of every slot: while
    /// a slot changes hands there is a moment in which nobody would answer for it.
    async fn search_everywhere(&self, id: Uuid) -> Result<(ShardId, File), FileError> {
        let limits = self.cluster.limits();
        let until = Instant::now() + limits.move_timeout;
        loop {
            let gathered = self.cluster.scatter(&SearchById(id), limits.call_timeout).await;
            let (mut covered, mut failure) = (Vec::new(), None);
            for (shard, answer) in gathered.answers {
                match answer {
                    Ok(Some(searched)) => {
                        if let Some(file) = searched.file {
                            return Ok((shard, file));
                        }
                        covered.push(searched.coverage);
                    }
                    Ok(None) => {}
                    Err(error) => failure = Some(error),
                }
            }
            if let Some(error) = failure {
                return Err(error.into());
            }
            if SlotCoverage::is_every_slot_once(covered) {
                return Err(FileError::NotFound(id));
            }
            if Instant::now() >= until {
                return Err(ShardError::Moving.into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The answer to a request that was answered before: the file as it was stored then.
fn ingested_before(mut file: NewFile, known: &StoredOutcome, key: &RequestKey) -> Result<IngestedFile, ShardError> {
    let KeptInsert { file_id, created_at } = known.outcome_of(key)?;
    file.id = file_id;
    let at = time_of_micros(known.shard, created_at)?;
    Ok(IngestedFile { file: file.stored(at), shard: known.shard, duplicate: false })
}

/// A page of what was found, which is one file more than it holds if there are more.
fn cut(mut files: Vec<File>, size: FilePageSize) -> FilePage {
    let more = files.len() > size.get();
    files.truncate(size.get());
    let next = files.last().filter(|_| more).map(|last| FileCursor::after(last.file_id));
    FilePage { files, next }
}

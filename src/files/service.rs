//! What can be done with files: the rules above the statements.

use std::sync::Arc;

use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::store::{Delete, FindById, ListByUser, SearchById, Update};
use super::writer::{Writer, Written};
use super::{Cursor, File, FilePatch, NewFile, Page, PageSize, UserId};
use crate::shard::{Cluster, Coverage, Gather, IdClock, ShardError, ShardId, Slot, WriterLimits, slot_in};

/// Larger pages are read alone: they would hold up the small ones of their batch.
const SMALL_PAGE: usize = 100;

/// Why a file was not stored, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is no such file.
    #[error("there is no file {0}")]
    NotFound(Uuid),
    /// Another user has stored a file under this id.
    #[error("the id {0} belongs to another user's file")]
    IdTaken(Uuid),
    /// The shard did not do it.
    #[error(transparent)]
    Shard(#[from] ShardError),
}

/// A file that was stored, now or before.
#[derive(Clone, Debug)]
pub struct Ingested {
    /// The file as it is stored.
    pub file: File,
    /// Where it is stored.
    pub shard: ShardId,
    /// True if it was stored by an earlier request; this one changed nothing.
    pub duplicate: bool,
}

/// The files of all users.
pub struct Files {
    cluster: Arc<Cluster>,
    writer: Writer,
    pages: Gather<ListByUser>,
    finds: Gather<FindById>,
    ids: IdClock,
}

impl Files {
    /// Starts the writers and readers. They end when the cluster shuts down.
    #[must_use]
    pub fn start(cluster: Arc<Cluster>, limits: WriterLimits) -> Self {
        let writer = Writer::start(Arc::clone(&cluster), limits);
        let (pages, finds) = (Gather::start(Arc::clone(&cluster)), Gather::start(Arc::clone(&cluster)));
        Self { cluster, writer, pages, finds, ids: IdClock::default() }
    }

    /// The maker of ids.
    #[must_use]
    pub fn ids(&self) -> &IdClock {
        &self.ids
    }

    /// The shards below.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Stores a file once. Returns after the shard's commit.
    ///
    /// # Errors
    /// `IdTaken`, or the shard's error; after `Timeout` and `Unavailable` it may be stored all the same.
    pub async fn ingest(&self, mut new: NewFile) -> Result<Ingested, FileError> {
        loop {
            let (shard, mut file, written) = self.writer.write(new).await?;
            if let Written::Inserted(at) = written {
                return Ok(Ingested { file: file.stored(at), shard, duplicate: false });
            }
            let (shard, stored) = self.search(file.user.slot(), file.id).await?;
            // A minted id is there already if its first try lost the connection after the commit.
            if let Some(stored) = stored.filter(|stored| stored.user_id == file.user.get()) {
                return Ok(Ingested { file: stored, shard, duplicate: !file.minted });
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
        size: PageSize,
        after: Option<Cursor>,
    ) -> Result<(ShardId, Page), ShardError> {
        let from = match after {
            None => Uuid::max(),
            Some(cursor) => match cursor.next_id() {
                Some(id) => id,
                None => return Ok((self.cluster.owner(user.slot())?.id(), Page { files: Vec::new(), next: None })),
            },
        };
        // One more than the page holds, if there are more.
        let page = ListByUser { user, from, size };
        let (shard, mut files) = match size.get() {
            ..=SMALL_PAGE => self.pages.read(page).await?,
            _ => self.cluster.run(user.slot(), &page).await?,
        };
        let more = files.len() > size.get();
        files.truncate(size.get());
        let next = files.last().filter(|_| more).map(|last| Cursor::after(last.file_id));
        Ok((shard, Page { files, next }))
    }

    /// A file by its id.
    ///
    /// # Errors
    /// `NotFound`; for an id that was not made here only after every shard has answered.
    pub async fn find(&self, id: Uuid) -> Result<(ShardId, File), FileError> {
        if let Some(slot) = slot_in(id) {
            let (shard, file) = self.finds.read(FindById { slot, id }).await?;
            return file.map(|file| (shard, file)).ok_or(FileError::NotFound(id));
        }
        self.search_everywhere(id).await
    }

    /// Changes a file. Doing it twice does the same as doing it once.
    ///
    /// # Errors
    /// `NotFound`, or the shard's error.
    pub async fn update(&self, id: Uuid, patch: &FilePatch) -> Result<(ShardId, File), FileError> {
        let slot = self.slot_of(id).await?;
        let (shard, file) = self.cluster.run(slot, &Update { slot, id, patch }).await?;
        file.map(|file| (shard, file)).ok_or(FileError::NotFound(id))
    }

    /// Deletes a file; gives where it was.
    ///
    /// # Errors
    /// `NotFound`, or the shard's error; after `Timeout` and `Unavailable` it may be deleted all the same.
    pub async fn delete(&self, id: Uuid) -> Result<ShardId, FileError> {
        let slot = self.slot_of(id).await?;
        let (shard, deleted) = self.cluster.run(slot, &Delete { slot, id }).await?;
        if deleted { Ok(shard) } else { Err(FileError::NotFound(id)) }
    }

    async fn search(&self, slot: Slot, id: Uuid) -> Result<(ShardId, Option<File>), ShardError> {
        self.cluster.run(slot, &FindById { slot, id }).await
    }

    async fn slot_of(&self, id: Uuid) -> Result<Slot, FileError> {
        match slot_in(id) {
            Some(slot) => Ok(slot),
            None => self.search_everywhere(id).await.map(|(_, file)| Slot::of_user(file.user_id)),
        }
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
            if Coverage::is_every_slot_once(covered) {
                return Err(FileError::NotFound(id));
            }
            if Instant::now() >= until {
                return Err(ShardError::Moving.into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

//! The folders of a load: those around the files of a batch, and those that a listing names itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use sqlx::postgres::{PgBindIterExt, PgConnection};
use uuid::Uuid;

use super::parse::RecordPosition;
use crate::cache::CacheKey;
use crate::files::model::{NewFile, UserId};
use crate::files::page::spoiled_keys;
use crate::files::path::DrivePath;
use crate::shard::{ShardId, WorkKind};
use crate::writes::SlotWrite;

/// The folder around each file of a batch; `None` for a file in no folder.
pub(super) type BatchFolders = Vec<Option<Uuid>>;

/// Folders that a load remembers on a shard: some ten megabytes for a load of any length.
const REMEMBERED_FOLDERS: usize = 65_536;

/// A folder as a shard has found or made it, and the version of the drive's tree then.
#[derive(Clone, Copy)]
struct PlacedFolder {
    id: Uuid,
    tree_version: i64,
}

/// The folders that a load has met on a shard. The shard checks each one again, which takes a tenth of the time of a walk from the root.
#[derive(Default)]
pub(super) struct KnownFolders(Mutex<HashMap<i64, HashMap<Box<str>, PlacedFolder>>>);

impl KnownFolders {
    fn find<'a>(&self, folders: impl Iterator<Item = (i64, &'a str)>) -> Vec<Option<PlacedFolder>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        folders.map(|(user, path)| known.get(&user)?.get(path).copied()).collect()
    }

    fn remember<'a>(&self, folders: impl Iterator<Item = ((i64, &'a str), PlacedFolder)>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count: usize = known.values().map(HashMap::len).sum();
        for ((user, path), folder) in folders {
            if count >= REMEMBERED_FOLDERS {
                known.clear();
                count = 0;
            }
            count += usize::from(known.entry(user).or_default().insert(path.into(), folder).is_none());
        }
    }
}

/// Finds the folder around each file, and makes the missing folders by one statement. The statement commits by itself: a batch that
/// makes no folder waits for no other load of its drive.
pub(super) async fn place_files<'a>(
    connection: &mut PgConnection,
    known: &KnownFolders,
    files: impl Iterator<Item = &'a NewFile> + Clone,
) -> Result<BatchFolders, sqlx::Error> {
    // In order, as the statement asks.
    let mut folders: BTreeMap<(i64, &str), Option<Uuid>> = BTreeMap::new();
    for file in files.clone() {
        if let Some(path) = file.folder_path() {
            folders.insert((file.user.get(), path), None);
        }
    }
    if folders.is_empty() {
        return Ok(files.map(|_| None).collect());
    }
    let before = known.find(folders.keys().copied());
    let placed: Vec<(Uuid, i64)> = sqlx::query_as(include_str!("../../../sql/files/place_batch.sql"))
        .bind(folders.keys().map(|(user, _)| *user).bind_iter())
        .bind(folders.keys().map(|(_, path)| *path).bind_iter())
        .bind(before.iter().map(|folder| folder.map(|folder| folder.id)).bind_iter())
        .bind(before.iter().map(|folder| folder.map(|folder| folder.tree_version)).bind_iter())
        .fetch_all(connection)
        .await?;
    for (folder, (id, _)) in folders.values_mut().zip(&placed) {
        *folder = Some(*id);
    }
    let placed = placed.into_iter().map(|(id, tree_version)| PlacedFolder { id, tree_version });
    known.remember(folders.keys().copied().zip(placed));
    let folder_of = |file: &NewFile| folders.get(&(file.user.get(), file.folder_path()?)).copied().flatten();
    Ok(files.map(folder_of).collect())
}

/// Whether a file would have the name of a folder beside it, so that the batch needs the statement that says which.
pub(super) async fn has_folder_names<'a>(
    connection: &mut PgConnection,
    files: impl Iterator<Item = &'a NewFile> + Clone,
    folders: &BatchFolders,
) -> Result<bool, sqlx::Error> {
    if folders.iter().all(Option::is_none) {
        return Ok(false);
    }
    sqlx::query_scalar(include_str!("../../../sql/files/has_folder_names.sql"))
        .bind(files.clone().map(|file| file.user.get()).bind_iter())
        .bind(folders.iter().copied().bind_iter())
        .bind(files.map(|file| &*file.name).bind_iter())
        .fetch_one(connection)
        .await
}

/// A folder of a listing, and where its record stands.
pub(super) struct FolderRow {
    pub(super) place: RecordPosition,
    pub(super) user: UserId,
    pub(super) path: DrivePath,
}

/// Makes folders of a listing, each once. They are all of one user.
pub(super) struct MakeFolders<'a>(pub(super) &'a [FolderRow]);

impl SlotWrite for MakeFolders<'_> {
    type Output = ();

    fn cache_keys(&self) -> Vec<CacheKey> {
        self.0.first().map_or_else(Vec::new, |row| spoiled_keys(row.user).into())
    }

    async fn apply(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<()>, sqlx::Error> {
        let Some(user) = self.0.first().map(|row| row.user) else { return Ok(Some(())) };
        let counted: Option<i64> = sqlx::query_scalar(include_str!("../../../sql/files/make_folders.sql"))
            .bind(user.get())
            .bind(self.0.iter().map(|row| row.path.to_string()).bind_iter())
            .bind(user.slot().to_sql())
            .bind(shard.to_sql())
            .fetch_optional(connection)
            .await?;
        Ok(counted.map(|_| ()))
    }

    fn has_changed((): &()) -> bool {
        true
    }

    fn work_kind(&self) -> WorkKind {
        WorkKind::Load
    }
}

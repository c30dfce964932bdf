//! The folders around new files: found, and made where they are missing, before the files are stored.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use sqlx::postgres::{PgBindIterExt, PgConnection};
use uuid::Uuid;

use super::model::{NewFile, UserId};

/// The folder around each file of a batch; `None` for a file in no folder.
pub(super) type BatchFolders = Vec<Option<Uuid>>;

/// Folders that a load remembers on a shard: some ten megabytes for a load of any length.
const REMEMBERED_FOLDERS: usize = 65_536;
/// The most users whose folders one statement makes: it locks the drive of each, and the server's lock table is
/// bounded.
const MOST_USERS: usize = 256;

/// A folder as a shard has found or made it, and the version of the drive's tree then.
#[derive(Clone, Copy)]
struct PlacedFolder {
    id: Uuid,
    tree_version: i64,
}

/// The folders that a load has met on a shard. The shard checks each one again, which takes half of the time of a walk
/// from the root (docs/decisions/0007-bulk-loads.md).
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

/// Parts of the paths, which are in order, with so many users at most.
fn by_users<'a, 'b>(paths: &'b [(i64, &'a str)]) -> impl Iterator<Item = &'b [(i64, &'a str)]> {
    let mut ends: Vec<usize> = Vec::new();
    let mut end = 0;
    for (number, of_user) in paths.chunk_by(|a, b| a.0 == b.0).enumerate() {
        if number > 0 && number % MOST_USERS == 0 {
            ends.push(end);
        }
        end += of_user.len();
    }
    ends.push(end);
    let mut begin = 0;
    ends.into_iter().map(move |end| {
        let part = paths.get(begin..end).unwrap_or_default();
        begin = end;
        part
    })
}

/// The folders at these paths, which are in the order of their users.
async fn place_paths(
    connection: &mut PgConnection,
    known: &KnownFolders,
    is_held: bool,
    paths: &[(i64, &str)],
) -> Result<Vec<Uuid>, sqlx::Error> {
    let before = known.find(paths.iter().copied());
    let placed: Vec<(Uuid, i64)> = sqlx::query_as(include_str!("../../sql/files/place_batch.sql"))
        .bind(paths.iter().map(|(user, _)| *user).bind_iter())
        .bind(paths.iter().map(|(_, path)| *path).bind_iter())
        .bind(before.iter().map(|folder| folder.map(|folder| folder.id)).bind_iter())
        .bind(before.iter().map(|folder| folder.map(|folder| folder.tree_version)).bind_iter())
        .bind(is_held)
        .fetch_all(connection)
        .await?;
    let folders = placed.iter().map(|(id, tree_version)| PlacedFolder { id: *id, tree_version: *tree_version });
    known.remember(paths.iter().copied().zip(folders));
    Ok(placed.into_iter().map(|(id, _)| id).collect())
}

/// Keeps the folders of these users' drives as they are until the end of the transaction: others put no entry there.
pub(crate) async fn hold_drives(
    connection: &mut PgConnection,
    users: impl IntoIterator<Item = UserId>,
) -> Result<(), sqlx::Error> {
    let slots: BTreeSet<i32> = users.into_iter().map(|user| user.slot().to_sql()).collect();
    let slots: Vec<i32> = slots.into_iter().collect();
    sqlx::query(include_str!("../../sql/files/hold_drives.sql")).bind(slots).execute(connection).await?;
    Ok(())
}

/// Finds the folder around each file, and makes the missing folders, by a statement for each 256 users. Each statement
/// commits by itself: a batch that makes no folder waits for no other load of its drive. `is_held`: within a
/// transaction after [`hold_drives`].
pub(super) async fn place_files<'a>(
    connection: &mut PgConnection,
    known: &KnownFolders,
    is_held: bool,
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
    let paths: Vec<(i64, &str)> = folders.keys().copied().collect();
    let mut places = folders.values_mut();
    for paths in by_users(&paths) {
        // The folders first: what ends a zip takes no place with it.
        for (folder, place) in place_paths(connection, known, is_held, paths).await?.into_iter().zip(places.by_ref()) {
            *place = Some(folder);
        }
    }
    let folder_of = |file: &NewFile| folders.get(&(file.user.get(), file.folder_path()?)).copied().flatten();
    Ok(files.map(folder_of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_all_paths_and_few_users() {
        for users in [0, 1, 255, 256, 257, 600] {
            let paths: Vec<(i64, &str)> = (0..users).flat_map(|user| [(user, "a"), (user, "b")]).collect();
            let parts: Vec<_> = by_users(&paths).collect();
            assert_eq!(parts.concat(), paths);
            assert!(parts.iter().all(|part| part.len() <= 2 * MOST_USERS), "{users}");
        }
    }
}

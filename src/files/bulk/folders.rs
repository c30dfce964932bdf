//! The folders of a batch: made, where they are missing, by one statement before the rows.

use std::collections::BTreeMap;

use sqlx::postgres::{PgBindIterExt, PgConnection};
use uuid::Uuid;

use crate::files::model::NewFile;

/// The folder around each file; `None` for a file in no folder. The outer `None`: a file would have the name of a folder beside
/// it, and the batch needs the statement that says which.
pub(super) async fn place_files<'a>(
    connection: &mut PgConnection,
    files: impl Iterator<Item = &'a NewFile> + Clone,
) -> Result<Option<Vec<Option<Uuid>>>, sqlx::Error> {
    // In order, as the statement asks.
    let mut folders: BTreeMap<(i64, &str), Option<Uuid>> = BTreeMap::new();
    for file in files.clone() {
        if let Some(path) = file.folder_path() {
            folders.insert((file.user.get(), path), None);
        }
    }
    if folders.is_empty() {
        return Ok(Some(files.map(|_| None).collect()));
    }
    let made: Vec<Uuid> = sqlx::query_scalar(include_str!("../../../sql/files/place_batch.sql"))
        .bind(folders.keys().map(|(user, _)| *user).bind_iter())
        .bind(folders.keys().map(|(_, path)| *path).bind_iter())
        .fetch_all(&mut *connection)
        .await?;
    for (id, made) in folders.values_mut().zip(made) {
        *id = Some(made);
    }
    let folder_of = |file: &NewFile| folders.get(&(file.user.get(), file.folder_path()?)).copied().flatten();
    let placed: Vec<Option<Uuid>> = files.clone().map(folder_of).collect();
    let is_shadowed: bool = sqlx::query_scalar(include_str!("../../../sql/files/has_folder_names.sql"))
        .bind(files.clone().map(|file| file.user.get()).bind_iter())
        .bind(placed.iter().copied().bind_iter())
        .bind(files.map(|file| &*file.name).bind_iter())
        .fetch_one(connection)
        .await?;
    Ok((!is_shadowed).then_some(placed))
}

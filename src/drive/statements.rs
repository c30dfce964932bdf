//! The statements of a change, each within the transaction of the change.

use sqlx::Row as _;
use sqlx::postgres::{PgBindIterExt, PgConnection, PgRow};
use uuid::Uuid;

use super::model::{Folder, user_text};
use crate::files::{FileContent, UserId};
use crate::shard::{ShardId, optional_time};

/// How often a change is begun: a second time if another request made the root of the drive in this moment.
const ENTER_TRIES: u32 = 3;

/// Begins a change. False: the shard does not own the slot.
pub(super) async fn enter(
    connection: &mut PgConnection,
    shard: ShardId,
    user: UserId,
    is_exclusive: bool,
) -> Result<bool, sqlx::Error> {
    for _ in 0..ENTER_TRIES {
        let (is_owned, has_begun): (bool, bool) = sqlx::query_as(include_str!("../../sql/drive/enter.sql"))
            .bind(user.slot().to_sql())
            .bind(shard.to_sql())
            .bind(user.get())
            .bind(is_exclusive)
            .fetch_one(&mut *connection)
            .await?;
        if !is_owned || has_begun {
            return Ok(is_owned);
        }
    }
    Err(sqlx::Error::RowNotFound) // never: a root that was made stays
}

/// A folder by its id. The outer `None`: the shard does not own the slot.
pub(super) async fn find_folder(
    connection: &mut PgConnection,
    shard: ShardId,
    user: UserId,
    id: Uuid,
) -> Result<Option<Option<Folder>>, sqlx::Error> {
    let row = sqlx::query(include_str!("../../sql/drive/find_folder.sql"))
        .bind(user.slot().to_sql())
        .bind(shard.to_sql())
        .bind(user.get())
        .bind(id)
        .fetch_optional(connection)
        .await?;
    row.map(|row| folder_in(&row)).transpose()
}

fn folder_in(row: &PgRow) -> Result<Option<Folder>, sqlx::Error> {
    let Some(folder_id) = row.try_get(0)? else { return Ok(None) };
    let user_id = row.try_get(8)?;
    let path: Option<String> = row.try_get(3)?;
    Ok(Some(Folder {
        folder_id,
        user_id,
        user_id_text: user_text(user_id),
        parent_id: row.try_get(1)?,
        folder_name: row.try_get(2)?,
        path: path.unwrap_or_default().trim_end_matches('/').to_owned(),
        trashed: row.try_get(4)?,
        version: row.try_get(5)?,
        created_at: optional_time(row, 6)?,
        updated_at: optional_time(row, 7)?,
    }))
}

/// Makes a folder. False: the name is taken, or there is no such parent.
pub(super) async fn create_folder(
    connection: &mut PgConnection,
    user: UserId,
    id: Uuid,
    parent: Uuid,
    name: &str,
) -> Result<bool, sqlx::Error> {
    let made = sqlx::query(include_str!("../../sql/drive/create_folder.sql"))
        .bind(user.get())
        .bind(id)
        .bind(parent)
        .bind(name)
        .execute(connection)
        .await?;
    Ok(made.rows_affected() == 1)
}

/// The folder under these names, with every folder on the way that is missing. `is_alone`: the transaction holds the
/// drive alone.
pub(super) async fn make_folders(
    connection: &mut PgConnection,
    user: UserId,
    names: &[String],
    is_alone: bool,
) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar(include_str!("../../sql/drive/make_folders.sql"))
        .bind(user.get())
        .bind(names.join("/"))
        .bind(is_alone)
        .fetch_one(connection)
        .await
}

/// The first of these names that no entry of a folder has.
pub(super) async fn find_free_name(
    connection: &mut PgConnection,
    user: UserId,
    folder: Uuid,
    names: &[String],
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(include_str!("../../sql/drive/find_free_name.sql"))
        .bind(user.get())
        .bind(folder)
        .bind(names)
        .fetch_optional(connection)
        .await
}

/// The entry of a folder that has a name.
pub(super) async fn find_name(
    connection: &mut PgConnection,
    user: UserId,
    folder: Uuid,
    name: &str,
) -> Result<Option<(Uuid, bool)>, sqlx::Error> {
    sqlx::query_as(include_str!("../../sql/drive/find_name.sql"))
        .bind(user.get())
        .bind(folder)
        .bind(name)
        .fetch_optional(connection)
        .await
}

/// True if a folder is another folder or stands below it.
pub(super) async fn is_within(
    connection: &mut PgConnection,
    user: UserId,
    folder: Uuid,
    other: Uuid,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(include_str!("../../sql/drive/is_within.sql"))
        .bind(user.get())
        .bind(folder)
        .bind(other)
        .fetch_one(connection)
        .await
}

/// Gives a folder another parent and another name, and takes it out of the trash with `restores`. False: a purge has
/// begun with it.
pub(super) async fn move_folder(
    connection: &mut PgConnection,
    user: UserId,
    id: Uuid,
    parent: Uuid,
    name: &str,
    restores: bool,
) -> Result<bool, sqlx::Error> {
    let statement = if restores {
        include_str!("../../sql/drive/restore_folder.sql")
    } else {
        include_str!("../../sql/drive/move_folder.sql")
    };
    let done = sqlx::query(statement).bind(user.get()).bind(id).bind(parent).bind(name).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}

/// Puts a file into the trash. False: there is no such file, or it is in the trash already.
pub(super) async fn trash_file(connection: &mut PgConnection, user: UserId, id: Uuid) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(include_str!("../../sql/drive/trash_file.sql"))
        .bind(user.get())
        .bind(id)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Where a file stands.
#[derive(sqlx::FromRow)]
pub(super) struct StoredPlace {
    /// The folder around the file; `None`: the file is in no folder.
    pub(super) folder: Option<Uuid>,
    /// The file's name.
    pub(super) name: String,
    /// True if the file was put into the trash itself.
    pub(super) is_trashed: bool,
}

/// Where a file stands, also in the trash.
pub(super) async fn find_file(
    connection: &mut PgConnection,
    user: UserId,
    id: Uuid,
) -> Result<Option<StoredPlace>, sqlx::Error> {
    sqlx::query_as(include_str!("../../sql/drive/find_file.sql"))
        .bind(user.get())
        .bind(id)
        .fetch_optional(connection)
        .await
}

/// Keeps the row of a file as it is until the end of the transaction.
pub(super) async fn lock_file(connection: &mut PgConnection, user: UserId, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("../../sql/drive/lock_file.sql")).bind(user.get()).bind(id).execute(connection).await?;
    Ok(())
}

/// A file that is to be stored.
pub(super) struct FileToPlace<'a> {
    pub(super) id: Uuid,
    pub(super) name: &'a str,
    pub(super) content: &'a FileContent,
}

/// Stores files in a folder by one statement, each unless an entry of the folder has its name. Returns the ids of the
/// stored files.
pub(super) async fn insert_files(
    connection: &mut PgConnection,
    user: UserId,
    folder: Uuid,
    files: &[FileToPlace<'_>],
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(include_str!("../../sql/drive/insert_files.sql"))
        .bind(user.get())
        .bind(folder)
        .bind(files.iter().map(|file| file.id).bind_iter())
        .bind(files.iter().map(|file| file.name).bind_iter())
        .bind(files.iter().map(|file| file.content.mime_type.as_deref()).bind_iter())
        .bind(files.iter().map(|file| file.content.checksum.as_deref()).bind_iter())
        .bind(files.iter().map(|file| file.content.size_bytes).bind_iter())
        .bind(files.iter().map(|file| file.content.modified_at).bind_iter())
        .bind(files.iter().map(|file| file.content.content_ref.as_deref()).bind_iter())
        .fetch_all(connection)
        .await
}

/// Gives a file another content.
pub(super) async fn replace_file(
    connection: &mut PgConnection,
    user: UserId,
    id: Uuid,
    content: &FileContent,
) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("../../sql/drive/replace_file.sql"))
        .bind(user.get())
        .bind(id)
        .bind(content.mime_type.as_deref())
        .bind(content.checksum.as_deref())
        .bind(content.size_bytes)
        .bind(content.modified_at)
        .bind(content.content_ref.as_deref())
        .execute(connection)
        .await?;
    Ok(())
}

/// Gives a file another folder and another name, and takes it out of the trash with `restores`.
pub(super) async fn move_file(
    connection: &mut PgConnection,
    user: UserId,
    id: Uuid,
    folder: Option<Uuid>,
    name: &str,
    restores: bool,
) -> Result<(), sqlx::Error> {
    let statement = if restores {
        include_str!("../../sql/drive/restore_file.sql")
    } else {
        include_str!("../../sql/drive/move_file.sql")
    };
    sqlx::query(statement).bind(user.get()).bind(id).bind(folder).bind(name).execute(connection).await?;
    Ok(())
}

/// Puts a folder into the trash.
pub(super) async fn trash_folder(connection: &mut PgConnection, user: UserId, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("../../sql/drive/trash_folder.sql")).bind(user.get()).bind(id).execute(connection).await?;
    Ok(())
}

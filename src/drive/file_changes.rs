//! The operations on files in folders.

use std::collections::HashSet;

use uuid::Uuid;

use super::context::{ChangeContext, Failure};
use super::error::DriveError;
use super::model::DriveEntry;
use super::operation::{DriveOperation, EntryCondition, FolderTarget, NameConflict, OperationResult};
use super::statements::{
    FileToPlace, StoredPlace, find_file, find_free_name, find_name, insert_files, lock_file, move_file, replace_file,
    trash_file,
};
use crate::files::{DrivePath, File, FileContent, find_file_state};
use crate::payload::FieldFault;

/// The highest number that a file gets whose name is taken.
const MAX_NUMBER: u32 = 100;
/// How often a file is put to a path at which others put files in this moment.
const PUT_TRIES: u32 = 3;

impl ChangeContext<'_> {
    pub(super) async fn put_file(
        &mut self,
        path: &DrivePath,
        makes_folders: bool,
        content: &FileContent,
        conflict: NameConflict,
        condition: &EntryCondition,
    ) -> Result<OperationResult, Failure> {
        for _ in 1..PUT_TRIES {
            match self.try_put(path, makes_folders, content, conflict, condition).await {
                // Another request has stored a file there since the look: the next look finds it.
                Err(Failure::Refused(DriveError::NameTaken(_))) if conflict == NameConflict::Replace => {}
                done => return done,
            }
        }
        self.try_put(path, makes_folders, content, conflict, condition).await
    }

    async fn try_put(
        &mut self,
        path: &DrivePath,
        makes_folders: bool,
        content: &FileContent,
        conflict: NameConflict,
        condition: &EntryCondition,
    ) -> Result<OperationResult, Failure> {
        let names = path.names();
        let Some((folders, name)) = path.split_last() else { return Err(DriveError::RootFixed.into()) };
        let resolved = self.resolve(names).await?;
        if resolved.depth == names.len() {
            return Err(DriveError::NameTaken(Some(resolved.folder)).into());
        }
        let (folder, file) = if resolved.depth == folders.len() && resolved.file.is_some() {
            (resolved.folder, resolved.file)
        } else {
            (self.folder_of(folders, resolved.of_folders(folders.len()), makes_folders).await?, None)
        };
        self.last_folder = Some((folders.to_vec(), folder));
        match file {
            None => {
                condition.require_unknown(path)?;
                self.insert_file(folder, name, content, conflict).await
            }
            Some(File { file_id: id, .. }) => {
                condition.require_known(path)?;
                match conflict {
                    NameConflict::Fail => Err(DriveError::NameTaken(Some(id)).into()),
                    NameConflict::Rename => self.insert_file(folder, name, content, conflict).await,
                    NameConflict::Replace => {
                        self.require_file_state(id, condition).await?;
                        replace_file(self.connection, self.user, id, content).await?;
                        Ok(OperationResult::changed(DriveEntry::File(id)))
                    }
                }
            }
        }
    }

    /// Stores the first files of `operations` that belong into the folder of the last file, by one statement. One entry
    /// for each of them; `None`: an entry of the folder has the name, and the operation is still to be done.
    pub(super) async fn put_beside_last(
        &mut self,
        operations: &[DriveOperation],
    ) -> Result<Vec<Option<OperationResult>>, Failure> {
        let Some((folders, folder)) = &self.last_folder else { return Ok(Vec::new()) };
        let files: Vec<FileToPlace<'_>> = operations
            .iter()
            .map_while(|operation| file_beside(folders, operation))
            .map(|(name, content)| FileToPlace { id: self.ids.mint(self.user.slot()), name, content })
            .collect();
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let stored: HashSet<Uuid> =
            insert_files(self.connection, self.user, *folder, &files).await?.into_iter().collect();
        let result =
            |file: &FileToPlace<'_>| stored.contains(&file.id).then(|| OperationResult::new(DriveEntry::File(file.id)));
        Ok(files.iter().map(result).collect())
    }

    async fn insert_file(
        &mut self,
        folder: Uuid,
        name: &str,
        content: &FileContent,
        conflict: NameConflict,
    ) -> Result<OperationResult, Failure> {
        let id = self.ids.mint(self.user.slot());
        if self.try_insert(id, folder, name, content).await? {
            return Ok(OperationResult::new(DriveEntry::File(id)));
        }
        if conflict == NameConflict::Rename {
            let names: Vec<String> = (2..=MAX_NUMBER).filter_map(|number| numbered_name(name, number)).collect();
            if names.is_empty() {
                let reason = "is taken, and with a number behind it would have more than 1,024 bytes";
                return Err(DriveError::Field(FieldFault::new("file_name", reason)).into());
            }
            // Each time another request was quicker, a number less is free.
            for _ in &names {
                let Some(free) = find_free_name(self.connection, self.user, folder, &names).await? else { break };
                if self.try_insert(id, folder, &free, content).await? {
                    return Ok(OperationResult::new(DriveEntry::File(id)));
                }
            }
        }
        let taken = find_name(self.connection, self.user, folder, name).await?;
        Err(DriveError::NameTaken(taken.map(|(id, _)| id)).into())
    }

    /// Stores a file; false: an entry of the folder has the name.
    async fn try_insert(
        &mut self,
        id: Uuid,
        folder: Uuid,
        name: &str,
        content: &FileContent,
    ) -> Result<bool, sqlx::Error> {
        let file = FileToPlace { id, name, content };
        Ok(!insert_files(self.connection, self.user, folder, &[file]).await?.is_empty())
    }

    pub(super) async fn move_file(
        &mut self,
        id: Uuid,
        parent: Option<&FolderTarget>,
        name: Option<&str>,
        condition: &EntryCondition,
    ) -> Result<(), Failure> {
        self.require_file_state(id, condition).await?;
        let place = self.find_place(id).await?;
        let folder = match parent {
            Some(target) => Some(self.find_target(target).await?),
            None => place.folder,
        };
        let name = name.unwrap_or(&place.name);
        self.require_free_name(id, folder, name).await?;
        Ok(move_file(self.connection, self.user, id, folder, name, false).await?)
    }

    pub(super) async fn trash_file(&mut self, id: Uuid, condition: &EntryCondition) -> Result<(), Failure> {
        self.require_file_state(id, condition).await?;
        if !trash_file(self.connection, self.user, id).await? {
            return Err(DriveError::FileNotFound(id).into());
        }
        Ok(())
    }

    /// Takes a file out of the trash, to where it was, or into another folder or under another name.
    pub(super) async fn restore_file(
        &mut self,
        id: Uuid,
        place: StoredPlace,
        parent: Option<&FolderTarget>,
        name: Option<&str>,
    ) -> Result<(), Failure> {
        if !place.is_trashed {
            return Err(DriveError::NotTrashed(id).into());
        }
        let folder = match (parent, place.folder) {
            (Some(target), _) => Some(self.find_target(target).await?),
            (None, Some(folder)) => Some(self.find_target(&FolderTarget::Id(folder)).await?),
            (None, None) => None,
        };
        let name = name.unwrap_or(&place.name);
        self.require_free_name(id, folder, name).await?;
        Ok(move_file(self.connection, self.user, id, folder, name, true).await?)
    }

    async fn find_place(&mut self, id: Uuid) -> Result<StoredPlace, Failure> {
        let place = find_file(self.connection, self.user, id).await?;
        Ok(place.ok_or(DriveError::FileNotFound(id))?)
    }

    async fn require_free_name(&mut self, id: Uuid, folder: Option<Uuid>, name: &str) -> Result<(), Failure> {
        let Some(folder) = folder else { return Ok(()) };
        match find_name(self.connection, self.user, folder, name).await? {
            Some((taken, _)) if taken != id => Err(DriveError::NameTaken(Some(taken)).into()),
            _ => Ok(()),
        }
    }

    /// Refuses a file in another state than the condition names. The row stays as it is until the end of the
    /// transaction.
    async fn require_file_state(&mut self, id: Uuid, condition: &EntryCondition) -> Result<(), Failure> {
        condition.require_known(id)?;
        let Some(tag) = condition.file_tag() else { return Ok(()) };
        lock_file(self.connection, self.user, id).await?;
        let found = find_file_state(self.connection, self.shard, self.user, id).await?.ok_or(Failure::NotOwner)?;
        let file = found.ok_or(DriveError::FileNotFound(id))?;
        if tag != Some(file.tag()) {
            return Err(DriveError::Changed(id.to_string()).into());
        }
        Ok(())
    }
}

/// The name and the content of a file that an operation puts into the folder with these names, unless the file must be
/// there already or may get another name.
fn file_beside<'a>(folders: &[String], operation: &'a DriveOperation) -> Option<(&'a str, &'a FileContent)> {
    let DriveOperation::PutFile { path, content, conflict, condition, .. } = operation else { return None };
    let (around, name) = path.split_last()?;
    let is_beside = around == folders && *conflict != NameConflict::Rename && condition.require_unknown(name).is_ok();
    is_beside.then_some((name, content))
}

/// A name with a number before the suffix: `a (2).txt`. `None`: the name would be too long.
fn numbered_name(name: &str, number: u32) -> Option<String> {
    let numbered = match name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()) {
        Some((stem, suffix)) => format!("{stem} ({number}).{suffix}"),
        None => format!("{name} ({number})"),
    };
    (numbered.len() <= DrivePath::MAX_NAME).then_some(numbered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_before_the_suffix() {
        for (name, second) in
            [("a.txt", "a (2).txt"), ("a", "a (2)"), (".profile", ".profile (2)"), ("a.tar.gz", "a.tar (2).gz")]
        {
            assert_eq!(numbered_name(name, 2).as_deref(), Some(second));
        }
        let long = "x".repeat(DrivePath::MAX_NAME - 4);
        assert_eq!(numbered_name(&long, 9), Some(format!("{long} (9)")));
        assert_eq!(numbered_name(&long, 10), None);
    }
}

//! The operations on a drive, as callers ask for them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::DriveError;
use super::model::{DriveEntry, Folder};
use crate::files::{DrivePath, FileContent, FileTag};

/// A folder that a request names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FolderTarget {
    /// By its id.
    Id(Uuid),
    /// By its path; with `true`, missing folders are made.
    Path(DrivePath, bool),
}

/// A folder or a file that a request names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EntryTarget {
    /// A folder by its id.
    Folder(Uuid),
    /// A folder or a file by its path.
    Path(DrivePath),
}

/// What happens to a file whose name another file of the folder has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NameConflict {
    /// The other file gets the new content.
    #[default]
    Replace,
    /// Nothing is done.
    Fail,
    /// The new file gets the next free name: `a (2).txt` after `a.txt`.
    Rename,
}

/// The state that an entry must be in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum EntryCondition {
    /// Any, also none.
    #[default]
    Any,
    /// There is no entry.
    Absent,
    /// There is an entry.
    Present,
    /// There is an entry with this `ETag`.
    Tag(String),
}

impl EntryCondition {
    /// # Errors
    /// `Changed` if an entry that is there must not be there.
    pub(super) fn require_known(&self, entry: impl std::fmt::Display) -> Result<(), DriveError> {
        if *self == Self::Absent { Err(DriveError::Changed(entry.to_string())) } else { Ok(()) }
    }

    /// # Errors
    /// `Changed` if an entry that is missing must be there.
    pub(super) fn require_unknown(&self, entry: impl std::fmt::Display) -> Result<(), DriveError> {
        match self {
            Self::Any | Self::Absent => Ok(()),
            Self::Present | Self::Tag(_) => Err(DriveError::Changed(entry.to_string())),
        }
    }

    /// # Errors
    /// `Changed` if a folder that is there has another tag.
    pub(super) fn require_folder(&self, folder: &Folder) -> Result<(), DriveError> {
        self.require_known(folder.folder_id)?;
        match self {
            Self::Tag(tag) if *tag != folder.tag() => Err(DriveError::Changed(folder.folder_id.to_string())),
            _ => Ok(()),
        }
    }

    /// The tag that a file must have, if the condition names one. The inner `None`: no file can have the tag.
    pub(super) fn file_tag(&self) -> Option<Option<FileTag>> {
        match self {
            Self::Tag(tag) => Some(FileTag::parse(tag)),
            _ => None,
        }
    }
}

/// A change of a drive.
#[derive(Clone, PartialEq, Debug)]
pub enum DriveOperation {
    /// Makes a folder.
    CreateFolder {
        /// The folder around the new folder.
        parent: FolderTarget,
        /// The name of the new folder.
        name: String,
    },
    /// Stores a file at a path.
    PutFile {
        /// The path.
        path: DrivePath,
        /// True if missing folders on the way are made.
        makes_folders: bool,
        /// What is known of the file's content.
        content: FileContent,
        /// What happens if a file has the path.
        conflict: NameConflict,
        /// The state that the file at the path must be in.
        condition: EntryCondition,
    },
    /// Renames an entry, moves it, or both.
    Move {
        /// The entry.
        entry: EntryTarget,
        /// The folder around the entry from now on; `None`: as before.
        parent: Option<FolderTarget>,
        /// The name from now on; `None`: as before.
        name: Option<String>,
        /// The state that the entry must be in.
        condition: EntryCondition,
    },
    /// Puts an entry into the trash, a folder with all that is below it.
    Trash {
        /// The entry.
        entry: EntryTarget,
        /// The state that the entry must be in.
        condition: EntryCondition,
    },
    /// Takes a folder or a file out of the trash.
    Restore {
        /// The folder or file.
        id: Uuid,
        /// The folder around it from now on; `None`: as before.
        parent: Option<FolderTarget>,
        /// The name from now on; `None`: as before.
        name: Option<String>,
    },
}

impl DriveOperation {
    /// True if paths change, so that the operation waits for others of its kind.
    pub(super) fn changes_paths(&self) -> bool {
        !matches!(self, Self::CreateFolder { .. } | Self::PutFile { .. })
    }
}

/// What an operation has done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OperationResult {
    /// The folder as it is now, or the id of the file.
    pub entry: DriveEntry,
    /// True if the entry is new.
    pub is_new: bool,
}

impl OperationResult {
    pub(super) fn new(entry: DriveEntry) -> Self {
        Self { entry, is_new: true }
    }

    pub(super) fn changed(entry: DriveEntry) -> Self {
        Self { entry, is_new: false }
    }
}

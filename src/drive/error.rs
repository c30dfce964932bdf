//! Why a folder or a path was not found, made or changed.

use uuid::Uuid;

use crate::files::bulk::RecordPosition;
use crate::files::fault_of_constraint;
use crate::payload::FieldFault;
use crate::shard::ShardError;

/// The index that keeps the names of a folder's folders apart.
const FOLDER_NAME_INDEX: &str = "folders_name_idx";
/// The index that keeps the names of a folder's files apart.
const FILE_NAME_INDEX: &str = "file_metadata_name_idx";

/// The name under which a shard refuses folders that would be too deep (`migrations/0011_folders.sql`).
const DEPTH_CHECK: &str = "folders_depth_check";

/// Why a folder or a path was not found, made or changed.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// There is no such folder, or it is in the trash.
    #[error("there is no folder {0}")]
    FolderNotFound(String),
    /// The folder is in the trash, by itself or with a folder above it.
    #[error("folder {0} is in the trash; take it out first, or name another folder")]
    FolderTrashed(Uuid),
    /// There is no such file, or it is in the trash.
    #[error("there is no file {0}")]
    FileNotFound(Uuid),
    /// Neither a folder nor a file has the id.
    #[error("there is neither a file nor a folder {0}")]
    EntryNotFound(Uuid),
    /// No folder and no file has the path.
    #[error("there is nothing at {0}")]
    PathNotFound(String),
    /// A file stands where the path needs a folder.
    #[error("{0} is a file, and no folder")]
    NotAFolder(String),
    /// The entry to be taken out of the trash is not in it.
    #[error("{0} is not in the trash; PATCH moves or renames an entry")]
    NotTrashed(Uuid),
    /// Another entry of the folder has the name.
    #[error("the folder already has an entry of this name{}", taken_by(*.0))]
    NameTaken(Option<Uuid>),
    /// The folder would be in itself.
    #[error("a folder cannot be moved into itself or into a folder below it")]
    WouldCycle,
    /// A path would have too many names.
    #[error("the folder, or one below it, would be deeper than 128 folders")]
    TooDeep,
    /// The root cannot be renamed, moved or deleted.
    #[error("the root of a drive keeps its place")]
    RootFixed,
    /// The entry is not in the state that the client named.
    #[error("{0} is in another state than the condition names; read it anew")]
    Changed(String),
    /// An operation of a batch is at fault, and none was done.
    #[error("operation {}: {}", .0.number, .0.error)]
    Batch(Box<RefusedOperation>),
    /// A mirror would delete more entries than it may.
    #[error(
        "the mirror would delete {deletes} of {there} files and folders, and max_delete admits {most}; nothing is changed. If that is \
         right, give a max_delete of {deletes}"
    )]
    TooManyDeletes {
        /// Files and folders that the listing leaves out.
        deletes: u64,
        /// Files and folders below the folder of the mirror.
        there: u64,
        /// The most that may go.
        most: u64,
    },
    /// A path would hold a file and a folder, as the mirror deletes neither.
    #[error("{path} is a file here and a folder there, and {}; nothing is changed", why_it_stays(.withheld_for.is_some()))]
    KindStays {
        /// The path.
        path: String,
        /// Nothing is deleted because entries of the listing have faults: those that only the shard could see, the
        /// first 100.
        withheld_for: Option<Vec<RefusedEntry>>,
    },
    /// The connection with the listing is gone, or another request changed the drive in the same moment.
    #[error("the mirror was interrupted, and nothing is changed; send the listing again")]
    MirrorInterrupted,
    /// A field is wrong.
    #[error("{0}")]
    Field(FieldFault),
    /// The shard did not do it.
    #[error(transparent)]
    Shard(ShardError),
}

/// The fault of an operation, and its number in the change, from 0.
#[derive(Debug)]
pub struct RefusedOperation {
    /// The number of the operation.
    pub number: usize,
    /// The fault.
    pub error: DriveError,
}

/// An entry of a listing whose path another entry has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedEntry {
    /// The position in the listing.
    pub place: RecordPosition,
    /// The fault of the path.
    pub reason: String,
}

fn why_it_stays(is_withheld: bool) -> &'static str {
    if is_withheld {
        "the mirror deletes nothing, as entries of the listing have faults; mend or leave out these entries"
    } else {
        "the mirror deletes nothing here"
    }
}

fn taken_by(id: Option<Uuid>) -> String {
    id.map_or_else(String::new, |id| format!(": {id}"))
}

/// What a shard's rule says to an operation; `None`: the error is none of its own.
pub(super) fn refusal_of(error: &sqlx::Error) -> Option<DriveError> {
    let constraint = error.as_database_error()?.constraint()?;
    (constraint == DEPTH_CHECK).then_some(DriveError::TooDeep)
}

impl From<ShardError> for DriveError {
    fn from(error: ShardError) -> Self {
        match &error {
            // Another request gave the name away in this moment.
            ShardError::RowRefused { constraint: Some(constraint), .. }
                if [FOLDER_NAME_INDEX, FILE_NAME_INDEX].contains(&constraint.as_str()) =>
            {
                Self::NameTaken(None)
            }
            // A name that the service has made, as of a file beside another one, breaks a limit.
            ShardError::RowRefused { constraint: Some(constraint), .. } => {
                fault_of_constraint(constraint).map_or_else(|| Self::Shard(error), Self::Field)
            }
            _ => Self::Shard(error),
        }
    }
}

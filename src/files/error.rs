//! Why a file was not stored, found or changed.

use uuid::Uuid;

use super::limits::{ENTRY_NAME_INDEX, FILE_ON_THE_WAY, fault_of_constraint};
use crate::payload::FieldFault;
use crate::shard::ShardError;

/// Why a file was not stored, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is no such file.
    #[error("there is no file {0}")]
    NotFound(Uuid),
    /// The request names no user, and several users have a file under the id.
    #[error("several users have a file {0}; add ?user_id= with the user whose file is meant")]
    SeveralUsers(Uuid),
    /// It is not in the state that the client named.
    #[error("the file {0} is in another state than If-Match names; read it anew")]
    Changed(Uuid),
    /// Too many callers wait to change the file.
    #[error("earlier changes of the file {0} have not ended, and nothing was changed; try again")]
    Contended(Uuid),
    /// Another entry of the folder has the name.
    #[error("the folder already has an entry of this name")]
    NameTaken,
    /// A file stands where the path needs a folder.
    #[error("path: a file stands where a folder is needed")]
    NotAFolder,
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
        match (&**constraint, fault_of_constraint(constraint)) {
            (ENTRY_NAME_INDEX, _) => Self::NameTaken,
            (FILE_ON_THE_WAY, _) => Self::NotAFolder,
            (_, Some(fault)) => Self::Field(fault),
            (_, None) => Self::Shard(error),
        }
    }
}

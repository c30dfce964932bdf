//! Why a document was not stored, found or changed.

use super::CollectionName;
use crate::payload::FieldFault;
use crate::shard::ShardError;

/// Why a document was not stored, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Nobody declared the collection.
    #[error("there is no collection {0}; declare it by PUT /collections/{0}")]
    NoCollection(CollectionName),
    /// Another definition of the collection is declared.
    #[error("the collection {0} is declared already, and otherwise; what it is keyed by is fixed")]
    CollectionDiffers(CollectionName),
    /// There is no such document.
    #[error("{collection} has no document under the key {key}")]
    NotFound {
        /// The collection.
        collection: CollectionName,
        /// The document's key.
        key: Box<str>,
    },
    /// There is a document under this key already.
    #[error("{collection} has a document under the key {key} already")]
    Exists {
        /// The collection.
        collection: CollectionName,
        /// The document's key.
        key: Box<str>,
    },
    /// The document is not in the state that the request asks for.
    #[error("the document is not the one that the request names; read it again")]
    Changed {
        /// The version of the document, if the document is there at all.
        found: Option<i64>,
    },
    /// A document would come under another shard key.
    #[error("a document stays under its shard key; delete it and create another one")]
    KeyFixed,
    /// The text is no JSON.
    #[error("the document is no JSON: {0}")]
    Syntax(String),
    /// A part of the document is wrong.
    #[error("{0}")]
    Field(FieldFault),
    /// The document is too long.
    #[error("a document must not be longer than {} bytes", super::MAX_DOCUMENT_BYTES)]
    TooLarge,
    /// Too many callers wait to change the document.
    #[error("earlier changes of this document have not ended, and nothing was changed; try again")]
    Contended,
    /// The shard did not do it.
    #[error(transparent)]
    Shard(#[from] ShardError),
}

impl From<FieldFault> for RecordError {
    fn from(fault: FieldFault) -> Self {
        Self::Field(fault)
    }
}

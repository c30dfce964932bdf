//! Keyed documents: JSON in named collections, each spread over the shards by a key that it declares.
//!
//! ```text
//! service → catalog (what collections there are)
//!         → cached (documents in the cache)
//!         → store, list (reads)                     → shard
//!         → changes, patch, writer (group commit)   → writes → shard
//!         → load (streams of single writes)
//! ```

mod cached;
mod catalog;
mod changes;
mod collection;
mod document;
mod error;
mod json_text;
mod kept;
mod list;
mod load;
mod merge;
mod model;
mod patch;
mod place;
mod service;
mod store;
mod writer;

pub use cached::CACHE_FORMAT;
pub use collection::{BuiltIn, Collection, CollectionName, KeyType, RecordsPerKey};
pub use document::{Document, MAX_DOCUMENT_BYTES};
pub use error::RecordError;
pub use list::{RecordCursor, RecordPage};
pub use load::{LoadedRecords, RecordLoad};
pub use model::{FoundRecord, Record, StoredRecord, WriteCondition};
pub use service::RecordService;

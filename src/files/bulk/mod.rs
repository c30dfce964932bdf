//! Bulk loads: a stream of bytes in, batches out to all shards at once, in bounded memory.
//!
//! ```text
//! body → decode (gzip, zstd) → opening → split (lines, array, CSV) → parse → route → load, one queue a shard
//! ```
//!
//! The body is read once. A full queue stops the reading, so that memory does not grow with the body.

mod batch;
mod copy;
mod csv;
mod folders;
mod json;
mod lane;
mod load;
mod loaded;
mod parse;
mod paths;

pub use batch::RowIdentity;
pub use copy::{ListingPart, ListingRows};
pub use load::{BulkLimits, BulkLoad};
pub use loaded::LoadSummary;
pub use parse::{BodyFormat, ParsedRecord, RecordFault, RecordPosition, RecordReader};

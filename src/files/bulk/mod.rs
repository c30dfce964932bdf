//! Bulk loads: a stream of bytes in, batches out to all shards at once, in bounded memory.
//!
//! ```text
//! body → decode (gzip, zstd) → split (lines, array, CSV) → parse → route → load, one queue a shard
//! ```
//!
//! The body is read once. A full queue stops the reading, so that memory does not grow with the body.

mod batch;
mod copy;
mod csv;
mod decode;
mod json;
mod load;
mod parse;
mod split;

pub use decode::{Body, Encoding};
pub use load::{BulkLimits, Load, Loaded};
pub use parse::{Format, Parsed, Records, Rejection};

/// What is wrong with a body as a whole, so that nothing after it can be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BodyFault {
    /// It ends in the middle.
    #[error("the body ends too early: {0}")]
    Truncated(String),
    /// It is not what its type and encoding say.
    #[error("the body cannot be read: {0}")]
    Malformed(String),
    /// It unpacks to far more than real input does.
    #[error("the body unpacks to more than {0} times its size")]
    Bomb(u64),
}

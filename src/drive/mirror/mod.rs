//! Mirrors: a folder of a drive becomes what a listing says, as a whole or not at all.
//!
//! ```text
//! listing → rows → stage (a connection of its own, COPY into a temporary table)
//!         → write (one transaction: compare, check, apply by one statement) → writes → shard
//! ```

mod model;
mod service;
mod stage;
mod write;

pub use model::{
    DeleteLimit, DeletePolicy, DifferenceChange, EntryCounts, MirrorDifference, MirrorOptions, MirrorSummary,
};
pub use stage::ListingChunk;

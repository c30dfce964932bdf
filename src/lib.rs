//! Shardrive: a drive-metadata service on several plain PostgreSQL servers.
//!
//! The modules, in reading order, each knowing only those before it (`tests/architecture.rs` keeps it so):
//!
//! - [`shard`]: slots, the slot map, connections, routing, ownership
//! - [`files`]: what a drive knows about files; group commit and bulk loads
//! - [`local`]: PostgreSQL servers of our own on this machine

/// The commands, one a file.
pub mod cli {
    pub mod dev;
}
pub mod files;
pub mod local;
pub mod shard;

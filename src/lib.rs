//! Shardrive: a drive-metadata service on several plain PostgreSQL servers.
//!
//! The modules from the ground up: each imports only modules above it in this list (`tests/architecture/` holds the list to it).
//!
//! - [`outbound`]: HTTP clients of our own, and whom they trust
//! - [`telemetry`]: logs, metrics, traces, and the request that they are about
//! - [`payload`]: request and answer bodies: decompression, records, JSON faults, numbers, times
//! - [`auth`]: who calls: tokens, keys, scopes
//! - [`local_servers`]: PostgreSQL and cache servers of our own on this machine
//! - [`shard`]: slots, the slot map, connections, health, routing, batched reads, idempotency, set-up
//! - [`cache`]: values made of rows, on a Redis server, never older than the last acknowledged write
//! - [`writes`]: the one door for changes of rows that a slot owns, and group commit
//! - [`limits`]: how much each caller may ask for
//! - [`files`]: what a drive knows about files; bulk loads
//! - [`records`]: keyed documents in collections
//! - [`audit`]: who did what to the cluster
//! - [`events`]: changes that are published to a broker
//! - [`stats`]: how much is where
//! - [`reshard`]: slots that move between shards while they serve
//! - [`http`]: the API
//! - [`config`]: the settings
//! - [`cli`]: the commands, which put all of this together

// What commands print goes through `cli::output`, which survives a reader that has gone away.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod audit;
pub mod auth;
pub mod cache;
pub mod cli;
pub mod config;
pub mod events;
pub mod files;
pub mod http;
pub mod limits;
pub mod local_servers;
pub mod outbound;
pub mod payload;
pub mod records;
pub mod reshard;
pub mod shard;
pub mod stats;
pub mod telemetry;
pub mod writes;

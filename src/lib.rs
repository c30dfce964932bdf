//! Shardrive: a drive-metadata service on several plain PostgreSQL servers.
//!
//! The modules from the ground up: each imports only modules above in this list, as `tests/architecture/` checks.
//!
//! - [`outbound`]: HTTP clients to other services, and the CA certificates
//! - [`telemetry`]: logs, metrics, traces, and the current request
//! - [`payload`]: request and answer bodies: decompression, records, JSON faults, numbers, times
//! - [`auth`]: who calls: tokens, keys, scopes
//! - [`local_servers`]: PostgreSQL and cache servers of our own on this machine
//! - [`shard`]: slots, the slot map, connections, health, routing, batched reads, idempotency, set-up
//! - [`cache`]: values made of rows, on a Redis server, never older than the last acknowledged write
//! - [`writes`]: the one door for changes of rows that a slot owns, and group commit
//! - [`limits`]: how much each caller may ask for
//! - [`files`]: what a drive knows about files; bulk loads
//! - [`drive`]: the folders of a drive, and the paths
//! - [`records`]: keyed documents in collections
//! - [`audit`]: the log of operator actions
//! - [`events`]: changes of rows, published to a broker
//! - [`stats`]: the counts of rows on each shard
//! - [`reshard`]: moves of slots between serving shards
//! - [`http`]: the API
//! - [`config`]: the settings
//! - [`cli`]: the commands, which put all of this together

// All output of commands goes through `cli::output`, which survives a closed pipe.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod audit;
pub mod auth;
pub mod cache;
pub mod cli;
pub mod config;
pub mod drive;
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

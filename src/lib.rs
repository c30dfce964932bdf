//! Shardrive: a drive-metadata service on several plain PostgreSQL servers.
//!
//! The modules, in reading order, each knowing only those before it (`tests/architecture.rs` keeps it so):
//!
//! - [`shard`]: slots, the slot map, connections, routing, ownership
//! - [`payload`]: what clients send and get, before anybody asks what it is about
//! - [`cache`]: values made of rows, on a Redis server, never older than the last acknowledged write
//! - [`files`]: what a drive knows about files; group commit and bulk loads
//! - [`records`]: keyed documents in collections
//! - [`stats`]: how much is where
//! - [`reshard`]: slots that move between shards while they serve
//! - [`audit`]: who did what to the cluster
//! - [`outbound`]: HTTP clients of our own, and whom they trust
//! - [`telemetry`]: logs, and which request they are about
//! - [`auth`]: who calls: tokens, keys, scopes
//! - [`limits`]: how much each caller may ask for
//! - [`http`]: the API
//! - [`config`]: the settings
//! - [`local_servers`]: PostgreSQL servers of our own on this machine
//! - [`cli`]: the commands, which put all of this together

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

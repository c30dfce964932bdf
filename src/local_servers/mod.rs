//! Local PostgreSQL and cache servers, for `shardrive dev`, the tests and the benchmarks.
//!
//! ```text
//! LocalCluster → PostgresServer → binaries, account, lock, port, process → the operating system
//!                CacheServer ────┘
//! ```
//!
//! These modules know no shards: they create empty databases, and the caller migrates them.

mod account;
mod binaries;
mod cache_server;
mod cluster;
mod error;
mod lock;
mod port;
mod process;
mod server;
mod shutdown;

pub use account::{ServerAccount, operator_name};
pub use binaries::PostgresBinaries;
pub use cache_server::CacheServer;
pub use cluster::LocalCluster;
pub use error::LocalError;
pub use lock::FileLock;
pub use port::{free_port, is_free};
pub use server::{Durability, PostgresServer};
pub use shutdown::remove_stale_server;

/// The user who owns the databases of local servers.
pub const USER: &str = "shard_user";
/// The password of this user. The servers listen on 127.0.0.1 only.
pub const PASSWORD: &str = "shard_pass";

/// The name of a shard's database.
#[must_use]
pub fn database_name(shard: usize) -> String {
    format!("drive_shard_{shard}")
}

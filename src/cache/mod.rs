//! The cache: values made of a shard's rows, kept on a Redis or Valkey server, and never older than the last
//! acknowledged write, whichever process made it.
//!
//! ```text
//! Cache::read          → lane (lookups and fills, a connection a thread) → Redis
//! Cache::write         → link (everything else, one connection) ────────┘
//!            fence (which server is in force, watched in every shard's database)
//! ```
//!
//! The rules and why they suffice: docs/cache.md and docs/decisions/0011-cache.md.

mod background;
mod codec;
mod commands;
mod fence_step;
mod fence_view;
mod fence_watcher;
mod key;
mod known_fences;
mod read;
mod resp;
mod server_info;
mod service;
mod settings;
mod shared_connection;
mod single_flight;
mod thread_connection;
mod write;

pub use codec::{CacheFormat, ValueCodec};
pub use key::{CacheKey, EntryName};
pub use service::{Cache, CacheCounts, CacheState, CachedValue};
pub use settings::{CacheSettings, CacheUrl};
pub use write::WriteEffect;

//! The cache: values made of a shard's rows, kept on a Redis or Valkey server, and never older than the last
//! acknowledged write, whichever process made it.
//!
//! ```text
//! Cache::read          → lane (lookups and fills, a connection a thread) → Redis
//! Cache::before_write  → link (everything else, one connection) ────────┘
//!            fence (which server is in force, watched in every shard's database)
//! ```
//!
//! The rules and why they suffice: docs/cache.md and docs/decisions/0011-cache.md.

mod codec;
mod errands;
mod fence;
mod fences;
mod flights;
mod key;
mod lane;
mod link;
mod read;
mod resp;
mod server_info;
mod service;
mod settings;
mod wire;
mod write;

pub use codec::Codec;
pub use key::{CacheKey, Name};
pub use service::{Cache, CacheCounts, CacheState, Found};
pub use settings::{CacheSettings, CacheUrl};
pub use write::Mark;

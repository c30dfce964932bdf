//! Integration tests on real PostgreSQL servers, which each test makes and removes by itself.

#![expect(unreachable_pub, reason = "what the tests share is seen by the tests alone, and `pub` reads best")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a panic is how a test fails"
)]

mod audit;
mod auth;
mod cache;
mod cli;
mod drive;
mod events;
mod files;
mod http;
mod limits;
mod local_servers;
mod outbound;
mod records;
mod reshard;
mod settings;
mod shard;
mod stats;
mod support;
mod telemetry;

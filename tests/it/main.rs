//! Integration tests on real PostgreSQL servers, which each test makes and removes by itself.

#![expect(unreachable_pub, reason = "what the tests share is seen by the tests alone, and `pub` reads best")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]
#![expect(clippy::large_futures, reason = "a test has stack enough")]

mod api;
mod dev;
mod faults;
mod guard;
mod local;
mod ownership;
mod proxy;
mod start;
mod support;
mod writer;

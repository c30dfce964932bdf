//! Integration tests on real PostgreSQL servers, which each test makes and removes by itself.

#![expect(unreachable_pub, reason = "what the tests share is seen by the tests alone, and `pub` reads best")]

mod api;
mod dev;
mod guard;
mod local;
mod proxy;
mod start;
mod support;
mod writer;

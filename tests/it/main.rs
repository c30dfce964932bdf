//! Integration tests on real PostgreSQL servers, which each test makes and removes by itself.

#![expect(unreachable_pub, reason = "what the tests share is seen by the tests alone, and `pub` reads best")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod api;
mod audit;
mod bad_input;
mod bulk;
mod bulk_faults;
mod cache;
mod cache_faults;
mod cache_race;
mod commands;
mod dashboard;
mod dashboard_browser;
mod demo;
mod dev;
mod dns;
mod edge;
mod events;
mod examples;
mod failover;
mod faults;
mod files;
mod gathered;
mod grow;
mod guard;
mod idempotency;
mod import;
mod ingest;
mod limits;
mod listing;
mod local;
mod metrics;
mod observability;
mod ownership;
mod proxy;
mod query;
mod records;
mod records_cache;
mod replicas;
mod reshard;
mod reshard_brake;
mod reshard_cost;
mod reshard_faults;
mod rolling;
mod service;
mod sign_in;
mod sign_in_provider;
mod simple_calls;
mod start;
mod support;
mod tls;
mod tokens;
mod traces;
mod verify;
mod writer;

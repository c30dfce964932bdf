//! The base of the integration tests: waits, servers, the running program.

pub mod api;
pub mod balancer;
pub mod browser;
pub mod cache;
pub mod certificates;
pub mod collector;
pub mod feed;
pub mod folders;
pub mod load;
pub mod moved;
pub mod moves;
pub mod nats;
pub mod pace;
pub mod pack;
pub mod poll;
pub mod program;
pub mod prometheus;
pub mod proxy;
pub mod race;
pub mod servers;
pub mod small_disk;
pub mod templates;
pub mod tls_front;
pub mod tokens;
pub mod tools;
pub mod watchdog;

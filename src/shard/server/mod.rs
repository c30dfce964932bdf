//! A shard's PostgreSQL servers: connections, the primary and the replicas, health, and the circuit.

pub(super) mod admission;
mod borrow;
mod calls;
pub(super) mod circuit;
pub(super) mod columns;
pub(super) mod counters;
mod credentials;
pub(super) mod fault;
pub(super) mod health;
pub(super) mod lane_connection;
pub(super) mod look_pace;
pub(super) mod options;
pub(super) mod pool;
pub(super) mod primary;
pub(super) mod replica;
pub(super) mod shard;
pub(super) mod shortage;
mod url_parameters;

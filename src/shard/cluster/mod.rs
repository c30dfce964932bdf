//! All shards as a whole: the owner of each slot, calls to a shard or to all, and the list of shards, which only grows.
//!
//! `impl Cluster` stands in several files; the header of `routing.rs` lists the files.

pub(super) mod add_shard;
pub(super) mod append_only;
pub(super) mod batched_reads;
pub(super) mod known_map;
pub(super) mod lane_queue;
pub(super) mod moving_slot;
pub(super) mod periodic;
pub(super) mod registry;
pub(super) mod routing;
pub(super) mod scatter;
pub(super) mod waves;
pub(super) mod write_freeze;

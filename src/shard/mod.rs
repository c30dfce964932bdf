//! Shards: slots and owners, connections, routing, batching, set-up. Knows neither files nor documents.
//!
//! ```text
//! Slot → SlotMap → Shard (health, pool) → PostgreSQL
//! ```
//!
//! [`Cluster`] is the way in. A cluster runs a [`ShardCall`] on the owner of a slot. When that shard's database
//! refuses the slot, the cluster reads the slot map again and calls the new owner.

mod call;
mod cluster;
mod copy_rows;
mod coverage;
mod error;
mod idempotency;
mod map;
mod server;
mod setup;
mod slot;
mod slot_id;

pub use call::ShardCall;
pub use cluster::add_shard::{GrowError, JoinedShard, add_shard};
pub(crate) use cluster::append_only::PerShard;
pub use cluster::batched_reads::{BatchRead, BatchedReads};
pub(crate) use cluster::known_map::load_map;
pub(crate) use cluster::lane_queue::{LaneReceiver, LaneSender, lane_queue};
pub(crate) use cluster::moving_slot::MovingSlot;
pub(crate) use cluster::periodic::{PeriodicTask, TaskProgress};
pub use cluster::routing::Cluster;
pub(crate) use cluster::scatter::ScatterLimits;
pub use cluster::scatter::{ScatterBreadth, ScatterResult};
pub(crate) use cluster::waves::{first_wave, wave_after};
pub(crate) use copy_rows::CopyRows;
pub use coverage::SlotCoverage;
pub use error::ShardError;
pub use idempotency::{AdminClaim, AdminKeys, RequestKey, expire_in_background};
pub(crate) use idempotency::{CallOutcome, IdempotentCall, KeysThere, StoredOutcome, find_refused, is_key_there};
pub use map::{SlotMap, SlotOwnership, VIEW_LEASE, VIEW_SETTLE};
pub use server::admission::WorkKind;
pub use server::circuit::CircuitBreaker;
pub(crate) use server::columns::{
    optional_flag, optional_id, optional_number, optional_text, optional_time, required, required_time, time_of_micros,
};
pub use server::counters::{PoolStatus, ShardCounters};
pub use server::fault::{DbFault, ServerResource};
pub(crate) use server::fault::{is_conflict, is_duplicate_key, is_overtaken, refused_slots};
pub use server::health::ShardState;
pub(crate) use server::lane_connection::{LaneConnection, LaneError};
pub(crate) use server::look_pace::LookPace;
pub use server::options::ShardOptions;
pub use server::pool::{BorrowedConnection, ShardLimits};
pub use server::replica::{ReadConsistency, ShardReplicas};
pub use server::shard::Shard;
pub use setup::migrate::{SetupError, apply_migrations, migrate};
pub use setup::start_checks::{StartError, StartFault, shard_in};
pub use slot::{SLOT_COUNT, ShardId, Slot};
pub use slot_id::IdClock;
pub(crate) use slot_id::slot_of_id;

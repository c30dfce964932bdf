//! Slots, the slot map, connections, routing and ownership. Knows no file and no record.
//!
//! ```text
//! Slot → SlotMap → Shard (health, pool) → PostgreSQL
//! ```
//!
//! [`Cluster`] is the way in: it runs a [`ShardCall`] on the shard that owns a slot, and when that shard's database
//! says that it does not own the slot, takes a fresh map and goes to the one that does.

mod chore;
mod circuit;
mod cluster;
mod columns;
mod coverage;
mod error;
mod gather;
mod group_commit;
mod grow;
mod growing;
mod health;
mod id;
mod idempotency;
mod known_map;
mod map;
mod observe;
mod options;
mod pool;
mod primary;
mod registry;
mod replica;
mod scatter;
mod server;
mod setup;
mod slot;
mod start;

pub(crate) use chore::{Chore, Left, ticks};
pub use circuit::Circuit;
pub use cluster::{Cluster, ShardCall};
pub(crate) use columns::{time_at, time_in};
pub use coverage::Coverage;
pub use error::{DbFault, ShardError};
pub(crate) use error::{is_duplicate_key, is_overtaken, refused_slots};
pub use gather::{BatchRead, Gather};
pub use group_commit::WriterLimits;
pub(crate) use group_commit::{BatchWrite, GroupCommit, WriteMark};
pub use grow::{GrowError, Joined, add_shard};
pub(crate) use growing::PerShard;
pub use health::ShardState;
pub use id::IdClock;
pub(crate) use id::{hashed_id, slot_in};
pub use idempotency::{AdminClaim, AdminKeys, RequestKey, expire_in_background};
pub(crate) use idempotency::{Known, Made, Once};
pub(crate) use known_map::MovingSlot;
pub use map::{LOOK_LEASE, LOOK_SETTLE, Ownership, SlotMap};
pub use observe::{PoolStatus, ShardCounters};
pub use options::ShardOptions;
pub use pool::Lease;
pub use replica::{Consistency, Replicas};
pub use scatter::{Breadth, Gathered};
pub use server::{Shard, ShardLimits};
pub use setup::{SetupError, apply_migrations, migrate};
pub use slot::{SLOT_COUNT, ShardId, Slot};
pub use start::{StartError, StartFault};

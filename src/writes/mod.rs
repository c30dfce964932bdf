//! Writes of rows that a slot owns: the only door through which files and documents change.
//!
//! ```text
//! single changes ── SlotWrites::run ─────────┐
//! mirrors ───────── SlotWrites::run_over ────┤
//! bulk loads ────── SlotWrites::run_on ──────┼→ Cache::write (tombstone → database → removal) → shard
//! GroupCommit ───── SlotWrites::store_batch ─┘
//! ```
//!
//! A `SlotWrite` names the cached values that the change makes old. Only `SlotWrites` can run a write, so no caller can
//! forget the cache, or the order of the steps.

mod batch_write;
mod commit_lane;
mod door;
mod group_commit;
mod refused_rows;
mod row_queue;

pub(crate) use batch_write::BatchWrite;
pub(crate) use door::{SlotWrite, SlotWrites};
pub(crate) use group_commit::GroupCommit;
pub use group_commit::WriterLimits;
pub(crate) use refused_rows::{halve, split_refused};
pub(crate) use row_queue::{RowQueue, RowTurn};

//! Plans of moves, the preflight, and the requests of operators.

pub(super) mod analysis;
pub(super) mod pending_changes;
pub(super) mod planned;
pub(super) mod planner;
pub(super) mod preflight;
pub(super) mod requests;
mod shard_totals;
pub(super) mod view;
pub(super) mod weights;

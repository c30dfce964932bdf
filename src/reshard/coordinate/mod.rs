//! The coordinator: one process, by a lease, takes every open move through the stages.

pub(super) mod decide;
pub(super) mod driver;
pub(super) mod lease;
pub(super) mod slot_move;
pub(super) mod stage;
pub(super) mod steps;
pub(super) mod store;
pub(super) mod testing;

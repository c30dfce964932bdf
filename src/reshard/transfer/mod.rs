//! What a stage does to the two shards: copy, compare, hand over, clean up.

pub(super) mod clean_up;
pub(super) mod compose;
pub(super) mod copy;
pub(super) mod direction;
pub(super) mod handover;
pub(super) mod outbox_drained;
pub(super) mod pace;
pub(super) mod pressure;
pub(super) mod side;
pub(super) mod standby_slots;
pub(super) mod stream;
pub(super) mod tables;
pub(super) mod verify;

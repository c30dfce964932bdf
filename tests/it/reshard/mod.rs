//! Moves of slots between shards: what they promise, what they cost, and every way to interrupt them.

mod cost;
mod faults;
mod moved_tables;
mod moves;
mod plans;
mod throttle;

//! Counts and their comparison with the rows.

mod huge_sizes;
mod verify;

//! Counts and their comparison with the rows.

mod folds;
mod huge_sizes;
mod verify;

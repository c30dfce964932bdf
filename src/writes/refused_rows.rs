//! Splits a batch that a shard has refused: the rows that caused the refusal are set apart from the others.

use std::collections::HashSet;

use crate::shard::Slot;

/// Sets the rows of the refused slots apart: `(refused, others)`.
pub(crate) fn split_refused<R>(rows: Vec<R>, refused: &[Slot], slot: impl Fn(&R) -> Slot) -> (Vec<R>, Vec<R>) {
    let refused: HashSet<Slot> = refused.iter().copied().collect();
    rows.into_iter().partition(|row| refused.contains(&slot(row)))
}

/// The halves of a batch with a row that the database cannot hold. The second half comes first, for a stack.
pub(crate) fn halve<R>(mut rows: Vec<R>) -> [Vec<R>; 2] {
    let second = rows.split_off(rows.len() / 2);
    [second, rows]
}

//! The pace of a move's own work: while others write, parts are small, and a rest follows each.
//!
//! Comparisons and clean-ups take all the processor time that they can get, on servers that others need. The copy keeps
//! to such a pace by itself (`throttle_copy` in `migrations/0002_ownership.sql`).

use std::time::Duration;

use super::side::MoveSide;
use crate::reshard::error::MoveError;

/// A part has this many times fewer rows while others write.
const SMALLER: u32 = 8;
/// The rest, as a multiple of the time that the part has kept a server busy, and the longest rest.
const REST: u32 = 2;
const LONGEST_REST: Duration = Duration::from_millis(500);
/// Transactions of the move itself from one part to the next, at most: its heartbeats and the notes of its progress.
const OWN_TRANSACTIONS: i64 = 4;

/// Whether others write on a server, as far as is known.
#[derive(Debug)]
pub(in crate::reshard) struct WorkPace {
    /// The number of the next transaction at the last look.
    next_transaction: Option<i64>,
    is_shared: bool,
}

impl Default for WorkPace {
    fn default() -> Self {
        Self { next_transaction: None, is_shared: true }
    }
}

impl WorkPace {
    /// How many rows the next part may have, of `most`.
    pub(in crate::reshard) fn part_rows(&self, most: u32) -> u32 {
        if self.is_shared { most / SMALLER } else { most }
    }

    /// Rests after a part that has kept the server busy for so long, if others have written since the last part.
    ///
    /// # Errors
    /// The shard's.
    pub(in crate::reshard) async fn rest_after(
        &mut self,
        busy: Duration,
        side: &mut MoveSide,
    ) -> Result<(), MoveError> {
        let failed = side.failed();
        let next: i64 = sqlx::query_scalar(include_str!("../../../sql/reshard/read_next_transaction.sql"))
            .fetch_one(&mut side.db)
            .await
            .map_err(failed)?;
        if self.look_at(next) {
            tokio::time::sleep((busy * REST).min(LONGEST_REST)).await;
        }
        Ok(())
    }

    /// Takes the number of the server's next transaction. True if others have written since the last look; the first
    /// look cannot tell.
    fn look_at(&mut self, next_transaction: i64) -> bool {
        let seen = self.next_transaction.replace(next_transaction);
        if let Some(seen) = seen {
            self.is_shared = next_transaction - seen > OWN_TRANSACTIONS;
        }
        self.is_shared && seen.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_small_and_followed_by_rests_while_others_write() {
        let mut pace = WorkPace::default();
        assert_eq!(pace.part_rows(8_000), 1_000, "nobody knows yet");
        for (next_transaction, rests, rows) in
            [(100, false, 1_000), (102, false, 8_000), (106, false, 8_000), (150, true, 1_000), (152, false, 8_000)]
        {
            assert_eq!(pace.look_at(next_transaction), rests, "{next_transaction}");
            assert_eq!(pace.part_rows(8_000), rows, "{next_transaction}");
        }
    }
}

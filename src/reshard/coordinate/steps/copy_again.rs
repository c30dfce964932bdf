//! A copy that cannot end begins again.
//!
//! PostgreSQL copies each table with a slot of its own. The target's worker drops the slot on the source, and then
//! commits that the table is done (`process_syncing_tables_for_sync()` of PostgreSQL 15). If the target's server dies
//! between the two, the table asks for ever for a slot that is gone.

use std::time::Duration;

use tokio::time::Instant;

use super::{ActiveMove, NEXT_CHECK, NextStep};
use crate::reshard::coordinate::lease::CoordinatorLease;
use crate::reshard::error::MoveError;
use crate::reshard::transfer::clean_up::{CleanUpPosition, delete_heartbeats, remove_objects};
use crate::reshard::transfer::direction::Direction;
use crate::reshard::transfer::{copy, stream};

/// For so long a copied table has no slot before the copy counts as lost. A table that is about to be done has none for
/// a moment.
const LOST_AFTER: Duration = Duration::from_secs(3);

impl ActiveMove {
    /// Removes what a lost copy has brought, and the stream, so that the next step makes both anew. `None`: the copy is
    /// not lost.
    pub(super) async fn end_lost_copy(&mut self, lease: &CoordinatorLease) -> Result<Option<NextStep>, MoveError> {
        let name = self.streams.forward.name.clone();
        if !copy::lacks_slot(&mut self.sides, &name).await? {
            self.lost_since = None;
            return Ok(None);
        }
        if self.lost_since.get_or_insert_with(Instant::now).elapsed() < LOST_AFTER {
            return Ok(None);
        }
        // Each part may be repeated by another process: the rows go while nobody brings further rows, and the stream
        // goes last.
        if !stream::pause_subscription(&mut self.sides.target, &name).await? {
            return Ok(Some(NEXT_CHECK));
        }
        if let Some(next) = self.remove_rows(Direction::Reverse).await? {
            return Ok(Some(next));
        }
        delete_heartbeats(self.slot_move.id, &mut self.sides.target).await?;
        remove_objects(lease, &self.slot_move, &mut self.sides, Some(&name)).await?;
        self.removed = CleanUpPosition::default();
        self.slot_move.copied_rows = 0;
        self.streams.forward.first_refusals = None;
        (self.forward_made, self.lost_since) = (false, None);
        let what = "the copy begins again: a crash of the target's server had left it without its replication slot";
        lease.record_event(&self.slot_move, what).await?;
        Ok(Some(NextStep::Now))
    }
}

//! A handover waits until the source's outbox has no events of these slots, so that events stay in order.

use std::time::Duration;

use tokio::time::Instant;

use super::side::MoveSide;
use crate::reshard::coordinate::slot_move::SlotMove;
use crate::reshard::error::MoveError;

/// Events that have waited for so long will not be published soon: no writer should wait for them.
const STUCK: Duration = Duration::from_secs(3);
/// Between two questions.
const SOON: Duration = Duration::from_millis(5);

/// What the move waits for, if events of its slots wait on their owner because the relay does not run or cannot keep
/// up.
pub(super) async fn find_stuck(slot_move: &SlotMove, from: &mut MoveSide) -> Result<Option<String>, MoveError> {
    if has_waiting(slot_move, from, STUCK).await? { describe(slot_move, from).await } else { Ok(None) }
}

/// How many events of the slots wait, and since when; `None` if no event waits any more.
pub(in crate::reshard) async fn describe(
    slot_move: &SlotMove,
    from: &mut MoveSide,
) -> Result<Option<String>, MoveError> {
    let failed = from.failed();
    let statement = sqlx::query_as(include_str!("../../../sql/reshard/describe_unpublished_events.sql"))
        .bind(slot_move.sql_slots());
    let (count, kind, seconds): (i64, Option<String>, i64) = statement.fetch_one(&mut from.db).await.map_err(failed)?;
    Ok(kind.map(|kind| {
        format!(
            "events of these slots are not published yet: {count}, the oldest ({kind}) for {seconds} s; /health of the process that \
             relays this shard says why"
        )
    }))
}

/// Waits, in the write freeze, until all events of the slots are published; false at the deadline.
pub(super) async fn await_all(slot_move: &SlotMove, from: &mut MoveSide, until: Instant) -> Result<bool, MoveError> {
    while has_waiting(slot_move, from, Duration::ZERO).await? {
        if Instant::now() >= until {
            return Ok(false);
        }
        tokio::time::sleep(SOON).await;
    }
    Ok(true)
}

async fn has_waiting(slot_move: &SlotMove, from: &mut MoveSide, for_longer_than: Duration) -> Result<bool, MoveError> {
    let failed = from.failed();
    let statement = sqlx::query_scalar(include_str!("../../../sql/reshard/has_unpublished_events.sql"));
    let statement = statement.bind(slot_move.sql_slots()).bind(for_longer_than.as_secs_f64());
    statement.fetch_one(&mut from.db).await.map_err(failed)
}

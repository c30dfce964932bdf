//! Removes what a move leaves: replication objects, change tracking, and rows on the shard that does not own the slots.
//!
//! Each batch is a transaction of its own with the guard turned round: the database refuses a DELETE in a slot that the
//! shard owns. So a clean-up that comes too late, after the slots have come back, removes nothing.

use std::time::Duration;

use sqlx::Connection;
use tokio::time::Instant;

use super::direction::Direction;
use super::side::{MoveSide, MoveSides};
use super::stream::{ObjectKind, remove_object};
use super::tables::{TABLES, counted};
use super::{compose, stream};
use crate::reshard::coordinate::lease::CoordinatorLease;
use crate::reshard::coordinate::slot_move::SlotMove;
use crate::reshard::error::MoveError;
use crate::shard::{Shard, ShardId};

/// Rows in one transaction, at most: short, so that neither ownership changes nor other writers wait for it.
pub(in crate::reshard) const BATCH: u32 = 2_000;

/// How long writers that still record changes may take to end; the step is repeated.
const WRITERS_LIMIT: Duration = Duration::from_secs(30);

/// Where a clean-up of rows is.
#[derive(Default, Debug)]
pub(in crate::reshard) struct CleanUpPosition {
    table: usize,
    /// The slot that the clean-up has come to.
    slot: Option<i64>,
    /// Removed rows.
    pub(in crate::reshard) rows: i64,
}

/// Removes every recorded object of the move, or only the objects of one stream: subscriptions first.
pub(in crate::reshard) async fn remove_objects(
    lease: &CoordinatorLease,
    slot_move: &SlotMove,
    sides: &mut MoveSides,
    only: Option<&str>,
) -> Result<(), MoveError> {
    let objects: Vec<(i32, String, String)> = sqlx::query_as(include_str!("../../../sql/reshard/list_objects.sql"))
        .bind(slot_move.id)
        .fetch_all(&mut *lease.db().await)
        .await
        .map_err(|_| MoveError::Overtaken)?;
    for (shard, kind, name) in objects {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let (Some(kind), Some(shard)) = (ObjectKind::parse(&kind), ShardId::from_sql(shard)) else { continue };
        let (here, there) =
            if shard == sides.source.id() { sides.along(Direction::Forward) } else { sides.along(Direction::Reverse) };
        if kind == ObjectKind::Subscription {
            remove_copies(here, there, &name).await?;
        }
        remove_object(lease, here, kind, &name).await?;
    }
    Ok(())
}

/// Removes the slots that an interrupted copy left on the other shard. The subscription's number is in their names, so
/// this step comes before the subscription is removed, and is repeated while the subscription is there.
async fn remove_copies(here: &mut MoveSide, there: &mut MoveSide, name: &str) -> Result<(), MoveError> {
    let Some(number) = stream::subscription_number(here, name).await? else { return Ok(()) };
    // The subscription makes no further slot from here on.
    let [disable, ..] = compose::drop_subscription(name);
    here.run(disable).await?;
    let failed = there.failed();
    let slots: Vec<String> = sqlx::query_scalar(include_str!("../../../sql/reshard/list_sync_slots.sql"))
        .bind(number)
        .fetch_all(&mut there.db)
        .await
        .map_err(failed)?;
    for slot in slots {
        stream::remove_slot(there, &slot).await?;
    }
    Ok(())
}

/// Removes the next rows of the move's slots, `limit` at most. `true`: no row is left.
///
/// # Errors
/// The shard's, also if the shard owns a slot of the batch; then no row is removed.
pub(in crate::reshard) async fn remove_next_rows(
    position: &mut CleanUpPosition,
    slot_move: &SlotMove,
    side: &mut MoveSide,
    limit: u32,
) -> Result<bool, MoveError> {
    let Some(table) = TABLES.get(position.table) else { return Ok(true) };
    let failed = side.failed();
    let mut transaction = side.db.begin().await.map_err(&failed)?;
    sqlx::query(include_str!("../../../sql/reshard/begin_clean_up.sql"))
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
    let sql = compose::delete_next_rows(table, &slot_move.slots, limit);
    let statement = sqlx::query_as(sqlx::AssertSqlSafe(sql)).persistent(false).bind(position.slot);
    let (rows, last): (i64, Option<i64>) = statement.fetch_one(&mut *transaction).await.map_err(&failed)?;
    transaction.commit().await.map_err(&failed)?;
    position.rows += rows;
    match last {
        Some(last) => position.slot = Some(last),
        None => {
            position.table += 1;
            position.slot = None;
        }
    }
    Ok(position.table == TABLES.len())
}

/// The counts of slots whose rows are gone.
pub(in crate::reshard) async fn clear_counts(slot_move: &SlotMove, side: &mut MoveSide) -> Result<(), MoveError> {
    let failed = side.failed();
    let slots = slot_move.sql_slots();
    for (_, counts) in counted() {
        let zero = vec![0_i64; slots.len()];
        sqlx::query(include_str!("../../../sql/reshard/clear_counts.sql"))
            .bind(counts.totals)
            .bind(counts.deltas)
            .bind(&slots)
            .bind(&zero)
            .execute(&mut side.db)
            .await
            .map_err(&failed)?;
    }
    Ok(())
}

/// Ends the change tracking of a move on a shard, and removes the recorded changes and heartbeats.
pub(in crate::reshard) async fn stop_change_tracking(move_id: i64, side: &mut MoveSide) -> Result<(), MoveError> {
    let failed = side.failed();
    let stop = sqlx::query(include_str!("../../../sql/reshard/stop_change_tracking.sql")).bind(move_id);
    stop.execute(&mut side.db).await.map_err(&failed)?;
    // Running writers may record a change until they end.
    if !side.wait_for_writers(Instant::now() + WRITERS_LIMIT).await? {
        return Err(MoveError::Late("the end of transactions that write"));
    }
    let delete = sqlx::query(include_str!("../../../sql/reshard/delete_changed_keys.sql")).bind(move_id);
    delete.execute(&mut side.db).await.map_err(&failed)?;
    delete_heartbeats(move_id, side).await
}

/// Removes the heartbeats of a move on a shard.
pub(in crate::reshard) async fn delete_heartbeats(move_id: i64, side: &mut MoveSide) -> Result<(), MoveError> {
    let failed = side.failed();
    let delete = sqlx::query(include_str!("../../../sql/reshard/delete_heartbeats.sql")).bind(move_id);
    delete.execute(&mut side.db).await.map(drop).map_err(failed)
}

/// The moves that a shard takes part in, by its own tables. A connection of the pool answers.
pub(in crate::reshard) async fn list_local_moves(shard: &Shard) -> Result<Vec<i64>, MoveError> {
    let borrowed = shard.borrow_connection().await;
    let mut connection = borrowed.map_err(|_| MoveError::Late("a free connection"))?;
    let statement = sqlx::query_scalar(include_str!("../../../sql/reshard/list_local_moves.sql"));
    let moves = statement.fetch_all(&mut *connection).await.map_err(MoveError::on(shard.id()))?;
    connection.give_back();
    Ok(moves)
}

//! Removes what a move leaves: replication objects, markers, and rows on the shard that does not own the slots.
//!
//! Each batch is a transaction of its own with the guard turned round: a DELETE that touches a slot which the shard owns
//! is refused by the database, so that a clean-up that comes too late, after the slots have come back, removes nothing.

use std::time::Duration;

use sqlx::Connection;
use tokio::time::Instant;

use super::direction::Direction;
use super::side::{MoveSide, MoveSides};
use super::stream::{ObjectKind, remove};
use super::tables::{TABLES, counted};
use super::{compose, stream};
use crate::reshard::coordinate::lease::CoordinatorLease;
use crate::reshard::coordinate::slot_move::SlotMove;
use crate::reshard::error::MoveError;
use crate::shard::ShardId;

/// Rows in one transaction: short, so that neither ownership changes nor other writers wait for it.
const BATCH: u32 = 2_000;

/// How long writers that saw a mark may take to end; the step is tried again.
const WRITERS_LIMIT: Duration = Duration::from_secs(30);

/// Where a clean-up of rows is.
#[derive(Default, Debug)]
pub(in crate::reshard) struct CleanUpPosition {
    table: usize,
    /// The slot that it has come to.
    slot: Option<i64>,
    /// Rows that are gone.
    pub(in crate::reshard) rows: i64,
}

/// Removes every object that is written down for the move, or those of one stream: subscriptions first.
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
        remove(lease, here, kind, &name).await?;
    }
    Ok(())
}

/// Removes the slots that a copy which was cut off left on the other shard. They are found by the subscription's number,
/// so this comes before the subscription goes, and again while it is there.
async fn remove_copies(here: &mut MoveSide, there: &mut MoveSide, name: &str) -> Result<(), MoveError> {
    let Some(number) = stream::subscription_number(here, name).await? else { return Ok(()) };
    // Nobody makes new ones from here on.
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

/// Removes the next rows of the move's slots. `true`: none are left.
///
/// # Errors
/// The shard's, also if it owns a slot of the batch; then nothing is removed.
pub(in crate::reshard) async fn sweep(
    sweep: &mut CleanUpPosition,
    slot_move: &SlotMove,
    side: &mut MoveSide,
) -> Result<bool, MoveError> {
    let Some(table) = TABLES.get(sweep.table) else { return Ok(true) };
    let failed = side.failed();
    let mut transaction = side.db.begin().await.map_err(&failed)?;
    sqlx::query(include_str!("../../../sql/reshard/begin_clean_up.sql"))
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
    let sql = compose::delete_next_rows(table, &slot_move.slots, BATCH);
    let statement = sqlx::query_as(sqlx::AssertSqlSafe(sql)).persistent(false).bind(sweep.slot);
    let (rows, last): (i64, Option<i64>) = statement.fetch_one(&mut *transaction).await.map_err(&failed)?;
    transaction.commit().await.map_err(&failed)?;
    sweep.rows += rows;
    match last {
        Some(last) => sweep.slot = Some(last),
        None => {
            sweep.table += 1;
            sweep.slot = None;
        }
    }
    Ok(sweep.table == TABLES.len())
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

/// Takes the marks of a move from a shard: changes are noted no longer, beats are forgotten.
pub(in crate::reshard) async fn unmark(move_id: i64, side: &mut MoveSide) -> Result<(), MoveError> {
    let failed = side.failed();
    let unmark = sqlx::query(include_str!("../../../sql/reshard/unmark_local.sql")).bind(move_id);
    unmark.execute(&mut side.db).await.map_err(&failed)?;
    // Writers that saw the mark may note a change until they end.
    if !side.wait_for_writers(Instant::now() + WRITERS_LIMIT).await? {
        return Err(MoveError::Late("the end of transactions that write"));
    }
    for sql in
        [include_str!("../../../sql/reshard/forget_keys.sql"), include_str!("../../../sql/reshard/forget_beats.sql")]
    {
        sqlx::query(sql).bind(move_id).execute(&mut side.db).await.map_err(&failed)?;
    }
    Ok(())
}

/// The moves that a shard believes it takes part in.
pub(in crate::reshard) async fn marks(side: &mut MoveSide) -> Result<Vec<i64>, MoveError> {
    let failed = side.failed();
    sqlx::query_scalar(include_str!("../../../sql/reshard/list_local.sql"))
        .fetch_all(&mut side.db)
        .await
        .map_err(failed)
}

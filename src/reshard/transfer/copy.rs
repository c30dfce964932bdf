//! The copy at the beginning of a move: the forward stream copies the tables that have rows of the slots, and follows.
//!
//! PostgreSQL copies each table by a worker and a replication slot of the table's own ("Initial Snapshot", chapter
//! "Logical Replication"), also a table without rows. So the subscription begins with the tables that have no row of the
//! slots, and gets the other tables after that.
//!
//! The look for rows comes after the stream's slot has been made. A row that the look does not see is committed later,
//! and so goes over by the stream.

use super::compose;
use super::direction::Direction;
use super::side::{MoveSide, MoveSides, ReadPlan};
use super::stream::{ObjectKind, exists, make_slot, record};
use super::tables::{MovedTable, TABLES};
use crate::reshard::coordinate::lease::CoordinatorLease;
use crate::reshard::coordinate::slot_move::SlotMove;
use crate::reshard::error::MoveError;
use crate::shard::Slot;

/// Makes what the forward stream lacks, and starts the stream for the tables without rows of the slots. The stream skips
/// changes of other tables until [`start`].
pub(in crate::reshard) async fn subscribe(
    lease: &CoordinatorLease,
    slot_move: &SlotMove,
    name: &str,
    sides: &mut MoveSides,
) -> Result<(), MoveError> {
    let (from, to) = sides.along(Direction::Forward);
    make_slot(lease, slot_move, name, from, Direction::Forward).await?;
    record(lease, slot_move, to, ObjectKind::Subscription, name).await?;
    if !exists(to, ObjectKind::Subscription, name).await? {
        let empty = empty_tables(from, &slot_move.slots).await?;
        from.run(compose::publish_empty_tables(name, &empty)).await?;
        let url = from.shard.options().secret_subscription_url();
        to.run(compose::subscribe_to_empty_tables(name, &url)).await?;
    }
    Ok(())
}

/// Starts the copy of every table that the stream does not follow yet.
pub(in crate::reshard) async fn start(name: &str, sides: &mut MoveSides) -> Result<(), MoveError> {
    let (from, to) = sides.along(Direction::Forward);
    if !FollowedTables::read(to, name).await?.are_all_known() {
        to.run(compose::copy_other_tables(name)).await?;
    }
    from.run(compose::drop_publication_of_empty_tables(name)).await
}

async fn empty_tables(from: &mut MoveSide, slots: &[Slot]) -> Result<Vec<&'static MovedTable>, MoveError> {
    // By the index: a sequential scan of a large table without such a row would read all of it.
    from.read_by(ReadPlan::OrderedIndex).await?;
    let mut empty = Vec::new();
    for table in TABLES {
        let (has_rows,): (bool,) = from.one(compose::has_rows(table, slots), &[]).await?;
        if !has_rows {
            empty.push(table);
        }
    }
    from.read_by(ReadPlan::Planner).await?;
    Ok(empty)
}

/// The tables of a subscription.
struct FollowedTables {
    known: i64,
    ready: i64,
}

impl FollowedTables {
    async fn read(to: &mut MoveSide, name: &str) -> Result<Self, MoveError> {
        let failed = to.failed();
        let statement = sqlx::query_as(include_str!("../../../sql/reshard/count_ready_tables.sql")).bind(name);
        let (known, ready) = statement.fetch_one(&mut to.db).await.map_err(failed)?;
        Ok(Self { known, ready })
    }

    fn are_all_known(&self) -> bool {
        // The heartbeats besides.
        usize::try_from(self.known) == Ok(TABLES.len() + 1)
    }
}

/// True once every table has been copied and follows.
pub(in crate::reshard) async fn is_done(to: &mut MoveSide, name: &str) -> Result<bool, MoveError> {
    let tables = FollowedTables::read(to, name).await?;
    Ok(tables.are_all_known() && tables.ready == tables.known)
}

/// True while a table whose rows are copied has no slot to catch up by.
pub(in crate::reshard) async fn lacks_slot(sides: &mut MoveSides, name: &str) -> Result<bool, MoveError> {
    let (from, to) = sides.along(Direction::Forward);
    let (on_from, on_to) = (from.failed(), to.failed());
    let copies: Vec<String> = sqlx::query_scalar(include_str!("../../../sql/reshard/list_finished_copies.sql"))
        .bind(name)
        .fetch_all(&mut to.db)
        .await
        .map_err(on_to)?;
    for slot in copies {
        let statement = sqlx::query_scalar(include_str!("../../../sql/reshard/has_slot_of_copy.sql")).bind(slot);
        let is_there: bool = statement.fetch_one(&mut from.db).await.map_err(&on_from)?;
        if !is_there {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many rows the running copies of tables have brought.
pub(in crate::reshard) async fn count_rows(to: &mut MoveSide) -> Result<i64, MoveError> {
    let failed = to.failed();
    let names: Vec<_> = TABLES.iter().map(|table| table.name.to_owned()).collect();
    let statement = sqlx::query_scalar(include_str!("../../../sql/reshard/count_copied_rows.sql")).bind(names);
    statement.fetch_one(&mut to.db).await.map_err(failed)
}

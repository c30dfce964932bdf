//! The replication of a move: publications, replication slots, subscriptions, and the heartbeats that measure their
//! lag.
//!
//! The forward stream goes from the source to the target and copies first ([`super::copy`]). The reverse stream goes back. It is made
//! before the cutover, and begins after the cutover at the place of the target's log at which the target took the
//! slots.
//!
//! `shardrive.move_objects` records each object before the object is made, and until it is removed.

use std::time::Duration;

use tokio::time::Instant;

use super::compose;
use super::direction::Direction;
use super::side::{MoveSide, MoveSides, SOON};
use crate::reshard::coordinate::lease::CoordinatorLease;
use crate::reshard::coordinate::slot_move::SlotMove;
use crate::reshard::error::MoveError;

/// How long the readers of a slot may take to go.
const SLOT_LIMIT: Duration = Duration::from_secs(10);

/// The objects of a move outside of tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::reshard) enum ObjectKind {
    Publication,
    Slot,
    Subscription,
}

impl ObjectKind {
    pub(in crate::reshard) fn as_str(self) -> &'static str {
        match self {
            Self::Publication => "publication",
            Self::Slot => "slot",
            Self::Subscription => "subscription",
        }
    }

    pub(in crate::reshard) fn parse(text: &str) -> Option<Self> {
        [Self::Publication, Self::Slot, Self::Subscription].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Whether an object is on a shard.
pub(super) async fn exists(side: &mut MoveSide, kind: ObjectKind, name: &str) -> Result<bool, MoveError> {
    let sql = match kind {
        ObjectKind::Publication => include_str!("../../../sql/reshard/has_publication.sql"),
        ObjectKind::Slot => include_str!("../../../sql/reshard/has_slot.sql"),
        ObjectKind::Subscription => include_str!("../../../sql/reshard/has_subscription.sql"),
    };
    let failed = side.failed();
    sqlx::query_scalar(sql).bind(name).fetch_one(&mut side.db).await.map_err(failed)
}

/// Records an object that is to be made.
pub(super) async fn record(
    lease: &CoordinatorLease,
    slot_move: &SlotMove,
    side: &MoveSide,
    kind: ObjectKind,
    name: &str,
) -> Result<(), MoveError> {
    let statement = sqlx::query(include_str!("../../../sql/reshard/add_object.sql"));
    let statement = statement.bind(slot_move.id).bind(side.id().to_sql()).bind(kind.as_str()).bind(name);
    statement.execute(&mut *lease.db().await).await.map(drop).map_err(|_| MoveError::Overtaken)
}

/// Makes the publication and the slot of a stream, if they are missing. The slot is made before the copy begins, by a
/// statement of its own: a subscription that makes its slot itself waits for ever where both shards are on one server.
pub(super) async fn make_slot(
    lease: &CoordinatorLease,
    slot_move: &SlotMove,
    name: &str,
    from: &mut MoveSide,
    direction: Direction,
) -> Result<(), MoveError> {
    record(lease, slot_move, from, ObjectKind::Publication, name).await?;
    if !exists(from, ObjectKind::Publication, name).await? {
        from.run(compose::create_publication(name, slot_move.id, direction, &slot_move.slots)).await?;
    }
    record(lease, slot_move, from, ObjectKind::Slot, name).await?;
    if !exists(from, ObjectKind::Slot, name).await? {
        let failed = from.failed();
        let statement = sqlx::query(include_str!("../../../sql/reshard/create_slot.sql")).bind(name);
        statement.execute(&mut from.db).await.map_err(failed)?;
    }
    Ok(())
}

/// Makes what the reverse stream lacks. The stream waits for [`start_reverse`].
pub(in crate::reshard) async fn make_reverse(
    lease: &CoordinatorLease,
    slot_move: &SlotMove,
    name: &str,
    sides: &mut MoveSides,
) -> Result<(), MoveError> {
    let (from, to) = sides.along(Direction::Reverse);
    make_slot(lease, slot_move, name, from, Direction::Reverse).await?;
    record(lease, slot_move, to, ObjectKind::Subscription, name).await?;
    if !exists(to, ObjectKind::Subscription, name).await? {
        let url = from.shard.options().secret_subscription_url();
        to.run(compose::create_subscription(name, &url, name)).await?;
    }
    Ok(())
}

/// Stops a subscription. False while a worker of it still runs.
pub(in crate::reshard) async fn pause_subscription(to: &mut MoveSide, name: &str) -> Result<bool, MoveError> {
    let [disable, ..] = compose::drop_subscription(name);
    to.run(disable).await?;
    let failed = to.failed();
    let statement = sqlx::query_scalar(include_str!("../../../sql/reshard/has_worker.sql")).bind(name);
    let has_worker: bool = statement.fetch_one(&mut to.db).await.map_err(failed)?;
    Ok(!has_worker)
}

/// How often the target refused something of the stream.
pub(in crate::reshard) async fn count_refusals(to: &mut MoveSide, name: &str) -> Result<i64, MoveError> {
    let failed = to.failed();
    let statement = sqlx::query_scalar(include_str!("../../../sql/reshard/count_refusals.sql")).bind(name);
    statement.fetch_optional(&mut to.db).await.map(Option::unwrap_or_default).map_err(failed)
}

/// Begins the reverse stream at the place of the new owner's log at which the new owner took the slots: earlier rows
/// are the copy.
///
/// Both the slot and the reader get the place. The slot's place is not safe from a crash of its server until the next
/// checkpoint; the reader's place is.
pub(in crate::reshard) async fn start_reverse(
    name: &str,
    slot_move: &SlotMove,
    sides: &mut MoveSides,
) -> Result<(), MoveError> {
    let (from, to) = sides.along(Direction::Reverse);
    let (on_from, on_to) = (from.failed(), to.failed());
    let taken: Option<String> = sqlx::query_scalar(include_str!("../../../sql/reshard/find_taken_position.sql"))
        .bind(slot_move.id)
        .fetch_optional(&mut from.db)
        .await
        .map(Option::flatten)
        .map_err(&on_from)?;
    let Some(taken) = taken else {
        return Err(MoveError::Refused("it is not known where the new owner's log was at the cutover".to_owned()));
    };
    let statement = sqlx::query(include_str!("../../../sql/reshard/advance_reader.sql")).bind(name).bind(&taken);
    statement.execute(&mut to.db).await.map_err(on_to)?;
    let statement = sqlx::query(include_str!("../../../sql/reshard/advance_slot.sql")).bind(name).bind(&taken);
    statement.execute(&mut from.db).await.map_err(on_from)?;
    to.run(compose::enable_subscription(name)).await
}

/// Skips log that the reverse stream will not need, so that the stream begins quickly. Until the cutover all writes of
/// the moving slots are on the source.
pub(in crate::reshard) async fn skip_old_log(name: &str, from: &mut MoveSide) -> Result<(), MoveError> {
    let failed = from.failed();
    let statement = sqlx::query(include_str!("../../../sql/reshard/advance_slot_to_now.sql")).bind(name);
    statement.execute(&mut from.db).await.map(drop).map_err(failed)
}

/// How much of the server's log the slot keeps from being removed; `None` if the server has already dropped the slot.
pub(in crate::reshard) async fn measure_kept_log(name: &str, from: &mut MoveSide) -> Result<Option<i64>, MoveError> {
    let failed = from.failed();
    let statement = sqlx::query_scalar(include_str!("../../../sql/reshard/measure_kept_log.sql")).bind(name);
    statement.fetch_optional(&mut from.db).await.map(Option::flatten).map_err(failed)
}

/// Removes one object, if it is still there, and its record.
pub(in crate::reshard) async fn remove_object(
    lease: &CoordinatorLease,
    side: &mut MoveSide,
    kind: ObjectKind,
    name: &str,
) -> Result<(), MoveError> {
    match kind {
        ObjectKind::Subscription => {
            if exists(side, kind, name).await? {
                for step in compose::drop_subscription(name) {
                    side.run(step).await?;
                }
            }
        }
        ObjectKind::Slot => remove_slot(side, name).await?,
        ObjectKind::Publication => side.run(compose::drop_publications(name)).await?,
    }
    let statement = sqlx::query(include_str!("../../../sql/reshard/remove_object.sql"));
    let statement = statement.bind(side.id().to_sql()).bind(kind.as_str()).bind(name);
    statement.execute(&mut *lease.db().await).await.map(drop).map_err(|_| MoveError::Overtaken)
}

/// The number of a subscription, which is part of the names of its copying slots.
pub(super) async fn subscription_number(side: &mut MoveSide, name: &str) -> Result<Option<i64>, MoveError> {
    let failed = side.failed();
    let statement = sqlx::query_scalar(include_str!("../../../sql/reshard/find_subscription.sql")).bind(name);
    statement.fetch_optional(&mut side.db).await.map_err(failed)
}

/// Removes a slot, and ends its reader: the subscription of the slot is gone or has been replaced.
pub(super) async fn remove_slot(side: &mut MoveSide, name: &str) -> Result<(), MoveError> {
    let until = Instant::now() + SLOT_LIMIT;
    while exists(side, ObjectKind::Slot, name).await? {
        let failed = side.failed();
        // The first statement does nothing while a reader is connected; the second one ends the reader.
        let statement = sqlx::query(include_str!("../../../sql/reshard/drop_slot.sql")).bind(name);
        statement.execute(&mut side.db).await.map_err(&failed)?;
        let statement = sqlx::query(include_str!("../../../sql/reshard/end_slot_reader.sql")).bind(name);
        statement.execute(&mut side.db).await.map_err(&failed)?;
        if Instant::now() >= until {
            return Err(MoveError::Late("removing a replication slot"));
        }
        tokio::time::sleep(SOON * 20).await;
    }
    Ok(())
}

/// Sends a heartbeat into the stream.
pub(in crate::reshard) async fn send_heartbeat(
    from: &mut MoveSide,
    slot_move: &SlotMove,
    direction: Direction,
) -> Result<i64, MoveError> {
    let failed = from.failed();
    let statement = sqlx::query_scalar(include_str!("../../../sql/reshard/send_heartbeat.sql"))
        .bind(slot_move.id)
        .bind(direction.as_str());
    statement.fetch_one(&mut from.db).await.map_err(failed)
}

/// Waits until the heartbeat has arrived, and with it every earlier commit; false at the deadline.
pub(in crate::reshard) async fn await_heartbeat(
    to: &mut MoveSide,
    slot_move: &SlotMove,
    direction: Direction,
    beat: i64,
    until: Instant,
) -> Result<bool, MoveError> {
    let failed = to.failed();
    let mut pause = SOON;
    loop {
        let arrived: Option<i64> = sqlx::query_scalar(include_str!("../../../sql/reshard/read_heartbeat.sql"))
            .bind(slot_move.id)
            .bind(direction.as_str())
            .fetch_one(&mut to.db)
            .await
            .map_err(&failed)?;
        if arrived.is_some_and(|arrived| arrived >= beat) {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(SOON * 8);
    }
}

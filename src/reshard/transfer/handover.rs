//! The handover: ownership of the slots goes from one shard of the move to the other.
//!
//! | step | where | a crash after the step leaves |
//! |---|---|---|
//! | writes to the slots are frozen | owner | no writes to the slots until the freeze ends |
//! | earlier writers have ended; their rows have arrived; changes are compared | both | the same |
//! | **the new owner takes the slots** with their counts, and freezes writes too | new owner | **no way but forward**: both shards own the slots, without writes |
//! | the old owner gives the slots up | old owner | the new owner alone owns the slots, without writes |
//! | the write freeze ends | new owner | done |
//!
//! Before the third step each fault, or too long a wait, ends the freeze and changes nothing. Reads go on all the time:
//! between the third and the fourth step both shards answer alike, as nobody writes. All other slots notice nothing.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;
use sqlx::Connection;
use tokio::time::Instant;

use super::direction::Direction;
use super::side::{MoveSide, MoveSides};
use super::stream::{await_heartbeat, send_heartbeat};
use super::tables::{CountTables, counted};
use super::verify::{OwnerCommits, compare_changes};
use super::{compose, outbox_drained};
use crate::reshard::coordinate::slot_move::SlotMove;
use crate::reshard::coordinate::testing::TestStop;
use crate::reshard::error::MoveError;
use crate::shard::{VIEW_LEASE, VIEW_SETTLE};

/// Margin for clocks that run at different speeds.
const MARGIN: Duration = Duration::from_millis(10);
/// How long a rehearsal, or a resumed handover, may wait for a lock.
const REHEARSAL_LIMIT: Duration = Duration::from_secs(2);
/// SQLSTATE.
const LOCK_NOT_AVAILABLE: &str = "55P03";

const FREEZE: &str = include_str!("../../../sql/reshard/freeze_slots.sql");

/// Rows of each slot and their bytes in digits, for each table that counts them.
type SlotTotals = Vec<(CountTables, Vec<(i32, i64, String)>)>;

/// What the old owner hands over with the slots.
struct HandedState {
    totals: SlotTotals,
    /// The number of the newest change; changes of the slots get larger numbers at the new owner.
    newest_version: i64,
}

/// The epochs under which the slots change hands.
struct HandoverEpochs {
    /// The epoch of each slot at its old owner, in the order of the slots; `None`: not known.
    before: Option<Vec<i64>>,
    /// The epoch of all slots at the new owner.
    next: i64,
}

/// Where the time of a write freeze went, for the move's events.
struct FreezeClock {
    last: Instant,
    parts: String,
}

impl FreezeClock {
    fn new() -> Self {
        Self { last: Instant::now(), parts: String::new() }
    }

    /// Ends a part.
    fn lap(&mut self, part: &str) {
        let now = Instant::now();
        let separator = if self.parts.is_empty() { "" } else { ", " };
        let _ = write!(self.parts, "{separator}{part} {}", (now - self.last).as_millis()); // a String takes it all
        self.last = now;
    }
}

/// The outcome of an attempt.
#[derive(Debug)]
pub(in crate::reshard) enum HandoverOutcome {
    /// The other side owns the slots; the length of the write freeze, and its parts.
    Done(Duration, String),
    /// Nothing has changed; the reason, and the length of the write freeze.
    Undone(Cow<'static, str>, Duration),
}

/// Tries to hand the slots of a move over. The write freeze lasts for `limit` at most until the old owner gives the
/// slots up.
///
/// # Errors
/// If a statement failed. The state of the handover is not known then, and [`resume`] finds out, with a new token.
pub(in crate::reshard) async fn hand_over(
    slot_move: &SlotMove,
    sides: &mut MoveSides,
    direction: Direction,
    limit: Duration,
    testing: &TestStop,
) -> Result<HandoverOutcome, MoveError> {
    let steps = direction.handover_steps();
    let (from, to) = sides.along(direction);
    if let Some(reason) = outbox_drained::find_stuck(slot_move, from).await? {
        return Ok(HandoverOutcome::Undone(reason.into(), Duration::ZERO));
    }
    let epochs = next_epochs(slot_move, from).await?;
    rehearse(slot_move, from, to, &epochs).await?;
    let (begun, mut clock) = (Instant::now(), FreezeClock::new());
    freeze_writes(slot_move, from).await?;
    clock.lap("freeze");
    testing.step(steps.frozen);
    let ready = prepare(slot_move, sides, direction, begun + limit, &mut clock).await;
    let (from, to) = sides.along(direction);
    let state = match ready {
        Ok(Ok(state)) => state,
        Ok(Err(reason)) => {
            release_writes(slot_move, from).await?;
            return Ok(HandoverOutcome::Undone(reason, begun.elapsed()));
        }
        Err(error) => {
            // A difference, or a failed statement: the owner has not changed.
            release_writes(slot_move, from).await?;
            return Err(error);
        }
    };
    let taking_since = Instant::now();
    match take_slots(slot_move, to, &epochs, &state, begun + limit).await {
        Ok(true) => {}
        Ok(false) => {
            release_writes(slot_move, from).await?;
            return Ok(HandoverOutcome::Undone("preparing the new owner took too long".into(), begun.elapsed()));
        }
        Err(error) => return Err(error),
    }
    clock.lap("taking");
    testing.step(steps.both_own);
    give_up_slots(slot_move, from, to, epochs.next).await?;
    clock.lap("giving up");
    testing.step(steps.given_up);
    if taking_since.elapsed() > VIEW_SETTLE - VIEW_LEASE - MARGIN && cache_in_use(from).await? {
        tokio::time::sleep(VIEW_LEASE).await;
    }
    release_writes(slot_move, to).await?;
    clock.lap("release");
    Ok(HandoverOutcome::Done(begun.elapsed(), clock.parts))
}

/// What must be true before the owner changes. `Err` within `Ok`: the reason why the attempt ends.
async fn prepare(
    slot_move: &SlotMove,
    sides: &mut MoveSides,
    direction: Direction,
    until: Instant,
    clock: &mut FreezeClock,
) -> Result<Result<HandedState, Cow<'static, str>>, MoveError> {
    let (from, to) = sides.along(direction);
    if !from.wait_for_writers(until).await? {
        return Ok(Err("a transaction that writes has not ended".into()));
    }
    clock.lap("writers");
    let beat = send_heartbeat(from, slot_move, direction).await?;
    let arrival = await_heartbeat(to, slot_move, direction, beat, until);
    let (state, arrived) = tokio::join!(read_state(slot_move, from), arrival);
    let state = state?;
    if !arrived? {
        return Ok(Err("the last rows did not arrive in time".into()));
    }
    clock.lap("arrival");
    if !slot_move.skip_verify {
        while compare_changes(slot_move, sides, direction, OwnerCommits::HaveArrived).await? > 0 {
            if Instant::now() >= until {
                return Ok(Err("comparing the last changes took too long".into()));
            }
        }
    }
    clock.lap("comparison");
    let (from, _) = sides.along(direction);
    if !outbox_drained::await_all(slot_move, from, until).await? {
        let reason = outbox_drained::describe(slot_move, from)
            .await?
            .unwrap_or_else(|| "events of these slots were published too late".into());
        return Ok(Err(reason.into()));
    }
    clock.lap("events");
    if Instant::now() >= until {
        return Ok(Err("it took too long".into()));
    }
    Ok(Ok(state))
}

/// The point of no return: the new owner takes the slots, with a write freeze of its own. False if a lock was not free
/// until then; nothing has changed in that case.
async fn take_slots(
    slot_move: &SlotMove,
    to: &mut MoveSide,
    epochs: &HandoverEpochs,
    state: &HandedState,
    until: Instant,
) -> Result<bool, MoveError> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Ok(false);
    }
    let failed = to.failed();
    match take_statement(slot_move, to, epochs, state, left).execute(&mut to.db).await {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(LOCK_NOT_AVAILABLE) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

type HandoverStatement = sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn take_statement(
    slot_move: &SlotMove,
    to: &MoveSide,
    epochs: &HandoverEpochs,
    state: &HandedState,
    limit: Duration,
) -> HandoverStatement {
    let columns = |(counts, totals): &(CountTables, Vec<(i32, i64, String)>)| {
        json!({
            "counts": counts.totals,
            "deltas": counts.deltas,
            "slots": totals.iter().map(|(slot, ..)| *slot).collect::<Vec<_>>(),
            "rows": totals.iter().map(|(_, rows, _)| *rows).collect::<Vec<_>>(),
            "bytes": totals.iter().map(|(.., bytes)| bytes.as_str()).collect::<Vec<_>>(),
        })
    };
    let counts: Vec<_> = state.totals.iter().map(columns).collect();
    sqlx::query(include_str!("../../../sql/reshard/take_slots.sql"))
        .bind(slot_move.id)
        .bind(slot_move.sql_slots())
        .bind(epochs.before.clone())
        .bind(to.id().to_sql())
        .bind(epochs.next)
        .bind(to.token)
        .bind(json!(counts).to_string())
        .bind(state.newest_version)
        .bind(i32::try_from(limit.as_millis()).unwrap_or(i32::MAX).max(1))
}

fn give_up_statement(slot_move: &SlotMove, from: &MoveSide, to: &MoveSide, epoch: i64) -> HandoverStatement {
    sqlx::query(include_str!("../../../sql/reshard/give_up_slots.sql"))
        .bind(slot_move.id)
        .bind(slot_move.sql_slots())
        .bind(to.id().to_sql())
        .bind(epoch)
        .bind(from.token)
}

async fn give_up_slots(slot_move: &SlotMove, from: &mut MoveSide, to: &MoveSide, epoch: i64) -> Result<(), MoveError> {
    let failed = from.failed();
    give_up_statement(slot_move, from, to, epoch).execute(&mut from.db).await.map(drop).map_err(failed)
}

/// A process that has just read the old owner may rely on that owner for the length of a lease. A process that has read
/// the new owner settles after longer than a lease. Where a cache is in use, and the two steps lay further apart than
/// the difference, the release must wait for the lease (docs/decisions/0011-cache.md).
async fn cache_in_use(from: &mut MoveSide) -> Result<bool, MoveError> {
    let failed = from.failed();
    let statement = sqlx::query_scalar(include_str!("../../../sql/reshard/cache_in_use.sql"));
    statement.fetch_one(&mut from.db).await.map_err(failed)
}

/// The epochs of the slots at their owner, and their epoch at the next owner.
async fn next_epochs(slot_move: &SlotMove, from: &mut MoveSide) -> Result<HandoverEpochs, MoveError> {
    let failed = from.failed();
    let statement =
        sqlx::query_scalar(include_str!("../../../sql/reshard/list_epochs.sql")).bind(slot_move.sql_slots());
    let before: Vec<i64> = statement.fetch_all(&mut from.db).await.map_err(failed)?;
    let next = before.iter().max().copied().unwrap_or(0) + 1;
    Ok(HandoverEpochs { before: Some(before), next })
}

/// Runs the statements of the write freeze on both shards and rolls them back. So the servers need not read and plan
/// anything for the first time while writers wait.
async fn rehearse(
    slot_move: &SlotMove,
    from: &mut MoveSide,
    to: &mut MoveSide,
    epochs: &HandoverEpochs,
) -> Result<(), MoveError> {
    let (on_from, on_to) = (from.failed(), to.failed());
    from.wait_for_writers(Instant::now()).await?;
    let state = read_state(slot_move, from).await?;
    let statement = take_statement(slot_move, to, epochs, &state, REHEARSAL_LIMIT);
    let mut trial = to.db.begin().await.map_err(&on_to)?;
    statement.execute(&mut *trial).await.map_err(&on_to)?;
    trial.rollback().await.map_err(on_to)?;
    let (freeze, give_up) =
        (sqlx::query(FREEZE).bind(slot_move.id).bind(from.token), give_up_statement(slot_move, from, to, epochs.next));
    let mut trial = from.db.begin().await.map_err(&on_from)?;
    freeze.execute(&mut *trial).await.map_err(&on_from)?;
    give_up.execute(&mut *trial).await.map_err(&on_from)?;
    trial.rollback().await.map_err(on_from)
}

/// Finds out how far an earlier coordinator came, and ends its handover: forward if the new owner has taken the slots,
/// back otherwise. `true`: the new owner owns the slots.
///
/// # Errors
/// `Refused` if a map shows what no handover leaves; otherwise the shards' errors.
pub(in crate::reshard) async fn resume(
    slot_move: &SlotMove,
    sides: &mut MoveSides,
    direction: Direction,
) -> Result<bool, MoveError> {
    let (from, to) = sides.along(direction);
    let gives = sole_owner(slot_move, from).await?.ok_or_else(|| several_owners(from))?;
    // The other side's map may be old, and name several owners, for slots that the other side does not own.
    let taken = sole_owner(slot_move, to).await?.filter(|(owner, _)| *owner == to.id().to_sql());
    let has_left = gives.0 == to.id().to_sql();
    match taken {
        _ if !has_left && gives.0 != from.id().to_sql() => return Err(several_owners(from)),
        None if !has_left => {
            release_writes(slot_move, from).await?;
            return Ok(false);
        }
        Some((_, epoch)) if !has_left => give_up_slots(slot_move, from, to, epoch).await?,
        Some(_) => {}
        // An older version of the program gave the slots up first.
        None => {
            let state = read_state(slot_move, from).await?;
            let epochs = HandoverEpochs { before: None, next: gives.1 };
            if !take_slots(slot_move, to, &epochs, &state, Instant::now() + REHEARSAL_LIMIT).await? {
                return Err(MoveError::Late("the new owner's counts"));
            }
        }
    }
    if cache_in_use(from).await? {
        tokio::time::sleep(VIEW_LEASE).await;
    }
    release_writes(slot_move, to).await?;
    Ok(true)
}

/// Releases the slots again after a cutover, if both shards name the target as their owner. The first release did not
/// wait for the target's disk, so that a crash of the target's server may have brought the write freeze back.
pub(in crate::reshard) async fn release_again(slot_move: &SlotMove, sides: &mut MoveSides) -> Result<(), MoveError> {
    let target = sides.target.id().to_sql();
    let is_target = |found: Option<(i32, i64)>| found.is_some_and(|(owner, _)| owner == target);
    if is_target(sole_owner(slot_move, &mut sides.target).await?)
        && is_target(sole_owner(slot_move, &mut sides.source).await?)
    {
        release_writes(slot_move, &mut sides.target).await?;
    }
    Ok(())
}

/// The owner of all of the move's slots, as this shard's map says, and the newest epoch; `None`: there are several.
async fn sole_owner(slot_move: &SlotMove, side: &mut MoveSide) -> Result<Option<(i32, i64)>, MoveError> {
    match side.owners(&slot_move.slots).await?.as_slice() {
        [one] => Ok(Some(*one)),
        _ => Ok(None),
    }
}

fn several_owners(side: &MoveSide) -> MoveError {
    MoveError::Refused(format!("shard {} names owners for the slots of the move that no move leaves", side.id()))
}

/// From here on the owner's database refuses writes to the slots.
async fn freeze_writes(slot_move: &SlotMove, owner: &mut MoveSide) -> Result<(), MoveError> {
    let failed = owner.failed();
    let statement = sqlx::query(FREEZE).bind(slot_move.id).bind(owner.token);
    let done = statement.execute(&mut owner.db).await.map_err(failed)?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(MoveError::Refused("the owner does not track the changes of the move any more".to_owned()))
    }
}

/// Ends the write freeze.
async fn release_writes(slot_move: &SlotMove, owner: &mut MoveSide) -> Result<(), MoveError> {
    let failed = owner.failed();
    let statement = sqlx::query(include_str!("../../../sql/reshard/release_slots.sql"));
    let statement = statement.bind(slot_move.id).bind(owner.token);
    statement.execute(&mut owner.db).await.map(drop).map_err(failed)
}

/// The owner's counts of the slots, and the number of its newest change.
async fn read_state(slot_move: &SlotMove, from: &mut MoveSide) -> Result<HandedState, MoveError> {
    let mut totals = Vec::new();
    for (_, counts) in counted() {
        let failed = from.failed();
        let statement = sqlx::query_as(sqlx::AssertSqlSafe(compose::totals(counts))).bind(slot_move.sql_slots());
        totals.push((counts, statement.fetch_all(&mut from.db).await.map_err(failed)?));
    }
    let failed = from.failed();
    let newest_version = sqlx::query_scalar(include_str!("../../../sql/reshard/read_version.sql"))
        .fetch_one(&mut from.db)
        .await
        .map_err(failed)?;
    Ok(HandedState { totals, newest_version })
}

//! Ownership changes: from the source to the target, or back.
//!
//! | step | where | a crash after it leaves |
//! |---|---|---|
//! | the slots are held | owner | nobody can write to them until they are released |
//! | the writers of before have ended; all they wrote has arrived; changes are compared | | the same |
//! | the new owner prepares its counts | new owner, not committed | the same |
//! | **the owner gives the slots up** | owner | **from here on it only goes forward**: nobody owns them |
//! | the new owner takes them, with their counts | new owner | done |
//!
//! Until the fourth step reads go on at the owner, and each fault, or too long a wait, releases the slots. Between the
//! fourth and the fifth, two statements apart, reads of these slots wait as well. All other slots notice nothing.

use std::fmt::Write as _;
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::time::Instant;

use super::side::Side;
use super::store::Move;
use super::stream::{await_beat, beat};
use super::tables::{Counts, counted};
use super::verify::compare_changes;
use super::{MoveError, Testing, compose};

const HOLD: &str = include_str!("../../sql/reshard/hold_slots.sql");

/// Rows and bytes of each slot, for each table that counts them.
type Totals = Vec<(Counts, Vec<(i32, i64, i64)>)>;

/// Where the time of a hold went, for the move's events.
struct Clock {
    last: Instant,
    parts: String,
}

impl Clock {
    fn new() -> Self {
        Self { last: Instant::now(), parts: String::new() }
    }

    /// A part is over.
    fn lap(&mut self, part: &str) {
        let now = Instant::now();
        let separator = if self.parts.is_empty() { "" } else { ", " };
        let _ = write!(self.parts, "{separator}{part} {}", (now - self.last).as_millis()); // a String takes it all
        self.last = now;
    }
}

/// What became of a try.
#[derive(Debug)]
pub(super) enum Handover {
    /// The other side owns the slots; nobody could write to them for so long, and what took it.
    Done(Duration, String),
    /// Nothing has changed; the reason, and how long the slots were held.
    Undone(&'static str, Duration),
}

/// Tries to hand the slots of a move over, holding them for `limit` at most until they are given up.
///
/// # Errors
/// If a statement failed: it is not known then what is done, and [`resume`] finds out, with a new token.
pub(super) async fn hand_over(
    job: &Move,
    from: &mut Side,
    to: &mut Side,
    forward: bool,
    limit: Duration,
    testing: &Testing,
) -> Result<Handover, MoveError> {
    rehearse(job, from, to).await?;
    let (begun, mut clock) = (Instant::now(), Clock::new());
    set_hold(job, from, true).await?;
    clock.lap("hold");
    testing.step(if forward { "held" } else { "held_back" });
    let ready = prepare(job, from, to, forward, begun + limit, &mut clock).await;
    let totals = match ready {
        Ok(Ok(totals)) => totals,
        Ok(Err(reason)) => {
            set_hold(job, from, false).await?;
            return Ok(Handover::Undone(reason, begun.elapsed()));
        }
        Err(error) => {
            // A difference, or a statement that failed: nothing has been given up.
            set_hold(job, from, false).await?;
            return Err(error);
        }
    };
    let epoch = from.owners(&job.slots).await?.into_iter().map(|(_, epoch)| epoch).max().unwrap_or(0) + 1;
    if !give(job, from, to, epoch, &totals, Some((testing, &mut clock, begun + limit))).await? {
        set_hold(job, from, false).await?;
        return Ok(Handover::Undone("preparing the new owner took too long", begun.elapsed()));
    }
    clock.lap("taking");
    Ok(Handover::Done(begun.elapsed(), clock.parts))
}

/// What must be true before the slots are given up. `Err` within `Ok`: the time is over.
async fn prepare(
    job: &Move,
    from: &mut Side,
    to: &mut Side,
    forward: bool,
    until: Instant,
    clock: &mut Clock,
) -> Result<Result<Totals, &'static str>, MoveError> {
    if !from.wait_for_writers(until).await? {
        return Ok(Err("a transaction that writes has not ended"));
    }
    clock.lap("writers");
    let beat = beat(from, job, forward).await?;
    let (totals, arrived) = tokio::join!(read_totals(job, from), await_beat(to, job, forward, beat, until));
    let totals = totals?;
    if !arrived? {
        return Ok(Err("the last rows did not arrive in time"));
    }
    clock.lap("arrival");
    if !job.skip_verify {
        while compare_changes(job, from, to, forward, true).await? > 0 {
            if Instant::now() >= until {
                return Ok(Err("comparing the last changes took too long"));
            }
        }
    }
    clock.lap("comparison");
    if Instant::now() >= until {
        return Ok(Err("it took too long"));
    }
    Ok(Ok(totals))
}

/// The point of no return, and the step behind it. False if the time was over before the first.
async fn give(
    job: &Move,
    from: &mut Side,
    to: &mut Side,
    epoch: i64,
    totals: &Totals,
    giving: Option<(&Testing, &mut Clock, Instant)>,
) -> Result<bool, MoveError> {
    let (on_from, on_to) = (from.failed(), to.failed());
    let (owner, token) = (to.id().to_sql(), to.token);
    let mut taking = to.db.begin().await.map_err(&on_to)?;
    set_counts(&mut taking, totals).await.map_err(&on_to)?;
    if let Some((testing, clock, until)) = giving {
        clock.lap("counts");
        if Instant::now() >= until {
            taking.rollback().await.map_err(on_to)?;
            return Ok(false);
        }
        leave(&mut from.db, job, owner, epoch, from.token).await.map_err(on_from)?;
        clock.lap("leaving");
        testing.step("left");
    }
    take(&mut taking, job, owner, epoch, token).await.map_err(&on_to)?;
    taking.commit().await.map_err(on_to)?;
    Ok(true)
}

/// What the new owner's counts say of the slots.
async fn set_counts(db: &mut PgConnection, totals: &Totals) -> Result<(), sqlx::Error> {
    for (counts, totals) in totals {
        let mut columns: (Vec<i32>, Vec<i64>, Vec<i64>) = Default::default();
        for (slot, rows, bytes) in totals {
            columns.0.push(*slot);
            columns.1.push(*rows);
            columns.2.push(*bytes);
        }
        sqlx::query(include_str!("../../sql/reshard/set_counts.sql"))
            .bind(counts.totals)
            .bind(counts.deltas)
            .bind(columns.0)
            .bind(columns.1)
            .bind(columns.2)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

async fn leave(db: &mut PgConnection, job: &Move, owner: i32, epoch: i64, token: i64) -> Result<(), sqlx::Error> {
    let statement = sqlx::query(include_str!("../../sql/reshard/leave_slots.sql"));
    let statement = statement.bind(job.id).bind(job.sql_slots()).bind(owner).bind(epoch).bind(token);
    statement.execute(db).await.map(drop)
}

async fn take(db: &mut PgConnection, job: &Move, owner: i32, epoch: i64, token: i64) -> Result<(), sqlx::Error> {
    let statement = sqlx::query(include_str!("../../sql/reshard/take_slots.sql"));
    let statement = statement.bind(job.id).bind(job.sql_slots()).bind(owner).bind(epoch).bind(token);
    statement.execute(db).await.map(drop)
}

/// Does on both shards, and takes back, what will be done while the slots are held, so that the servers need not read
/// and plan it for the first time while writers wait.
async fn rehearse(job: &Move, from: &mut Side, to: &mut Side) -> Result<(), MoveError> {
    let (on_from, on_to) = (from.failed(), to.failed());
    let owner = to.id().to_sql();
    from.wait_for_writers(Instant::now()).await?;
    let epoch = from.owners(&job.slots).await?.into_iter().map(|(_, epoch)| epoch).max().unwrap_or(0) + 1;
    let totals = read_totals(job, from).await?;
    let (token, own_token) = (to.token, from.token);
    let mut taking = to.db.begin().await.map_err(&on_to)?;
    set_counts(&mut taking, &totals).await.map_err(&on_to)?;
    take(&mut taking, job, owner, epoch, token).await.map_err(&on_to)?;
    taking.rollback().await.map_err(on_to)?;
    let mut leaving = from.db.begin().await.map_err(&on_from)?;
    let hold = sqlx::query(HOLD).bind(job.id).bind(own_token);
    hold.execute(&mut *leaving).await.map_err(&on_from)?;
    leave(&mut leaving, job, owner, epoch, own_token).await.map_err(&on_from)?;
    leaving.rollback().await.map_err(on_from)
}

/// Where a handover stands that somebody else began, and its end: forward if the slots were given up, back otherwise.
/// `true`: the other side owns them.
///
/// # Errors
/// `Refused` if the owner's map shows what no handover leaves; otherwise the shards' errors.
pub(super) async fn resume(job: &Move, from: &mut Side, to: &mut Side) -> Result<bool, MoveError> {
    let owners = from.owners(&job.slots).await?;
    match owners.as_slice() {
        [(owner, _)] if *owner == from.id().to_sql() => {
            set_hold(job, from, false).await?;
            Ok(false)
        }
        [(owner, epoch)] if *owner == to.id().to_sql() => {
            // Nobody could write to them since they were given up, so that the counts there are still right.
            let totals = read_totals(job, from).await?;
            let taken = to.owners(&job.slots).await?;
            if !matches!(taken.as_slice(), [(there, _)] if *there == to.id().to_sql()) {
                give(job, from, to, *epoch, &totals, None).await?;
            }
            Ok(true)
        }
        _ => Err(MoveError::Refused(format!("shard {} names several owners for the slots of the move", from.id()))),
    }
}

async fn set_hold(job: &Move, from: &mut Side, held: bool) -> Result<(), MoveError> {
    let failed = from.failed();
    let sql = if held { HOLD } else { include_str!("../../sql/reshard/release_slots.sql") };
    let done = sqlx::query(sql).bind(job.id).bind(from.token).execute(&mut from.db).await.map_err(failed)?;
    if done.rows_affected() == 1 || !held {
        Ok(())
    } else {
        Err(MoveError::Refused("the marks of the move are gone from the owner".to_owned()))
    }
}

/// What the counts of the owner say of the slots.
async fn read_totals(job: &Move, from: &mut Side) -> Result<Totals, MoveError> {
    let mut totals = Vec::new();
    for (_, counts) in counted() {
        let failed = from.failed();
        let statement = sqlx::query_as(sqlx::AssertSqlSafe(compose::totals(counts))).bind(job.sql_slots());
        totals.push((counts, statement.fetch_all(&mut from.db).await.map_err(failed)?));
    }
    Ok(totals)
}

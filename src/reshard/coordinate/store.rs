//! The statements on `shardrive.moves` of shard 0: requests, progress, events.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, FromRow, Row};
use std::num::NonZeroU32;
use std::time::Duration;
use utoipa::ToSchema;

use super::stage::MoveStage;
use crate::reshard::error::MoveError;
use crate::reshard::plan::pending_changes::find_unsettled;
use crate::reshard::plan::preflight::DiskForecast;
use crate::reshard::plan::requests::PlannedMoves;
use crate::shard::{ShardId, Slot};

/// A move of slots from one shard to another.
#[derive(Clone, Debug)]
pub struct SlotMove {
    /// Its number.
    pub id: i64,
    /// Why: `move`, `drain`, `rebalance`.
    pub kind: String,
    /// The owner at its beginning.
    pub source: ShardId,
    /// The owner at its end.
    pub target: ShardId,
    /// What moves, in order.
    pub slots: Vec<Slot>,
    /// Where it is.
    pub stage: MoveStage,
    /// Where the clean-up leads.
    pub outcome: Option<MoveStage>,
    /// Why it failed, or ended by itself.
    pub reason: Option<String>,
    /// What somebody asked for that has not been done yet.
    pub wish: Option<MoveRequest>,
    /// True if somebody asked explicitly not to compare the rows.
    pub skip_verify: bool,
    /// How long the way back stays armed, in milliseconds.
    pub keep_ms: i64,
    /// Rows that the copy may bring in a second; `None`: as many as it can.
    pub copy_rate: Option<i32>,
    /// Rows of the slots when the move was made.
    pub total_rows: i64,
    /// Their bytes.
    pub total_bytes: i64,
    /// Rows that have arrived.
    pub copied_rows: i64,
    /// Rows that have been compared.
    pub verified_rows: i64,
    /// True once all rows have been compared.
    pub verified: bool,
    /// How long a row takes from the owner to the other shard, measured last.
    pub lag_ms: Option<i64>,
    /// How often ownership was tried to be changed.
    pub flips_tried: i32,
    /// How long nobody could write to the slots when ownership changed, in milliseconds.
    pub hold_ms: Option<f64>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When something of it changed last.
    pub updated_at: DateTime<Utc>,
    /// When the target became the owner.
    pub flipped_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// What may be asked of a move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MoveRequest {
    /// End it before the flip, as if it had never been.
    Cancel,
    /// Take the flip back.
    RollBack,
    /// Give up the way back and clean up.
    Finish,
}

impl MoveRequest {
    /// Its word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::RollBack => "rollback",
            Self::Finish => "finish",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Cancel, Self::RollBack, Self::Finish].into_iter().find(|wish| wish.as_str() == text)
    }

    /// The stage at which a move ends for which it was fulfilled.
    #[must_use]
    pub fn end(self) -> MoveStage {
        match self {
            Self::Cancel => MoveStage::Cancelled,
            Self::RollBack => MoveStage::RolledBack,
            Self::Finish => MoveStage::Done,
        }
    }

    /// The stages in which it can be fulfilled.
    #[must_use]
    pub fn stages(self) -> &'static [MoveStage] {
        match self {
            Self::Cancel => {
                &[MoveStage::Plan, MoveStage::Preflight, MoveStage::Copy, MoveStage::CatchUp, MoveStage::Verify]
            }
            Self::RollBack | Self::Finish => &[MoveStage::Watch],
        }
    }
}

/// Something that happened in a move.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MoveEvent {
    /// When.
    pub at: DateTime<Utc>,
    /// In which stage.
    pub stage: String,
    /// What.
    pub what: String,
}

/// A move that is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewMove {
    /// Why.
    pub kind: &'static str,
    /// From where.
    pub source: ShardId,
    /// To where.
    pub target: ShardId,
    /// What.
    pub slots: Vec<Slot>,
    /// Their rows and bytes, as counted.
    pub rows: i64,
    /// See `rows`.
    pub bytes: i64,
    /// What they take on the target's disk, and what is free there.
    pub disk: DiskForecast,
}

fn unreadable(column: &str) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: "not a value of this program".into() }
}

impl FromRow<'_, PgRow> for SlotMove {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let shard = |column| ShardId::from_sql(row.try_get(column)?).ok_or_else(|| unreadable(column));
        let slots: Option<Vec<Slot>> = row.try_get::<Vec<i32>, _>("slots")?.into_iter().map(Slot::from_sql).collect();
        // The comparison of rows relies on their order.
        let slots = slots.map(|mut slots| {
            slots.sort_unstable();
            slots
        });
        let stage = MoveStage::parse(row.try_get("stage")?).ok_or_else(|| unreadable("stage"))?;
        Ok(Self {
            id: row.try_get("id")?,
            kind: row.try_get("kind")?,
            source: shard("source")?,
            target: shard("target")?,
            slots: slots.ok_or_else(|| unreadable("slots"))?,
            stage,
            outcome: row.try_get::<Option<&str>, _>("outcome")?.and_then(MoveStage::parse),
            reason: row.try_get("reason")?,
            wish: row.try_get::<Option<&str>, _>("wish")?.and_then(MoveRequest::parse),
            skip_verify: row.try_get("skip_verify")?,
            keep_ms: row.try_get("keep_ms")?,
            copy_rate: row.try_get("copy_rate")?,
            total_rows: row.try_get("total_rows")?,
            total_bytes: row.try_get("total_bytes")?,
            copied_rows: row.try_get("copied_rows")?,
            verified_rows: row.try_get("verified_rows")?,
            verified: row.try_get("verified")?,
            lag_ms: row.try_get("lag_ms")?,
            flips_tried: row.try_get("flips_tried")?,
            hold_ms: row.try_get("hold_ms")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            flipped_at: row.try_get("flipped_at")?,
            ended_at: row.try_get("ended_at")?,
        })
    }
}

impl SlotMove {
    /// The slots as PostgreSQL takes them.
    pub(in crate::reshard) fn sql_slots(&self) -> Vec<i32> {
        self.slots.iter().map(|slot| slot.to_sql()).collect()
    }
}

/// The moves that have not ended, oldest first.
pub(in crate::reshard) async fn open_moves(db: &mut PgConnection) -> Result<Vec<SlotMove>, sqlx::Error> {
    sqlx::query_as(include_str!("../../../sql/reshard/list_open_moves.sql")).fetch_all(db).await
}

/// The latest moves, newest first.
pub(in crate::reshard) async fn latest_moves(db: &mut PgConnection, limit: i64) -> Result<Vec<SlotMove>, sqlx::Error> {
    sqlx::query_as(include_str!("../../../sql/reshard/list_moves.sql")).bind(limit).fetch_all(db).await
}

/// One move and its events.
pub(in crate::reshard) async fn find_move(
    db: &mut PgConnection,
    id: i64,
) -> Result<Option<(SlotMove, Vec<MoveEvent>)>, sqlx::Error> {
    let found: Option<SlotMove> =
        sqlx::query_as(include_str!("../../../sql/reshard/find_move.sql")).bind(id).fetch_optional(&mut *db).await?;
    let Some(found) = found else { return Ok(None) };
    let rows: Vec<(DateTime<Utc>, String, String)> =
        sqlx::query_as(include_str!("../../../sql/reshard/list_events.sql")).bind(id).fetch_all(db).await?;
    let events = rows.into_iter().map(|(at, stage, what)| MoveEvent { at, stage, what });
    Ok(Some((found, events.collect())))
}

/// Notes that something happened.
pub(super) async fn add_event(db: &mut PgConnection, id: i64, stage: MoveStage, what: &str) -> Result<(), sqlx::Error> {
    let statement = sqlx::query(include_str!("../../../sql/reshard/add_event.sql"));
    statement.bind(id).bind(stage.as_str()).bind(what).execute(db).await.map(drop)
}

/// A move that has not ended and has one of these slots, and which.
pub(in crate::reshard) async fn find_overlap(
    db: &mut PgConnection,
    slots: &[i32],
) -> Result<Option<(i64, i32)>, sqlx::Error> {
    sqlx::query_as(include_str!("../../../sql/reshard/find_overlap.sql")).bind(slots).fetch_optional(db).await
}

/// What to tell of a slot that is in another move.
pub(in crate::reshard) fn describe_overlap((id, slot): (i64, i32)) -> String {
    format!("slot {slot} is part of move {id}, which has not ended")
}

/// Creates the moves of a plan, all or none. `Err` within `Ok`: which open move is in the way.
pub(in crate::reshard) async fn create_moves(
    db: &mut PgConnection,
    planned: &PlannedMoves,
    options: MoveOptions,
) -> Result<Result<Vec<i64>, String>, sqlx::Error> {
    let keep = i64::try_from(options.keep.as_millis()).unwrap_or(i64::MAX);
    let mut transaction = db.begin().await?;
    sqlx::query(include_str!("../../../sql/reshard/lock_moves.sql")).execute(&mut *transaction).await?;
    if let Some(reason) = find_unsettled(planned.scope, &open_moves(&mut transaction).await?) {
        return Ok(Err(reason));
    }
    let mut ids = Vec::new();
    for new in &planned.moves {
        let slots: Vec<i32> = new.slots.iter().map(|slot| slot.to_sql()).collect();
        if let Some(overlap) = find_overlap(&mut transaction, &slots).await? {
            return Ok(Err(describe_overlap(overlap)));
        }
        let id: i64 = sqlx::query_scalar(include_str!("../../../sql/reshard/insert_move.sql"))
            .bind(new.kind)
            .bind(new.source.to_sql())
            .bind(new.target.to_sql())
            .bind(&slots)
            .bind(keep)
            .bind(options.skip_verify)
            .bind(new.rows)
            .bind(new.bytes)
            .bind(options.copy_rate.and_then(|rate| i32::try_from(rate.get()).ok()))
            .fetch_one(&mut *transaction)
            .await?;
        let what = format!("{} slots of shard {} are to go to shard {}", slots.len(), new.source, new.target);
        add_event(&mut transaction, id, MoveStage::Plan, &what).await?;
        ids.push(id);
    }
    transaction.commit().await?;
    Ok(Ok(ids))
}

/// Notes a wish; false if the move cannot fulfil it any more, or not yet.
pub(in crate::reshard) async fn save_request(
    db: &mut PgConnection,
    id: i64,
    wish: MoveRequest,
) -> Result<bool, sqlx::Error> {
    let stages: Vec<_> = wish.stages().iter().map(|stage| stage.as_str()).collect();
    let statement = sqlx::query(include_str!("../../../sql/reshard/set_wish.sql"));
    let done = statement.bind(id).bind(wish.as_str()).bind(stages).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// A move that the coordinator drives, and the coordinator's session to write its state by: when the session is lost,
/// nothing can be written any more.
impl super::lease::CoordinatorLease {
    /// Moves on to another stage, which ends the request that the step fulfils. False, and nothing changes, if an operator has
    /// asked for something else since the move was read: the next step is to see it first. As one statement does both, a
    /// coordinator that dies here neither loses a request nor passes one over.
    pub(super) async fn set_stage(&self, job: &mut SlotMove, stage: MoveStage, what: &str) -> Result<bool, MoveError> {
        let mut db = self.db().await;
        let mut transaction = db.begin().await.map_err(|_| MoveError::Overtaken)?;
        let ended = async {
            let changed = sqlx::query(include_str!("../../../sql/reshard/set_stage.sql"))
                .bind(job.id)
                .bind(stage.as_str())
                .bind(job.outcome.map(MoveStage::as_str))
                .bind(job.reason.as_deref())
                .bind(job.wish.map(MoveRequest::as_str))
                .execute(&mut *transaction)
                .await?;
            if changed.rows_affected() == 0 {
                return Ok(false);
            }
            add_event(&mut transaction, job.id, stage, what).await?;
            transaction.commit().await.map(|()| true)
        };
        // Whatever the error was, without the session there is no lease.
        if !ended.await.map_err(|_: sqlx::Error| MoveError::Overtaken)? {
            return Ok(false);
        }
        log::info!("move {}: {}: {what}", job.id, stage.as_str());
        (job.stage, job.wish) = (stage, None);
        Ok(true)
    }

    /// Notes how far it is.
    pub(super) async fn save_progress(&self, job: &SlotMove) -> Result<(), MoveError> {
        let statement = sqlx::query(include_str!("../../../sql/reshard/set_progress.sql"))
            .bind(job.id)
            .bind(job.copied_rows)
            .bind(job.verified_rows)
            .bind(job.verified)
            .bind(job.lag_ms)
            .bind(job.flips_tried)
            .bind(job.hold_ms);
        statement.execute(&mut *self.db().await).await.map(drop).map_err(|_| MoveError::Overtaken)
    }

    /// Notes an event without another stage.
    pub(in crate::reshard) async fn note(&self, job: &SlotMove, what: &str) -> Result<(), MoveError> {
        log::info!("move {}: {what}", job.id);
        add_event(&mut *self.db().await, job.id, job.stage, what).await.map_err(|_| MoveError::Overtaken)
    }
}

/// How a move is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MoveOptions {
    /// How long the way back stays armed after the flip.
    pub keep: Duration,
    /// Do not compare the rows.
    pub skip_verify: bool,
    /// Rows that the copy may bring in a second; `None`: as many as it can.
    pub copy_rate: Option<NonZeroU32>,
}

impl Default for MoveOptions {
    fn default() -> Self {
        Self { keep: Duration::from_mins(10), skip_verify: false, copy_rate: None }
    }
}

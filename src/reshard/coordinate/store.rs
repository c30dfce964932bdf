//! The statements on `shardrive.moves` of shard 0: new moves, requests, stages, progress, events.

use chrono::{DateTime, Utc};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::lease::CoordinatorLease;
use super::slot_move::{MoveEvent, MoveRequest, SlotMove};
use super::stage::MoveStage;
use crate::reshard::error::MoveError;
use crate::reshard::plan::pending_changes::find_unsettled;
use crate::reshard::plan::planned::{MoveOptions, PlannedMoves};

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

/// Records an event of a move.
pub(super) async fn add_event(db: &mut PgConnection, id: i64, stage: MoveStage, what: &str) -> Result<(), sqlx::Error> {
    let statement = sqlx::query(include_str!("../../../sql/reshard/add_event.sql"));
    statement.bind(id).bind(stage.as_str()).bind(what).execute(db).await.map(drop)
}

/// An open move with one of these slots, and the slot.
pub(in crate::reshard) async fn find_overlap(
    db: &mut PgConnection,
    slots: &[i32],
) -> Result<Option<(i64, i32)>, sqlx::Error> {
    sqlx::query_as(include_str!("../../../sql/reshard/find_overlap.sql")).bind(slots).fetch_optional(db).await
}

/// The refusal for a slot that is in another move.
pub(in crate::reshard) fn describe_overlap((id, slot): (i64, i32)) -> String {
    format!(
        "slot {slot} is part of move {id}, which has not ended: wait for its end, or end it by cancel, rollback or finish"
    )
}

/// Creates the moves of a plan, all or none. `Err` within `Ok`: what is in the way.
pub(in crate::reshard) async fn create_moves(
    db: &mut PgConnection,
    planned: &PlannedMoves,
    options: MoveOptions,
) -> Result<Result<Vec<i64>, String>, sqlx::Error> {
    let rollback_window_ms = i64::try_from(options.rollback_window.as_millis()).unwrap_or(i64::MAX);
    let mut transaction = db.begin().await?;
    let may_start = sqlx::query_scalar(include_str!("../../../sql/reshard/try_share_setup_lock.sql"));
    if !may_start.fetch_one(&mut *transaction).await? {
        let reason =
            "\"shardrive migrate\" is changing the schema, or a shard is being added; try again when that has ended";
        return Ok(Err(reason.to_owned()));
    }
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
            .bind(rollback_window_ms)
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

/// Saves a request; false if the move cannot fulfil the request in its stage.
pub(in crate::reshard) async fn save_request(
    db: &mut PgConnection,
    id: i64,
    request: MoveRequest,
) -> Result<bool, sqlx::Error> {
    let stages: Vec<_> = request.stages().iter().map(|stage| stage.as_str()).collect();
    let statement = sqlx::query(include_str!("../../../sql/reshard/set_request.sql"));
    let done = statement.bind(id).bind(request.as_str()).bind(stages).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// The state of a move is written by the session of the lease: without the session, a coordinator can write nothing.
impl CoordinatorLease {
    /// Enters another stage, which ends the request that the step fulfils. False, and nothing changes, if an operator
    /// has made another request since the move was read: the next step must see that request first. One statement does
    /// both, so that a coordinator that dies here loses no request.
    pub(super) async fn set_stage(
        &self,
        slot_move: &mut SlotMove,
        stage: MoveStage,
        what: &str,
    ) -> Result<bool, MoveError> {
        let mut db = self.db().await;
        let mut transaction = db.begin().await.map_err(|_| MoveError::Overtaken)?;
        let ended = async {
            let changed = sqlx::query(include_str!("../../../sql/reshard/set_stage.sql"))
                .bind(slot_move.id)
                .bind(stage.as_str())
                .bind(slot_move.outcome.map(MoveStage::as_str))
                .bind(slot_move.reason.as_deref())
                .bind(slot_move.request.map(MoveRequest::as_str))
                .execute(&mut *transaction)
                .await?;
            if changed.rows_affected() == 0 {
                return Ok(false);
            }
            add_event(&mut transaction, slot_move.id, stage, what).await?;
            transaction.commit().await.map(|()| true)
        };
        // Without the session there is no lease.
        if !ended.await.map_err(|_: sqlx::Error| MoveError::Overtaken)? {
            return Ok(false);
        }
        log::info!("move {}: {}: {what}", slot_move.id, stage.as_str());
        (slot_move.stage, slot_move.request) = (stage, None);
        Ok(true)
    }

    /// Saves how far the move is.
    pub(super) async fn save_progress(&self, slot_move: &SlotMove) -> Result<(), MoveError> {
        let statement = sqlx::query(include_str!("../../../sql/reshard/set_progress.sql"))
            .bind(slot_move.id)
            .bind(slot_move.copied_rows)
            .bind(slot_move.verified_rows)
            .bind(slot_move.verified)
            .bind(slot_move.lag_ms)
            .bind(slot_move.cutover_attempts)
            .bind(slot_move.freeze_ms);
        statement.execute(&mut *self.db().await).await.map(drop).map_err(|_| MoveError::Overtaken)
    }

    /// Records an event within the stage.
    pub(in crate::reshard) async fn record_event(&self, slot_move: &SlotMove, what: &str) -> Result<(), MoveError> {
        log::info!("move {}: {what}", slot_move.id);
        add_event(&mut *self.db().await, slot_move.id, slot_move.stage, what).await.map_err(|_| MoveError::Overtaken)
    }
}

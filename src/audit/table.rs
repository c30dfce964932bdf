//! The statements on `shardrive.audit_log`.

use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::{ActionOutcome, EntryFilter, LoggedAction, NewEntry};
use crate::shard::{ShardCall, ShardId};

/// Inserts a row; without an outcome the action is about to begin.
pub(super) struct AddEntry<'a> {
    pub(super) id: Uuid,
    pub(super) entry: &'a NewEntry,
    pub(super) outcome: Option<ActionOutcome>,
    pub(super) keep_days: u16,
}

impl ShardCall for AddEntry<'_> {
    type Output = ();

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<()>, sqlx::Error> {
        let statement = sqlx::query(include_str!("../../sql/audit/insert_entry.sql"))
            .bind(self.id)
            .bind(&self.entry.actor.name)
            .bind(self.entry.actor.scope)
            .bind(self.entry.source.map(|address| address.to_string()))
            .bind(self.entry.request_id.as_deref())
            .bind(self.entry.act.as_str())
            .bind(Json(&self.entry.details.0))
            .bind(self.outcome.map_or("begun", ActionOutcome::as_str))
            .bind(self.outcome.and_then(ActionOutcome::problem_code))
            .bind(i32::from(self.keep_days));
        statement.execute(connection).await?;
        Ok(Some(()))
    }
}

/// Stores how an action ended.
pub(super) struct EndEntry {
    pub(super) id: Uuid,
    pub(super) outcome: ActionOutcome,
}

impl ShardCall for EndEntry {
    type Output = ();

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<()>, sqlx::Error> {
        let statement = sqlx::query(include_str!("../../sql/audit/set_outcome.sql"))
            .bind(self.id)
            .bind(self.outcome.as_str())
            .bind(self.outcome.problem_code());
        statement.execute(connection).await?;
        Ok(Some(()))
    }
}

/// Reads a page.
pub(super) struct ListEntries<'a> {
    pub(super) filter: &'a EntryFilter,
    pub(super) limit: i64,
}

impl ShardCall for ListEntries<'_> {
    type Output = Vec<LoggedAction>;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<Vec<LoggedAction>>, sqlx::Error> {
        let EntryFilter { before, since, act, actor } = self.filter;
        let rows = sqlx::query_as(include_str!("../../sql/audit/list_entries.sql"))
            .bind(before.map(|cursor| cursor.at))
            .bind(before.map(|cursor| cursor.id))
            .bind(*since)
            .bind(act.map(|act| act.as_str()))
            .bind(actor.as_deref())
            .bind(self.limit)
            .fetch_all(connection)
            .await?;
        let entries = rows.into_iter().map(
            |(id, at, actor, scope, source, request_id, act, details, outcome, code, ended_at)| LoggedAction {
                id,
                at,
                actor,
                scope,
                source,
                request_id,
                act,
                details,
                outcome,
                code,
                ended_at,
            },
        );
        Ok(Some(entries.collect()))
    }
}

/// Deletes expired rows; returns their number.
pub(super) struct ExpireEntries {
    pub(super) batch: i64,
}

impl ShardCall for ExpireEntries {
    type Output = u64;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<u64>, sqlx::Error> {
        let statement = sqlx::query(include_str!("../../sql/audit/delete_expired.sql")).bind(self.batch);
        Ok(Some(statement.execute(connection).await?.rows_affected()))
    }
}

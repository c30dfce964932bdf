//! `Idempotency-Key`: the change and its stored outcome are one transaction, and a repeated request gets that outcome.
//!
//! ```text
//! group_commit (batches) ─┐
//! once (single calls) ────┼→ find, keep → shardrive.idempotency_keys
//! expire (background) ────┘
//! ```

mod admin;
mod expire;
mod once;

use sqlx::PgConnection;
use sqlx::postgres::PgBindIterExt;
use uuid::Uuid;

use super::call::ShardCall;
use super::cluster::routing::Cluster;
use super::error::ShardError;
use super::slot::{ShardId, Slot};

pub use admin::{AdminClaim, AdminKeys};
pub use expire::expire_in_background;
pub(crate) use once::IdempotentCall;

/// The constraint that refuses a key for the second time (`migrations/0007_idempotency.sql`).
const PRIMARY_KEY: &str = "idempotency_keys_pkey";

/// What the `Idempotency-Key` of a request comes to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RequestKey {
    /// A hash of the caller and the key.
    pub key: Uuid,
    /// A hash of what is asked for: method, path and body.
    pub request: Uuid,
}

impl RequestKey {
    /// The slot of something that may be anywhere: the same at each try, so that the next one finds the key.
    #[must_use]
    pub fn slot(&self) -> Slot {
        Slot::of_hash(self.key.as_u128())
    }
}

/// What an earlier request with the same key has done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StoredOutcome {
    request: Uuid,
    /// The shard that answered.
    pub(crate) shard: ShardId,
    /// As it was kept.
    pub(crate) outcome: String,
}

impl StoredOutcome {
    #[cfg(test)]
    pub(crate) fn new(request: Uuid, shard: ShardId, outcome: String) -> Self {
        Self { request, shard, outcome }
    }

    /// The outcome, if it is that of the same request.
    ///
    /// # Errors
    /// `KeyReused`; `Unexpected` if it cannot be read.
    pub(crate) fn outcome_of<T: serde::de::DeserializeOwned>(&self, key: &RequestKey) -> Result<T, ShardError> {
        if self.request != key.request {
            return Err(ShardError::KeyReused);
        }
        serde_json::from_str(&self.outcome)
            .map_err(|error| ShardError::Unexpected { shard: self.shard, source: sqlx::Error::Decode(error.into()) })
    }
}

/// What became of a call that is made once for its key.
#[derive(Debug)]
pub(crate) enum CallOutcome<T> {
    /// It was made now.
    Now(T),
    /// An earlier request with the key has made it, or another one.
    Before(StoredOutcome),
}

/// True if a change was refused as its key is there already. Nothing was changed.
pub(crate) fn is_key_there(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|db| db.constraint() == Some(PRIMARY_KEY))
}

/// What is kept for a key, if anything.
pub(crate) struct FindKey {
    pub(crate) slot: Slot,
    pub(crate) key: Uuid,
}

impl ShardCall for FindKey {
    type Output = Option<StoredOutcome>;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        let row: Option<(Option<Uuid>, Option<i32>, Option<String>)> =
            sqlx::query_as(include_str!("../../../sql/idempotency/find.sql"))
                .bind(self.slot.to_sql())
                .bind(self.key)
                .bind(shard.to_sql())
                .fetch_optional(connection)
                .await?;
        Ok(row.map(|(request, answered, outcome)| {
            Some(StoredOutcome { request: request?, shard: answered.and_then(ShardId::from_sql)?, outcome: outcome? })
        }))
    }
}

impl Cluster {
    /// What an earlier request with this key has done in the slot.
    ///
    /// # Errors
    /// The shard's.
    pub(crate) async fn find_key(&self, slot: Slot, key: &RequestKey) -> Result<Option<StoredOutcome>, ShardError> {
        let (_, known) = self.run(slot, &FindKey { slot, key: key.key }).await?;
        Ok(known)
    }
}

/// What is kept for each of these keys, after the database has refused one as there already: those that are too old to
/// count are freed.
pub(super) async fn find_refused(
    connection: &mut PgConnection,
    shard: ShardId,
    keys: &[(Slot, Uuid)],
) -> Result<Vec<(Slot, Uuid, StoredOutcome)>, sqlx::Error> {
    sqlx::query(include_str!("../../../sql/idempotency/free_batch.sql"))
        .bind(keys.iter().map(|(slot, _)| slot.to_sql()).bind_iter())
        .bind(keys.iter().map(|(_, key)| *key).bind_iter())
        .execute(&mut *connection)
        .await?;
    let rows: Vec<(i32, Uuid, Uuid, i32, String)> =
        sqlx::query_as(include_str!("../../../sql/idempotency/find_batch.sql"))
            .bind(keys.iter().map(|(slot, _)| slot.to_sql()).bind_iter())
            .bind(keys.iter().map(|(_, key)| *key).bind_iter())
            .bind(shard.to_sql())
            .fetch_all(connection)
            .await?;
    let known = rows.into_iter().filter_map(|(slot, key, request, answered, outcome)| {
        Some((Slot::from_sql(slot)?, key, StoredOutcome { request, shard: ShardId::from_sql(answered)?, outcome }))
    });
    Ok(known.collect())
}

//! `Idempotency-Key`: a change and its stored outcome are one transaction, and a repeated request gets the stored
//! outcome.
//!
//! ```text
//! writes (batches)      ─┐
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
use super::cluster::scatter::ScatterBreadth;
use super::coverage::SlotCoverage;
use super::error::ShardError;
use super::slot::{ShardId, Slot};

pub use admin::{AdminClaim, AdminKeys};
pub use expire::expire_in_background;
pub(crate) use once::IdempotentCall;

/// The constraint that refuses a key for the second time (`migrations/0007_idempotency.sql`).
const PRIMARY_KEY: &str = "idempotency_keys_pkey";

/// An `Idempotency-Key` and its request, each as a hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RequestKey {
    /// A hash of the caller and the key.
    pub key: Uuid,
    /// A hash of the request: method, path and body.
    pub request: Uuid,
}

impl RequestKey {
    /// The slot of a document that may be anywhere. Each try gives the same slot, so that the next try finds the key.
    #[must_use]
    pub fn slot(&self) -> Slot {
        Slot::of_hash(self.key.as_u128())
    }
}

/// The outcome of an earlier request with the same key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StoredOutcome {
    request: Uuid,
    /// The shard that answered.
    pub(crate) shard: ShardId,
    /// The outcome, as JSON.
    pub(crate) outcome: String,
}

impl StoredOutcome {
    #[cfg(test)]
    pub(crate) fn new(request: Uuid, shard: ShardId, outcome: String) -> Self {
        Self { request, shard, outcome }
    }

    /// `None` where the columns are null: nothing is stored.
    fn of_columns(request: Option<Uuid>, answered: Option<i32>, outcome: Option<String>) -> Option<Self> {
        Some(Self { request: request?, shard: ShardId::from_sql(answered?)?, outcome: outcome? })
    }

    /// The outcome, if the same request has stored the outcome.
    ///
    /// # Errors
    /// `KeyReused`; `Unexpected` if the text cannot be read.
    pub(crate) fn outcome_of<T: serde::de::DeserializeOwned>(&self, key: &RequestKey) -> Result<T, ShardError> {
        if self.request != key.request {
            return Err(ShardError::KeyReused);
        }
        serde_json::from_str(&self.outcome)
            .map_err(|error| ShardError::Unexpected { shard: self.shard, source: sqlx::Error::Decode(error.into()) })
    }
}

/// The outcome of a call that runs once for its key.
#[derive(Debug)]
pub(crate) enum CallOutcome<T> {
    /// The call was made now.
    Applied(T),
    /// An earlier request with the key was made: the same request, or another one.
    Replayed(StoredOutcome),
}

/// True if a change was refused as the table holds the key already. Nothing was changed.
pub(crate) fn is_key_there(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|db| db.constraint() == Some(PRIMARY_KEY))
}

/// Finds the stored outcome of a key.
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
        Ok(row.map(|(request, answered, outcome)| StoredOutcome::of_columns(request, answered, outcome)))
    }
}

impl Cluster {
    /// The stored outcome of an earlier request with this key in the slot.
    ///
    /// # Errors
    /// The shard's.
    pub(crate) async fn find_key(&self, slot: Slot, key: &RequestKey) -> Result<Option<StoredOutcome>, ShardError> {
        let (_, known) = self.run(slot, &FindKey { slot, key: key.key }).await?;
        Ok(known)
    }
}

/// Searches the slots of a shard for the stored outcome of a key.
struct SearchKey<'a>(&'a RequestKey);

/// One shard's answer.
struct KeySearch {
    coverage: SlotCoverage,
    known: Option<StoredOutcome>,
}

impl ShardCall for SearchKey<'_> {
    type Output = KeySearch;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<KeySearch>, sqlx::Error> {
        type Row = (i64, i64, i64, Option<Uuid>, Option<i32>, Option<String>);
        let (slots, digest, other_digest, request, answered, outcome): Row =
            sqlx::query_as(include_str!("../../../sql/idempotency/search.sql"))
                .bind(shard.to_sql())
                .bind(self.0.key)
                .bind(self.0.request)
                .fetch_one(connection)
                .await?;
        let coverage = SlotCoverage { slots, digest, other_digest };
        Ok(Some(KeySearch { coverage, known: StoredOutcome::of_columns(request, answered, outcome) }))
    }
}

impl Cluster {
    /// The stored outcome of an earlier request with this key, wherever it is: of the same request if there is one.
    /// Asks every shard.
    ///
    /// # Errors
    /// The first shard's that did not answer; `Moving` if the answers cover not every slot once.
    pub(crate) async fn search_key(&self, key: &RequestKey) -> Result<Option<StoredOutcome>, ShardError> {
        let (limits, breadth) = (self.scatter_limits(), ScatterBreadth::All);
        let call = SearchKey(key);
        let scattered = self.scatter_until_covered(breadth, &call, limits, |answer| answer.coverage).await;
        let mut found: Option<StoredOutcome> = None;
        for (_, answer) in scattered.answers {
            let Some(known) = answer?.and_then(|answer| answer.known) else { continue };
            if found.is_none() || known.request == key.request {
                found = Some(known);
            }
        }
        if scattered.is_covered { Ok(found) } else { Err(ShardError::Moving) }
    }
}

/// What a shard has of the keys of a batch.
pub(crate) struct KeysThere {
    /// The keys with a stored outcome.
    pub(crate) known: Vec<(Slot, Uuid, StoredOutcome)>,
    /// The slots that the shard does not own. Until a move's clean-up the former owner has the keys of such a slot, and
    /// refuses them before the guard sees the slot.
    pub(crate) foreign: Vec<Slot>,
}

/// Looks for these keys, after the database has refused one of the keys. Keys that are too old to count are freed.
pub(crate) async fn find_refused(
    connection: &mut PgConnection,
    keys: &[(Slot, Uuid)],
) -> Result<KeysThere, sqlx::Error> {
    sqlx::query(include_str!("../../../sql/idempotency/free_batch.sql"))
        .bind(keys.iter().map(|(slot, _)| slot.to_sql()).bind_iter())
        .bind(keys.iter().map(|(_, key)| *key).bind_iter())
        .execute(&mut *connection)
        .await?;
    type Row = (i32, Uuid, Option<Uuid>, Option<i32>, Option<String>);
    let rows: Vec<Row> = sqlx::query_as(include_str!("../../../sql/idempotency/find_batch.sql"))
        .bind(keys.iter().map(|(slot, _)| slot.to_sql()).bind_iter())
        .bind(keys.iter().map(|(_, key)| *key).bind_iter())
        .fetch_all(connection)
        .await?;
    let mut there = KeysThere { known: Vec::new(), foreign: Vec::new() };
    for (slot, key, request, answered, outcome) in rows {
        let Some(slot) = Slot::from_sql(slot) else { continue };
        match StoredOutcome::of_columns(request, answered, outcome) {
            Some(known) => there.known.push((slot, key, known)),
            None => there.foreign.push(slot),
        }
    }
    Ok(there)
}

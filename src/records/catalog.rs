//! The catalogue of collections: every shard has the whole list, and a process keeps a copy that only grows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sqlx::PgConnection;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{BuiltIn, Collection, CollectionName, KeyType, RecordError, RecordsPerKey};
use crate::shard::{Cluster, Shard, ShardCall, ShardError, ShardId};

/// How long a shard may take for the list.
const DEADLINE: Duration = Duration::from_secs(2);
/// How often the shards are asked for an unknown name at most: nonsense must not cost a question to every shard each
/// time.
const ASK_AGAIN: Duration = Duration::from_secs(1);

type ReadCollections = BTreeMap<CollectionName, Arc<Collection>>;

/// The collections that this process knows.
pub(super) struct CollectionCatalog {
    cluster: Arc<Cluster>,
    known: ArcSwap<ReadCollections>,
    read_at: Mutex<Option<Instant>>,
}

impl CollectionCatalog {
    pub(super) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, known: ArcSwap::default(), read_at: Mutex::default() }
    }

    /// All collections, in the order of their names.
    pub(super) fn all(&self) -> Vec<Arc<Collection>> {
        self.known.load().values().cloned().collect()
    }

    /// The collection of this name. Another process may have declared the collection a moment ago, so the shards are
    /// asked before the answer is `NoCollection`.
    pub(super) async fn get(&self, name: &CollectionName) -> Result<Arc<Collection>, RecordError> {
        if let Some(found) = self.known.load().get(name.as_str()) {
            return Ok(Arc::clone(found));
        }
        self.refresh(ASK_AGAIN).await?;
        self.known.load().get(name.as_str()).cloned().ok_or_else(|| RecordError::NoCollection(name.clone()))
    }

    /// A collection that every shard has from the start.
    pub(super) async fn built_in(&self, which: BuiltIn) -> Result<Arc<Collection>, RecordError> {
        match self.known.load().get(which.name()) {
            Some(found) => Ok(Arc::clone(found)),
            None => self.get(&which.into()).await,
        }
    }

    /// Reads the lists of all shards, unless the last reading is younger than `age`. A shard that lacks a collection
    /// gets the collection: the shard was away at the declaration, or is new.
    pub(super) async fn refresh(&self, age: Duration) -> Result<(), ShardError> {
        let mut read_at = self.read_at.lock().await;
        if read_at.is_some_and(|at| at.elapsed() < age) {
            return Ok(());
        }
        let mut all = ReadCollections::clone(&self.known.load());
        let (mut lists, mut failure) = (Vec::new(), None);
        for (shard, answer) in self.cluster.scatter(&ListCollections, DEADLINE).await.answers {
            match answer {
                Ok(None) => {}
                Ok(Some(list)) => {
                    all.extend(list.iter().map(|entry| (entry.name.clone(), Arc::new(entry.clone()))));
                    lists.push((shard, list));
                }
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if lists.is_empty() => return Err(error),
            // The missing shard alone may know a collection: ask again at the next call.
            Some(_) => *read_at = None,
            None => *read_at = Some(Instant::now()),
        }
        for (shard, list) in lists {
            let held: BTreeMap<_, _> = list.iter().map(|collection| (&collection.name, collection)).collect();
            for collection in all.values().filter(|collection| held.get(&collection.name) != Some(&&***collection)) {
                if let Some(shard) = self.cluster.shard(shard) {
                    declare_on(shard, collection).await?;
                }
            }
        }
        self.known.store(Arc::new(all));
        Ok(())
    }

    /// Declares a collection on every shard; true if the collection is new. The first shard decides between two
    /// declarations that differ, so the first shard comes alone. The next reading or declaring completes a declaration
    /// that was cut off.
    ///
    /// # Errors
    /// `CollectionDiffers`, or a shard's error: every shard must be there.
    pub(super) async fn declare(&self, collection: Collection) -> Result<bool, RecordError> {
        let mut is_new = false;
        for (place, shard) in self.cluster.shards().iter().enumerate() {
            let (inserted, declared) = declare_on(shard, &collection).await?;
            if declared.as_ref() != Some(&collection) {
                return Err(RecordError::CollectionDiffers(collection.name));
            }
            is_new |= inserted && place == 0;
        }
        self.known.rcu(|known| {
            let mut all = ReadCollections::clone(known);
            all.insert(collection.name.clone(), Arc::new(collection.clone()));
            all
        });
        Ok(is_new)
    }
}

async fn declare_on(shard: &Shard, collection: &Collection) -> Result<(bool, Option<Collection>), ShardError> {
    shard.run(&DeclareCollection(collection)).await?.ok_or(ShardError::Moving)
}

struct DeclareCollection<'a>(&'a Collection);

impl ShardCall for DeclareCollection<'_> {
    /// True if the collection is new, and the collection of this name that is there now.
    type Output = (bool, Option<Collection>);

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        let done = sqlx::query(include_str!("../../sql/records/declare_collection.sql"))
            .bind(self.0.name.as_str())
            .bind(self.0.shard_key.as_deref())
            .bind(self.0.key_type.map(KeyType::as_str))
            .bind(self.0.records_per_key.as_str())
            .execute(&mut *connection)
            .await?;
        let found: Option<CollectionRow> = sqlx::query_as(include_str!("../../sql/records/find_collection.sql"))
            .bind(self.0.name.as_str())
            .fetch_optional(connection)
            .await?;
        Ok(Some((done.rows_affected() > 0, found.map(read_collection).transpose()?)))
    }
}

struct ListCollections;

impl ShardCall for ListCollections {
    type Output = Vec<Collection>;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<Vec<Collection>>, sqlx::Error> {
        list(connection).await.map(Some)
    }
}

async fn list(connection: &mut PgConnection) -> Result<Vec<Collection>, sqlx::Error> {
    let rows: Vec<CollectionRow> =
        sqlx::query_as(include_str!("../../sql/records/list_collections.sql")).fetch_all(connection).await?;
    rows.into_iter().map(read_collection).collect()
}

/// The name, the field, the type of its key, and how many documents a key has.
type CollectionRow = (String, Option<String>, Option<String>, String);

fn read_collection((name, field, key_type, per_key): CollectionRow) -> Result<Collection, sqlx::Error> {
    let broken = |why: String| sqlx::Error::Decode(format!("collection {name}: {why}").into());
    let key_type = match key_type.as_deref() {
        None => None,
        Some("integer") => Some(KeyType::Integer),
        Some("string") => Some(KeyType::String),
        Some(other) => return Err(broken(format!("unknown type of key {other}"))),
    };
    let per_key = if per_key == "many" { RecordsPerKey::Many } else { RecordsPerKey::One };
    let parsed = name.parse().map_err(|why: &str| broken(why.to_owned()))?;
    Collection::new(parsed, field.as_deref(), key_type, per_key).map_err(|fault| broken(fault.to_string()))
}

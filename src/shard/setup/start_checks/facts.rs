//! The facts of a start: the state of every database, as the database reports it.

use std::time::Duration;

use futures_util::future::join_all;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::shard::cluster::known_map::load_map;
use crate::shard::cluster::registry::{RegisteredShard, load_registry};
use crate::shard::map::SlotMap;
use crate::shard::server::fault::words_of;
use crate::shard::server::options::ShardOptions;
use crate::shard::slot::{ShardId, shard_id};

/// The oldest PostgreSQL with row filters on publications, which moves need.
pub(in crate::shard) const OLDEST_SERVER: i32 = 150_000;

/// The only encoding that holds every name, and in which a text has the same bytes on every shard.
pub(in crate::shard) const ENCODING: &str = "UTF8";

/// The state of a database, as reported by the database.
#[derive(Clone, Debug)]
pub(in crate::shard) struct DatabaseFacts {
    pub(in crate::shard) database_key: String,
    pub(in crate::shard) is_standby: bool,
    pub(in crate::shard) server_version: i32,
    /// The encoding of all texts, by PostgreSQL's name.
    pub(in crate::shard) encoding: String,
    /// True if there are tables of others.
    pub(in crate::shard) has_other_tables: bool,
    pub(in crate::shard) migrations: Vec<AppliedMigration>,
    pub(in crate::shard) identity: Option<FoundIdentity>,
    pub(in crate::shard) map: Option<SlotMap>,
    /// The addresses of the cluster's shards, as this database lists them.
    pub(in crate::shard) registry: Vec<RegisteredShard>,
    /// True if the table of files has rows.
    pub(in crate::shard) has_rows: bool,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub(in crate::shard) struct AppliedMigration {
    pub(in crate::shard) version: i64,
    pub(in crate::shard) checksum: Vec<u8>,
    pub(in crate::shard) success: bool,
    /// From the file's name.
    pub(in crate::shard) description: String,
}

impl AppliedMigration {
    /// The newest migration that a program must know in order to work on the schema after this one. A migration that
    /// only adds asks for nothing. A migration that removes what the release before last needed is named
    /// `NNNN_contract_MMMM_….sql`, and asks for migration MMMM.
    pub(super) fn required_migration(&self) -> i64 {
        let words = self.description.strip_prefix("contract ").unwrap_or_default();
        words.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub(in crate::shard) struct FoundIdentity {
    pub(in crate::shard) cluster_id: Uuid,
    pub(in crate::shard) shard_id: i32,
    pub(in crate::shard::setup) shard_count: i32,
    pub(in crate::shard) ready: bool,
}

/// The result of probing a shard's URL: the database's facts, or why there are none.
pub(in crate::shard) type DatabaseProbe = Result<DatabaseFacts, String>;

/// Probes every database, all at the same time.
pub(in crate::shard) async fn probe_all(urls: &[ShardOptions], connect_timeout: Duration) -> Vec<DatabaseProbe> {
    join_all(urls.iter().map(|options| async move {
        let probing = async {
            let mut connection = options.connect(connect_timeout).await?;
            probe_database(&mut connection).await
        };
        match tokio::time::timeout(connect_timeout * 2, probing).await {
            Ok(Ok(facts)) => Ok(facts),
            Ok(Err(error)) => Err(format!("{} ({})", options.address(), words_of(&error))),
            Err(_) => Err(format!("{} (no answer in time)", options.address())),
        }
    }))
    .await
}

async fn probe_database(connection: &mut PgConnection) -> Result<DatabaseFacts, sqlx::Error> {
    let (
        database_key,
        has_migrations,
        has_identity,
        has_files,
        is_standby,
        server_version,
        encoding,
        has_other_tables,
    ): (String, bool, bool, bool, bool, i32, String, bool) = sqlx::query_as(include_str!("../../../../sql/shard/inspect_database.sql")).fetch_one(&mut *connection).await?;
    let mut facts = DatabaseFacts {
        database_key,
        is_standby,
        server_version,
        encoding,
        has_other_tables,
        migrations: Vec::new(),
        identity: None,
        map: None,
        registry: Vec::new(),
        has_rows: false,
    };
    if has_files {
        facts.has_rows =
            sqlx::query_scalar(include_str!("../../../../sql/shard/has_rows.sql")).fetch_one(&mut *connection).await?;
    }
    if has_migrations {
        facts.migrations = sqlx::query_as(include_str!("../../../../sql/shard/list_migrations.sql"))
            .fetch_all(&mut *connection)
            .await?;
    }
    if has_identity {
        facts.identity = load_identity(connection).await?;
        facts.map = load_map(connection).await?;
        facts.registry = load_registry(connection).await?;
    }
    Ok(facts)
}

/// Probes every database, also shards that the settings do not name. Each shard lists all shards, so that a process
/// with older settings finds the shards that joined since.
pub(in crate::shard::setup) async fn probe_with_registered(
    mut urls: Vec<ShardOptions>,
    connect_timeout: Duration,
) -> (Vec<ShardOptions>, Vec<DatabaseProbe>) {
    let mut probes = probe_all(&urls, connect_timeout).await;
    let mut known: Vec<RegisteredShard> =
        reachable_shards(&probes).flat_map(|(_, facts)| facts.registry.clone()).collect();
    known.sort_by_key(|registered| registered.shard);
    let mut added = Vec::new();
    for registered in known {
        if registered.active && registered.shard.index() == urls.len() + added.len() {
            added.extend(urls.first().map(|first| first.options_for_registered(&registered.options)));
        }
    }
    probes.extend(probe_all(&added, connect_timeout).await);
    urls.extend(added);
    (urls, probes)
}

/// The database's stored identity, also while its cluster is being set up.
pub(in crate::shard) async fn load_identity(
    connection: &mut PgConnection,
) -> Result<Option<FoundIdentity>, sqlx::Error> {
    sqlx::query_as(include_str!("../../../../sql/shard/load_identity.sql")).fetch_optional(connection).await
}

/// The shard that a database is, or is about to become. `None`: it is no shard, or cannot be asked.
pub async fn shard_in(connection: &mut PgConnection) -> Option<ShardId> {
    let identity = load_identity(connection).await.ok().flatten()?;
    ShardId::from_sql(identity.shard_id)
}

/// The databases that answered, each with the number of its shard.
pub(super) fn reachable_shards(probes: &[DatabaseProbe]) -> impl Iterator<Item = (ShardId, &DatabaseFacts)> {
    probes.iter().enumerate().filter_map(|(index, probe)| Some((shard_id(index), probe.as_ref().ok()?)))
}

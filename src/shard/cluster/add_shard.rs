//! Adding a shard to a cluster that serves.
//!
//! Each step leaves a cluster that serves, and can be repeated without harm:
//!
//! 1. The first shard's list claims the number, so that a second call with the same URL gets the same number.
//! 2. The new database gets the schema, its identity and the map, in which the new shard owns nothing.
//! 3. Every shard's list names the new shard, and the shard count grows by one. Processes that read a new list begin
//!    to use the shard. The shard owns no slot, so no request goes there yet.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::registry::{load_registry, save_registry, save_shard};
use super::routing::Cluster;
use super::scatter::ScatterBreadth;
use crate::shard::map::SlotMap;
use crate::shard::server::options::ShardOptions;
use crate::shard::setup::migrate::{apply_migrations, insert_identity, lock_setup, set_ready};
use crate::shard::setup::start_checks::{ENCODING, load_identity, migrator, probe_all};
use crate::shard::slot::ShardId;

/// How long the set-up of another process may take while this one waits.
const TURN_LIMIT: Duration = Duration::from_secs(10);

/// Why a shard was not added. A second call goes on where the first stopped.
#[derive(Debug, thiserror::Error)]
pub enum GrowError {
    /// The database is unreachable or cannot become a shard. Nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// A shard of the cluster is unreachable. All shards must learn of the new one.
    #[error("shard {shard} is unreachable; a new shard can join only while all shards answer")]
    Unreachable {
        /// The unreachable shard.
        shard: ShardId,
        /// The driver's error.
        source: sqlx::Error,
    },
    /// A step failed.
    #[error("{step} failed at {address}")]
    Step {
        /// The step's name.
        step: &'static str,
        /// The server, as `host:port/database` or by the shard's number.
        address: String,
        /// The driver's error.
        source: sqlx::Error,
    },
    /// The schema could not be made.
    #[error("the migration of {address} failed")]
    Migration {
        /// The server, as `host:port/database`.
        address: String,
        /// The migrator's error.
        source: sqlx::migrate::MigrateError,
    },
}

/// The answer of [`add_shard`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JoinedShard {
    /// The shard's number.
    pub shard: ShardId,
    /// True if the database was a shard of this cluster before.
    pub was_member: bool,
}

/// Makes a database the cluster's next shard, which owns no slot yet. A database that is a shard already gives
/// `was_member`. With `dry_run`, only checks whether the database can become a shard.
///
/// # Errors
/// See [`GrowError`]. A dropped future leaves a state that the next call completes.
pub async fn add_shard(
    cluster: &Cluster,
    options: &ShardOptions,
    connect_timeout: Duration,
    dry_run: bool,
) -> Result<JoinedShard, GrowError> {
    let options = &sign_in_alike(cluster, options)?;
    let mut shards = Vec::new();
    for shard in cluster.shards() {
        let connected = shard.connect().await;
        shards.push((shard.id(), connected.map_err(|source| GrowError::Unreachable { shard: shard.id(), source })?));
    }
    let Some((_, first)) = shards.first_mut() else {
        return Err(GrowError::Refused("there is no cluster to add to".to_owned()));
    };
    let on_first = |step| move |source| GrowError::Step { step, address: "shard 0".to_owned(), source };
    // The connection holds this lock until the end of the function.
    let turn = tokio::time::timeout(TURN_LIMIT, lock_setup(first)).await;
    let turn = turn.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()));
    turn.map_err(on_first("waiting for another set-up"))?;
    let registered = load_registry(first).await.map_err(on_first("reading the list of shards"))?;
    let number = check_candidate(cluster, options, connect_timeout, &registered).await?;
    let (shard, was_there) = match number {
        ShardCandidate::Member(shard) => (shard, true),
        ShardCandidate::Next(shard) => (shard, false),
    };
    if dry_run {
        return Ok(JoinedShard { shard, was_member: was_there });
    }
    if let Some(member) = cluster.shard(shard) {
        // An earlier call may have broken off after some shards had learned of the new one.
        announce_to_all(&mut shards, shard, member.options()).await?;
        return Ok(JoinedShard { shard, was_member: was_there });
    }
    save_shard(first, shard, options, false).await.map_err(on_first("claiming a number"))?;

    let mut all: Vec<_> = cluster.shards().iter().map(|shard| shard.options().clone()).collect();
    all.push(options.clone());
    cluster.refresh_map().await;
    prepare_database(options, connect_timeout, cluster.id(), shard, &all, &cluster.map()).await?;
    announce_to_all(&mut shards, shard, options).await?;
    cluster.refresh_shards(ScatterBreadth::All).await;
    log::info!("shard {shard} at {} was added", options.address());
    Ok(JoinedShard { shard, was_member: was_there })
}

/// The options that every other process will compute from the shards' list, which holds no user and no password.
fn sign_in_alike(cluster: &Cluster, options: &ShardOptions) -> Result<ShardOptions, GrowError> {
    if let Some(member) = cluster.shards().iter().find(|shard| shard.options().shares_host_with(options)) {
        if options.has_other_credentials_than(member.options()) {
            return Err(GrowError::Refused(format!(
                "{}: is shard {} already, and this process signs in there with another user or password; \
                 docs/security.md says how to change them",
                options.address(),
                member.id(),
            )));
        }
        return Ok(member.options().clone());
    }
    let Some(first) = cluster.shards().first() else { return Ok(options.clone()) };
    let expected = first.options().options_for_registered(options);
    if options.has_other_credentials_than(&expected) {
        return Err(GrowError::Refused(format!(
            "{}: other processes would sign in with another user or password than this URL says: as to shard 0, or as their \
             SHARDRIVE_SHARD_<n>_SPARE_URL says. Give the new server that role, or name its URL in SHARDRIVE_SHARD_{}_SPARE_URL of every process first",
            options.address(),
            cluster.shards().len(),
        )));
    }
    Ok(expected)
}

enum ShardCandidate {
    Member(ShardId),
    Next(ShardId),
}

/// What this database can be in the cluster, by its own state.
async fn check_candidate(
    cluster: &Cluster,
    options: &ShardOptions,
    connect_timeout: Duration,
    registered: &[super::registry::RegisteredShard],
) -> Result<ShardCandidate, GrowError> {
    let address = options.address();
    let refused = |reason: String| Err(GrowError::Refused(format!("{address}: {reason}")));
    let mut urls: Vec<_> = cluster.shards().iter().map(|shard| shard.options().clone()).collect();
    urls.push(options.clone());
    let mut probes = probe_all(&urls, connect_timeout).await;
    let facts = match probes.pop() {
        Some(Ok(facts)) => facts,
        Some(Err(reason)) => return Err(GrowError::Refused(format!("cannot be reached: {reason}"))),
        None => return refused("was not probed".to_owned()),
    };
    if facts.server_version < crate::shard::setup::start_checks::OLDEST_SERVER {
        return refused(format!("PostgreSQL {} is too old; 15 or newer is needed", facts.server_version / 10_000));
    }
    if facts.encoding != ENCODING {
        return refused(format!("the encoding of the database is {}; create it with ENCODING 'UTF8'", facts.encoding));
    }
    if facts.is_standby {
        return refused("is a standby; name the primary".to_owned());
    }
    let same =
        probes.iter().position(|probe| probe.as_ref().is_ok_and(|known| known.database_key == facts.database_key));
    if let Some(index) = same {
        return Ok(ShardCandidate::Member(crate::shard::slot::shard_id(index)));
    }
    let next = crate::shard::slot::shard_id(cluster.shards().len());
    let claim = registered.iter().find(|entry| entry.shard == next && !entry.active);
    if let Some(claim) = claim
        && claim.options.address() != address
    {
        return refused(format!(
            "the number {next} is claimed for {}, which did not finish joining; add that database first",
            claim.options.address()
        ));
    }
    match facts.identity {
        None => {}
        Some(found) if found.cluster_id == cluster.id() && found.shard_id == next.to_sql() => {}
        Some(found) if found.cluster_id == cluster.id() => {
            return refused(format!("says that it is shard {} of this cluster", found.shard_id));
        }
        Some(_) => return refused("belongs to another cluster".to_owned()),
    }
    let known = migrator();
    if facts.migrations.iter().any(|applied| !known.iter().any(|known| known.version == applied.version)) {
        return refused("has migrations of a newer Shardrive".to_owned());
    }
    if facts.identity.is_none() && facts.has_other_tables {
        return refused("holds tables of others; a new shard needs an empty database".to_owned());
    }
    if facts.has_rows {
        return refused("its table file_metadata holds rows; a new shard must be empty".to_owned());
    }
    Ok(ShardCandidate::Next(next))
}

/// Stores schema, identity, map and list in the new database.
async fn prepare_database(
    options: &ShardOptions,
    connect_timeout: Duration,
    cluster_id: Uuid,
    shard: ShardId,
    all: &[ShardOptions],
    map: &SlotMap,
) -> Result<(), GrowError> {
    let address = options.address();
    let failed = |step| {
        let address = address.clone();
        move |source| GrowError::Step { step, address, source }
    };
    let mut connection = options.connect(connect_timeout).await.map_err(failed("connecting"))?;
    let migrated = apply_migrations(&mut connection).await;
    migrated.map_err(|source| GrowError::Migration { address: address.clone(), source })?;
    let shards = shard.to_sql() + 1;
    let mut transaction = connection.begin().await.map_err(failed("setting the identity"))?;
    insert_identity(&mut transaction, cluster_id, shard, shards).await.map_err(failed("setting the identity"))?;
    let found = load_identity(&mut transaction).await.map_err(failed("setting the identity"))?;
    if found.is_none_or(|found| (found.cluster_id, found.shard_id) != (cluster_id, shard.to_sql())) {
        return Err(GrowError::Refused(format!("{address}: has become another shard meanwhile")));
    }
    let (owners, epochs) = map.to_columns();
    sqlx::query(include_str!("../../../sql/shard/set_map.sql"))
        .bind(owners)
        .bind(epochs)
        .execute(&mut *transaction)
        .await
        .map_err(failed("copying the slot map"))?;
    save_registry(&mut transaction, all).await.map_err(failed("copying the list of shards"))?;
    set_ready(&mut transaction).await.map_err(failed("setting the identity"))?;
    transaction.commit().await.map_err(failed("setting the identity"))
}

async fn announce_to_all(
    shards: &mut [(ShardId, PgConnection)],
    shard: ShardId,
    options: &ShardOptions,
) -> Result<(), GrowError> {
    for (known, connection) in shards {
        announce_shard(connection, shard, options).await.map_err(|source| GrowError::Step {
            step: "announcing the new shard",
            address: format!("shard {known}"),
            source,
        })?;
    }
    Ok(())
}

async fn announce_shard(
    connection: &mut PgConnection,
    shard: ShardId,
    options: &ShardOptions,
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    save_shard(&mut transaction, shard, options, true).await?;
    sqlx::query(include_str!("../../../sql/shard/set_shard_count.sql"))
        .bind(shard.to_sql() + 1)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

//! Set-up: migrations, identities, and the first slot map.

use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use super::start_checks::{
    DatabaseProbe, FoundIdentity, StartError, StartFault, identity_faults, load_identity, migrator,
    probe_with_registered,
};
use crate::shard::cluster::registry::save_registry;
use crate::shard::server::options::ShardOptions;
use crate::shard::slot::{ShardId, shard_id};

/// Between two tries for the set-up lock.
const TURN_PAUSE: Duration = Duration::from_millis(100);

/// Why the databases were not set up. A second run continues where the first stopped.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The databases do not match the settings; nothing was changed.
    #[error(transparent)]
    Refused(#[from] StartError),
    /// Slots are moving, and both shards of a move must keep the same schema; nothing was changed.
    #[error(
        "the schema cannot change while slots move (open: {}); end these moves with \"shardrive shards finish\", \
         \"rollback\" or \"cancel\" and try again", list_moves(.0)
    )]
    OpenMoves(Vec<i64>),
    /// A migration failed on a shard.
    #[error("the migration of shard {shard} failed: {source}")]
    Migration {
        /// The shard.
        shard: ShardId,
        /// The migrator's error.
        source: MigrateError,
    },
    /// A statement failed on a shard.
    #[error("setting up shard {shard} failed: {source}")]
    Statement {
        /// The shard.
        shard: ShardId,
        /// The driver's error.
        source: sqlx::Error,
    },
}

/// Brings a database to this program's schema.
///
/// A broken `CREATE INDEX CONCURRENTLY` leaves an index that slows writers down and answers no query. The set-up
/// rebuilds such an index first, so that `IF NOT EXISTS` in the migration finds a good one.
///
/// # Errors
/// The migrator's error; the failed migration left no change.
pub async fn apply_migrations(connection: &mut PgConnection) -> Result<(), MigrateError> {
    sqlx::query(include_str!("../../../sql/shard/limit_lock_waits.sql")).execute(&mut *connection).await?;
    let migrator = migrator();
    let schema: Vec<&str> = migrator.iter().map(|migration| migration.sql.as_str()).collect();
    let statements: Vec<String> = sqlx::query_scalar(include_str!("../../../sql/shard/rebuild_broken_indexes.sql"))
        .bind(schema.concat())
        .fetch_all(&mut *connection)
        .await?;
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await?;
    }
    migrator.run(connection).await
}

/// Brings every database to this program's schema, and makes new databases the shards of a new cluster: first every
/// database gets its identity, then all become ready to serve. A second run completes a set-up that broke off.
///
/// # Errors
/// [`SetupError::Refused`] with every fault, before any change; otherwise the failed step and its shard.
pub async fn migrate(urls: &[ShardOptions], connect_timeout: Duration) -> Result<(), SetupError> {
    let Some(first) = urls.first() else { return Ok(()) };
    // Every set-up takes this lock on the first shard, so that two set-ups cannot make two clusters of one. The
    // connection holds the lock, and ends after everything else in this function.
    let mut lock = first.connect(connect_timeout).await.map_err(|source| {
        StartError(vec![StartFault::Unreachable(ShardId::default(), format!("{} ({source})", first.address()))])
    })?;
    let on_first = |source| SetupError::Statement { shard: ShardId::default(), source };
    lock_setup(&mut lock).await.map_err(on_first)?;

    let (urls, probes) = probe_with_registered(urls.to_vec(), connect_timeout).await;
    require_no_faults(&probes)?;
    if lacks_migrations(&probes) {
        let open = open_moves(&mut lock).await.map_err(on_first)?;
        if !open.is_empty() {
            return Err(SetupError::OpenMoves(open));
        }
    }
    let cluster_id =
        probes.iter().find_map(|probe| Some(probe.as_ref().ok()?.identity?.cluster_id)).unwrap_or_else(Uuid::new_v4);

    let mut connections = Vec::with_capacity(urls.len());
    for (index, options) in urls.iter().enumerate() {
        let shard = shard_id(index);
        let on_shard = |source| SetupError::Statement { shard, source };
        let mut connection = options.connect(connect_timeout).await.map_err(on_shard)?;
        apply_migrations(&mut connection).await.map_err(|source| SetupError::Migration { shard, source })?;
        let found = claim_identity(&mut connection, cluster_id, shard, urls.len()).await.map_err(on_shard)?;
        // Another set-up, with the URLs in another order, holds the lock on another shard.
        if found.is_none_or(|found| (found.cluster_id, found.shard_id) != (cluster_id, shard.to_sql())) {
            return Err(StartError(vec![StartFault::OtherCluster(shard)]).into());
        }
        log::info!("shard {shard} at {} is migrated", options.address());
        connections.push((shard, connection));
    }
    for (shard, connection) in &mut connections {
        let on_shard = |source| SetupError::Statement { shard: *shard, source };
        save_registry(connection, &urls).await.map_err(on_shard)?;
        set_ready(connection).await.map_err(on_shard)?;
    }
    Ok(())
}

/// True if a shard has yet to get a migration.
fn lacks_migrations(probes: &[DatabaseProbe]) -> bool {
    let migrator = migrator();
    probes.iter().flatten().any(|facts| {
        migrator.iter().any(|known| !facts.migrations.iter().any(|applied| applied.version == known.version))
    })
}

/// The moves that have not ended. The first shard keeps the list; a database without a schema has none.
async fn open_moves(first: &mut PgConnection) -> Result<Vec<i64>, sqlx::Error> {
    let has_moves: bool =
        sqlx::query_scalar(include_str!("../../../sql/shard/has_moves.sql")).fetch_one(&mut *first).await?;
    if !has_moves {
        return Ok(Vec::new());
    }
    sqlx::query_scalar(include_str!("../../../sql/shard/list_open_moves.sql")).fetch_all(first).await
}

fn list_moves(ids: &[i64]) -> String {
    ids.iter().map(|id| format!("move {id}")).collect::<Vec<_>>().join(", ")
}

/// From here on the database serves.
pub(in crate::shard) async fn set_ready(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("../../../sql/shard/set_ready.sql")).execute(connection).await.map(drop)
}

/// Waits for the set-up lock, however long that takes: one set-up runs at a time. The lock ends with the connection.
pub(in crate::shard) async fn lock_setup(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    while !sqlx::query_scalar(include_str!("../../../sql/shard/lock_setup.sql")).fetch_one(&mut *connection).await? {
        tokio::time::sleep(TURN_PAUSE).await;
    }
    Ok(())
}

fn require_no_faults(probes: &[DatabaseProbe]) -> Result<(), StartError> {
    let away = probes
        .iter()
        .enumerate()
        .filter_map(|(index, probe)| Some(StartFault::Unreachable(shard_id(index), probe.as_ref().err()?.clone())));
    let faults: Vec<_> = away.chain(identity_faults(probes)).collect();
    if faults.is_empty() { Ok(()) } else { Err(StartError(faults)) }
}

/// Gives the database this identity unless it has one, and reads the stored identity. Identity and map come in one
/// transaction: no database has one without the other.
async fn claim_identity(
    connection: &mut PgConnection,
    cluster_id: Uuid,
    shard: ShardId,
    shards: usize,
) -> Result<Option<FoundIdentity>, sqlx::Error> {
    let shards = i32::try_from(shards).unwrap_or(i32::MAX); // the settings allow 5,040 at most
    let mut transaction = connection.begin().await?;
    if insert_identity(&mut transaction, cluster_id, shard, shards).await? {
        sqlx::query(include_str!("../../../sql/shard/set_first_map.sql"))
            .bind(shards)
            .execute(&mut *transaction)
            .await?;
    }
    let identity = load_identity(&mut transaction).await?;
    transaction.commit().await?;
    Ok(identity)
}

/// Stores the database's identity; false if there is one already.
pub(in crate::shard) async fn insert_identity(
    connection: &mut PgConnection,
    cluster_id: Uuid,
    shard: ShardId,
    shards: i32,
) -> Result<bool, sqlx::Error> {
    let statement = sqlx::query(include_str!("../../../sql/shard/set_identity.sql"));
    let made = statement.bind(cluster_id).bind(shard.to_sql()).bind(shards).execute(connection).await?;
    Ok(made.rows_affected() == 1)
}

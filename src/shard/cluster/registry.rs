//! The list of shards as the shards keep the list: a process learns of a new shard from there.

use sqlx::PgConnection;

use super::routing::Cluster;
use crate::shard::call::ShardCall;
use crate::shard::error::ShardError;
use crate::shard::server::fault::DbFault;
use crate::shard::server::options::ShardOptions;
use crate::shard::slot::{ShardId, shard_id};

/// An entry of the list that every shard keeps. The entry holds the address and no credentials.
#[derive(Clone, Debug)]
pub(in crate::shard) struct RegisteredShard {
    pub(in crate::shard) shard: ShardId,
    pub(in crate::shard) options: ShardOptions,
    /// False while the shard is being added.
    pub(in crate::shard) active: bool,
}

/// The list in the connected database. A database of an earlier release has no list. A malformed entry is left out,
/// and the others count.
pub(in crate::shard) async fn load_registry(
    connection: &mut PgConnection,
) -> Result<Vec<RegisteredShard>, sqlx::Error> {
    let has_registry: bool =
        sqlx::query_scalar(include_str!("../../../sql/shard/has_registry.sql")).fetch_one(&mut *connection).await?;
    if has_registry { list_shards(connection, ShardId::default()).await } else { Ok(Vec::new()) }
}

async fn list_shards(connection: &mut PgConnection, first: ShardId) -> Result<Vec<RegisteredShard>, sqlx::Error> {
    let rows: Vec<(i32, String, bool)> = sqlx::query_as(include_str!("../../../sql/shard/list_shards.sql"))
        .bind(first.to_sql())
        .fetch_all(connection)
        .await?;
    let read = |(shard, url, active): (i32, String, bool)| {
        let (shard, options) = (ShardId::from_sql(shard)?, ShardOptions::parse(&url).ok()?);
        Some(RegisteredShard { shard, options, active })
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

/// Stores one shard's address in the connected database.
pub(super) async fn save_shard(
    connection: &mut PgConnection,
    shard: ShardId,
    options: &ShardOptions,
    active: bool,
) -> Result<(), sqlx::Error> {
    let statement = sqlx::query(include_str!("../../../sql/shard/set_shard.sql"));
    statement.bind(shard.to_sql()).bind(options.public_url()).bind(active).execute(connection).await.map(drop)
}

/// Stores the addresses of all these shards in the connected database.
pub(in crate::shard) async fn save_registry(
    connection: &mut PgConnection,
    urls: &[ShardOptions],
) -> Result<(), sqlx::Error> {
    for (index, options) in urls.iter().enumerate() {
        save_shard(connection, shard_id(index), options, true).await?;
    }
    Ok(())
}

/// Lists the shards from this number on.
pub(in crate::shard) struct ListShards(pub(in crate::shard) ShardId);

impl ShardCall for ListShards {
    type Output = Vec<RegisteredShard>;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        list_shards(connection, self.0).await.map(Some)
    }
}

impl Cluster {
    /// Stores the addresses of the first `named` shards, which this process's settings name, on every shard. An
    /// unreachable shard gets the list from the next process that starts.
    pub(in crate::shard) async fn register_named_shards(&self, named: usize) {
        let urls: Vec<_> = self.shards().iter().take(named).map(|shard| shard.options().clone()).collect();
        for shard in self.shards() {
            if let Err(error) = self.register_on(shard.id(), &urls).await {
                log::warn!("shard {} could not store the list of shards: {error}", shard.id());
            }
        }
    }

    async fn register_on(&self, shard: ShardId, urls: &[ShardOptions]) -> Result<(), ShardError> {
        let Some(shard) = self.shard(shard) else { return Ok(()) };
        let mut connection = shard.borrow_connection().await?;
        let saved = shard.while_healthy(save_registry(&mut connection, urls)).await?;
        saved.map_err(|error| DbFault::of(&error).into_error(shard.id(), error))?;
        connection.give_back();
        Ok(())
    }
}

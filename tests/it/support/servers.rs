//! PostgreSQL servers of a test's own: copied from a template, on free ports, removed at the end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use shardrive::cache::{Cache, CacheSettings};
use shardrive::files::FileService;
use shardrive::local_servers::{
    Durability, LocalError, PostgresBinaries, PostgresServer, ServerAccount, database_name, free_port,
};
use shardrive::shard::{Cluster, ShardLimits, ShardOptions, StartError, migrate};
use shardrive::writes::WriterLimits;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Decode, Postgres, Type};
use uuid::Uuid;

use super::folders::TestFolder;
use super::templates::{Template, copy_folder, prepared_folders, rename_database};

pub const CONNECT: Duration = Duration::from_secs(10);

/// The servers of one test, each with its database, before the migration.
pub struct TestCluster {
    servers: Vec<PostgresServer>,
    /// Connections of [`TestCluster::psql`] and [`TestCluster::value`], by the ports: a new one costs more than most
    /// statements.
    idle: Mutex<HashMap<u16, PgConnection>>,
    home: TestFolder,
}

impl TestCluster {
    /// Starts `shards` servers.
    pub async fn start(shards: usize) -> Self {
        Self::start_with(shards, Durability::ServerOnly).await
    }

    /// Starts `shards` servers of this durability.
    pub async fn start_with(shards: usize, durability: Durability) -> Self {
        Self::start_of(shards, durability, Template::Empty).await
    }

    /// Starts the servers of a cluster of `shards` shards.
    pub async fn migrated(shards: usize) -> Self {
        let cluster = Self::start_of(shards, Durability::ServerOnly, Template::Cluster(shards)).await;
        let sql = format!(
            "UPDATE shardrive.identity SET cluster_id = '{}'; \
             UPDATE shardrive.shards SET url = regexp_replace(url, ':[0-9]+/', ':' || ('{{{}}}'::int[])[shard_id + 1] || '/')",
            Uuid::new_v4(),
            cluster.servers.iter().map(|server| server.port().to_string()).collect::<Vec<_>>().join(","),
        );
        for shard in 0..shards {
            cluster.psql(shard, &sql).await.unwrap();
        }
        cluster
    }

    async fn start_of(shards: usize, durability: Durability, template: Template) -> Self {
        let (binaries, account) = programs();
        let folders = prepared_folders(&binaries, account, template, shards).await;
        let home = TestFolder::new(account, durability).await;
        let servers = folders.into_iter().enumerate().map(|(shard, source)| {
            let (folder, binaries) = (home.path.join(format!("shard_{shard}")), binaries.clone());
            async move {
                copy_folder(&source, &folder);
                let mut server = PostgresServer::new(binaries, account, folder, free_port().unwrap(), durability);
                start_on_free_port(&mut server).await;
                if template == Template::Empty {
                    rename_database(&server, shard).await;
                }
                server
            }
        });
        Self { servers: join_all(servers).await, idle: Mutex::default(), home }
    }

    /// Starts a streaming standby of a shard's server. The cluster's folder holds the standby, so drop the standby
    /// first.
    pub async fn standby(&self, shard: usize) -> PostgresServer {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let (binaries, account) = programs();
        let folder = self.home.path.join(format!("standby_{number}"));
        let mut server = PostgresServer::new(binaries, account, folder, free_port().unwrap(), Durability::ServerOnly);
        server.init_as_standby_of(&self.servers[shard]).await.unwrap();
        start_on_free_port(&mut server).await;
        server
    }

    /// Replaces the shard's server; returns the server before.
    pub fn replace_server(&mut self, shard: usize, server: PostgresServer) -> PostgresServer {
        std::mem::replace(&mut self.servers[shard], server)
    }

    pub async fn migrate(&self) {
        migrate(&self.options(), CONNECT).await.unwrap();
    }

    pub fn server(&mut self, shard: usize) -> &mut PostgresServer {
        &mut self.servers[shard]
    }

    pub fn port(&self, shard: usize) -> u16 {
        self.servers[shard].port()
    }

    pub fn url(&self, shard: usize) -> String {
        self.servers[shard].url(&database_name(shard))
    }

    pub fn urls(&self) -> Vec<String> {
        (0..self.servers.len()).map(|shard| self.url(shard)).collect()
    }

    /// The settings that name these servers.
    pub fn variables(&self) -> Vec<(String, String)> {
        self.urls().into_iter().enumerate().map(|(shard, url)| (format!("SHARD_{shard}_URL"), url)).collect()
    }

    pub fn options(&self) -> Vec<ShardOptions> {
        self.urls().iter().map(|url| ShardOptions::parse(url).unwrap()).collect()
    }

    /// Opens the cluster as a process of the service does.
    pub async fn open(&self) -> Arc<Cluster> {
        Cluster::open(self.options(), limits()).await.unwrap()
    }

    /// A file service on this cluster, as in a process of the service.
    pub async fn files(&self) -> Arc<FileService> {
        files_on(self.open().await, WriterLimits { queue: 10_000, batch: 128 })
    }

    pub async fn connect(&self, shard: usize) -> PgConnection {
        self.servers[shard].connect(&database_name(shard)).await.unwrap()
    }

    /// Runs statements as psql would: what they set ends with them.
    pub async fn psql(&self, shard: usize, sql: &str) -> Result<u64, sqlx::Error> {
        let mut connection = self.fresh_session(shard).await;
        let done = run(&mut connection, sql).await;
        self.keep(shard, connection);
        done
    }

    /// The single value that a query returns.
    pub async fn value<T>(&self, shard: usize, sql: &str) -> T
    where
        T: Send + Unpin + for<'r> Decode<'r, Postgres> + Type<Postgres>,
        (T,): for<'r> sqlx::FromRow<'r, PgRow>,
    {
        let mut connection = self.fresh_session(shard).await;
        let found = value(&mut connection, sql).await;
        self.keep(shard, connection);
        found
    }

    /// A session without traces of an earlier one.
    async fn fresh_session(&self, shard: usize) -> PgConnection {
        let idle = self.idle.lock().unwrap().remove(&self.port(shard));
        if let Some(mut connection) = idle
            && run(&mut connection, "DISCARD ALL").await.is_ok()
        {
            return connection;
        }
        self.connect(shard).await
    }

    fn keep(&self, shard: usize, connection: PgConnection) {
        self.idle.lock().unwrap().insert(self.port(shard), connection);
    }
}

/// Files of a cluster, without a cache.
pub fn files_on(cluster: Arc<Cluster>, limits: WriterLimits) -> Arc<FileService> {
    let cache = Cache::start(Arc::clone(&cluster), CacheSettings::NONE);
    Arc::new(FileService::start(cluster, cache, limits))
}

/// Runs statements; returns the number of changed rows.
pub async fn run(connection: &mut PgConnection, sql: &str) -> Result<u64, sqlx::Error> {
    Ok(sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?.rows_affected())
}

/// The single value that a query returns.
pub async fn value<T>(connection: &mut PgConnection, sql: &str) -> T
where
    T: Send + Unpin + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    (T,): for<'r> sqlx::FromRow<'r, PgRow>,
{
    sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false).fetch_one(connection).await.unwrap()
}

/// The SQLSTATE of a refusal.
pub fn sqlstate<T: std::fmt::Debug>(result: Result<T, sqlx::Error>) -> String {
    let error = result.expect_err("was not refused");
    let database = error.as_database_error().unwrap_or_else(|| panic!("no answer of the database: {error}"));
    database.code().unwrap_or_default().into_owned()
}

/// Limits that show faults early, and leave a slow machine enough time.
pub fn limits() -> ShardLimits {
    ShardLimits {
        pool_min: 1,
        pool_max: 8,
        connect_timeout: Duration::from_secs(2),
        call_timeout: Duration::from_secs(5),
        move_timeout: Duration::from_secs(20),
        health_timeout: Duration::from_secs(1),
        health_interval: Duration::from_millis(200),
        replica_max_lag: Duration::from_secs(1),
    }
}

/// The text of the faults for which the cluster does not open.
pub async fn start_error_text(options: Vec<ShardOptions>) -> String {
    let opened: Result<_, StartError> = Cluster::open(options, limits()).await;
    opened.map(|_| ()).expect_err("was opened").to_string()
}

/// Starts a server on a free port: between the search for the port and the start, another test may take the port.
pub async fn start_on_free_port(server: &mut PostgresServer) {
    while let Err(error) = server.start().await {
        let is_taken = error.to_string().contains("could not bind");
        assert!(matches!(error, LocalError::Ended { .. }) && is_taken, "{error}");
        server.set_port(free_port().unwrap());
    }
}

/// The programs of PostgreSQL and the user who runs them. The search starts some processes, so one search is enough.
fn programs() -> (PostgresBinaries, ServerAccount) {
    static PROGRAMS: LazyLock<(PostgresBinaries, ServerAccount)> =
        LazyLock::new(|| (PostgresBinaries::find().unwrap(), ServerAccount::find().unwrap()));
    PROGRAMS.clone()
}

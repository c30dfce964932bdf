//! PostgreSQL servers of a test's own: copied from a template, on free ports, removed at the end.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use shardrive::cache::{Cache, CacheSettings};
use shardrive::files::Files;
use shardrive::local::{Account, Binaries, Durability, LocalError, PostgresServer, database_name, free_port};
use shardrive::shard::{Cluster, ShardLimits, ShardOptions, StartError, WriterLimits, migrate};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Decode, Postgres, Type};
use std::sync::Arc;

use super::watchdog::Watch;

pub const CONNECT: Duration = Duration::from_secs(10);

/// Servers of one test, each with its database, not migrated yet.
pub struct TestCluster {
    servers: Vec<PostgresServer>,
    home: Home,
}

impl TestCluster {
    /// Starts `shards` servers.
    pub async fn start(shards: usize) -> Self {
        Self::start_with(shards, Durability::ServerOnly).await
    }

    /// Starts `shards` servers that are as durable as said.
    pub async fn start_with(shards: usize, durability: Durability) -> Self {
        let binaries = Binaries::find().unwrap();
        let account = Account::find().unwrap();
        let template = template(&binaries, account).await;
        let home = Home::new(account).await;
        let servers = (0..shards).map(|shard| {
            let (folder, template, binaries) = (home.path.join(format!("shard_{shard}")), &template, binaries.clone());
            async move {
                copy(template, &folder);
                let port = free_port().unwrap();
                let mut server = PostgresServer::new(binaries, account, folder, port, durability);
                // Between the look for a free port and the start another test may take it.
                while let Err(error) = server.start().await {
                    assert!(matches!(error, LocalError::Ended { .. }) && taken(&error), "{error}");
                    server.set_port(free_port().unwrap());
                }
                server.create_database(&database_name(shard)).await.unwrap();
                server
            }
        });
        Self { servers: join_all(servers).await, home }
    }

    /// Starts `shards` servers and makes them a cluster.
    pub async fn migrated(shards: usize) -> Self {
        let cluster = Self::start(shards).await;
        cluster.migrate().await;
        cluster
    }

    /// Starts a streaming standby of a shard's server. It goes with the cluster's folder, so drop it first.
    pub async fn standby(&self, shard: usize) -> PostgresServer {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let (binaries, account) = (Binaries::find().unwrap(), Account::find().unwrap());
        let folder = self.home.path.join(format!("standby_{number}"));
        let mut server = PostgresServer::new(binaries, account, folder, free_port().unwrap(), Durability::ServerOnly);
        server.init_as_standby_of(&self.servers[shard]).await.unwrap();
        while let Err(error) = server.start().await {
            assert!(matches!(error, LocalError::Ended { .. }) && taken(&error), "{error}");
            server.set_port(free_port().unwrap());
        }
        server
    }

    /// From here on the shard's server is another one; gives the one before.
    pub fn replace(&mut self, shard: usize, server: PostgresServer) -> PostgresServer {
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

    /// A process of the service that stores files.
    pub async fn files(&self) -> Arc<Files> {
        files_on(self.open().await, WriterLimits { queue: 10_000, batch: 128 })
    }

    pub async fn connect(&self, shard: usize) -> PgConnection {
        self.servers[shard].connect(&database_name(shard)).await.unwrap()
    }

    /// Runs statements as psql would.
    pub async fn psql(&self, shard: usize, sql: &str) -> Result<u64, sqlx::Error> {
        run(&mut self.connect(shard).await, sql).await
    }

    /// The one value that a query gives.
    pub async fn value<T>(&self, shard: usize, sql: &str) -> T
    where
        T: Send + Unpin + for<'r> Decode<'r, Postgres> + Type<Postgres>,
        (T,): for<'r> sqlx::FromRow<'r, PgRow>,
    {
        value(&mut self.connect(shard).await, sql).await
    }
}

/// Files of a cluster, without a cache.
pub fn files_on(cluster: Arc<Cluster>, limits: WriterLimits) -> Arc<Files> {
    let cache = Cache::start(Arc::clone(&cluster), CacheSettings::NONE);
    Arc::new(Files::start(cluster, cache, limits))
}

/// Runs statements; gives how many rows they changed.
pub async fn run(connection: &mut PgConnection, sql: &str) -> Result<u64, sqlx::Error> {
    Ok(sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?.rows_affected())
}

/// The one value that a query gives.
pub async fn value<T>(connection: &mut PgConnection, sql: &str) -> T
where
    T: Send + Unpin + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    (T,): for<'r> sqlx::FromRow<'r, PgRow>,
{
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await.unwrap()
}

/// The SQLSTATE of a refusal.
pub fn sqlstate<T: std::fmt::Debug>(result: Result<T, sqlx::Error>) -> String {
    let error = result.expect_err("was not refused");
    let database = error.as_database_error().unwrap_or_else(|| panic!("no answer of the database: {error}"));
    database.code().unwrap_or_default().into_owned()
}

/// Limits that let a test see a fault soon, and leave a slow machine time enough.
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

/// The faults for which a cluster was not opened, as the message that people see.
pub async fn refusal(options: Vec<ShardOptions>) -> String {
    let opened: Result<_, StartError> = Cluster::open(options, limits()).await;
    opened.map(|_| ()).expect_err("was opened").to_string()
}

fn taken(error: &LocalError) -> bool {
    error.to_string().contains("could not bind")
}

/// The folder of one test, locked while it is in use.
struct Home {
    path: PathBuf,
    _lock: File,
    _watch: Watch,
}

impl Home {
    async fn new(account: Account) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = base().join(format!("test-{}-{number}", std::process::id()));
        // One at a time: nobody takes the folder of another test for a left-over before its lock is there.
        let _turn = lock(&base().join("lock"));
        if number == 0 {
            remove_leftovers().await;
        }
        account.make_folder(&path).unwrap();
        let _lock = lock(&path.join("lock"));
        Self { path, _lock, _watch: Watch::begin() }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Where all tests keep their servers.
fn base() -> PathBuf {
    let base = std::env::temp_dir().canonicalize().unwrap().join("shardrive-tests");
    std::fs::create_dir_all(&base).unwrap();
    base
}

fn lock(path: &Path) -> File {
    let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.lock().unwrap();
    file
}

/// Removes what tests left behind that were killed: their locks are free.
async fn remove_leftovers() {
    for entry in std::fs::read_dir(base()).unwrap().flatten() {
        let path = entry.path();
        let is_test = entry.file_name().to_string_lossy().starts_with("test-");
        let Ok(lock) = OpenOptions::new().append(true).open(path.join("lock")) else { continue };
        if is_test && lock.try_lock().is_ok() {
            for data in std::fs::read_dir(&path).unwrap().flatten() {
                let _ = shardrive::local::remove_stale_server(&data.path()).await;
            }
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}

/// A data folder to copy: `initdb` takes longer than a copy of what it makes. One for each PostgreSQL version.
async fn template(binaries: &Binaries, account: Account) -> PathBuf {
    let home = base().join(format!("template-{}-small", binaries.version()));
    let _turn = lock(&base().join("template.lock"));
    let folder = home.join("data");
    let server = PostgresServer::new(binaries.clone(), account, folder.clone(), 0, Durability::ServerOnly);
    server.init().await.unwrap();
    folder
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-Rp").args([from, to]).status().unwrap();
    assert!(done.success(), "could not copy {}", from.display());
}

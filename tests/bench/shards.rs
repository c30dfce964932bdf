//! Two PostgreSQL servers of our own, as durable as PostgreSQL is by itself, and what is done to them between cases.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use shardrive::local_servers::{LocalCluster, PostgresServer};
use shardrive::shard::{ShardOptions, migrate};

use crate::Result;

/// How many shards all cases use.
pub const SHARDS: usize = 2;
/// How often tables are emptied before a deadlock with a chore counts as an error.
const TRUNCATE_TRIES: usize = 5;
const CONNECT: Duration = Duration::from_secs(10);
const CONNECT_TO_MANY: Duration = Duration::from_secs(30);

/// Where the servers are and which processes they are.
#[derive(Clone)]
pub struct Shards {
    pub urls: Vec<String>,
    /// The first process of each server.
    pub pids: Vec<u32>,
    psql: PathBuf,
}

impl Shards {
    /// Starts servers that hold nothing yet.
    pub async fn start(folder: &Path) -> Result<(Self, LocalCluster)> {
        empty(folder)?;
        let cluster = LocalCluster::start(folder, SHARDS, 0).await?;
        let urls = cluster.urls();
        let options: std::result::Result<Vec<_>, _> = urls.iter().map(|url| ShardOptions::parse(url)).collect();
        migrate(&options?, CONNECT).await?;
        let servers = cluster.servers();
        let psql = servers.first().map_or_else(|| "psql".into(), PostgresServer::psql_path);
        let pids = servers.iter().filter_map(PostgresServer::pid).collect();
        Ok((Self { urls, pids, psql }, cluster))
    }

    /// Other databases, of servers of the same PostgreSQL.
    pub fn with_urls(&self, urls: Vec<String>) -> Self {
        Self { urls, ..self.clone() }
    }

    /// Another program of the same PostgreSQL.
    pub fn program(&self, name: &str) -> PathBuf {
        self.psql.with_file_name(name)
    }

    /// `psql` on a shard.
    pub fn psql(&self, shard: usize) -> Command {
        let mut command = Command::new(&self.psql);
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]);
        command.args(self.urls.get(shard));
        command
    }

    /// Runs a statement on a shard; gives what it answers.
    pub fn sql(&self, shard: usize, statement: &str) -> Result<String> {
        let output = self.psql(shard).args(["--command", statement]).output()?;
        if !output.status.success() {
            return Err(format!("psql: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Runs a statement on every shard.
    pub fn everywhere(&self, statement: &str) -> Result<()> {
        (0..self.urls.len()).try_for_each(|shard| self.sql(shard, statement).map(drop))
    }

    /// Empties the tables, and writes out what the case before left to write: each load starts from the same state.
    pub fn clear(&self) -> Result<()> {
        (0..self.urls.len()).try_for_each(|shard| self.truncate(shard))?;
        self.everywhere("CHECKPOINT")
    }

    /// A chore of a service may hold one of these tables and want another: then PostgreSQL ends one of the two.
    fn truncate(&self, shard: usize) -> Result<()> {
        let statement = "TRUNCATE file_metadata, folders, records, shardrive.idempotency_keys, shardrive.outbox";
        for _ in 1..TRUNCATE_TRIES {
            match self.sql(shard, statement) {
                Err(error) if error.to_string().contains("deadlock") => {}
                done => return done.map(drop),
            }
        }
        self.sql(shard, statement).map(drop)
    }

    /// What a database in use has had: its statistics taken and its dead rows removed.
    pub fn settle(&self) -> Result<()> {
        self.everywhere("VACUUM (ANALYZE) file_metadata, folders, records")?;
        self.everywhere("CHECKPOINT")
    }

    /// How many files all shards hold.
    pub fn rows(&self) -> Result<u64> {
        (0..SHARDS).map(|shard| Ok(self.sql(shard, "SELECT count(*) FROM file_metadata")?.parse::<u64>()?)).sum()
    }

    /// The server's version.
    pub fn version(&self) -> Result<String> {
        self.sql(0, "SHOW server_version")
    }
}

/// A cluster of so many shards on these servers: a database for each shard, dealt to the servers in turn. Gives the
/// URLs.
pub async fn databases(cluster: &LocalCluster, name: &str, shards: usize) -> Result<Vec<String>> {
    let mut urls = Vec::with_capacity(shards);
    for (number, server) in (0..shards).zip(cluster.servers().iter().cycle()) {
        let database = format!("{name}_{number}");
        server.create_database(&database).await?;
        urls.push(server.url(&database));
    }
    let options: std::result::Result<Vec<_>, _> = urls.iter().map(|url| ShardOptions::parse(url)).collect();
    migrate(&options?, CONNECT_TO_MANY).await?;
    Ok(urls)
}

/// A run that was killed leaves data behind, perhaps with a server on it, which stops by itself without its files.
fn empty(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.join("data/postmaster.pid").exists() {
            let pid = std::fs::read_to_string(path.join("data/postmaster.pid"))?;
            let pid = pid.lines().next().unwrap_or_default().to_owned();
            if Path::new("/proc").join(&pid).exists() {
                return Err(format!("a server of an earlier run (process {pid}) is still there; stop it first").into());
            }
        }
        if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
    }
    Ok(())
}

//! One local PostgreSQL server: its data folder, and its start as a child process.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::time::Instant;

use super::account::ServerAccount;
use super::binaries::PostgresBinaries;
use super::error::LocalError;
use super::shutdown::remove_stale_server;
use super::{PASSWORD, USER};

/// How long a start may take: a killed server first replays its log.
const START_LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(10);
/// A longer log is deleted at the next start.
const LOG_LIMIT: u64 = 16 << 20;

/// Whether committed data survives a crash of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// Committed data survives.
    Full,
    /// Committed data survives a crash of the server, but not of the machine: faster, for tests.
    ServerOnly,
}

/// A PostgreSQL server on 127.0.0.1. A drop stops the server hard.
#[derive(Debug)]
pub struct PostgresServer {
    binaries: PostgresBinaries,
    account: ServerAccount,
    /// The data folder, absolute.
    pub(super) folder: PathBuf,
    port: u16,
    durability: Durability,
    pub(super) child: Option<Child>,
}

impl PostgresServer {
    /// The server of a data folder, which need not exist yet. The path must be absolute.
    #[must_use]
    pub fn new(
        binaries: PostgresBinaries,
        account: ServerAccount,
        folder: PathBuf,
        port: u16,
        durability: Durability,
    ) -> Self {
        Self { binaries, account, folder, port, durability, child: None }
    }

    /// Makes the data folder if missing.
    ///
    /// # Errors
    /// The output of `initdb`, or an input or output error.
    pub async fn init_data_folder(&self) -> Result<(), LocalError> {
        if self.folder.join("PG_VERSION").exists() {
            return Ok(());
        }
        // Under another name first, so that a folder with the right name is always complete, even after a kill.
        let part = self.folder.with_extension("part");
        let parent = self.folder.parent().unwrap_or(Path::new("/"));
        self.account.make_folder(parent)?;
        if part.exists() {
            std::fs::remove_dir_all(&part).map_err(LocalError::io_at(&part))?;
        }
        let password = parent.join("password");
        std::fs::write(&password, PASSWORD).map_err(LocalError::io_at(&password))?;
        self.account.give_ownership(&password)?;

        let initdb = self.binaries.program("initdb");
        let mut command = self.account.command_as_account(&initdb);
        command.arg("-D").arg(&part).arg("--pwfile").arg(&password).current_dir(parent);
        command.args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]);
        if self.durability == Durability::ServerOnly {
            command.args(["--no-sync", "--wal-segsize", "1"]); // small, and so soon copied
        }
        command.stdin(Stdio::null());
        let output = tokio::process::Command::from(command).output().await.map_err(LocalError::io_at(&initdb))?;
        std::fs::remove_file(&password).map_err(LocalError::io_at(&password))?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(LocalError::Program { program: "initdb".to_owned(), output });
        }
        std::fs::rename(&part, &self.folder).map_err(LocalError::io_at(&part))
    }

    /// Makes the data folder a copy of another server's, and this server a streaming standby.
    ///
    /// # Errors
    /// The output of `pg_basebackup`, or an input or output error.
    pub async fn init_as_standby_of(&self, primary: &Self) -> Result<(), LocalError> {
        let program = self.binaries.program("pg_basebackup");
        let mut command = self.account.command_as_account(&program);
        command.arg("-D").arg(&self.folder).arg("-d").arg(primary.url("postgres"));
        command.args(["--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream"]);
        if self.durability == Durability::ServerOnly {
            command.arg("--no-sync");
        }
        command.current_dir(self.folder.parent().unwrap_or(Path::new("/"))).stdin(Stdio::null());
        let output = tokio::process::Command::from(command).output().await.map_err(LocalError::io_at(&program))?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(LocalError::Program { program: "pg_basebackup".to_owned(), output });
        }
        Ok(())
    }

    /// Starts the server and waits for its first answer. Leftovers of an earlier server in the folder are removed.
    ///
    /// # Errors
    /// `Ended` or `NoAnswer` with the end of the log, or an input or output error.
    pub async fn start(&mut self) -> Result<(), LocalError> {
        let until = Instant::now() + START_LIMIT;
        loop {
            remove_stale_server(&self.folder).await?;
            self.spawn_process()?;
            match self.wait_until_ready(until).await {
                // The child processes of a killed server need a moment to end.
                Err(LocalError::Ended { log, .. }) if log.contains("shared memory block") && Instant::now() < until => {
                    tokio::time::sleep(POLL * 10).await;
                }
                result => return result,
            }
        }
    }

    fn spawn_process(&mut self) -> Result<(), LocalError> {
        let path = self.log_path();
        let is_long = std::fs::metadata(&path).is_ok_and(|found| found.len() > LOG_LIMIT);
        if is_long {
            std::fs::remove_file(&path).map_err(LocalError::io_at(&path))?;
        }
        let open = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let log = open.map_err(LocalError::io_at(&path))?;
        // A server that copies its folder must be able to read all of it.
        self.account.give_ownership(&path)?;
        let errors = log.try_clone().map_err(LocalError::io_at(&path))?;

        let program = self.binaries.program("postgres");
        let mut command = self.account.command_as_account(&program);
        command.arg("-D").arg(&self.folder).current_dir(&self.folder);
        for (name, value) in self.server_settings() {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        // A separate process group: this process alone handles a terminal's Ctrl-C, and the server does not stop
        // first.
        command.process_group(0).stdin(Stdio::null()).stdout(log).stderr(errors);
        self.child = Some(command.spawn().map_err(LocalError::io_at(&program))?);
        Ok(())
    }

    fn server_settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("port", self.port.to_string()),
            ("unix_socket_directories", String::new()),
            ("wal_level", "logical".to_owned()),
            ("max_connections", "100".to_owned()),
            // Enough for a shard that gives slots to many others at once, and takes some.
            ("max_replication_slots", "40".to_owned()),
            ("max_wal_senders", "40".to_owned()),
            ("max_logical_replication_workers", "24".to_owned()),
            ("max_sync_workers_per_subscription", "2".to_owned()),
            ("max_worker_processes", "32".to_owned()),
            ("max_slot_wal_keep_size", "8GB".to_owned()),
            // Before PostgreSQL 16, a server begins one stream every five seconds by default.
            ("wal_retrieve_retry_interval", "200ms".to_owned()),
            ("shared_buffers", "128MB".to_owned()),
        ];
        if self.durability == Durability::ServerOnly {
            // Shared memory in the data folder is removed with the folder, even after a kill of the server.
            let cheap = [
                ("fsync", "off"),
                ("shared_buffers", "16MB"),
                ("max_wal_size", "1GB"),
                ("dynamic_shared_memory_type", "mmap"),
            ];
            settings.extend(cheap.map(|(name, value)| (name, value.to_owned())));
        }
        settings
    }

    async fn wait_until_ready(&mut self, until: Instant) -> Result<(), LocalError> {
        loop {
            if !self.is_running() {
                self.child = None;
                return Err(LocalError::Ended { folder: self.folder.clone(), log: self.log_tail() });
            }
            let reason = match self.is_answering().await {
                Ok(true) => return Ok(()),
                Ok(false) => "another server answers on its port".to_owned(),
                Err(error) => error.to_string(),
            };
            if Instant::now() > until {
                return Err(LocalError::NoAnswer { folder: self.folder.clone(), reason, log: self.log_tail() });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// True if this server answers on the port.
    async fn is_answering(&self) -> Result<bool, sqlx::Error> {
        let mut connection = self.connect("postgres").await?;
        let folder: String =
            sqlx::query_scalar("SELECT current_setting('data_directory')").fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(Path::new(&folder) == self.folder)
    }

    /// Opens a connection as the owner of the databases.
    ///
    /// # Errors
    /// The driver's error; `TimedOut` after some seconds.
    pub async fn connect(&self, database: &str) -> Result<PgConnection, sqlx::Error> {
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(self.port).username(USER);
        let options = options.password(PASSWORD).database(database).ssl_mode(sqlx::postgres::PgSslMode::Disable);
        let connecting = tokio::time::timeout(Duration::from_secs(5), options.connect());
        connecting.await.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
    }

    /// Makes a database if missing.
    ///
    /// # Errors
    /// The driver's error.
    pub async fn create_database(&self, name: &str) -> Result<(), LocalError> {
        let mut connection = self.connect("postgres").await?;
        let exists: Option<i32> = sqlx::query_scalar("SELECT 1 FROM pg_database WHERE datname = $1")
            .bind(name)
            .fetch_optional(&mut connection)
            .await?;
        if exists.is_none() {
            let create = AssertSqlSafe(format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\"")));
            sqlx::raw_sql(create).execute(&mut connection).await?;
        }
        Ok(connection.close().await?)
    }

    /// The URL of a database of this server.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// The path of the `psql` that fits this server.
    #[must_use]
    pub fn psql_path(&self) -> PathBuf {
        self.binaries.program("psql")
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the port, from the next start on.
    pub fn set_port(&mut self, port: u16) {
        self.port = port;
    }

    /// The data folder.
    #[must_use]
    pub fn data_folder(&self) -> &Path {
        &self.folder
    }

    /// The id of the server's first process while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// True once if the server's first process has ended, although nobody stopped the server.
    pub(super) fn has_ended(&mut self) -> bool {
        let has_ended = self.child.is_some() && !self.is_running();
        if has_ended {
            self.child = None;
        }
        has_ended
    }

    /// True if the server's first process is alive.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The last lines of the server's log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("server.log")
    }
}

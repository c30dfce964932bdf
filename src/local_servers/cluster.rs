//! Several local servers in a folder, one for each shard. A later start finds the servers again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};

use super::account::ServerAccount;
use super::binaries::PostgresBinaries;
use super::database_name;
use super::error::LocalError;
use super::lock::FileLock;
use super::port::{is_free, next_free_port};
use super::server::{Durability, PostgresServer};
use super::shutdown::remove_stale_server;

/// The port of the first server, if free.
const FIRST_PORT: u16 = 5432;
/// How often [`LocalCluster::next_ended`] looks at the servers.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How often a server tries another port, after another program took the found port.
const PORT_TRIES: usize = 5;

/// The running servers of a folder. A drop stops the servers hard; [`LocalCluster::stop`] stops the servers in good
/// order.
#[derive(Debug)]
pub struct LocalCluster {
    servers: Vec<PostgresServer>,
    shards: usize,
    /// Held until the end: a folder serves a single program at a time.
    _lock: FileLock,
}

impl LocalCluster {
    /// Creates the missing parts of the folder, and starts `shards` servers, each with its database. Then starts
    /// `spare` more servers, and the spare servers of earlier starts, as their databases may have become shards
    /// since.
    ///
    /// # Errors
    /// `InUse`, `OtherCount`, or the error of a server's start.
    pub async fn start(folder: &Path, shards: usize, spare: usize) -> Result<Self, LocalError> {
        std::fs::create_dir_all(folder).map_err(LocalError::io_at(folder))?;
        let folder = folder.canonicalize().map_err(LocalError::io_at(folder))?;
        let lock = FileLock::try_acquire(&folder.join("lock"))?.ok_or_else(|| LocalError::InUse(folder.clone()))?;
        check_count(&folder, shards)?;

        let account = ServerAccount::find()?;
        let mut count = shards + spare;
        while shard_folder(&folder, count).exists() {
            count += 1;
        }
        let mut servers = Vec::with_capacity(count);
        let mut ports = Vec::with_capacity(count);
        for shard in 0..count {
            let home = shard_folder(&folder, shard);
            let data = home.join("data");
            let binaries = PostgresBinaries::find_for(&data)?;
            // An earlier server that still runs would make its own port look busy.
            remove_stale_server(&data).await?;
            let port = choose_port(&home, &ports)?;
            ports.push(port);
            servers.push(PostgresServer::new(binaries, account, data, port, Durability::Full));
        }
        try_join_all(servers.iter_mut().enumerate().map(|(shard, server)| {
            let home = shard_folder(&folder, shard);
            let ports = &ports;
            async move {
                server.init_data_folder().await?;
                start_on_free_port(server, ports).await?;
                let note = home.join("port");
                std::fs::write(&note, server.port().to_string()).map_err(LocalError::io_at(&note))?;
                server.create_database(&database_name(shard)).await
            }
        }))
        .await?;
        Ok(Self { servers, shards, _lock: lock })
    }

    /// The servers, in the order of the shards.
    #[must_use]
    pub fn servers(&self) -> &[PostgresServer] {
        &self.servers
    }

    /// The URL of each shard's database.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.all_urls().take(self.shards).collect()
    }

    /// The URLs of the further databases.
    #[must_use]
    pub fn spare_urls(&self) -> Vec<String> {
        self.all_urls().skip(self.shards).collect()
    }

    fn all_urls(&self) -> impl Iterator<Item = String> {
        self.servers.iter().enumerate().map(|(shard, server)| server.url(&database_name(shard)))
    }

    /// Waits until a server ends that nobody stopped, and gives its data folder; each server once. Cancel safe.
    pub async fn next_ended(&mut self) -> PathBuf {
        loop {
            let mut servers = self.servers.iter_mut();
            let ended = servers.find_map(|server| server.has_ended().then(|| server.data_folder().to_owned()));
            if let Some(folder) = ended {
                return folder;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Stops all servers in good order.
    pub async fn stop(mut self) {
        join_all(self.servers.iter_mut().map(PostgresServer::stop)).await;
    }
}

fn shard_folder(folder: &Path, shard: usize) -> PathBuf {
    folder.join(format!("shard_{shard}"))
}

/// Refuses another number of shards: users would be looked for on the wrong shard.
fn check_count(folder: &Path, given: usize) -> Result<(), LocalError> {
    let note = folder.join("shards");
    match std::fs::read_to_string(&note).ok().and_then(|text| text.trim().parse().ok()) {
        Some(found) if found == given => Ok(()),
        Some(found) => Err(LocalError::OtherCount { folder: folder.to_owned(), found, given }),
        None => std::fs::write(&note, format!("{given}\n")).map_err(LocalError::io_at(&note)),
    }
}

/// The port of the last start, or the first free port from 5432 on.
fn choose_port(home: &Path, taken: &[u16]) -> Result<u16, LocalError> {
    let last = std::fs::read_to_string(home.join("port")).ok().and_then(|text| text.trim().parse().ok());
    match last {
        Some(port) if is_free(port) && !taken.contains(&port) => Ok(port),
        _ => next_free_port(FIRST_PORT, taken),
    }
}

async fn start_on_free_port(server: &mut PostgresServer, taken: &[u16]) -> Result<(), LocalError> {
    let mut tries = 1;
    loop {
        match server.start().await {
            Err(LocalError::Ended { .. }) if tries < PORT_TRIES && !is_free(server.port()) => {
                server.set_port(next_free_port(server.port(), taken)?);
                tries += 1;
            }
            result => return result,
        }
    }
}

//! How a local server ends: stopped, killed, suspended for fault tests, dropped, or found as a left-over.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::error::LocalError;
use super::process;
use super::server::PostgresServer;

/// How long a fast shutdown may take, before the server is killed.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How long the immediate shutdown of a dropped server may take, before a kill.
const DROP_LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

impl PostgresServer {
    /// Stops the server in good order: sessions end, and committed data is written out.
    pub async fn stop(&mut self) {
        self.resume();
        let Some(pid) = self.pid() else { return };
        process::send_signal("INT", &[pid]);
        if !self.ends_within(STOP_LIMIT).await {
            log::warn!("the PostgreSQL server in {} did not stop in time and is killed", self.folder.display());
            self.kill().await;
        }
        self.child = None;
    }

    /// Stops the server and starts it again.
    ///
    /// # Errors
    /// See [`PostgresServer::start`].
    pub async fn restart(&mut self) -> Result<(), LocalError> {
        self.stop().await;
        self.start().await
    }

    /// Kills all processes of the server, as a crash would.
    pub async fn kill(&mut self) {
        let pids = self.suspend_processes();
        process::send_signal("KILL", &pids);
        self.ends_within(STOP_LIMIT).await;
        self.child = None;
        // The server's children are not ours, so no event reports their end.
        let until = Instant::now() + STOP_LIMIT;
        while process::any_alive(&pids) && Instant::now() < until {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Suspends all processes of the server: connections stay open, and nothing answers.
    pub fn pause(&self) {
        self.suspend_processes();
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        let Some(pid) = self.pid() else { return };
        let mut pids = process::child_pids(pid);
        pids.push(pid);
        process::send_signal("CONT", &pids);
    }

    /// Suspends the first process, so that it makes no new children, and then the children; returns all of them.
    fn suspend_processes(&self) -> Vec<u32> {
        let Some(pid) = self.pid() else { return Vec::new() };
        process::send_signal("STOP", &[pid]);
        let mut pids = process::child_pids(pid);
        process::send_signal("STOP", &pids);
        pids.push(pid);
        pids
    }

    async fn ends_within(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while self.is_running() {
            if Instant::now() > until {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if !self.is_running() {
            return;
        }
        self.resume();
        let Some(pid) = self.pid() else { return };
        // The immediate shutdown removes the shared memory, which a kill would leave behind.
        process::send_signal("QUIT", &[pid]);
        let until = std::time::Instant::now() + DROP_LIMIT;
        while self.is_running() && std::time::Instant::now() < until {
            std::thread::sleep(POLL);
        }
        if self.is_running() {
            process::send_signal("KILL", &self.suspend_processes());
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.wait(); // the process is dead; this only removes its entry from the process table
        }
    }
}

/// Stops the server that an earlier process of ours left running on this data folder. Then removes the file with its
/// process id, unless the process still runs: PostgreSQL would take any process with that id for a server.
///
/// # Errors
/// `NoAnswer` if that server does not stop; or an input or output error.
pub async fn remove_stale_server(folder: &Path) -> Result<(), LocalError> {
    let note = folder.join("postmaster.pid");
    let Ok(text) = std::fs::read_to_string(&note) else { return Ok(()) };
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
    let until = Instant::now() + STOP_LIMIT;
    let mut asked = false;
    while let Some(server) = pid.and_then(process::find_process).filter(|found| found.is_server_of(folder)) {
        if Instant::now() > until {
            let log = String::new();
            let reason = format!("its process {} does not stop", server.pid);
            return Err(LocalError::NoAnswer { folder: folder.to_owned(), reason, log });
        }
        if !asked {
            log::warn!("stops the PostgreSQL server that still runs in {}", folder.display());
            process::send_signal("CONT", &[server.pid]);
            process::send_signal("INT", &[server.pid]);
            asked = true;
        }
        tokio::time::sleep(POLL).await;
    }
    match std::fs::remove_file(&note) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(LocalError::io_at(&note)(error)),
        _ => Ok(()),
    }
}

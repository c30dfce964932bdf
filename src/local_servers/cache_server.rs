//! A local Redis or Valkey server: on loopback, without a password, and without persistence unless told to save.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use super::binaries::shell_output;
use super::error::LocalError;
use super::port::{is_free, next_free_port};
use super::process;

/// The first port to try; the container uses the same.
const FIRST_PORT: u16 = 6381;
const PROGRAMS: [&str; 2] = ["valkey-server", "redis-server"];
/// Folders of package managers that may be missing in PATH.
const USUAL_FOLDERS: [&str; 4] = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin"];
/// How long a start or a stop may take.
const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);
/// How long the server may take to answer a question.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// How often a server tries another port, after another program took the found one.
const PORT_TRIES: usize = 5;
/// The memory limit of a developer's cache.
const MEMORY: &str = "256mb";

/// A cache server on 127.0.0.1. A drop kills the server.
#[derive(Debug)]
pub struct CacheServer {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl CacheServer {
    /// The server program of this machine, if installed.
    #[must_use]
    pub fn find_program() -> Option<PathBuf> {
        let on_path = PROGRAMS.iter().filter_map(|name| shell_output(&format!("command -v {name}")).map(PathBuf::from));
        let usual = USUAL_FOLDERS.iter().flat_map(|folder| PROGRAMS.iter().map(|name| Path::new(folder).join(name)));
        on_path.chain(usual).find(|program| program.is_file())
    }

    /// The server of a folder, which need not exist yet. The path must be absolute.
    #[must_use]
    pub fn new(program: PathBuf, folder: PathBuf, port: u16) -> Self {
        Self { program, folder, port, child: None }
    }

    /// Starts a server on the usual port, or on the first free one after it. First kills the server that an earlier
    /// process left in the folder.
    ///
    /// # Errors
    /// As [`CacheServer::start`], or `NoPort`.
    pub async fn start_anywhere(program: PathBuf, folder: PathBuf) -> Result<Self, LocalError> {
        let mut server = Self::new(program, folder, 0);
        server.kill_stale_server().await;
        let mut tries = 1;
        server.port = next_free_port(FIRST_PORT, &[])?;
        loop {
            match server.start().await {
                Err(LocalError::CacheEnded { .. }) if tries < PORT_TRIES && !is_free(server.port) => {
                    server.port = next_free_port(server.port, &[])?;
                    tries += 1;
                }
                result => return result.map(|()| server),
            }
        }
    }

    /// Starts the server and waits for its first answer. The server reads the data of an earlier `SAVE` in its
    /// folder.
    ///
    /// # Errors
    /// `CacheEnded` if the server ended or did not answer; or an input or output error.
    pub async fn start(&mut self) -> Result<(), LocalError> {
        std::fs::create_dir_all(&self.folder).map_err(LocalError::io_at(&self.folder))?;
        let path = self.folder.join("server.log");
        let log = std::fs::File::create(&path).map_err(LocalError::io_at(&path))?;
        let errors = log.try_clone().map_err(LocalError::io_at(&path))?;
        let mut command = Command::new(&self.program);
        command.arg("--port").arg(self.port.to_string()).arg("--dir").arg(&self.folder);
        command.args(["--bind", "127.0.0.1", "--daemonize", "no", "--save", "", "--appendonly", "no"]);
        command.args(["--maxmemory", MEMORY, "--maxmemory-policy", "allkeys-lru"]);
        // A separate process group: this process alone handles a terminal's Ctrl-C.
        command.process_group(0).current_dir(&self.folder).stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = command.spawn().map_err(LocalError::io_at(&self.program))?;
        let pid = child.id();
        self.child = Some(child);
        let note = self.pid_file();
        std::fs::write(&note, pid.to_string()).map_err(LocalError::io_at(&note))?;
        let until = Instant::now() + LIMIT;
        while !self.is_answering(pid) {
            if !self.is_running() || Instant::now() > until {
                self.kill();
                let log = std::fs::read_to_string(&path).unwrap_or_default();
                return Err(LocalError::CacheEnded { folder: self.folder.clone(), log });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// True if this server answers on the port, and has read its data.
    fn is_answering(&self, pid: u32) -> bool {
        let Some(text) = send_command(self.port, "INFO\r\n") else { return false };
        text.lines().any(|line| line == format!("process_id:{pid}")) && text.lines().any(|line| line == "loading:0")
    }

    /// Stops the server in good order.
    pub async fn stop(&mut self) {
        self.resume();
        self.send_signal("TERM");
        let until = Instant::now() + LIMIT;
        while self.is_running() && Instant::now() < until {
            tokio::time::sleep(POLL).await;
        }
        self.kill();
    }

    /// Kills the server, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The process may have ended already; then this only removes its entry from the process table.
            let _ = child.kill();
            let _ = child.wait();
            let _ = std::fs::remove_file(self.pid_file());
        }
    }

    /// Suspends the server: connections stay open, and nothing answers.
    pub fn pause(&self) {
        self.send_signal("STOP");
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        self.send_signal("CONT");
    }

    /// Sends a command of words without blanks; returns the raw answer.
    #[must_use]
    pub fn command(&self, command: &str) -> Option<String> {
        send_command(self.port, &format!("{command}\r\n"))
    }

    /// The URL for `REDIS_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
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

    fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    fn send_signal(&self, name: &str) {
        if let Some(child) = &self.child {
            process::send_signal(name, &[child.id()]);
        }
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("pid")
    }

    /// Kills the server that an earlier, killed process of ours left running in the folder.
    async fn kill_stale_server(&self) {
        let Ok(text) = std::fs::read_to_string(self.pid_file()) else { return };
        let is_cache = |name: &str| PROGRAMS.iter().any(|program| name.contains(program));
        let stale = || {
            let found = process::find_process(text.trim().parse().ok()?)?;
            // The process id may belong to another program by now.
            let folder = std::fs::read_link(format!("/proc/{}/cwd", found.pid)).ok();
            let is_ours = folder.is_none_or(|folder| folder == self.folder);
            (!found.zombie && is_ours && is_cache(&found.command)).then_some(found.pid)
        };
        let until = Instant::now() + LIMIT;
        while let Some(pid) = stale()
            && Instant::now() < until
        {
            process::send_signal("KILL", &[pid]); // a cache has nothing to save
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for CacheServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The answer of the server on this port, within the time limit.
fn send_command(port: u16, command: &str) -> Option<String> {
    let address = (Ipv4Addr::LOCALHOST, port).into();
    let mut connection = TcpStream::connect_timeout(&address, ANSWER_LIMIT).ok()?;
    connection.set_read_timeout(Some(ANSWER_LIMIT)).ok()?;
    // After QUIT the server closes the connection, so that the answer has an end.
    connection.write_all(format!("{command}QUIT\r\n").as_bytes()).ok()?;
    let mut text = String::new();
    connection.read_to_string(&mut text).ok()?;
    Some(text.replace('\r', ""))
}

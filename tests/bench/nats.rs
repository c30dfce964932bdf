//! A NATS server with `JetStream` of our own, as durable as it is by itself.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use shardrive::local_servers::free_port;

use crate::Result;
use crate::http::{Connection, get};

/// Where packages put the program, and at last where `scripts/setup bench` does.
const PROGRAMS: [&str; 5] = [
    "/usr/sbin/nats-server",
    "/usr/bin/nats-server",
    "/usr/local/bin/nats-server",
    "/opt/homebrew/bin/nats-server",
    concat!(env!("CARGO_TARGET_TMPDIR"), "/../tools/bin/nats-server"),
];

/// A running server. Dropping it kills it.
pub struct Nats {
    child: Child,
    port: u16,
    monitor: u16,
}

impl Nats {
    /// Starts it, and waits until it answers.
    pub fn start(folder: &Path) -> Result<Self> {
        let program = PROGRAMS.iter().map(PathBuf::from).find(|program| program.is_file());
        let program = program.ok_or("there is no nats-server; run scripts/setup bench")?;
        let (port, monitor) = (free_port()?, free_port()?);
        let mut command = Command::new(program);
        command
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-m", &monitor.to_string(), "-js", "-sd"])
            .arg(folder);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let server = Self { child, port, monitor };
        for _ in 0..200 {
            if server.messages().is_ok() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("the NATS server does not answer".into())
    }

    /// The URL for `SHARDRIVE_EVENTS_URL`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many events the server has on its disk.
    pub fn messages(&self) -> Result<f64> {
        let told = Connection::open(&format!("http://127.0.0.1:{}", self.monitor))?.json(&get("/jsz"))?;
        Ok(told.get("messages").and_then(serde_json::Value::as_f64).ok_or("no messages in /jsz")?)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

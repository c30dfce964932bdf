//! NATS servers of a test's own, and what they were told.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::GetStreamErrorKind;
use serde_json::Value;
use shardrive::local::free_port;
use tempfile::TempDir;

use super::poll;

/// A server with `JetStream` on a free port of loopback. Dropping it kills it.
pub struct Nats {
    port: u16,
    child: Option<Child>,
    folder: TempDir,
}

/// An event as the broker keeps it.
#[derive(Clone, Debug)]
pub struct Told {
    pub id: String,
    pub kind: String,
    pub event: Value,
}

impl Nats {
    /// Starts a server. A machine that runs the tests has the program: scripts/setup sees to it.
    pub async fn start() -> Self {
        let mut nats = Self { port: free_port().unwrap(), child: None, folder: tempfile::tempdir().unwrap() };
        nats.run().await;
        nats
    }

    /// A server that is not running yet.
    pub fn away() -> Self {
        Self { port: free_port().unwrap(), child: None, folder: tempfile::tempdir().unwrap() }
    }

    /// Starts it, or starts it again with what it has on its disk.
    pub async fn run(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let child = Command::new(program())
            .args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-js", "-sd"])
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        poll::until("the NATS server", async || self.client().await.map(drop).ok_or(())).await;
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    async fn client(&self) -> Option<jetstream::Context> {
        let connecting = tokio::time::timeout(Duration::from_secs(5), async_nats::connect(self.url())).await;
        let context = jetstream::new(connecting.ok()?.ok()?);
        // It answers, also if it is to say that there is no such stream.
        match context.get_stream("shardrive").await {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), GetStreamErrorKind::JetStream(_)) => {}
            Err(_) => return None,
        }
        Some(context)
    }

    /// Everything that was told so far, in its order; what was told twice, once, where it came first.
    pub async fn told(&self) -> Vec<Told> {
        let context = self.client().await.expect("a server that runs");
        let Ok(mut stream) = context.get_stream("shardrive").await else { return Vec::new() };
        let last = stream.info().await.unwrap().state.last_sequence;
        let (mut all, mut ids) = (Vec::new(), HashSet::new());
        for number in 1..=last {
            let message = match stream.get_raw_message(number).await {
                Ok(message) => message,
                Err(error) => panic!("{number}: {error}"),
            };
            let id = message.headers.get("Nats-Msg-Id").unwrap().to_string();
            let event: Value = serde_json::from_slice(&message.payload).unwrap();
            assert_eq!((event["id"].as_str(), event["specversion"].as_str()), (Some(&*id), Some("1.0")));
            let kind = event["type"].as_str().unwrap().strip_prefix("dev.shardrive.").unwrap().to_owned();
            assert_eq!(message.subject.as_str(), format!("shardrive.{kind}"));
            if ids.insert(id.clone()) {
                all.push(Told { id, kind, event });
            }
        }
        all
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

fn program() -> PathBuf {
    ["/usr/sbin/nats-server", "/usr/bin/nats-server", "/usr/local/bin/nats-server", "/opt/homebrew/bin/nats-server"]
        .into_iter()
        .map(PathBuf::from)
        .find(|program| program.is_file())
        .expect("nats-server; run scripts/setup test")
}

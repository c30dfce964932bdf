//! NATS servers for one test, and the events that they have stored.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::GetStreamErrorKind;
use futures_util::StreamExt as _;
use serde_json::Value;
use shardrive::local_servers::free_port;
use tempfile::TempDir;

use super::api::client;
use super::certificates::TestCa;
use super::{poll, tools};

/// The password in plain form, and in the form of a URL.
const PASSWORD: (&str, &str) = ("s3cret/of@the:broker", "s3cret%2Fof%40the%3Abroker");

/// A server with `JetStream` on a free port of loopback. A drop kills the server.
pub struct Nats {
    program: PathBuf,
    port: u16,
    child: Option<Child>,
    folder: TempDir,
    /// The CA certificate and the TLS arguments, for a server with TLS and sign-in.
    encrypted: Option<(String, [String; 7])>,
}

/// An event in the broker's store.
#[derive(Clone, Debug)]
pub struct PublishedEvent {
    pub id: String,
    pub kind: String,
    pub event: Value,
}

impl Nats {
    /// Starts a server; `None` where the program is missing.
    pub async fn start() -> Option<Self> {
        let mut nats = Self::not_started()?;
        nats.run().await;
        Some(nats)
    }

    /// Starts a server with TLS, with a certificate of this CA, and with a password.
    pub async fn start_encrypted(authority: &TestCa) -> Option<Self> {
        let mut nats = Self::not_started()?;
        let pair = authority.issue_certificate(&["127.0.0.1"]);
        let (certificate, key) =
            (authority.write("nats.pem", &pair.certificate), authority.write("nats-key.pem", &pair.key));
        let arguments =
            ["--tls", "--tlscert", &certificate, "--tlskey", &key, "--user=service", &format!("--pass={}", PASSWORD.0)];
        nats.encrypted = Some((authority.ca_file(), arguments.map(str::to_owned)));
        nats.run().await;
        Some(nats)
    }

    /// A server that is not started yet; `None` if the program is missing.
    pub fn not_started() -> Option<Self> {
        let program = tools::find_or_skip("nats-server")?;
        let folder = tempfile::tempdir().unwrap();
        Some(Self { program, port: free_port().unwrap(), child: None, folder, encrypted: None })
    }

    /// Starts the server, or restarts it with the data on its disk.
    pub async fn run(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let child = Command::new(&self.program)
            .args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-js", "-sd"])
            .arg(self.folder.path())
            .args(self.encrypted.iter().flat_map(|(_, arguments)| arguments))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        poll::until("the NATS server", async || self.client().await.map(drop)).await;
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn url(&self) -> String {
        match self.encrypted {
            Some(_) => format!("tls://service:{}@127.0.0.1:{}", PASSWORD.1, self.port),
            None => format!("nats://127.0.0.1:{}", self.port),
        }
    }

    async fn client(&self) -> Result<jetstream::Context, String> {
        let _ = client(); // installs the TLS provider
        let options = async_nats::ConnectOptions::new();
        let options = match &self.encrypted {
            Some((authority, _)) => options
                .add_root_certificates(authority.into())
                .user_and_password("service".to_owned(), PASSWORD.0.to_owned()),
            None => options,
        };
        let connecting = tokio::time::timeout(Duration::from_secs(5), options.connect(self.url())).await;
        let context = jetstream::new(connecting.map_err(|_| "no answer")?.map_err(|error| format!("{error:?}"))?);
        // The server has answered, even if only to report a missing stream.
        match context.get_stream("shardrive").await {
            Ok(_) => Ok(context),
            Err(error) if matches!(error.kind(), GetStreamErrorKind::JetStream(_)) => Ok(context),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Creates or changes a stream of these subjects. A full stream with a bound refuses new events.
    pub async fn set_stream(&self, name: &str, subject: &str, most: Option<i64>) {
        let config = jetstream::stream::Config {
            name: name.to_owned(),
            subjects: vec![subject.to_owned()],
            max_messages: most.unwrap_or(-1),
            discard: most.map_or(jetstream::stream::DiscardPolicy::Old, |_| jetstream::stream::DiscardPolicy::New),
            ..jetstream::stream::Config::default()
        };
        self.client().await.unwrap().create_or_update_stream(config).await.unwrap();
    }

    /// Records the ids of all messages sent to a subject from now on, with or without a stream.
    pub async fn record_message_ids(&self, subject: &'static str) -> Arc<Mutex<Vec<(String, String)>>> {
        let _ = client(); // installs the TLS provider
        let client = async_nats::connect(self.url()).await.unwrap();
        let mut messages = client.subscribe(subject).await.unwrap();
        client.flush().await.unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&heard);
        tokio::spawn(async move {
            let _client = client;
            while let Some(message) = messages.next().await {
                let id = message.headers.as_ref().and_then(|headers| headers.get("Nats-Msg-Id"));
                let heard = (message.subject.to_string(), id.map(ToString::to_string).unwrap_or_default());
                into.lock().unwrap().push(heard);
            }
        });
        heard
    }

    /// All stored events in order; a repeated event counts once, at its first place.
    pub async fn published_events(&self) -> Vec<PublishedEvent> {
        self.events_in_stream("shardrive").await
    }

    /// The stored events of this stream.
    pub async fn events_in_stream(&self, name: &str) -> Vec<PublishedEvent> {
        let context = self.client().await.expect("a server that runs");
        let Ok(mut stream) = context.get_stream(name).await else { return Vec::new() };
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
                all.push(PublishedEvent { id, kind, event });
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

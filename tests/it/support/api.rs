//! The real program as a child process, and HTTP calls to the program.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use super::poll;
use super::servers::TestCluster;
use super::watchdog::Watch;

/// The tested program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_shardrive");

/// The settings of every service, unless a test overrides them. Few connections: each is a process of PostgreSQL, whose
/// start costs more than most requests of a test.
const DEFAULTS: [(&str, &str); 4] = [
    ("BIND_ADDR", "127.0.0.1:0"),
    ("RUST_LOG", "info"),
    ("SHARDRIVE_DB_POOL_MIN_SIZE", "1"),
    ("SHARDRIVE_DB_POOL_MAX_SIZE", "4"),
];

/// Patient limits for every service and command, unless a test overrides them: a busy machine must not make a shard
/// look lost. Many services probe their shards at the same time, so each probes less often.
pub const PATIENT: [(&str, &str); 5] = [
    ("SHARDRIVE_HEALTH_INTERVAL_MS", "300"),
    ("SHARDRIVE_HEALTH_TIMEOUT_MS", "10000"),
    ("SHARDRIVE_CONNECT_TIMEOUT_MS", "10000"),
    ("SHARDRIVE_SHARD_TIMEOUT_MS", "30000"),
    ("SHARDRIVE_STATS_TIMEOUT_MS", "10000"),
];

/// The default settings, for tests of how quickly a lost shard is noticed.
pub const AS_SHIPPED: [(&str, &str); 5] = [
    ("SHARDRIVE_HEALTH_INTERVAL_MS", ""),
    ("SHARDRIVE_HEALTH_TIMEOUT_MS", ""),
    ("SHARDRIVE_CONNECT_TIMEOUT_MS", ""),
    ("SHARDRIVE_SHARD_TIMEOUT_MS", ""),
    ("SHARDRIVE_STATS_TIMEOUT_MS", ""),
];

/// A running `shardrive serve` or `dev`. A drop kills the program.
pub struct Api {
    child: Child,
    base: String,
    log: Arc<Mutex<String>>,
    client: Client,
    _watch: Watch,
}

impl Api {
    /// Starts the program on a migrated cluster, and waits until the program listens.
    pub async fn start(cluster: &TestCluster) -> Self {
        Self::start_with(cluster, &[]).await
    }

    /// The same, with further settings.
    pub async fn start_with(cluster: &TestCluster, settings: &[(&str, &str)]) -> Self {
        Self::start_on(&cluster.urls(), settings).await
    }

    /// The same, with another build of the program.
    pub async fn start_build(program: &str, cluster: &TestCluster, settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let variables: Vec<_> = cluster.variables().into_iter().chain(settings).collect();
        let started = Self::try_build(program, &["serve"], &variables).await;
        started.unwrap_or_else(|log| panic!("the program ended at its start:\n{log}"))
    }

    /// The same, on shards with these URLs.
    pub async fn start_on(urls: &[String], settings: &[(&str, &str)]) -> Self {
        let mut variables: Vec<_> =
            urls.iter().enumerate().map(|(shard, url)| (format!("SHARD_{shard}_URL"), url.clone())).collect();
        variables.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Self::try_start(&variables).await.unwrap_or_else(|log| panic!("the program ended at its start:\n{log}"))
    }

    /// Starts the program with these variables and no others.
    ///
    /// # Errors
    /// The output, if the program ended.
    pub async fn try_start(variables: &[(String, String)]) -> Result<Self, String> {
        Self::try_command(&["serve"], variables).await
    }

    /// Starts a command that serves, with these variables and no others.
    ///
    /// # Errors
    /// The output, if the program ended.
    pub async fn try_command(arguments: &[&str], variables: &[(String, String)]) -> Result<Self, String> {
        Self::try_build(PROGRAM, arguments, variables).await
    }

    /// The same, with another program: another build, or a program that starts ours.
    ///
    /// # Errors
    /// The output, if the program ended.
    pub async fn try_build(program: &str, arguments: &[&str], variables: &[(String, String)]) -> Result<Self, String> {
        let folder = std::env::temp_dir(); // no .env there
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(DEFAULTS)
            .envs(PATIENT)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let readers = [
            collect_lines(child.stdout.take().unwrap(), Arc::clone(&log)),
            collect_lines(child.stderr.take().unwrap(), Arc::clone(&log)),
        ];
        let base = poll::until("the line with the address", async || {
            let ended = child.try_wait().unwrap().is_some() && readers.iter().all(|reader| reader.is_finished());
            let text = log.lock().unwrap().clone();
            match find_address(&text) {
                Some(base) => Ok(Ok(base)),
                None if ended => Ok(Err(text)),
                None => Err(text),
            }
        })
        .await;
        match base {
            Ok(base) => Ok(Self { child, base, log, client: client(), _watch: Watch::begin() }),
            Err(log) => Err(log),
        }
    }

    /// A request to a path of the API, to be completed and sent.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// Sends a body of this type to a path.
    pub async fn send(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Response {
        self.request(Method::POST, path).header("Content-Type", content_type).body(body).send().await.unwrap()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.request(Method::POST, path).json(body).send().await.unwrap()
    }

    /// The status and the JSON of a GET.
    pub async fn get_json(&self, path: &str) -> (StatusCode, Value) {
        json(self.get(path).await).await
    }

    /// The status and the JSON of a POST.
    pub async fn post_json(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        json(self.post(path, body).await).await
    }

    /// `http://host:port`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The same program, called by another client.
    pub fn call_with(&mut self, client: Client) {
        self.client = client;
    }

    /// The output so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM.
    pub fn sigterm(&self) {
        self.signal("TERM");
    }

    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn resume(&self) {
        self.signal("CONT");
    }

    pub fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the exit; true for success.
    pub async fn wait_for_exit(&mut self) -> bool {
        let status = poll::until("the program's end", async || self.child.try_wait().unwrap().ok_or("runs")).await;
        status.success()
    }

    fn signal(&self, name: &str) {
        let command = format!("kill -s {name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the program at {}\n{}", self.base, self.log());
        }
    }
}

/// The status and the JSON of an answer.
pub async fn json(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.unwrap();
    let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{status}: no JSON ({error}): {text}"));
    (status, value)
}

/// The address in `… listening on http://127.0.0.1:1234`.
fn find_address(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("listening on ")?;
    let (scheme, rest) = rest.split_once("://")?;
    let (host, _) = rest.split_once(|c: char| c.is_whitespace() || c == '"' || c == '/')?;
    Some(format!("{scheme}://{host}"))
}

fn collect_lines(mut from: impl Read + Send + 'static, log: Arc<Mutex<String>>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(&mut from).lines() {
            let Ok(line) = line else { return };
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    })
}

pub fn client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Client::builder().no_proxy().timeout(Duration::from_secs(120)).build().unwrap()
}

//! Prometheus and its tool.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use shardrive::local_servers::free_port;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use super::api::client;
use super::{poll, tools};

/// Runs promtool with an input, requires success, and returns the output. `None` if the program is missing.
pub async fn promtool(arguments: &[&str], folder: &Path, input: &str) -> Option<String> {
    let mut child = Command::new(tools::find_or_skip("promtool")?)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let write = async move {
        // A command that reads nothing may close the pipe first.
        let _ = stdin.write_all(input.as_bytes()).await;
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
    Some(said.into_owned())
}

/// A running Prometheus server. A drop ends the server.
pub struct Prometheus {
    _child: Child,
    base: String,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts a server that scrapes this `host:port` every second; `None` if the program is missing.
    pub fn start(target: &str) -> Option<Self> {
        let program = tools::find_or_skip("prometheus")?;
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: shardrive\n  static_configs: [{{targets: ['{target}']}}]\n"
        );
        std::fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        let address = format!("127.0.0.1:{}", free_port().unwrap());
        let child = Command::new(program)
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg("--enable-feature=exemplar-storage")
            .arg(format!("--web.listen-address={address}"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Some(Self { _child: child, base: format!("http://{address}"), _folder: folder })
    }

    /// Waits for samples of a query.
    pub async fn query(&self, query: &str) -> Vec<Value> {
        self.ask("query", &[("query", query)], "/data/result").await
    }

    /// Waits for exemplars of a metric's series.
    pub async fn exemplars(&self, metric: &str) -> Vec<Value> {
        let always = [("query", metric), ("start", "0"), ("end", "4102444800")];
        self.ask("query_exemplars", &always, "/data").await
    }

    /// Waits until the answer has something in the list at `place`.
    async fn ask(&self, call: &str, parameters: &[(&str, &str)], place: &str) -> Vec<Value> {
        let url = format!("{}/api/v1/{call}", self.base);
        poll::until(&format!("{call} {parameters:?}"), async || {
            let answer = client().get(&url).query(parameters).send().await.map_err(|error| error.to_string())?;
            let answer: Value = answer.json().await.map_err(|error| error.to_string())?;
            match answer.pointer(place).and_then(Value::as_array) {
                Some(found) if !found.is_empty() => Ok(found.clone()),
                _ => Err(answer.to_string()),
            }
        })
        .await
    }
}

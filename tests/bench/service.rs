//! The service as people run it: the release build, a process of its own, settings at their defaults.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{Bench, Result};

/// A running service. Dropping it stops it.
pub struct Service {
    child: Child,
    /// `http://host:port`.
    pub base: String,
}

impl Service {
    /// Starts it on the shards, and waits until it listens.
    pub fn start(bench: &Bench) -> Result<Self> {
        Self::start_with(bench, &[])
    }

    /// The same, without a line in the log for each stage of a move.
    pub fn start_quiet(bench: &Bench) -> Result<Self> {
        Self::start_with(bench, &[("RUST_LOG", "warn".to_owned())])
    }

    /// The same, with these settings as well.
    pub fn start_with(bench: &Bench, settings: &[(&str, String)]) -> Result<Self> {
        Self::start_on(&bench.options.program, &bench.shards.urls, settings)
    }

    /// Starts it on the shards of these URLs.
    pub fn start_on(program: &Path, urls: &[String], settings: &[(&str, String)]) -> Result<Self> {
        Self::spawn(Command::new(program).arg("serve"), urls, settings)
    }

    /// Starts the plain service of `plain/main.rs`.
    pub fn start_plain(bench: &Bench) -> Result<Self> {
        Self::spawn(&mut Command::new(&bench.options.plain), &bench.shards.urls, &[])
    }

    fn spawn(command: &mut Command, urls: &[String], settings: &[(&str, String)]) -> Result<Self> {
        let urls = urls.iter().enumerate().map(|(shard, url)| (format!("SHARD_{shard}_URL"), url));
        let mut child = command
            .env_clear()
            .envs(urls)
            // A slow answer is a figure, and an answer that never comes is an error: a busy disk's pause is neither.
            .envs([("BIND_ADDR", "127.0.0.1:0"), ("SHARDRIVE_SHARD_TIMEOUT_MS", "60000")])
            .envs(settings.iter().map(|(name, value)| (name, value)))
            // What is measured may be told apart by settings, as in `SHARDRIVE_HTTP_WORKERS=4 tests/bench/run`.
            .envs(std::env::vars().filter(|(name, _)| {
                ["SHARDRIVE_", "DB_POOL_", "CACHE_", "RUST_LOG", "MALLOC_"]
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
            }))
            .current_dir("/") // no .env there
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let Some(base) = line.trim().strip_prefix("listening on ") else {
            return Err("the service ended at its start".into());
        };
        let base = base.to_owned();
        // Nothing more is expected, but a full pipe would stop it.
        std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        Ok(Self { child, base })
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let asked = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

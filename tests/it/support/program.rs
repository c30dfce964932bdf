//! Commands of the program that run to their end.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::api::{PATIENT, PROGRAM};

/// Far more than any command takes.
const LIMIT: Duration = Duration::from_secs(300);

/// The output of a command.
#[derive(Debug)]
pub struct CommandOutput {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl CommandOutput {
    /// The standard output as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// Runs a command with these variables, [`PATIENT`] and no others.
pub async fn shardrive(arguments: &[&str], variables: &[(String, String)]) -> CommandOutput {
    shardrive_reading(arguments, variables, Vec::new()).await
}

/// The same, with something to read on standard input.
pub async fn shardrive_reading(arguments: &[&str], variables: &[(String, String)], input: Vec<u8>) -> CommandOutput {
    let mut child = Command::new(PROGRAM)
        .args(arguments)
        .env_clear()
        .envs(PATIENT)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir(std::env::temp_dir()) // no .env there
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let write = async move {
        // A command that reads nothing may close the pipe first.
        let _ = stdin.write_all(&input).await;
    };
    let ended = async { tokio::join!(write, child.wait_with_output()).1 };
    let output =
        tokio::time::timeout(LIMIT, ended).await.unwrap_or_else(|_| panic!("{arguments:?} does not end")).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    CommandOutput { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs a command with closed output pipes. Returns the exit code.
pub async fn shardrive_unread(arguments: &[&str], variables: &[(String, String)]) -> i32 {
    let mut child = Command::new(PROGRAM)
        .args(arguments)
        .env_clear()
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    let ended = tokio::time::timeout(LIMIT, child.wait()).await;
    ended.unwrap_or_else(|_| panic!("{arguments:?} does not end")).unwrap().code().unwrap_or(-1)
}

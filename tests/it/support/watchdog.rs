//! Names a hanging test, and ends the run, which would otherwise hang without a hint.

use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Several times the longest test's time on a busy machine.
const LIMIT: Duration = Duration::from_secs(600);

/// Held by a test while the test runs.
#[derive(Debug)]
pub struct Watch {
    _ended: Sender<()>,
}

impl Watch {
    /// Watches the calling test. A chaos run is not watched, as the caller chooses its length.
    pub fn begin() -> Self {
        // The runner names its threads after the tests, module::test.
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let (_ended, end) = channel();
        if !test.contains("::") {
            return Self { _ended };
        }
        std::thread::spawn(move || {
            if end.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                eprintln!("test {test} has not ended in {LIMIT:?}: it hangs, and the run ends here");
                // Without drops from now on: the servers and programs of all tests must be killed.
                let _ = Command::new("pkill").args(["-KILL", "-P", &std::process::id().to_string()]).status();
                std::process::exit(102);
            }
        });
        Self { _ended }
    }
}

//! Names a test that hangs, and ends the run: it would otherwise go on until somebody ends it, and nobody would know why.

use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Several times what the longest test takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(600);

/// What a test holds while it runs.
#[derive(Debug)]
pub struct Watch {
    _ended: Sender<()>,
}

impl Watch {
    /// Watches over the test that calls this. A run of chaos is none: it lasts as long as it is told to.
    pub fn begin() -> Self {
        // The runner's threads are named after their tests, module::test.
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let (_ended, end) = channel();
        if !test.contains("::") {
            return Self { _ended };
        }
        std::thread::spawn(move || {
            if end.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                eprintln!("test {test} has not ended in {LIMIT:?}: it hangs, and the run ends here");
                // Nobody drops anything any more: the servers and programs of all tests go with them.
                let _ = Command::new("pkill").args(["-KILL", "-P", &std::process::id().to_string()]).status();
                std::process::exit(102);
            }
        });
        Self { _ended }
    }
}

//! Parses the command line and runs it.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Every TLS connection of the process uses ring. Nothing was installed before, so this cannot fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("shardrive").build();
    match runtime {
        Ok(runtime) => runtime.block_on(shardrive::cli::run()),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "shardrive: the threads cannot be started: {error}");
            ExitCode::FAILURE
        }
    }
}

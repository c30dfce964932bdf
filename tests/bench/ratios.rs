//! `make bench`: the service against the database's own tools, on the same shards and in the same run.
//!
//! ```text
//! run → ratios → cases/ → rounds → { service, tools, rows } → shards
//!                  ├───→ { load, moving } → http
//!                  └───→ table
//! ```
//!
//! The figures of a machine say little about another one, so every bar is a ratio: ours and the reference in turn,
//! several times, and the median counts. docs/benchmarks.md says how to read them.

#![expect(unreachable_pub, reason = "what the cases share is seen by them alone, and `pub` reads best")]
#![expect(clippy::as_conversions, reason = "figures for people: what a float cannot hold does not matter here")]

mod cache;
mod cases;
mod http;
mod load;
mod moving;
mod nats;
mod options;
mod rounds;
mod rows;
mod service;
mod shards;
mod table;
mod tools;
mod usage;

use std::error::Error;
use std::process::ExitCode;

use options::Options;
use shards::Shards;
use table::Report;

/// Whatever goes wrong ends the run, with a word that says what.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What a case works with.
pub struct Bench {
    /// What was asked for.
    pub options: Options,
    /// The databases.
    pub shards: Shards,
    /// What has been measured so far.
    pub report: Report,
}

fn main() -> ExitCode {
    let done = Options::parse().and_then(|options| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(run(options))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the shards, runs the cases, and stops the shards, whatever happened; Ctrl-C is one of the things.
async fn run(options: Options) -> Result<()> {
    let (shards, cluster) = Shards::start(&options.folder).await?;
    let running = tokio::task::spawn_blocking(move || {
        let mut bench = Bench { report: Report::new(&options)?, options, shards };
        let done = cases::run(&mut bench);
        // What was measured before something went wrong is worth showing.
        bench.report.finish(&bench.options)?;
        done.map(|()| bench.options)
    });
    let done = tokio::select! {
        done = running => done?,
        _ = tokio::signal::ctrl_c() => Err("stopped".into()),
    };
    cluster.stop().await;
    let options = done?;
    std::fs::remove_dir_all(&options.folder)?;
    Ok(())
}

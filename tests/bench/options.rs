//! What the command line asks for.

use std::path::PathBuf;

use clap::Parser;

use crate::Result;

/// Measures the service against pgbench and psql's \copy
#[derive(Parser, Clone, Debug)]
#[command(name = "tests/bench/run")]
pub struct Options {
    /// One short round of each case.
    #[arg(long)]
    pub short: bool,
    /// Only the cases whose names hold this word; may be given several times.
    #[arg(long, value_name = "WORD")]
    pub only: Vec<String>,
    /// Rounds of each comparison [default: 5, or 1 with --short].
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Where to write the figures.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where to write the table as Markdown.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// The figures of an earlier run, to compare with; ends with an error if a ratio is worse by a tenth, or with
    /// --short by two thirds, as one short round on a shared machine tells no less.
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// The program to measure; if it is given twice, the last one.
    #[arg(long, value_name = "PROGRAM", default_value = "target/release/shardrive", overrides_with = "program")]
    pub program: PathBuf,
    /// The plain service that is the reference of some cases.
    #[arg(
        long,
        value_name = "PROGRAM",
        default_value = "target/release/examples/plain_service",
        overrides_with = "plain"
    )]
    pub plain: PathBuf,
    /// Where the shards keep their data; it is removed at the end.
    #[arg(long, value_name = "FOLDER", default_value = "target/bench/shards")]
    pub folder: PathBuf,
    /// Cargo gives this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    pub fn parse() -> Result<Self> {
        let mut options = <Self as Parser>::parse();
        std::fs::create_dir_all(&options.folder)?;
        options.folder = options.folder.canonicalize()?;
        for program in [&mut options.program, &mut options.plain] {
            *program = program.canonicalize().map_err(|error| format!("{}: {error}", program.display()))?;
        }
        Ok(options)
    }

    /// How often each comparison is made.
    pub fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.short { 1 } else { 5 }).max(1)
    }

    /// The share of a ratio of an earlier run that may be lost.
    pub fn most_fall(&self) -> f64 {
        if self.short { 2.0 / 3.0 } else { 0.1 }
    }

    /// How long one side of a comparison runs.
    pub fn seconds(&self) -> u64 {
        if self.short { 1 } else { 8 }
    }

    /// The number for a full run, or the one for a short run.
    pub fn scale<T>(&self, full: T, short: T) -> T {
        if self.short { short } else { full }
    }

    pub fn wants(&self, case: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| case.contains(word.as_str()))
    }
}

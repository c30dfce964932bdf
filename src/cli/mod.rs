//! The command line: the composition root, one file for each command.

mod completions;
mod demo;
mod dev;
mod health;
mod import;
mod man;
mod migrate;
mod openapi;
mod output;
mod serve;
mod shards;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Settings, SettingsError};
use crate::local_servers::LocalError;
use crate::shard::{SetupError, StartError};
use crate::telemetry;

const EXAMPLES: &str = "\
Settings come from the environment and the .env file of the working folder; .env.example explains each of them.

Examples:
  shardrive dev                  all of it on this machine, with PostgreSQL servers of its own

  export SHARD_0_URL=postgres://shard_user:shard_pass@localhost:5432/drive_shard_0
  export SHARD_1_URL=postgres://shard_user:shard_pass@localhost:5433/drive_shard_1
  shardrive migrate              make the two databases shards of one cluster
  shardrive serve                serve them on port 8000
  curl localhost:8000/ingest -H 'Content-Type: application/json' \\
       -d '{\"user_id\": 123, \"file_name\": \"my_document.txt\"}'

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 done but some records were rejected.";

/// Drive metadata on several plain PostgreSQL servers.
#[derive(Parser)]
#[command(name = "shardrive", version, about, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Dev(dev::DevArgs),
    Demo(demo::DemoArgs),
    Migrate(migrate::MigrateArgs),
    Import(import::ImportArgs),
    Health(health::HealthArgs),
    #[command(subcommand)]
    Shards(shards::ShardsCommand),
    Token(token::TokenArgs),
    Openapi(openapi::OpenapiArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The databases are not what they should be.
    #[error("the service cannot start:\n{0}")]
    Start(#[from] StartError),
    /// The databases could not be set up.
    #[error("the databases cannot be set up:\n{0}")]
    Setup(#[from] SetupError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address} (BIND_ADDR): {source}")]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A server of our own could not be made, started or stopped.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The command was given too little, or something that does not fit.
    #[error("{0}")]
    Usage(String),
    /// Nothing was done, as something is in the way.
    #[error("{0}")]
    Refused(String),
    /// The work failed; the text says at what.
    #[error("{0}")]
    Failed(String),
    /// The work is done, but not for all of its input.
    #[error("{0}")]
    Partial(String),
    /// The system refused something.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

impl CliError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Usage(_) => 2,
            Self::Partial(_) => 3,
            Self::Start(_)
            | Self::Setup(_)
            | Self::Listen { .. }
            | Self::Local(_)
            | Self::Refused(_)
            | Self::Failed(_)
            | Self::System(_) => 1,
        }
    }
}

/// Does what the command line says.
pub async fn run() -> ExitCode {
    // clap itself ends the process for --help, with 0, and for wrong usage, with 2.
    let result = match Cli::parse().command {
        Command::Serve(command) => Box::pin(command.run()).await,
        Command::Dev(command) => Box::pin(command.run()).await,
        Command::Demo(command) => Box::pin(command.run()).await,
        Command::Migrate(command) => Box::pin(command.run()).await,
        Command::Import(command) => Box::pin(command.run()).await,
        Command::Health(command) => Box::pin(command.run()).await,
        Command::Shards(command) => Box::pin(command.run()).await,
        Command::Token(command) => command.run(),
        Command::Openapi(command) => command.run(),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
    };
    let unwritten = || output::fault().map(|kind| CliError::Failed(format!("the output could not be written: {kind}")));
    match result.and_then(|()| unwritten().map_or(Ok(()), Err)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain!("shardrive: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// The settings, and a logger that is as they say.
fn settings() -> Result<Settings, SettingsError> {
    start_logging(Settings::load()?)
}

/// Settings that are in force from here on: there is a logger that is as they say.
fn start_logging(settings: Settings) -> Result<Settings, SettingsError> {
    // There is a logger already only where tests run several commands in one process.
    let _ = telemetry::install(&settings.log);
    if !settings.ignored.is_empty() {
        log::warn!("not settings of shardrive, and ignored: {}", settings.ignored.join(", "));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}

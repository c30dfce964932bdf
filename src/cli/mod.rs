//! The command line: the composition root, with one file for each command.

mod completions;
mod config;
mod demo;
mod dev;
mod drive;
mod health;
mod import;
mod import_sync;
mod man;
mod migrate;
mod openapi;
mod output;
mod serve;
mod service;
mod shards;
mod token;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{SettingFlags, Settings, SettingsError};
use crate::local_servers::LocalError;
use crate::shard::{SetupError, StartError};
use crate::telemetry;

const EXAMPLES: &str = "\
Settings come from the environment, and from the files .env and shardrive.toml of the working folder.
\"shardrive config show\" lists them all.

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
    #[command(name = "ls")]
    List(drive::ListArgs),
    Tree(drive::TreeArgs),
    #[command(name = "mv")]
    Move(drive::MoveEntryArgs),
    #[command(name = "rm")]
    Remove(drive::RemoveArgs),
    Restore(drive::RestoreArgs),
    Health(health::HealthArgs),
    #[command(subcommand)]
    Config(config::ConfigCommand),
    Shards(shards::ShardsArgs),
    Token(token::TokenArgs),
    Openapi(openapi::OpenapiArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The databases do not match the settings.
    #[error("the service cannot start:\n{0}")]
    Start(#[from] StartError),
    /// The databases could not be set up.
    #[error("the databases cannot be set up:\n{0}")]
    Setup(#[from] SetupError),
    /// The service cannot listen on the address.
    #[error("cannot listen on {address} (BIND_ADDR): {source}")]
    Listen {
        /// The address from the settings.
        address: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// A local server failed.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The arguments are incomplete or contradictory.
    #[error("{0}")]
    Usage(String),
    /// Nothing was done, for a reason in the cluster's state.
    #[error("{0}")]
    Refused(String),
    /// The work failed; the text says where.
    #[error("{0}")]
    Failed(String),
    /// The work is done for only a part of the input.
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

/// The exit codes of a command whose help names none itself.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage or settings.";

/// The command line, with the exit codes in the help of each command.
fn command_line() -> clap::Command {
    with_exit_codes(Cli::command())
}

fn with_exit_codes(command: clap::Command) -> clap::Command {
    let help = match command.get_after_help().map(ToString::to_string) {
        Some(help) if help.contains("Exit codes") => help,
        Some(help) => format!("{help}\n\n{EXIT_CODES}"),
        None => EXIT_CODES.to_owned(),
    };
    command.after_help(help).mut_subcommands(with_exit_codes)
}

/// Runs the command of the command line.
pub async fn run() -> ExitCode {
    // clap itself ends the process: with 0 for --help, with 2 for wrong usage.
    let cli = Cli::from_arg_matches(&command_line().get_matches()).unwrap_or_else(|error| error.exit());
    let result = match cli.command {
        Command::Serve(command) => Box::pin(command.run()).await,
        Command::Dev(command) => Box::pin(command.run()).await,
        Command::Demo(command) => Box::pin(command.run()).await,
        Command::Migrate(command) => Box::pin(command.run()).await,
        Command::Import(command) => Box::pin(command.run()).await,
        Command::List(command) => Box::pin(command.run()).await,
        Command::Tree(command) => Box::pin(command.run()).await,
        Command::Move(command) => Box::pin(command.run()).await,
        Command::Remove(command) => Box::pin(command.run()).await,
        Command::Restore(command) => Box::pin(command.run()).await,
        Command::Health(command) => Box::pin(command.run()).await,
        Command::Shards(command) => Box::pin(command.run()).await,
        Command::Config(command) => command.run(),
        Command::Token(command) => command.run(),
        Command::Openapi(command) => command.run(),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
    };
    let unwritten =
        || output::output_fault().map(|kind| CliError::Failed(format!("the output could not be written: {kind}")));
    match result.and_then(|()| unwritten().map_or(Ok(()), Err)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain!("shardrive: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Loads the settings, and installs the logger.
fn load_settings(flags: &SettingFlags) -> Result<Settings, SettingsError> {
    start_logging(Settings::load(flags)?)
}

/// Installs the logger that these settings describe.
fn start_logging(settings: Settings) -> Result<Settings, SettingsError> {
    // A logger exists already only in tests, which run several commands in one process.
    let _ = telemetry::install_logger(&settings.log);
    if let Some(warning) = config::unprefixed_warning(&settings) {
        log::warn!("{warning}");
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command_line().debug_assert();
    }

    #[test]
    fn the_help_of_each_command_names_its_exit_codes_and_has_examples() {
        let mut left = vec![command_line()];
        while let Some(command) = left.pop() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Exit codes: 0 "), "{}", command.get_name());
            assert!(help.contains("Examples:\n") || command.has_subcommands(), "{}", command.get_name());
            left.extend(command.get_subcommands().cloned());
        }
    }
}

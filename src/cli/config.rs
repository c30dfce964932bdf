//! `shardrive config`: checks the settings, and shows where each comes from.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::CliError;
use super::output::{complain, say};
use crate::config::{SettingFlags, Settings, ShownSetting};

/// The TOML file of the settings, for every command that reads settings.
#[derive(Args, Debug)]
pub(super) struct ConfigArgs {
    /// The TOML file of the settings. Without it: the file of `SHARDRIVE_CONFIG`, or ./shardrive.toml if there is one.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    /// The settings of this command line.
    pub(super) fn into_flags(self) -> SettingFlags {
        SettingFlags { file: self.config, bind: None }
    }
}

/// Check the settings, or show them
#[derive(Subcommand)]
pub(super) enum ConfigCommand {
    Check(CheckArgs),
    Show(ShowArgs),
}

impl ConfigCommand {
    pub(super) fn run(self) -> Result<(), CliError> {
        match self {
            Self::Check(command) => command.run(),
            Self::Show(command) => command.run(),
        }
    }
}

const CHECK_EXAMPLES: &str = "\
Examples:
  shardrive config check --config shardrive.toml";

/// Name every fault of the settings, without a start
///
/// No server is asked: a start also compares the databases with the settings.
#[derive(Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

impl CheckArgs {
    fn run(self) -> Result<(), CliError> {
        let settings = Settings::load(&self.config.into_flags())?;
        warn_of_unprefixed(&settings);
        match settings.shards.len() {
            1 => say!("the settings are right; they name 1 shard"),
            shards => say!("the settings are right; they name {shards} shards"),
        }
        Ok(())
    }
}

const SHOW_EXAMPLES: &str = "\
Examples:
  shardrive config show
  shardrive config show --json | jq '.[] | select(.source != \"default\")'";

/// Show every setting with its value and where it is set; secrets are hidden
///
/// Of several places the nearest counts: flags, the environment, .env, the TOML file, the default.
#[derive(Args)]
#[command(after_help = SHOW_EXAMPLES)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl ShowArgs {
    fn run(self) -> Result<(), CliError> {
        let (shown, settings) = Settings::explain(&self.config.into_flags());
        if self.json {
            let rows = shown.iter().map(
                |row| json!({ "name": row.name, "value": row.value, "source": row.source, "overrides": row.overrides }),
            );
            say!("{}", serde_json::Value::from_iter(rows));
        } else {
            print_table(&shown);
        }
        warn_of_unprefixed(&settings?);
        Ok(())
    }
}

fn print_table(shown: &[ShownSetting]) {
    let value = |row: &ShownSetting| row.value.clone().unwrap_or_else(|| "-".to_owned());
    let names = shown.iter().map(|row| row.name.len()).max().unwrap_or_default();
    let values = shown.iter().map(|row| value(row).chars().count()).max().unwrap_or_default().min(60);
    for row in shown {
        let overrides = match row.overrides.as_slice() {
            [] => String::new(),
            places => format!("; overrides {}", places.join("; ")),
        };
        say!("{:names$}  {:values$}  {}{overrides}", row.name, value(row), row.source);
    }
}

fn warn_of_unprefixed(settings: &Settings) {
    if let Some(warning) = unprefixed_warning(settings) {
        complain!("shardrive: {warning}");
    }
}

/// What to say of settings that do not count, as they were given without the prefix.
pub(super) fn unprefixed_warning(settings: &Settings) -> Option<String> {
    let names = &settings.unprefixed;
    (!names.is_empty()).then(|| format!("settings without the prefix do not count: use {}", names.join(", ")))
}

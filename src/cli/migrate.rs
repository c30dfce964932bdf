//! `shardrive migrate`: makes the databases of the settings into shards.

use clap::Args;

use super::config::ConfigArgs;
use super::output::say;
use super::{CliError, load_settings};
use crate::shard::migrate;

const EXAMPLES: &str = "\
Examples:
  export SHARD_0_URL=postgres://shard_user:shard_pass@localhost:5432/drive_shard_0
  export SHARD_1_URL=postgres://shard_user:shard_pass@localhost:5433/drive_shard_1
  shardrive migrate                        new databases become shards; others get this version's schema";

/// Bring every shard's database to this version's schema; make new databases the shards of a cluster
///
/// The command can be repeated at any time: finished steps stay as they are, and unfinished ones are completed.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MigrateArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

impl MigrateArgs {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let settings = load_settings(&self.config.into_flags())?;
        migrate(&settings.shards, settings.shard_limits.connect_timeout).await?;
        match settings.shards.len() {
            1 => say!("1 shard is migrated"),
            shards => say!("{shards} shards are migrated"),
        }
        Ok(())
    }
}

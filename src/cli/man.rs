//! `shardrive man`: the manual, a page for each command.

use std::path::PathBuf;

use clap::Args;

use super::{CliError, command_line};

const EXAMPLES: &str = "\
Examples:
  shardrive man ~/.local/share/man/man1
  man shardrive-serve";

/// Write the manual's pages into a folder
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ManArgs {
    /// Where to: shardrive.1, shardrive-serve.1, …
    folder: PathBuf,
}

impl ManArgs {
    pub(super) fn run(self) -> Result<(), CliError> {
        std::fs::create_dir_all(&self.folder)?;
        clap_mangen::generate_to(command_line(), &self.folder)?;
        Ok(())
    }
}

//! `shardrive man`: the manual, a page for each command.

use std::path::PathBuf;

use clap::Args;

use super::{CliError, command_line};

/// Write the manual's pages into a folder
#[derive(Args)]
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

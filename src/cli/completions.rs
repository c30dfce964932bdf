//! `shardrive completions`: what a shell needs to complete the command line.

use clap::Args;
use clap_complete::Shell;

use super::output::print_text;
use super::{CliError, command_line};

const EXAMPLES: &str = "\
Examples:
  shardrive completions bash > /etc/bash_completion.d/shardrive
  shardrive completions zsh > \"${fpath[1]}/_shardrive\"
  shardrive completions fish > ~/.config/fish/completions/shardrive.fish";

/// Print the completions of a shell
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// For which shell.
    shell: Shell,
}

impl CompletionsArgs {
    pub(super) fn run(self) -> Result<(), CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command_line(), "shardrive", &mut script);
        print_text(format_args!("{}", String::from_utf8_lossy(&script)));
        Ok(())
    }
}

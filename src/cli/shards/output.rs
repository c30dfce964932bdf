//! How the commands about shards print: for people, or as JSON for scripts.

use clap::Args;

/// How to print.
#[derive(Args, Clone, Copy, Debug)]
pub(in crate::cli) struct OutputArgs {
    /// Print JSON for scripts.
    #[arg(long)]
    pub(super) json: bool,
}

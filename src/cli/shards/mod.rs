//! `shardrive shards …`: the shards themselves, past any API process: looking at them, adding one, moving slots.

mod grow;
mod look;

use clap::{Args, Subcommand};

use super::{CliError, settings};
use crate::shard::Cluster;

/// Look at the shards, add one, move slots between them
#[derive(Subcommand, Debug)]
pub(super) enum Shards {
    /// Show each shard: where it is, whether it answers, its slots, rows and bytes.
    Status(OutputArgs),
    /// Read every row of every shard: each on its owner, counts equal to /stats, ids unique.
    Verify(OutputArgs),
    /// Make a database the cluster's next shard; it owns nothing until slots are moved to it.
    Add(grow::AddArgs),
}

/// How to print.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct OutputArgs {
    /// Print JSON for scripts.
    #[arg(long)]
    json: bool,
}

impl Shards {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let settings = settings()?;
        let connect_timeout = settings.shard_limits.connect_timeout;
        let cluster = Box::pin(Cluster::open(settings.shards, settings.shard_limits)).await?;
        let done = match self {
            Self::Status(output) => look::status(&cluster, settings.stats_timeout, output).await,
            Self::Verify(output) => look::verify(&cluster, output).await,
            Self::Add(args) => grow::add(&cluster, args, connect_timeout).await,
        };
        cluster.shut_down().await;
        done
    }
}

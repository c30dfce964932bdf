//! `shardrive shards …`: the shards themselves, past any API process: looking at them, adding one, moving slots.

mod grow;
mod look;
mod moves;

use std::sync::Arc;

use clap::{Args, Subcommand};

use super::{CliError, settings};
use crate::reshard::Wish;
use crate::shard::Cluster;

/// Look at the shards, add one, move slots between them
#[derive(Subcommand, Debug)]
pub(super) enum Shards {
    /// Show each shard: where it is, whether it answers, its slots, rows and bytes; and the moves that have not ended.
    Status(OutputArgs),
    /// Read every row of every shard: each on its owner, counts equal to /stats, ids unique.
    Verify(OutputArgs),
    /// Make a database the cluster's next shard; it owns nothing until slots are moved to it.
    Add(grow::AddArgs),
    /// Move slots to a shard while it all serves.
    Move(moves::MoveArgs),
    /// Move all slots of a shard to the others.
    Drain(moves::DrainArgs),
    /// Deal the slots anew, moving as little as possible.
    Rebalance(moves::RebalanceArgs),
    /// End a move before its slots change hands, as if it had never been.
    Cancel(moves::WishArgs),
    /// Give the slots of a move back to the shard that they came from, with all that was written since.
    Rollback(moves::WishArgs),
    /// Give up the way back of a move, and clean up.
    Finish(moves::WishArgs),
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
        let moves = Arc::clone(&cluster);
        let done = match self {
            Self::Status(output) => look::status(&cluster, settings.stats_timeout, output).await,
            Self::Verify(output) => look::verify(&cluster, output).await,
            Self::Add(args) => grow::add(&cluster, args, connect_timeout).await,
            Self::Move(args) => Box::pin(moves::move_slots(moves, args)).await,
            Self::Drain(args) => Box::pin(moves::drain(moves, args)).await,
            Self::Rebalance(args) => Box::pin(moves::rebalance(moves, args)).await,
            Self::Cancel(args) => Box::pin(moves::wish(moves, args, Wish::Cancel)).await,
            Self::Rollback(args) => Box::pin(moves::wish(moves, args, Wish::RollBack)).await,
            Self::Finish(args) => Box::pin(moves::wish(moves, args, Wish::Finish)).await,
        };
        cluster.shut_down().await;
        done
    }
}

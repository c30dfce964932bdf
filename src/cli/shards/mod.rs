//! `shardrive shards …`: status, verification, growth and moves, directly on the shards, without an API process.

mod audit;
mod grow;
mod moves;
mod output;
mod status;

use std::sync::Arc;
use std::time::Duration;

use audit::record_action;
use clap::{Args, Subcommand};
use moves::StartedMoves;
use serde_json::Value;

use super::config::ConfigArgs;
use super::{CliError, load_settings};
use crate::audit::{AuditLog, OperatorAction};
use crate::cli::shards::output::OutputArgs;
use crate::reshard::MoveRequest;
use crate::shard::Cluster;

/// Look at the shards, add one, move slots between them
#[derive(Args, Debug)]
pub(super) struct ShardsArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: ShardsCommand,
}

const STATUS_EXAMPLES: &str = "\
Examples:
  shardrive shards status
  shardrive shards status --json | jq '.shards[] | {shard_id, status}'";

const VERIFY_EXAMPLES: &str = "\
Examples:
  shardrive shards verify                  before and after an upgrade, a restore, or work by hand
  shardrive shards verify --json > report.json";

const CANCEL_EXAMPLES: &str = "\
Examples:
  shardrive shards status                  names the moves that have not ended
  shardrive shards cancel 7";

const ROLLBACK_EXAMPLES: &str = "\
Examples:
  shardrive shards status                  names the moves that can be rolled back
  shardrive shards rollback 7";

const FINISH_EXAMPLES: &str = "\
Examples:
  shardrive shards finish 7                no rollback after that: the former owner's copies are removed";

/// What to do with the shards.
#[derive(Subcommand, Debug)]
enum ShardsCommand {
    /// Show each shard: where it is, whether it answers, its slots, rows and bytes; and the moves that have not ended.
    #[command(after_help = STATUS_EXAMPLES)]
    Status(OutputArgs),
    /// Read every row of every shard: each on its owner, counts equal to /stats, keys in their slots.
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(OutputArgs),
    /// Show who did what to the cluster, by the API or by these commands; newest first.
    Audit(audit::AuditArgs),
    /// Make a database the cluster's next shard; it owns nothing until slots are moved to it.
    Add(grow::AddArgs),
    /// Move slots to a shard while it all serves.
    Move(moves::MoveArgs),
    /// Move all slots of a shard to the others.
    Drain(moves::DrainArgs),
    /// Deal the slots anew, moving as little as possible.
    Rebalance(moves::RebalanceArgs),
    /// End a move before its slots change hands, as if it had never been.
    #[command(after_help = CANCEL_EXAMPLES)]
    Cancel(moves::RequestArgs),
    /// Give the slots of a move back to the shard that they came from, with all that was written since.
    #[command(after_help = ROLLBACK_EXAMPLES)]
    Rollback(moves::RequestArgs),
    /// End the rollback window of a move, and clean up.
    #[command(after_help = FINISH_EXAMPLES)]
    Finish(moves::RequestArgs),
}

impl ShardsArgs {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let settings = load_settings(&self.config.into_flags())?;
        let cluster = Box::pin(Cluster::open(settings.shards, settings.shard_limits)).await?;
        let audit = AuditLog::new(Arc::clone(&cluster), settings.audit_keep_days);
        let times = ShardTimeouts { connect: settings.shard_limits.connect_timeout, stats: settings.stats_timeout };
        let action = self.command.action();
        let work = self.command.work(&cluster, &audit, times);
        let done = match action {
            Some((action, fields)) => record_action(&audit, action, &fields, work).await,
            None => Box::pin(work).await,
        };
        let done = match done {
            Ok(Some(started)) => Box::pin(started.wait()).await,
            done => done.map(drop),
        };
        cluster.shut_down().await;
        done
    }
}

impl ShardsCommand {
    /// The operator action of a command that changes the cluster, with its fields for the audit log.
    fn action(&self) -> Option<(OperatorAction, Value)> {
        match self {
            Self::Status(_) | Self::Verify(_) | Self::Audit(_) => None,
            Self::Add(args) => Some((OperatorAction::AddShard, args.audit_fields())),
            Self::Move(args) => Some((OperatorAction::MoveSlots, args.audit_fields())),
            Self::Drain(args) => Some((OperatorAction::Drain, args.audit_fields())),
            Self::Rebalance(args) => Some((OperatorAction::Rebalance, args.audit_fields())),
            Self::Cancel(args) => Some((OperatorAction::Cancel, args.audit_fields())),
            Self::Rollback(args) => Some((OperatorAction::RollBack, args.audit_fields())),
            Self::Finish(args) => Some((OperatorAction::Finish, args.audit_fields())),
        }
    }

    /// Runs the command; returns the started moves that the command waits for.
    async fn work(
        self,
        cluster: &Arc<Cluster>,
        audit: &AuditLog,
        times: ShardTimeouts,
    ) -> Result<Option<StartedMoves>, CliError> {
        let moves = Arc::clone(cluster);
        match self {
            Self::Status(output) => status::status(cluster, times.stats, output).await.map(|()| None),
            Self::Verify(output) => status::verify(cluster, output).await.map(|()| None),
            Self::Audit(args) => audit::list(audit, args).await.map(|()| None),
            Self::Add(args) => grow::add(cluster, args, times.connect).await.map(|()| None),
            Self::Move(args) => Box::pin(moves::move_slots(moves, args)).await,
            Self::Drain(args) => Box::pin(moves::drain(moves, args)).await,
            Self::Rebalance(args) => Box::pin(moves::rebalance(moves, args)).await,
            Self::Cancel(args) => Box::pin(moves::submit(moves, args, MoveRequest::Cancel)).await,
            Self::Rollback(args) => Box::pin(moves::submit(moves, args, MoveRequest::RollBack)).await,
            Self::Finish(args) => Box::pin(moves::submit(moves, args, MoveRequest::Finish)).await,
        }
    }
}

/// How long shards may take.
struct ShardTimeouts {
    connect: Duration,
    stats: Duration,
}

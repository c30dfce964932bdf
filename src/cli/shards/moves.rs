//! `shardrive shards move`, `drain`, `rebalance`, `cancel`, `rollback` and `finish`.
//!
//! A command registers the move and waits. The process with the lease does the work: an API process, or this process if
//! there is no other. So the end of a command does not end the move.

use std::io::IsTerminal;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::output::OutputArgs;
use crate::cli::CliError;
use crate::cli::output::say;
use crate::reshard::{
    DealStrategy, MoveOptions, MoveRequest, MoveService, MoveStage, MoveView, PlanView, PlannedMoves, ROLLBACK_READY,
    RequestError, TestStop, drive_in_background, parse_slots,
};
use crate::shard::{Cluster, ShardId};

/// Between two questions for the move's progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

const EXAMPLES: &str = "\
Examples:
  shardrive shards move --slots 0-99 --to 2 --dry-run     what would move, how much, and what speaks against it
  shardrive shards move --slots 42 --to 1                 returns when shard 1 owns the slot
  shardrive shards rollback 7                             and back, until the rollback window ends

A user's slot is user_id mod 5040.";

const DRAIN_EXAMPLES: &str = "\
Examples:
  shardrive shards drain 2 --dry-run       where the slots would go, and whether the disks have room
  shardrive shards drain 2 --rate 20000    at 20,000 rows a second at most; shard 2 owns nothing in the end";

const REBALANCE_EXAMPLES: &str = "\
Examples:
  shardrive shards rebalance --dry-run     what a new shard would get
  shardrive shards rebalance --detach      the API processes do the work; \"shards status\" shows it
  shardrive shards rebalance --strategy slots";

/// How to move.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct HowArgs {
    /// Only check what would be done, and whether it can be.
    #[arg(long)]
    dry_run: bool,
    /// Seconds for which the move can be rolled back after the slots have changed hands.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    rollback_window: u32,
    /// Do not compare the rows of both shards before the slots change hands.
    #[arg(long)]
    skip_verify: bool,
    /// The limit of the copy in rows a second. Without a limit the copy rests while others write.
    #[arg(long, value_name = "ROWS")]
    rate: Option<NonZeroU32>,
    /// Return as soon as the move is registered; an API process does the work.
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// What to move.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct MoveArgs {
    /// Slots and ranges of slots: 0-99,140.
    #[arg(long)]
    slots: String,
    /// The shard that is to own the slots.
    #[arg(long, value_name = "SHARD")]
    to: u16,
    #[command(flatten)]
    how: HowArgs,
}

/// What to empty.
#[derive(Args, Clone, Debug)]
#[command(after_help = DRAIN_EXAMPLES)]
pub(in crate::cli) struct DrainArgs {
    /// The shard's number.
    shard: u16,
    #[command(flatten)]
    how: HowArgs,
}

/// How to deal.
#[derive(Args, Clone, Debug)]
#[command(after_help = REBALANCE_EXAMPLES)]
pub(in crate::cli) struct RebalanceArgs {
    /// How slots are dealt.
    #[arg(long, value_enum, default_value_t = DealModeArg::Load)]
    strategy: DealModeArg,
    #[command(flatten)]
    how: HowArgs,
}

/// The ways of dealing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum DealModeArg {
    /// By rows and the bytes of documents; a shard without slots gets its share of them.
    Load,
    /// As many slots on each shard.
    Slots,
    /// A user's number mod the number of shards, as in the textbook: nearly everything moves.
    Modulo,
}

/// Which move.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct RequestArgs {
    /// The move's number.
    id: i64,
    #[command(flatten)]
    output: OutputArgs,
}

impl HowArgs {
    /// What the audit log keeps of the options, after what is moved.
    fn audit_fields(&self, mut what: Value) -> Value {
        let how = json!({
            "dry_run": self.dry_run, "rollback_window_seconds": self.rollback_window, "skip_verify": self.skip_verify, "copy_rate": self.rate,
        });
        if let (Value::Object(what), Value::Object(how)) = (&mut what, how) {
            what.extend(how);
        }
        what
    }
}

impl MoveArgs {
    pub(super) fn audit_fields(&self) -> Value {
        self.how.audit_fields(json!({"slots": self.slots, "to": self.to}))
    }
}

impl DrainArgs {
    pub(super) fn audit_fields(&self) -> Value {
        self.how.audit_fields(json!({"shard": self.shard}))
    }
}

impl RebalanceArgs {
    pub(super) fn audit_fields(&self) -> Value {
        let strategy = self.strategy.to_possible_value();
        self.how.audit_fields(json!({"strategy": strategy.as_ref().map(clap::builder::PossibleValue::get_name)}))
    }
}

impl RequestArgs {
    pub(super) fn audit_fields(&self) -> Value {
        json!({"id": self.id})
    }
}

/// Registered moves that the command waits for. The moves go on without the command.
pub(super) struct StartedMoves {
    cluster: Arc<Cluster>,
    ids: Vec<i64>,
    enough: MoveStage,
    /// How the moves are to end.
    wanted: MoveStage,
    output: OutputArgs,
}

impl StartedMoves {
    /// Waits until every move has come far enough, and reports.
    pub(super) async fn wait(self) -> Result<(), CliError> {
        drive_in_background(&self.cluster, TestStop::default());
        let requests = MoveService::new(self.cluster);
        let mut ended = Vec::new();
        for id in self.ids {
            ended.push(wait(&requests, id, self.enough).await?);
        }
        report(&ended, self.wanted, self.output)
    }
}

fn failed(error: RequestError) -> CliError {
    match error {
        RequestError::Invalid { reason, .. } => CliError::Usage(reason),
        RequestError::Conflict(_) | RequestError::NotFound(_) => CliError::Refused(error.to_string()),
        other => CliError::Failed(other.to_string()),
    }
}

pub(super) async fn move_slots(cluster: Arc<Cluster>, args: MoveArgs) -> Result<Option<StartedMoves>, CliError> {
    let slots = parse_slots(&args.slots).map_err(|reason| CliError::Usage(format!("--slots: {reason}")))?;
    let requests = MoveService::new(Arc::clone(&cluster));
    let planned = Box::pin(requests.plan_move(&slots, ShardId::new(args.to))).await.map_err(failed)?;
    carry_out(cluster, &requests, &planned, &args.how).await
}

pub(super) async fn drain(cluster: Arc<Cluster>, args: DrainArgs) -> Result<Option<StartedMoves>, CliError> {
    let requests = MoveService::new(Arc::clone(&cluster));
    let planned = Box::pin(requests.plan_drain(ShardId::new(args.shard))).await.map_err(failed)?;
    carry_out(cluster, &requests, &planned, &args.how).await
}

pub(super) async fn rebalance(cluster: Arc<Cluster>, args: RebalanceArgs) -> Result<Option<StartedMoves>, CliError> {
    let strategy = match args.strategy {
        DealModeArg::Load => DealStrategy::Load,
        DealModeArg::Slots => DealStrategy::Slots,
        DealModeArg::Modulo => DealStrategy::Modulo,
    };
    let requests = MoveService::new(Arc::clone(&cluster));
    let planned = Box::pin(requests.plan_rebalance(strategy)).await.map_err(failed)?;
    carry_out(cluster, &requests, &planned, &args.how).await
}

async fn carry_out(
    cluster: Arc<Cluster>,
    requests: &MoveService,
    planned: &PlannedMoves,
    how: &HowArgs,
) -> Result<Option<StartedMoves>, CliError> {
    let options = MoveOptions {
        rollback_window: Duration::from_secs(how.rollback_window.into()),
        skip_verify: how.skip_verify,
        copy_rate: how.rate,
    };
    if how.dry_run {
        show_plan(&PlanView::dry_run(planned, &options), how.output);
        let fatal = planned.findings.iter().any(|finding| finding.fatal);
        return if fatal { Err(CliError::Refused("it cannot be done as things are".to_owned())) } else { Ok(None) };
    }
    let ids = requests.start(planned, options).await.map_err(failed)?;
    let plan = PlanView::started(planned, &options, ids.clone());
    if !how.output.json {
        show_plan(&plan, how.output);
    }
    if how.detach || plan.moves.is_empty() {
        if how.output.json {
            show_plan(&plan, how.output);
        }
        return Ok(None);
    }
    // Without a rollback window the command waits for the end of the move.
    let enough = if how.rollback_window == 0 { MoveStage::Done } else { MoveStage::RollbackWindow };
    Ok(Some(StartedMoves { cluster, ids, enough, wanted: MoveStage::Done, output: how.output }))
}

pub(super) async fn submit(
    cluster: Arc<Cluster>,
    args: RequestArgs,
    request: MoveRequest,
) -> Result<Option<StartedMoves>, CliError> {
    MoveService::new(Arc::clone(&cluster)).submit(args.id, request).await.map_err(failed)?;
    let wanted = match request {
        MoveRequest::Cancel => MoveStage::Cancelled,
        MoveRequest::RollBack => MoveStage::RolledBack,
        MoveRequest::Finish => MoveStage::Done,
    };
    Ok(Some(StartedMoves { cluster, ids: vec![args.id], enough: MoveStage::Done, wanted, output: args.output }))
}

/// True if the move has come far enough: to its end, or into its rollback window with reverse replication running.
fn is_enough(view: &MoveView, enough: MoveStage) -> bool {
    match view.stage {
        MoveStage::RollbackWindow => {
            enough == MoveStage::RollbackWindow && view.events.iter().any(|event| event.what == ROLLBACK_READY)
        }
        stage => stage.is_end(),
    }
}

/// Waits until the move has come far enough, and shows its progress. A shard that is away meanwhile does not end the
/// waiting.
async fn wait(requests: &MoveService, id: i64, enough: MoveStage) -> Result<MoveView, CliError> {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:32} {percent}%  {msg}") {
        bar.set_style(style);
    }
    loop {
        match requests.find(id).await {
            Ok((found, events)) => {
                let mut view = MoveView::new(found, events);
                let (done, all) = view.progress();
                bar.set_length(all);
                bar.set_position(done);
                let eta = view.eta_seconds.and_then(|seconds| u64::try_from(seconds).ok());
                let eta = eta.map_or(String::new(), |s| format!(", {} left", HumanDuration(Duration::from_secs(s))));
                bar.set_message(format!(
                    "move {id}: {} ({} of {} rows copied, {} compared){eta}",
                    view.stage.as_str(),
                    view.copied_rows,
                    view.total_rows,
                    view.verified_rows
                ));
                if is_enough(&view, enough) {
                    view.events.clear();
                    bar.finish_and_clear();
                    return Ok(view);
                }
            }
            Err(error @ (RequestError::NotFound(_) | RequestError::Invalid { .. })) => return Err(failed(error)),
            Err(error) => bar.set_message(format!("move {id}: {error}")),
        }
        tokio::time::sleep(PROGRESS_INTERVAL).await;
    }
}

fn bytes(number: i64) -> HumanBytes {
    HumanBytes(u64::try_from(number).unwrap_or(0))
}

fn show_plan(plan: &PlanView, output: OutputArgs) {
    if output.json {
        say!("{}", serde_json::json!(plan));
        return;
    }
    if plan.moves.is_empty() {
        let reasons: Vec<_> = plan.findings.iter().map(|finding| finding.what.as_str()).collect();
        say!("nothing to do: {}", reasons.join("; "));
        return;
    }
    for planned in &plan.moves {
        say!(
            "shard {} → shard {}: {} slots with {} rows, of files and documents of {}; the rows take about {} of disk, and {} are free there",
            planned.source,
            planned.target,
            planned.slot_count,
            HumanCount(u64::try_from(planned.rows).unwrap_or(0)),
            bytes(planned.bytes),
            bytes(planned.disk.needed_bytes),
            planned
                .disk
                .free_bytes
                .map_or_else(|| "an unknown number of bytes".to_owned(), |free| bytes(free).to_string()),
        );
    }
    if plan.dry_run {
        say!("about {} in all", HumanDuration(Duration::from_secs(plan.estimate_seconds)));
    }
    for finding in &plan.findings {
        say!("{}: {}", if finding.fatal { "IN THE WAY" } else { "note" }, finding.what);
    }
}

/// Says how the moves have ended.
///
/// # Errors
/// The first move that has ended in another way than `wanted`.
fn report(ended: &[MoveView], wanted: MoveStage, output: OutputArgs) -> Result<(), CliError> {
    if output.json {
        say!("{}", serde_json::json!(ended));
    }
    for view in ended.iter().filter(|_| !output.json) {
        let frozen = view.freeze_ms.map_or(String::new(), |ms| format!("; writes to its slots waited for {ms:.0} ms"));
        let MoveView { id, source, target, .. } = view;
        match view.stage {
            MoveStage::Done => say!("move {id} is done: shard {target} owns the slots{frozen}"),
            MoveStage::Failed => {}
            MoveStage::Cancelled => say!("move {id} was cancelled: shard {source} owns the slots"),
            MoveStage::RolledBack => say!("move {id} was rolled back: shard {source} owns the slots"),
            _ => say!(
                "move {id}: shard {target} owns the slots{frozen}; roll it back with \"shardrive shards rollback {id}\", or \
                 clean up with \"shardrive shards finish {id}\""
            ),
        }
    }
    let other = ended.iter().find(|view| view.stage.is_end() && view.stage != wanted);
    match other {
        Some(view) if view.stage == MoveStage::Failed => {
            let reason = view.reason.as_deref().unwrap_or("no reason was noted");
            Err(CliError::Failed(format!("move {} failed: {reason}", view.id)))
        }
        Some(view) => Err(CliError::Failed(format!(
            "move {} ended otherwise, as somebody else asked for: {}",
            view.id,
            view.stage.as_str()
        ))),
        None => Ok(()),
    }
}

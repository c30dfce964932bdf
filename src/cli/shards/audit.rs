//! `shardrive shards audit`, and the audit entries that the other commands write.

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use serde_json::{Value, json};

use super::output::OutputArgs;
use crate::audit::{
    ActionDetails, ActionOutcome, Actor, AuditLog, EntryFilter, LoggedAction, NewEntry, OperatorAction,
};
use crate::cli::CliError;
use crate::cli::output::{is_closed, say};
use crate::local_servers::operator_name;
use crate::payload::PageSize;
use crate::telemetry::OneLine;

const EXAMPLES: &str = "\
Examples:
  shardrive shards audit                                    the last 50 acts
  shardrive shards audit --act move --since 2026-01-31T00:00:00Z
  shardrive shards audit --actor alice --limit 1000 --json  a JSON object a line, for scripts

Acts: add_shard, move, drain, rebalance, cancel, rollback, finish, declare_collection, make_test_files; and look, for those who
tried to look at what is the operators' and may not.
Outcomes: accepted (done, or written down to be done), refused (nothing was done), failed (it broke off), begun (it is being
done, or its process did not live to say how it ended).";

/// Which acts to show.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct AuditArgs {
    /// Only this act.
    #[arg(long, value_parser = act)]
    act: Option<OperatorAction>,
    /// Only acts of this actor: the token's subject, or user@host for commands.
    #[arg(long, value_parser = actor)]
    actor: Option<String>,
    /// Only acts from this time on, as in 2026-01-31T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<DateTime<Utc>>,
    /// The most entries to show.
    #[arg(long, default_value_t = 50)]
    limit: u32,
    #[command(flatten)]
    output: OutputArgs,
}

fn act(word: &str) -> Result<OperatorAction, String> {
    OperatorAction::from_word(word).ok_or_else(|| format!("must be one of {}", OperatorAction::all_words()))
}

fn actor(name: &str) -> Result<String, &'static str> {
    if EntryFilter::is_actor_name(name) { Ok(name.to_owned()) } else { Err("must be 1 to 200 characters on one line") }
}

fn since(text: &str) -> Result<DateTime<Utc>, &'static str> {
    DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).map_err(|_| "must be a time as in 2026-01-31T00:00:00Z")
}

/// Runs the work of a command between two entries of the audit log. Without the first entry nothing is done.
pub(super) async fn record_action<T>(
    audit: &AuditLog,
    act: OperatorAction,
    fields: &Value,
    work: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let mut details = ActionDetails::default();
    for (name, value) in fields.as_object().into_iter().flatten() {
        details.add_field(name, value);
    }
    let actor = Actor::at_command_line(&operator_name());
    let entry = NewEntry { act, actor, source: None, request_id: None, details };
    let begun = audit.begin_action(entry).await.map_err(|error| {
        CliError::Failed(format!(
            "nothing was done: {error}, and shard 0 keeps the audit log, where each act is noted first"
        ))
    })?;
    let done = Box::pin(work).await;
    let outcome = match &done {
        Ok(_) => ActionOutcome::Accepted,
        Err(CliError::Usage(_)) => ActionOutcome::Refused("wrong_usage"),
        Err(CliError::Refused(_)) => ActionOutcome::Refused("in_the_way"),
        Err(_) => ActionOutcome::Failed("failed"),
    };
    audit.end_action(begun, outcome).await;
    done
}

pub(super) async fn list(audit: &AuditLog, args: AuditArgs) -> Result<(), CliError> {
    let mut filter = EntryFilter { before: None, since: args.since, act: args.act, actor: args.actor };
    let mut left = args.limit;
    if !args.output.json {
        say!("{:<20} {:<18} {:<9} {:<28} {:<15} {:<15} details", "time", "act", "outcome", "actor", "scope", "source");
    }
    while left > 0 && !is_closed() {
        let size = u16::try_from(left).ok().and_then(PageSize::new).unwrap_or(PageSize::MAX);
        let page = audit.list_entries(&filter, size).await;
        let (entries, next) = page.map_err(|error| CliError::Failed(format!("{error}; it keeps the audit log")))?;
        for entry in &entries {
            if args.output.json { say!("{}", json!(entry)) } else { show(entry) }
        }
        left = left.saturating_sub(u32::try_from(size.get()).unwrap_or(u32::MAX));
        match next {
            Some(next) => filter.before = Some(next),
            None => break,
        }
    }
    Ok(())
}

fn show(entry: &LoggedAction) {
    let LoggedAction { at, act, outcome, actor, scope, source, details, code, .. } = entry;
    let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let details: Vec<_> =
        details.as_object().into_iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
    let code = code.as_ref().map_or(String::new(), |code| format!("({code}) "));
    let source = source.as_deref().unwrap_or("-");
    // The actor of a token is a text of the provider, or of a user who signed up there.
    let actor = OneLine(actor).to_string();
    let details = OneLine(details.join(" "));
    say!("{at:<20} {act:<18} {outcome:<9} {actor:<28} {scope:<15} {source:<15} {code}{details}");
}

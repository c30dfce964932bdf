//! `shardrive shards add`: adds a shard while the others serve.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::output::OutputArgs;
use crate::cli::CliError;
use crate::cli::output::say;
use crate::shard::{Cluster, GrowError, ShardOptions, add_shard};

const EXAMPLES: &str = "\
Examples:
  shardrive shards add postgres://db3.example:5432/drive_shard_2
  shardrive shards add --url-file /run/secrets/shard-2-url   with user and password, which other users of the
                                                             machine would see among the arguments
  shardrive shards rebalance

Running processes learn of the shard by themselves within seconds, and sign in as to shard 0. If it has another user or
password, name it as SHARDRIVE_SHARD_n_SPARE_URL in their settings first. Add its SHARD_n_URL when it suits.";

/// What to add.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct AddArgs {
    /// The new, empty database: postgres://host:port/database. A user and a password in the URL must be the ones of
    /// every process.
    #[arg(required_unless_present = "url_file", conflicts_with = "url_file")]
    url: Option<String>,
    /// A file that holds the URL, or - for standard input: the list of processes and the shell's history then show no
    /// password.
    #[arg(long, value_name = "FILE", value_parser = UrlInFile::read)]
    url_file: Option<UrlInFile>,
    /// Only check whether the shard could be added.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// A URL that stands in a file.
#[derive(Clone, Debug)]
struct UrlInFile(String);

impl UrlInFile {
    fn read(path: &str) -> std::io::Result<Self> {
        let text =
            if path == "-" { std::io::read_to_string(std::io::stdin())? } else { std::fs::read_to_string(path)? };
        Ok(Self(text.trim().to_owned()))
    }
}

impl AddArgs {
    fn url(&self) -> &str {
        let in_file = self.url_file.as_ref().map(|file| file.0.as_str());
        in_file.or(self.url.as_deref()).unwrap_or_default()
    }

    /// The fields for the audit log, which leaves passwords out.
    pub(super) fn audit_fields(&self) -> Value {
        json!({"url": self.url(), "dry_run": self.dry_run})
    }
}

pub(super) async fn add(cluster: &Cluster, args: AddArgs, connect_timeout: Duration) -> Result<(), CliError> {
    let options = ShardOptions::parse(args.url()).map_err(|reason| CliError::Usage(format!("the URL {reason}")))?;
    let joined = Box::pin(add_shard(cluster, &options, connect_timeout, args.dry_run)).await;
    let joined = joined.map_err(|error| match error {
        GrowError::Refused(reason) => CliError::Refused(reason),
        other => CliError::Failed(other.to_string()),
    })?;
    let place = options.address();
    if args.output.json {
        say!(
            "{}",
            json!({
                "shard_id": joined.shard.number(), "place": place,
                "was_there": joined.was_member, "dry_run": args.dry_run,
            })
        );
        return Ok(());
    }
    let number = joined.shard;
    match (joined.was_member, args.dry_run) {
        (true, _) => say!("{place} is shard {number} of this cluster already"),
        (false, true) => say!("{place} can become shard {number}; nothing was changed"),
        (false, false) => {
            say!("{place} is shard {number} now and owns no slot yet; \"shardrive shards rebalance\" gives it some")
        }
    }
    Ok(())
}

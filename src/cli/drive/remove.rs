//! `shardrive rm`: puts files and folders into the trash, or deletes them for good.

use clap::Args;
use indicatif::HumanCount;
use serde_json::Value;

use super::path::TypedPath;
use super::user_drive::{DriveArgs, UserDrive};
use crate::cli::CliError;
use crate::cli::output::{complain, say};
use crate::cli::service::{json_field, number_field};
use crate::telemetry::OneLine;

const EXAMPLES: &str = "\
Examples:
  shardrive rm --user-id 42 letter.txt draft.txt
  shardrive rm --user-id 42 -r documents/old             a folder, with all that is in it
  shardrive restore --user-id 42 documents/old           takes it out of the trash
  shardrive rm --user-id 42 -r --purge documents/old     deletes it for good

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done, but not for every path.";

/// Put files and folders of a user's drive into the trash
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct RemoveArgs {
    /// The paths of the files and folders.
    #[arg(required = true, value_name = "PATH", value_parser = TypedPath::parse)]
    paths: Vec<TypedPath>,
    #[command(flatten)]
    drive: DriveArgs,
    /// Put folders into the trash as well, each with all that is in it.
    #[arg(short, long)]
    recursive: bool,
    /// Delete for good instead: nothing comes back.
    #[arg(long)]
    purge: bool,
    /// Print one JSON object a line for each path.
    #[arg(long)]
    json: bool,
}

impl RemoveArgs {
    pub(in crate::cli) async fn run(self) -> Result<(), CliError> {
        let drive = self.drive.connect().await?;
        let mut failed = Vec::new();
        for path in &self.paths {
            match self.remove(&drive, path).await {
                Ok(answer) if self.json => say!("{answer}"),
                Ok(_) => {}
                Err(error) => failed.push(error),
            }
        }
        end_of_many(failed, self.paths.len())
    }

    /// Removes what is at a path: the entry in the trash, or what was purged.
    async fn remove(&self, drive: &UserDrive, path: &TypedPath) -> Result<Value, CliError> {
        let must_be_file = !self.recursive;
        if must_be_file && drive.find(path).await?.is_folder() {
            let path = if path.split_last().is_none() { "the root".to_owned() } else { OneLine(path).to_string() };
            return Err(CliError::Failed(format!("{path} is a folder; say -r")));
        }
        if !self.purge {
            return Ok(drive.trash(path).await?.into_json());
        }
        let answer = drive.purge(path).await?;
        if json_field(&answer, "more") == true {
            let purged = HumanCount(number_field(&answer, "purged"));
            let path = OneLine(path);
            return Err(CliError::Partial(format!(
                "{path}: {purged} entries are deleted, and the rest is in the trash"
            )));
        }
        Ok(answer)
    }
}

/// The end of a command that did the same for many arguments: every failure is told, and the exit code says whether all
/// or some failed.
pub(super) fn end_of_many(mut failed: Vec<CliError>, all: usize) -> Result<(), CliError> {
    if all == 1 {
        return failed.pop().map_or(Ok(()), Err);
    }
    failed.iter().for_each(|failure| complain!("shardrive: {failure}"));
    match failed.len() {
        0 => Ok(()),
        some if some < all => Err(CliError::Partial(format!("{some} of {all} failed"))),
        _ => Err(CliError::Failed(format!("all {all} failed"))),
    }
}

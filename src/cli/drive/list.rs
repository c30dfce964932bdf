//! `shardrive ls`: what a folder holds.

use clap::Args;

use super::entry::{NameStyle, RemoteEntry};
use super::path::TypedPath;
use super::user_drive::DriveArgs;
use crate::cli::CliError;
use crate::cli::output::{is_closed, say};

/// The entries of one answer of the service.
const PAGE: u16 = 1000;

const EXAMPLES: &str = "\
Examples:
  shardrive ls --user-id 42                          the root
  shardrive ls --user-id 42 documents/letters -l     with sizes and times
  shardrive ls --user-id 42 documents --json | jq -r 'select(.size_bytes > 1e9).name'

Folders come first and end in /, then files; both in the order of their names' code points. Sizes are in KiB, MiB and so
on. The time is the one of the content if it is known, or else that of the last change, by the clock of this machine.

Exit codes: 0 done, 1 failed, for example nothing is there, 2 wrong usage.";

/// List a folder of a user's drive
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct ListArgs {
    /// The path of a folder or of a file; without a path, the root.
    #[arg(default_value = "", hide_default_value = true, value_parser = TypedPath::parse)]
    path: TypedPath,
    #[command(flatten)]
    drive: DriveArgs,
    /// Show size and time beside each name.
    #[arg(short, long)]
    long: bool,
    /// Print one JSON object a line for each entry.
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    pub(in crate::cli) async fn run(self) -> Result<(), CliError> {
        let drive = self.drive.connect().await?;
        let style = NameStyle::of_output();
        let mut entries = drive.children_at(&self.path, PAGE);
        loop {
            match entries.next(drive.service()).await {
                Ok(Some(entry)) => self.print(style, &entry),
                Ok(None) => return Ok(()),
                Err(failure) if failure.has_code("not_a_folder") && !self.path.means_folder => {
                    self.print(style, &drive.find(&self.path).await?);
                    return Ok(());
                }
                Err(failure) => return Err(failure.into()),
            }
            if is_closed() {
                return Ok(());
            }
        }
    }

    fn print(&self, style: NameStyle, entry: &RemoteEntry) {
        let name = style.show(entry.name(), entry.is_folder());
        match (self.json, self.long) {
            (true, _) => say!("{}", entry.json()),
            (false, true) => say!("{:>11}  {:<16}  {name}", entry.size(), entry.time()),
            (false, false) => say!("{name}"),
        }
    }
}

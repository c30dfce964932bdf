//! `shardrive mv`: renames a file or folder, or moves it into another folder.

use clap::Args;

use super::path::TypedPath;
use super::user_drive::DriveArgs;
use crate::cli::CliError;
use crate::cli::output::say;
use crate::telemetry::OneLine;

const EXAMPLES: &str = "\
Examples:
  shardrive mv --user-id 42 draft.txt letter.txt         a new name
  shardrive mv --user-id 42 letter.txt documents         into a folder that is there
  shardrive mv --user-id 42 photos archive/photos-2025   a folder, with all that is in it, at once

If TO is a folder, FROM goes into it and keeps its name. Nothing is ever replaced: a taken name is refused.

Exit codes: 0 done, 1 failed, for example the name is taken, 2 wrong usage.";

/// Rename or move a file or folder of a user's drive
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct MoveEntryArgs {
    /// The path of the file or folder.
    #[arg(value_parser = TypedPath::parse)]
    from: TypedPath,
    /// The new path, or the folder to move into.
    #[arg(value_parser = TypedPath::parse)]
    to: TypedPath,
    #[command(flatten)]
    drive: DriveArgs,
    /// Print the entry as it is now as JSON.
    #[arg(long)]
    json: bool,
}

impl MoveEntryArgs {
    pub(in crate::cli) async fn run(self) -> Result<(), CliError> {
        if self.from.split_last().is_none() {
            return Err(CliError::Failed("the root of a drive keeps its place".to_owned()));
        }
        let drive = self.drive.connect().await?;
        let entry = drive.find(&self.from).await?;
        let there = match drive.find(&self.to).await {
            Err(failure) if failure.has_code("path_not_found") => None,
            there => Some(there?),
        };
        let missing = |folder: &TypedPath| CliError::Failed(format!("there is no folder {}", OneLine(folder)));
        let (folder, name) = match (there, self.to.split_last()) {
            (Some(folder), _) if folder.is_folder() => (self.to, entry.name().to_owned()),
            (None, _) if self.to.means_folder => return Err(missing(&self.to)),
            (_, Some((folder, name))) => (folder, name.to_owned()),
            (_, None) => return Err(missing(&self.to)),
        };
        // The service would make the missing folders of a file's new path; a misspelt folder must not come into being.
        if !drive.find(&folder).await?.is_folder() {
            return Err(missing(&folder));
        }
        let moved = drive.move_to(&entry, &folder, &name).await?;
        if self.json {
            say!("{}", moved.json());
        }
        Ok(())
    }
}

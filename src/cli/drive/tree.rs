//! `shardrive tree`: a folder with all that is below, drawn while it is read.

use std::fmt;

use clap::Args;

use super::entry::{NameStyle, RemoteEntry};
use super::pages::PagedEntries;
use super::path::{TypedPath, join};
use super::user_drive::{DriveArgs, UserDrive};
use crate::cli::CliError;
use crate::cli::output::{Counted, is_closed, say};
use crate::files::DrivePath;
use crate::telemetry::OneLine;

/// The entries of one answer of the service. Each open folder keeps at most one page.
const PAGE: u16 = 200;

const EXAMPLES: &str = "\
Examples:
  shardrive tree --user-id 42                      the whole drive
  shardrive tree --user-id 42 documents -L 2       two levels of one folder
  shardrive tree --user-id 42 -d                   folders only
  shardrive tree --user-id 42 --json               each entry with its path, a line each

The tree is drawn while it is read, and takes little memory at any size. An entry that moves meanwhile may be shown at
both places, or at none.

Exit codes: 0 done, 1 failed, for example nothing is there, 2 wrong usage.";

/// Draw a user's drive as a tree
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct TreeArgs {
    /// The path of the folder to begin at; without a path, the root.
    #[arg(default_value = "", hide_default_value = true, value_parser = TypedPath::parse)]
    path: TypedPath,
    #[command(flatten)]
    drive: DriveArgs,
    /// The number of levels to show.
    #[arg(short = 'L', long = "level", value_name = "N", default_value_t = DrivePath::MAX_DEPTH, hide_default_value = true,
          value_parser = parse_level)]
    levels: usize,
    /// Show folders only.
    #[arg(short = 'd', long)]
    folders_only: bool,
    /// Print one JSON object a line for each entry, with its path, instead of a drawing.
    #[arg(long)]
    json: bool,
}

fn parse_level(text: &str) -> Result<usize, String> {
    let level = text.parse().ok().filter(|level| (1..=DrivePath::MAX_DEPTH).contains(level));
    level.ok_or_else(|| format!("must be a whole number from 1 to {}", DrivePath::MAX_DEPTH))
}

/// A folder whose entries are being shown.
struct OpenFolder {
    entries: PagedEntries,
    path: String,
    /// The lines of the folders around, which stand before each entry.
    margin: String,
}

/// The shown entries, besides the folder to begin at.
#[derive(Default)]
struct TreeTotals {
    folders: u64,
    files: u64,
}

impl TreeArgs {
    pub(in crate::cli) async fn run(self) -> Result<(), CliError> {
        let drive = self.drive.connect().await?;
        let style = NameStyle::of_output();
        let top = drive.find(&self.path).await?;
        let path = self.path.to_string();
        if !top.is_folder() {
            return Err(CliError::Failed(format!("{} is a file, and no folder", OneLine(path))));
        }
        if !self.json {
            say!("{}", style.show(&path, true));
        }
        let mut totals = TreeTotals::default();
        let mut open = vec![OpenFolder { entries: self.entries(&drive, top.id()), path, margin: String::new() }];
        while let Some(folder) = open.last_mut().filter(|_| !is_closed()) {
            let next = match folder.entries.next(drive.service()).await {
                // The folder went away while the folder around it was being shown.
                Err(failure) if failure.has_code("folder_not_found") => None,
                next => next?,
            };
            let Some(entry) = next else {
                open.pop();
                continue;
            };
            totals.count(&entry);
            let inside = self.show(folder, &entry, style);
            if entry.is_folder() && open.len() < self.levels {
                let (path, margin) = inside;
                open.push(OpenFolder { entries: self.entries(&drive, entry.id()), path, margin });
            }
        }
        if !self.json {
            say!("\n{totals}");
        }
        Ok(())
    }

    fn entries(&self, drive: &UserDrive, id: &str) -> PagedEntries {
        let kinds = if self.folders_only { "folders" } else { "folders,files" };
        drive.children(&format!("folder_id={id}"), kinds, PAGE)
    }

    /// Shows an entry; returns its path, and the margin of the entries in it.
    fn show(&self, folder: &OpenFolder, entry: &RemoteEntry, style: NameStyle) -> (String, String) {
        let path = join(&folder.path, entry.name());
        let (branch, below) =
            if folder.entries.is_at_end() { ("└── ", "    ") } else { ("├── ", "│   ") };
        if self.json {
            say!("{}", entry.clone().with_path(path.clone()).json());
        } else {
            say!("{}{branch}{}", folder.margin, style.show(entry.name(), entry.is_folder()));
        }
        (path, format!("{}{below}", folder.margin))
    }
}

impl TreeTotals {
    fn count(&mut self, entry: &RemoteEntry) {
        if entry.is_folder() {
            self.folders += 1;
        } else {
            self.files += 1;
        }
    }
}

impl fmt::Display for TreeTotals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", Counted(self.folders, "folder"), Counted(self.files, "file"))
    }
}

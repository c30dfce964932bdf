//! `shardrive import --sync`: the options of a mirror, and its report.

use std::path::Path;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::output::{Counted, say};
use super::service::{json_field, number_field};
use crate::drive::mirror::DeleteLimit;
use crate::telemetry::OneLine;

/// The options of a mirror.
#[derive(Args, Debug)]
pub(super) struct SyncArgs {
    /// Make the drive of --user-id equal to the listing: what the listing leaves out goes into the trash.
    #[arg(long, requires = "user_id")]
    sync: bool,
    /// The folder of the drive that the listing describes. Without it, the whole drive.
    #[arg(long, value_name = "PATH", requires = "sync")]
    root: Option<String>,
    /// Show what --sync would do, and change nothing.
    #[arg(long, requires = "sync")]
    dry_run: bool,
    /// What becomes of entries that the listing leaves out.
    #[arg(long, value_enum, requires = "sync")]
    delete: Option<SyncDelete>,
    /// The most files and folders that may be deleted, counted together: a number, or a percentage. Without it, 10%.
    #[arg(long, value_name = "NUMBER|PERCENT%", requires = "sync", value_parser = check_limit)]
    max_delete: Option<String>,
}

/// What becomes of entries that a listing leaves out.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SyncDelete {
    /// They go into the trash.
    Trash,
    /// They are gone for good.
    Purge,
    /// They stay.
    Keep,
}

impl SyncArgs {
    pub(super) fn is_asked_for(&self) -> bool {
        self.sync
    }

    /// The query of the mirror.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let delete = self.delete.map(|delete| match delete {
            SyncDelete::Trash => "trash",
            SyncDelete::Purge => "purge",
            SyncDelete::Keep => "keep",
        });
        let options = [
            ("root", self.root.clone()),
            ("delete", delete.map(str::to_owned)),
            ("max_delete", self.max_delete.clone()),
            ("dry_run", self.dry_run.then(|| "true".to_owned())),
        ];
        options.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Checks the text of a limit, which the service reads again.
fn check_limit(text: &str) -> Result<String, &'static str> {
    DeleteLimit::parse(text).map(|_| text.to_owned()).ok_or("must be a number such as 20, or a percentage up to 100%")
}

/// Prints what a mirror has done, with the first differences.
pub(super) fn print_sync_report(input: &Path, answer: &Value) {
    let would = if json_field(answer, "dry_run") == true { " (nothing is written)" } else { "" };
    say!("{}{would}:", input.display());
    for change in ["created", "updated", "unchanged", "deleted"] {
        let counts = json_field(answer, change);
        let [files, folders] = ["file", "folder"].map(|kind| Counted(number_field(counts, &format!("{kind}s")), kind));
        say!("  {change}: {files}, {folders}");
    }
    if json_field(answer, "deletes_withheld") == true {
        say!("  nothing was deleted, as entries of the listing have faults");
    }
    for difference in json_field(answer, "differences").as_array().into_iter().flatten() {
        let text = |name: &str| json_field(difference, name).as_str().unwrap_or_default();
        let slash = if text("kind") == "folder" { "/" } else { "" };
        say!("  {} {}{slash}", text("change"), OneLine(text("path")));
    }
}

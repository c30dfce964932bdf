//! `shardrive restore`: lists the trash, and takes entries out of it.

use clap::Args;
use serde_json::{Map, Value, json};
use unicode_normalization::UnicodeNormalization as _;
use uuid::Uuid;

use super::entry::{NameStyle, RemoteEntry};
use super::path::TypedPath;
use super::remove::end_of_many;
use super::user_drive::{DriveArgs, UserDrive};
use crate::cli::CliError;
use crate::cli::output::{is_closed, say};
use crate::telemetry::OneLine;

/// The entries of one answer of the service.
const PAGE: u16 = 1000;

const EXAMPLES: &str = "\
Examples:
  shardrive restore --user-id 42                                     list the trash, newest first
  shardrive restore --user-id 42 documents/letter.txt                by the path that it had
  shardrive restore --user-id 42 01a21ff6-4fe5-7a6b-9c3c-7b007b5d4c1e
  shardrive restore --user-id 42 letter.txt --name letter-2.txt      where another entry has the name now

Of several entries with one path, the newest in the trash comes back. What went into the trash with its folder comes back
with the folder. A / before a path tells it from an id.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done, but not for every entry.";

/// List the trash of a user's drive, or take entries out of it
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct RestoreArgs {
    /// The ids or former paths of the entries; without any, the trash is listed.
    #[arg(value_name = "ID_OR_PATH", value_parser = TrashedName::parse)]
    entries: Vec<TrashedName>,
    #[command(flatten)]
    drive: DriveArgs,
    /// List the trash.
    #[arg(long, conflicts_with = "entries")]
    list: bool,
    /// The name of the entry from now on.
    #[arg(long, requires = "entries")]
    name: Option<String>,
    /// The path of the folder around the entry from now on.
    #[arg(long, value_name = "FOLDER", requires = "entries", value_parser = TypedPath::parse)]
    to: Option<TypedPath>,
    /// Print one JSON object a line for each entry.
    #[arg(long)]
    json: bool,
}

/// How a person names an entry of the trash.
#[derive(Clone, Debug)]
enum TrashedName {
    Id(Uuid),
    Path(TypedPath),
}

impl TrashedName {
    fn parse(text: &str) -> Result<Self, String> {
        match Uuid::try_parse(text) {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => TypedPath::parse(text).map(Self::Path),
        }
    }
}

impl RestoreArgs {
    pub(in crate::cli) async fn run(self) -> Result<(), CliError> {
        if self.name.is_some() && self.entries.len() > 1 {
            return Err(CliError::Usage("--name is for one entry alone".to_owned()));
        }
        let drive = self.drive.connect().await?;
        if self.entries.is_empty() {
            return self.list_trash(&drive).await;
        }
        let place = self.place(&drive).await?;
        let mut failed = Vec::new();
        for entry in &self.entries {
            match restore(&drive, entry, &place).await {
                Ok(restored) if self.json => say!("{}", restored.json()),
                Ok(_) => {}
                Err(error) => failed.push(error),
            }
        }
        end_of_many(failed, self.entries.len())
    }

    async fn list_trash(&self, drive: &UserDrive) -> Result<(), CliError> {
        let style = NameStyle::of_output();
        let mut entries = drive.trashed(PAGE);
        while let Some(entry) = entries.next(drive.service()).await?.filter(|_| !is_closed()) {
            if self.json {
                say!("{}", entry.json());
            } else {
                let path = style.show(entry.path().unwrap_or(entry.name()), entry.is_folder());
                say!("{}  {:>11}  {}  {path}", entry.time(), entry.size(), entry.id());
            }
        }
        Ok(())
    }

    /// Where the entries go; what is left out is as before.
    async fn place(&self, drive: &UserDrive) -> Result<Value, CliError> {
        let mut place = Map::new();
        if let Some(name) = &self.name {
            place.insert("name".to_owned(), json!(name));
        }
        if let Some(to) = &self.to {
            let folder = drive.find(to).await?;
            if !folder.is_folder() {
                return Err(CliError::Failed(format!("{} is a file, and no folder", OneLine(to))));
            }
            place.insert("parent_id".to_owned(), json!(folder.id()));
        }
        Ok(Value::Object(place))
    }
}

async fn restore(drive: &UserDrive, entry: &TrashedName, place: &Value) -> Result<RemoteEntry, CliError> {
    let id = match entry {
        TrashedName::Id(id) => id.to_string(),
        TrashedName::Path(path) => find_trashed(drive, &path.to_string()).await?,
    };
    Ok(drive.restore(&id, place).await?)
}

/// The id of the newest entry in the trash that had this path.
async fn find_trashed(drive: &UserDrive, path: &str) -> Result<String, CliError> {
    // Two names are the same if their NFC is, as in the service.
    let wanted: String = path.nfc().collect();
    let mut entries = drive.trashed(PAGE);
    let mut folder_above = None;
    while let Some(entry) = entries.next(drive.service()).await? {
        let Some(trashed) = entry.path() else { continue };
        let known: String = trashed.nfc().collect();
        if known == wanted {
            return Ok(entry.id().to_owned());
        }
        let is_above = wanted.strip_prefix(&known).is_some_and(|rest| rest.starts_with('/'));
        if is_above && folder_above.is_none() {
            folder_above = Some(trashed.to_owned());
        }
    }
    Err(CliError::Failed(match folder_above {
        Some(folder) => format!("{} is in the trash with its folder: restore {}", OneLine(path), OneLine(folder)),
        None => format!("nothing in the trash was at {}", OneLine(path)),
    }))
}

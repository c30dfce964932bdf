//! The drive of one user, by the routes of a running service.

use clap::Args;
use serde_json::{Value, json};

use super::entry::RemoteEntry;
use super::pages::PagedEntries;
use super::path::{TypedPath, in_query};
use crate::cli::CliError;
use crate::cli::service::{CallFailure, RunningService, ServiceArgs};

/// Whose drive, and where.
#[derive(Args, Debug)]
pub(super) struct DriveArgs {
    /// The user whose drive it is.
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i64).range(0..))]
    user_id: i64,
    #[command(flatten)]
    service: ServiceArgs,
}

impl DriveArgs {
    pub(super) async fn connect(&self) -> Result<UserDrive, CliError> {
        Ok(UserDrive { service: self.service.connect().await?, user: self.user_id })
    }
}

/// A user's drive.
pub(super) struct UserDrive {
    service: RunningService,
    user: i64,
}

impl UserDrive {
    /// What is at a path.
    pub(super) async fn find(&self, path: &TypedPath) -> Result<RemoteEntry, CallFailure> {
        self.service.get(&self.path_address(path)).await.map(changed_entry)
    }

    /// Puts what is at a path into the trash.
    pub(super) async fn trash(&self, path: &TypedPath) -> Result<RemoteEntry, CallFailure> {
        self.service.delete(&self.path_address(path)).await.map(changed_entry)
    }

    /// Deletes what is at a path for good: the service's answer.
    pub(super) async fn purge(&self, path: &TypedPath) -> Result<Value, CallFailure> {
        self.service.delete(&format!("{}?purge=true", self.path_address(path))).await
    }

    /// Gives an entry this name in the folder at this path, which must be there.
    pub(super) async fn move_to(
        &self,
        entry: &RemoteEntry,
        folder: &TypedPath,
        name: &str,
    ) -> Result<RemoteEntry, CallFailure> {
        let (kind, body) = if entry.is_folder() {
            ("folders", json!({"parent_path": folder.to_string(), "folder_name": name}))
        } else {
            ("files", json!({"path": folder.join(name)}))
        };
        let address = format!("/{kind}/{}?user_id={}", entry.id(), self.user);
        self.service.patch(&address, &body).await.map(changed_entry)
    }

    /// Takes an entry out of the trash.
    pub(super) async fn restore(&self, id: &str, place: &Value) -> Result<RemoteEntry, CallFailure> {
        let address = format!("/drives/{}/trash/{id}/restore", self.user);
        self.service.post(&address, place).await.map(changed_entry)
    }

    /// The entries of the folder at a path, in pages of this size.
    pub(super) fn children_at(&self, path: &TypedPath, page: u16) -> PagedEntries {
        self.children(&format!("path={}", in_query(&path.to_string())), "folders,files", page)
    }

    /// The entries of these kinds of the folder that the parameter names.
    pub(super) fn children(&self, folder: &str, kinds: &str, page: u16) -> PagedEntries {
        PagedEntries::of(format!("/drives/{}/children?{folder}&kinds={kinds}&limit={page}", self.user))
    }

    /// What was put into the trash itself, newest first.
    pub(super) fn trashed(&self, page: u16) -> PagedEntries {
        PagedEntries::of(format!("/drives/{}/trash?limit={page}", self.user))
    }

    pub(super) fn service(&self) -> &RunningService {
        &self.service
    }

    fn path_address(&self, path: &TypedPath) -> String {
        format!("/drives/{}/path/{}", self.user, path.in_url())
    }
}

/// The entry of an answer, as it is now.
fn changed_entry(mut answer: Value) -> RemoteEntry {
    RemoteEntry::new(answer.get_mut("data").map(Value::take).unwrap_or_default())
}

//! `/drives/{user_id}/batch`: operations that are done all or not at all.

use std::borrow::Cow;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::paths::name_conflict;
use crate::drive::{DriveEntry, DriveOperation, EntryCondition, EntryKind, EntryTarget, FolderTarget, OperationResult};
use crate::files::{BorrowedText, ContentInput, DrivePath, TimeInput};
use crate::http::guards::access::Caller;
use crate::http::guards::idempotency::claim_key;
use crate::http::request::body::JsonBody;
use crate::http::request::extract::UserPath;
use crate::http::response::answer;
use crate::http::response::problem::Problem;
use crate::http::response::problem_responses::{BodyProblems, DriveProblems, RequestProblems, ShardProblems};
use crate::http::state::AppState;
use crate::payload::FieldFault;

/// The most operations of a batch.
const MAX_OPERATIONS: usize = 256;
/// The largest body: the longest paths of all operations.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// Operations that are done in their order, in one transaction.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Batch {
    /// 1 to 256 operations.
    #[schema(min_items = 1, max_items = 256, value_type = Vec<BatchOperation>)]
    operations: Vec<OperationInput>,
}

/// The fields of all operations. An enum with its tag inside would not tell which field is wrong.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OperationInput {
    op: String,
    path: Option<String>,
    on_conflict: Option<String>,
    size_bytes: Option<i64>,
    mime_type: Option<String>,
    checksum: Option<String>,
    modified_at: Option<String>,
    content_ref: Option<String>,
    to: Option<String>,
    id: Option<Uuid>,
}

impl OperationInput {
    fn read(mut self) -> Result<BatchOperation, FieldFault> {
        let operation = match self.op.as_str() {
            "create_folder" => BatchOperation::CreateFolder { path: required(self.path.take(), "path")? },
            "put_file" => BatchOperation::PutFile {
                path: required(self.path.take(), "path")?,
                on_conflict: self.on_conflict.take(),
                size_bytes: self.size_bytes.take(),
                mime_type: self.mime_type.take(),
                checksum: self.checksum.take(),
                modified_at: self.modified_at.take(),
                content_ref: self.content_ref.take(),
            },
            "move" => {
                BatchOperation::Move { path: required(self.path.take(), "path")?, to: required(self.to.take(), "to")? }
            }
            "trash" => BatchOperation::Trash { path: required(self.path.take(), "path")? },
            "restore" => BatchOperation::Restore { id: required(self.id.take(), "id")?, to: self.to.take() },
            _ => return Err(FieldFault::new("op", "must be create_folder, put_file, move, trash or restore")),
        };
        match self.left_over() {
            Some(field) => Err(FieldFault::new(field, format!("is not a field of {}", self.op))),
            None => Ok(operation),
        }
    }

    /// A field that the operation has not taken.
    fn left_over(&self) -> Option<&'static str> {
        let fields = [
            ("path", self.path.is_some()),
            ("on_conflict", self.on_conflict.is_some()),
            ("size_bytes", self.size_bytes.is_some()),
            ("mime_type", self.mime_type.is_some()),
            ("checksum", self.checksum.is_some()),
            ("modified_at", self.modified_at.is_some()),
            ("content_ref", self.content_ref.is_some()),
            ("to", self.to.is_some()),
            ("id", self.id.is_some()),
        ];
        fields.into_iter().find_map(|(name, is_given)| is_given.then_some(name))
    }
}

fn required<T>(value: Option<T>, field: &'static str) -> Result<T, FieldFault> {
    value.ok_or_else(|| FieldFault::new(field, "must be given"))
}

/// An operation of a batch. The API's description reads it from the attributes of serde.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum BatchOperation {
    /// Makes a folder, with the missing folders on the way.
    CreateFolder {
        /// The path of the folder.
        #[schema(example = "documents/letters")]
        path: String,
    },
    /// Stores a file at a path, with the missing folders on the way.
    PutFile {
        /// The path of the file.
        #[schema(example = "documents/letters/a.txt")]
        path: String,
        /// If a file has the path: `replace`, which is also what is done without it, `fail` or `rename`.
        #[serde(default)]
        #[schema(example = "replace")]
        on_conflict: Option<String>,
        /// The size in bytes.
        #[serde(default)]
        size_bytes: Option<i64>,
        /// The media type.
        #[serde(default)]
        mime_type: Option<String>,
        /// A checksum of the content.
        #[serde(default)]
        checksum: Option<String>,
        /// When the content last changed (RFC 3339).
        #[serde(default)]
        modified_at: Option<String>,
        /// Where the content is stored, in words of the client's own.
        #[serde(default)]
        content_ref: Option<String>,
    },
    /// Gives the folder or file at a path another path, whose folders must be there.
    Move {
        /// The path of the entry.
        #[schema(example = "documents/letters")]
        path: String,
        /// The path from now on.
        #[schema(example = "documents/mail")]
        to: String,
    },
    /// Puts the folder or file at a path into the trash.
    Trash {
        /// The path of the entry.
        #[schema(example = "documents/old")]
        path: String,
    },
    /// Takes a folder or file out of the trash.
    Restore {
        /// The id of the entry.
        id: Uuid,
        /// The path from now on; without it the old one.
        #[serde(default)]
        #[schema(example = "documents/letters")]
        to: Option<String>,
    },
}

impl BatchOperation {
    fn check(self) -> Result<DriveOperation, FieldFault> {
        match self {
            Self::CreateFolder { path } => {
                let (parent, name) = split_path(&path, "path", true)?;
                Ok(DriveOperation::CreateFolder { parent, name })
            }
            Self::PutFile { path, on_conflict, size_bytes, mime_type, checksum, modified_at, content_ref } => {
                let text = |text: Option<String>| text.map(|text| BorrowedText(Cow::Owned(text)));
                let modified_at = modified_at.map(|time| TimeInput::Text(Cow::Owned(time)));
                let (mime_type, checksum, content_ref) = (text(mime_type), text(checksum), text(content_ref));
                let conflict =
                    name_conflict(on_conflict.as_deref()).map_err(|reason| FieldFault::new("on_conflict", reason))?;
                Ok(DriveOperation::PutFile {
                    path: entry_path(&path, "path")?,
                    makes_folders: true,
                    content: ContentInput { size_bytes, mime_type, checksum, modified_at, content_ref }.check()?,
                    conflict,
                    condition: EntryCondition::Any,
                })
            }
            Self::Move { path, to } => {
                let (parent, name) = split_path(&to, "to", false)?;
                let entry = EntryTarget::Path(entry_path(&path, "path")?);
                let condition = EntryCondition::Any;
                Ok(DriveOperation::Move { entry, parent: Some(parent), name: Some(name), condition })
            }
            Self::Trash { path } => {
                let entry = EntryTarget::Path(entry_path(&path, "path")?);
                Ok(DriveOperation::Trash { entry, condition: EntryCondition::Any })
            }
            Self::Restore { id, to } => {
                let (parent, name) = match to {
                    Some(to) => split_path(&to, "to", false).map(|(parent, name)| (Some(parent), Some(name)))?,
                    None => (None, None),
                };
                Ok(DriveOperation::Restore { id, parent, name })
            }
        }
    }
}

fn entry_path(text: &str, field: &'static str) -> Result<DrivePath, FieldFault> {
    let path = DrivePath::parse(text, field)?;
    if path.names().is_empty() {
        return Err(FieldFault::new(field, "must name an entry; the root keeps its place"));
    }
    Ok(path)
}

fn split_path(text: &str, field: &'static str, makes_missing: bool) -> Result<(FolderTarget, String), FieldFault> {
    let path = entry_path(text, field)?;
    let (parents, name) = path.split_last().unwrap_or_default();
    Ok((FolderTarget::Path(DrivePath::of_names(parents), makes_missing), name.to_owned()))
}

/// What a batch has done.
#[derive(Serialize, ToSchema)]
struct BatchAnswer {
    #[schema(example = true)]
    success: bool,
    #[schema(example = 42)]
    user_id: i64,
    /// The shard of the user's drive.
    #[schema(example = 0)]
    shard_id: u16,
    /// One for each operation, in their order.
    results: Vec<BatchResult>,
}

/// What an operation has done.
#[derive(Serialize, ToSchema)]
struct BatchResult {
    /// Folder or file.
    kind: EntryKind,
    /// The id of the folder or file.
    id: Uuid,
    /// True if the operation made the entry.
    created: bool,
}

impl From<OperationResult> for BatchResult {
    fn from(result: OperationResult) -> Self {
        let (kind, id) = match result.entry {
            DriveEntry::Folder(folder) => (EntryKind::Folder, folder.folder_id),
            DriveEntry::File(id) => (EntryKind::File, id),
        };
        Self { kind, id, created: result.is_new }
    }
}

/// Change a drive by several operations at once
///
/// All are done, in their order, or none. A later operation finds what an earlier one has made.
#[utoipa::path(
    post, path = "/drives/{user_id}/batch", tag = "drives", request_body = Batch,
    params(("user_id" = i64, Path, description = "The user", minimum = 0)),
    responses(
        (status = 200, description = "All operations are done", body = BatchAnswer),
        RequestProblems, BodyProblems, DriveProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn change_all(
    state: Data<AppState>,
    caller: Caller,
    UserPath(user): UserPath,
    request: HttpRequest,
    body: JsonBody<MAX_BODY>,
) -> Result<HttpResponse, Problem> {
    let claimed = claim_key(&request, caller, body.bytes())?;
    let Batch { operations } = body.parse()?;
    if !(1..=MAX_OPERATIONS).contains(&operations.len()) {
        return Err(FieldFault::new("operations", format!("must hold 1 to {MAX_OPERATIONS} operations")).into());
    }
    let checked = operations.into_iter().enumerate().map(|(number, operation)| {
        let of_operation =
            |fault: FieldFault| FieldFault::new(format!("operations[{number}].{}", fault.field), fault.reason);
        operation.read().and_then(BatchOperation::check).map_err(of_operation)
    });
    let operations = checked.collect::<Result<Vec<_>, _>>()?;
    let (shard, results) = Box::pin(state.drives.change_all(user, &operations, claimed.request_key())).await?;
    let results = results.into_iter().map(BatchResult::from).collect();
    answer::ok(&BatchAnswer { success: true, user_id: user.get(), shard_id: shard.number(), results })
}

//! `GET /drives/{user_id}/tree`: a drive in the order of whole paths, in pages, as lines, or as `rclone lsjson` writes
//! it.

use std::collections::BTreeMap;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::drive::{EntryKind, TreeEntry, TreePage, TreeSelection, check_start_after};
use crate::files::UserId;
use crate::http::request::extract::{UserPath, query, query_page_size};
use crate::http::request::media_type::prefers_ndjson;
use crate::http::response::answer::{self, JSON, NDJSON};
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::http::response::problem_responses::{RequestProblems, ShardProblems};
use crate::http::state::AppState;
use crate::payload::{FieldFault, PageSize, time};
use crate::telemetry::{current_request, with_request_if_any};

/// About the bytes of an entry, for the size of an answer.
const ENTRY_BYTES: usize = 320;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TreeQuery {
    prefix: Option<String>,
    delimiter: Option<String>,
    start_after: Option<String>,
    limit: Option<String>,
    format: Option<String>,
}

/// A page of a drive in the order of whole paths.
#[derive(Serialize, ToSchema)]
struct TreeAnswer {
    #[schema(example = true)]
    success: bool,
    /// The user.
    #[schema(example = 42)]
    user_id: i64,
    /// The shard of the user's drive.
    #[schema(example = 0)]
    shard_id: u16,
    /// Folders and files, in the order of the code points of their paths in NFC.
    entries: Vec<TreeEntry>,
    /// With a delimiter: the paths of folders that stand for everything below them.
    #[schema(example = json!(["letters/"]))]
    common_prefixes: Vec<String>,
    /// The `start_after` of the next page; `null` on the last page.
    #[schema(example = json!(null))]
    next_start_after: Option<String>,
}

/// A page, or with `format=lsjson` the array that `rclone lsjson` writes.
#[derive(ToSchema)]
#[schema(as = TreeListing)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is only read by its derive")]
enum TreeListing {
    Page(TreeAnswer),
    Lsjson(Vec<LsjsonEntry<'static>>),
}

/// An entry as `rclone lsjson` writes it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = LsjsonEntry)]
struct LsjsonEntry<'a> {
    path: &'a str,
    name: &'a str,
    size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<&'a str>,
    #[serde(serialize_with = "write_time")]
    #[schema(value_type = String)]
    mod_time: Option<DateTime<Utc>>,
    is_dir: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    hashes: Option<BTreeMap<&'a str, &'a str>>,
}

/// rclone writes an empty text for an unknown time.
fn write_time<S: serde::Serializer>(at: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => time::serialize_time(at, serializer),
        None => serializer.serialize_str(""),
    }
}

impl<'a> LsjsonEntry<'a> {
    /// The entry, with its path from the folder on whose depth this is. `None`: it is the folder itself.
    fn of(entry: &'a TreeEntry, depth: usize) -> Option<Self> {
        let path = entry.path.splitn(depth + 1, '/').nth(depth)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let name = path.rsplit('/').next().filter(|name| !name.is_empty())?;
        let is_dir = entry.kind == EntryKind::Folder;
        let hash = entry.checksum.as_deref().and_then(|checksum| checksum.split_once(':'));
        Some(Self {
            path,
            name,
            size: entry.size_bytes.unwrap_or(-1),
            mime_type: if is_dir { Some("inode/directory") } else { entry.mime_type.as_deref() },
            mod_time: if is_dir { Some(entry.updated_at) } else { entry.modified_at },
            is_dir,
            hashes: hash.map(|hash| BTreeMap::from([hash])),
        })
    }
}

/// How a listing is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TreeFormat {
    Page,
    Lines,
    Lsjson,
}

/// List a drive by whole paths
///
/// In the order and with the meaning of an object store's listing: by the code points of whole paths in NFC, `a-b`
/// before `a/b`. The path of a folder ends in `/`. With `delimiter=/` the folders right below the prefix are common
/// prefixes, which stand for all below them.
///
/// With `Accept: application/x-ndjson` the answer is a stream of all entries. `format=lsjson` streams the array that
/// `rclone lsjson` writes, with paths from the folder of the prefix on: `POST /drives/{user_id}/sync` takes it back. A
/// stream that fails is broken off.
#[utoipa::path(
    get, path = "/drives/{user_id}/tree", tag = "drives",
    params(
        ("user_id" = i64, Path, description = "The user", minimum = 0),
        ("prefix" = Option<String>, Query, description = "Only paths that begin with this text, such as `letters/`"),
        ("delimiter" = Option<String>, Query, description = "`/`: what is below a folder is left out, and the folder is a common prefix"),
        ("start_after" = Option<String>, Query, description = "Only what stands behind this path; `next_start_after` of the page before"),
        ("limit" = Option<u16>, Query, description = "Entries and common prefixes in one page at most, 1,000 if it is left out; a page of long texts ends at about 2 MiB. Of a stream, entries fetched at once", minimum = 1, maximum = 1000),
        ("format" = Option<String>, Query, description = "`lsjson`: a stream as `rclone lsjson` writes it"),
    ),
    responses(
        (status = 200, description = "The entries; none is no error", content(
            (TreeListing = "application/json"),
            (TreeEntry = "application/x-ndjson"),
        )),
        RequestProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn list_tree(
    state: Data<AppState>,
    UserPath(user): UserPath,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let TreeQuery { prefix, delimiter, start_after, limit, format } = query(&request)?;
    let rolls_up = match delimiter.as_deref() {
        None | Some("") => false,
        Some("/") => true,
        Some(_) => return Err(Problem::query("delimiter", "must be / or left out")),
    };
    let format = match format.as_deref() {
        None if prefers_ndjson(&request) => TreeFormat::Lines,
        None => TreeFormat::Page,
        Some("lsjson") => TreeFormat::Lsjson,
        Some(_) => return Err(Problem::query("format", "must be lsjson or left out")),
    };
    let wrong = |fault: FieldFault| Problem::new(ProblemCode::InvalidQuery, fault.to_string()).field(fault.field);
    let selection = TreeSelection::new(prefix.as_deref().unwrap_or_default(), rolls_up).map_err(wrong)?;
    let after = check_start_after(start_after.as_deref().unwrap_or_default()).map_err(wrong)?;
    let size = query_page_size(limit.as_deref(), PageSize::MAX)?;
    let (shard, page) = state.drives.list_tree(user, &selection, &after, size).await?;
    if format != TreeFormat::Page {
        let mut response = HttpResponse::Ok();
        response.insert_header((CONTENT_TYPE, if format == TreeFormat::Lines { NDJSON } else { JSON }));
        if request.method() == Method::HEAD {
            return Ok(response.finish()); // the entries would be fetched for nobody
        }
        return Ok(response.streaming(TreeStream { state, user, selection, size, format }.write(page)));
    }
    let next_start_after = page.next.clone();
    let (entries, common_prefixes) = page.split_common_prefixes(&selection);
    let capacity = ENTRY_BYTES * (entries.len() + common_prefixes.len() + 1);
    let (user_id, shard_id) = (user.get(), shard.number());
    let body = TreeAnswer { success: true, user_id, shard_id, entries, common_prefixes, next_start_after };
    answer::json(StatusCode::OK, &body, capacity)
}

/// A listing broke off. The broken connection tells the client; why, the log has said already.
#[derive(Debug, thiserror::Error)]
#[error("a listing broke off")]
struct TreeBrokenOff;

/// A listing of all entries, page by page. Memory holds a single page; the next page is fetched after the client has
/// taken the page before.
struct TreeStream {
    state: Data<AppState>,
    user: UserId,
    selection: TreeSelection,
    size: PageSize,
    format: TreeFormat,
}

/// What a stream does next.
enum TreeStep {
    Write(TreePage),
    Fetch(String),
    End,
}

impl TreeStream {
    fn write(self, first: TreePage) -> impl Stream<Item = Result<Bytes, TreeBrokenOff>> {
        // The stream is read after the request's task has ended, and still logs under the request's id.
        let context = current_request();
        let start = (self, TreeStep::Write(first), false);
        try_unfold(start, move |(stream, step, mut is_begun)| {
            let context = context.clone();
            async move {
                let page = match step {
                    TreeStep::End => return Ok(None),
                    TreeStep::Write(page) => page,
                    TreeStep::Fetch(after) => with_request_if_any(context, stream.fetch(&after)).await?,
                };
                let text = stream.text(&page, &mut is_begun).map_err(|_| TreeBrokenOff)?;
                let next = page.next.map_or(TreeStep::End, TreeStep::Fetch);
                Ok(Some((Bytes::from(text), (stream, next, is_begun))))
            }
        })
    }

    async fn fetch(&self, after: &str) -> Result<TreePage, TreeBrokenOff> {
        match self.state.drives.list_tree(self.user, &self.selection, after, self.size).await {
            Ok((_, page)) => Ok(page),
            Err(error) => {
                log::warn!("a listing broke off: {error}");
                Problem::from(error).log();
                Err(TreeBrokenOff)
            }
        }
    }

    /// The text of a page, with the array around all pages, which an earlier page may have begun.
    fn text(&self, page: &TreePage, is_begun: &mut bool) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = Vec::with_capacity(ENTRY_BYTES * (page.entries.len() + 1));
        if self.format == TreeFormat::Lines {
            for entry in &page.entries {
                serde_json::to_writer(&mut text, entry)?;
                text.push(b'\n');
            }
            return Ok(text);
        }
        for entry in page.entries.iter().filter_map(|entry| LsjsonEntry::of(entry, self.selection.depth())) {
            text.extend_from_slice(if *is_begun { b",\n" } else { b"[\n" });
            serde_json::to_writer(&mut text, &entry)?;
            *is_begun = true;
        }
        if page.next.is_none() {
            text.extend_from_slice(if *is_begun { b"\n]\n" } else { b"[\n]\n" });
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: EntryKind) -> TreeEntry {
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        TreeEntry {
            kind,
            path: path.to_owned(),
            id: uuid::Uuid::nil(),
            size_bytes: None,
            mime_type: None,
            checksum: Some("sha1:aa".to_owned()),
            content_ref: None,
            modified_at: None,
            version: 1,
            created_at: at,
            updated_at: at,
        }
    }

    #[test]
    fn paths_of_a_listing_begin_at_the_folder_of_the_prefix() {
        let shown = |path: &str, depth| {
            let entry = entry(path, if path.ends_with('/') { EntryKind::Folder } else { EntryKind::File });
            LsjsonEntry::of(&entry, depth).map(|entry| serde_json::to_string(&entry).unwrap())
        };
        assert_eq!(
            shown("a/b/c", 1).unwrap(),
            r#"{"Path":"b/c","Name":"c","Size":-1,"ModTime":"","IsDir":false,"Hashes":{"sha1":"aa"}}"#
        );
        assert!(
            shown("a/b/", 1).unwrap().starts_with(r#"{"Path":"b","Name":"b","Size":-1,"MimeType":"inode/directory""#)
        );
        assert_eq!(shown("a/", 1), None, "the folder itself");
    }
}

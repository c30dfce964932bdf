//! `/admin/audit`: lists the audit log.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::audit::{EntryFilter, LoggedAction, OperatorAction};
use crate::http::request::extract::{query, query_page_size};
use crate::http::response::answer;
use crate::http::response::problem::Problem;
use crate::http::response::problem_responses::{RequestProblems, ShardProblems};
use crate::http::state::AppState;
use crate::payload::PageSize;

/// A page of the audit log.
#[derive(Serialize, ToSchema)]
struct AuditAnswer {
    /// Newest first.
    entries: Vec<LoggedAction>,
    /// The `cursor` of the next page; `null` on the last page.
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    limit: Option<String>,
    cursor: Option<String>,
    act: Option<String>,
    actor: Option<String>,
    since: Option<String>,
}

/// Who did what
///
/// Actions of operators, by the API and by the command line, and refused attempts, newest first. Reading the log
/// is not noted.
#[utoipa::path(
    get, path = "/admin/audit", tag = "admin",
    params(
        ("limit" = Option<u16>, Query, description = "Entries in one page at most, 100 if it is left out; a page of long details ends at about 2 MiB", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before; only the entries after it are given"),
        ("act" = Option<String>, Query, description = "Only this act: `add_shard`, `move`, `drain`, `rebalance`, `cancel`, `rollback`, `finish`, `declare_collection`, `make_test_files`, or `look` (at what is the operators'; noted of others alone)"),
        ("actor" = Option<String>, Query, description = "Only what this one did, named as in the entries", min_length = 1, max_length = 200),
        ("since" = Option<String>, Query, description = "Only what began at this time or later, as in `2026-01-31T00:00:00Z`"),
    ),
    responses((status = 200, description = "The entries; none is no error", body = AuditAnswer), RequestProblems, ShardProblems)
)]
pub(in crate::http) async fn list(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let AuditQuery { limit, cursor, act, actor, since } = query(&request)?;
    let size = query_page_size(limit.as_deref(), PageSize::USUAL)?;
    let filter = EntryFilter {
        before: read(
            "cursor",
            cursor,
            |text| text.parse().ok(),
            || "must be the next_cursor of an earlier answer; leave it out to start anew".to_owned(),
        )?,
        act: read("act", act, OperatorAction::from_word, || format!("must be one of {}", OperatorAction::all_words()))?,
        actor: read(
            "actor",
            actor,
            |name| EntryFilter::is_actor_name(name).then(|| name.to_owned()),
            || "must be 1 to 200 characters, none of them a control character".to_owned(),
        )?,
        since: read(
            "since",
            since,
            |text| DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc()),
            || "must be a time as in 2026-01-31T00:00:00Z; a + in it is written as %2B".to_owned(),
        )?,
    };
    let (entries, next) = state.audit.list_entries(&filter, size).await?;
    answer::json(
        actix_web::http::StatusCode::OK,
        &AuditAnswer { next_cursor: next.map(|cursor| cursor.to_string()), entries },
        4096,
    )
}

/// Reads a parameter, if the query has the parameter.
fn read<T>(
    name: &'static str,
    text: Option<String>,
    parse: impl Fn(&str) -> Option<T>,
    reason: impl Fn() -> String,
) -> Result<Option<T>, Problem> {
    text.map(|text| parse(&text).ok_or_else(|| Problem::query(name, reason()))).transpose()
}

//! The user whose row a request by id means.

use actix_web::HttpRequest;
use serde::Deserialize;

use super::extract::{query, query_number};
use crate::files::UserId;
use crate::http::guards::access::Caller;
use crate::http::response::problem::Problem;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnerQuery {
    user_id: Option<String>,
}

/// The user whose file a request means: the one named in the query, else the caller, if that is a user.
pub(in crate::http) fn named_user(request: &HttpRequest, caller: Caller) -> Result<Option<UserId>, Problem> {
    let OwnerQuery { user_id } =
        if request.query_string().is_empty() { OwnerQuery::default() } else { query(request)? };
    user_of_query(user_id.as_deref(), caller)
}

/// The same for a query that has been read.
pub(in crate::http) fn user_of_query(user_id: Option<&str>, caller: Caller) -> Result<Option<UserId>, Problem> {
    match query_number("user_id", user_id, 0..=i64::MAX)? {
        Some(user) => caller.may_reach_user(user, "user_id").map(|()| UserId::new(user)),
        None => Ok(caller.only_user()),
    }
}

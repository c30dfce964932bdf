//! Writes the audit entry of an operator action before the handler runs, and the outcome afterwards.

use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpRequest};
use futures_util::future::ready;
use futures_util::stream::once;
use serde_json::{Map, Value};

use super::access::{Caller, RouteAccess};
use super::bearer::bearer;
use super::rate_limit::client_address;
use crate::audit::{ActionDetails, ActionOutcome, Actor, NewEntry, OperatorAction};
use crate::auth::subject_of_verified;
use crate::http::request::body::JsonBody;
use crate::http::request::extract::query;
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::http::state::AppState;
use crate::shard::ShardId;
use crate::telemetry::current_request;

/// Stands before routes of operator actions: no action is done without an audit entry.
pub(in crate::http) async fn require_audit_entry(
    access: RouteAccess,
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(action) = access.operator_action(request.request()) else { return next.call(request).await };
    let Some(state) = request.app_data::<Data<AppState>>().cloned() else {
        return Ok(request.error_response(Problem::new(ProblemCode::Internal, "there is no audit log")));
    };
    let fields = body_fields(action, &mut request).await;
    let mut entry = entry(&state, action, request.request());
    if let Ok(fields) = &fields {
        entry.details.add_request_fields(action, fields);
    }
    let begun = match state.audit.begin_action(entry).await {
        Ok(begun) => begun,
        Err(error) => {
            const WHY: &str = "nothing was done: each act is first noted in the audit log, which shard 0 keeps, and could not be; \
                               try again";
            let problem = Problem::new(ProblemCode::AuditUnavailable, WHY).shard(ShardId::default()).cause(error);
            return Ok(request.error_response(problem));
        }
    };
    let answer = match fields {
        Ok(_) => next.call(request).await,
        Err(problem) => Ok(request.error_response(problem)),
    };
    state.audit.end_action(begun, outcome(&answer)).await;
    answer
}

/// Notes a refused attempt at an operator action.
pub(super) async fn record_refused_attempt(action: OperatorAction, request: &HttpRequest, code: ProblemCode) {
    if let Some(state) = request.app_data::<Data<AppState>>() {
        state.audit.record_refused_attempt(entry(state, action, request), code.as_str()).await;
    }
}

/// The fields of the body, if the action has any. The body is there again for the handler, unpacked.
async fn body_fields(action: OperatorAction, request: &mut ServiceRequest) -> Result<Map<String, Value>, Problem> {
    if action.fields().is_empty() {
        return Ok(Map::new());
    }
    let body = request.extract::<JsonBody>().await?;
    // An action with unreadable fields is refused: an entry without these fields would be wrong.
    let is_blank = body.bytes().iter().all(u8::is_ascii_whitespace);
    let fields = if is_blank { Map::new() } else { body.parse()? };
    let bytes = body.into_bytes();
    request.headers_mut().remove(actix_web::http::header::CONTENT_ENCODING);
    request.set_payload(Payload::Stream { payload: Box::pin(once(ready(Ok(bytes)))) });
    Ok(fields)
}

/// The entry: actor, address, and the details of path and query.
fn entry(state: &AppState, action: OperatorAction, request: &HttpRequest) -> NewEntry {
    let caller = request.extensions().get::<Caller>().copied();
    let actor = match (caller, bearer(request.headers())) {
        (Some(caller), Ok(token)) => Actor::of_token(&subject_of_verified(token), caller.scope().as_str()),
        _ => Actor::unknown(),
    };
    let mut details = ActionDetails::default();
    for (name, value) in request.match_info().iter() {
        details.add_field(name, &number_or_word(value));
    }
    if action == OperatorAction::MakeTestFiles
        && let Ok(query) = query::<Vec<(String, String)>>(request)
    {
        query
            .iter()
            .filter(|(name, _)| name == "count")
            .for_each(|(name, count)| details.add_field(name, &number_or_word(count)));
    }
    NewEntry {
        act: action,
        actor,
        source: Some(client_address(request, &state.proxies)),
        request_id: current_request().map(|request| request.request_id),
        details,
    }
}

fn number_or_word(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| text.into(), Value::from)
}

fn outcome(answer: &Result<ServiceResponse<BoxBody>, Error>) -> ActionOutcome {
    let (status, error) = match answer {
        Ok(answer) => (answer.status(), answer.response().error()),
        Err(error) => (error.as_response_error().status_code(), Some(error)),
    };
    let code =
        error.and_then(|error| error.as_error::<Problem>()).map_or("internal", |problem| problem.code().as_str());
    match status {
        status if status.is_success() => ActionOutcome::Accepted,
        status if status.is_client_error() => ActionOutcome::Refused(code),
        _ => ActionOutcome::Failed(code),
    }
}

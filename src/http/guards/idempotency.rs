//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a repeated request gets the answer of the first.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, body::MessageBody};
use ring::digest::{Context, SHA256};
use uuid::Uuid;

use super::access::Caller;
use crate::http::response::answer;
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::http::state::AppState;
use crate::shard::{AdminClaim, RequestKey};

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const MAX_KEY: usize = 255;
/// Routes whose bodies are streams alone. A repeated stream does no harm: it says what is to be there.
const STREAMS: [&str; 2] = ["/ingest/bulk", "/drives/{user_id}/sync"];
/// Parts of the set of running requests, each with a lock.
const PARTS: usize = 64;

static RUNNING: LazyLock<[Mutex<HashSet<RequestKey>>; PARTS]> =
    LazyLock::new(|| std::array::from_fn(|_| Mutex::default()));

/// The key of a request, if the request has one. No other request of this process has the key meanwhile.
pub(in crate::http) struct InFlightKey(Option<RequestKey>);

impl InFlightKey {
    pub(in crate::http) fn request_key(&self) -> Option<RequestKey> {
        self.0
    }
}

impl Drop for InFlightKey {
    fn drop(&mut self) {
        if let Some(key) = &self.0 {
            part(key).lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        }
    }
}

fn part(key: &RequestKey) -> &'static Mutex<HashSet<RequestKey>> {
    let [.., last] = key.key.into_bytes();
    let [first, ..] = &*RUNNING;
    RUNNING.get(usize::from(last) % PARTS).unwrap_or(first)
}

/// Claims the key of a request with this body.
///
/// # Errors
/// 400 for a malformed key, 409 while the same request is running.
pub(in crate::http) fn claim_key(request: &HttpRequest, caller: Caller, body: &[u8]) -> Result<InFlightKey, Problem> {
    let Some(text) = header_text(request)? else { return Ok(InFlightKey(None)) };
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let conditions = [header::IF_MATCH, header::IF_NONE_MATCH];
    let [if_match, if_none_match] =
        conditions.map(|name| request.headers().get(name).map_or(&b""[..], HeaderValue::as_bytes));
    let method = request.method().as_str().as_bytes();
    let key = RequestKey {
        key: hash(&[caller.name().as_bytes(), text]),
        request: hash(&[method, target.as_bytes(), if_match, if_none_match, body]),
    };
    if part(&key).lock().unwrap_or_else(PoisonError::into_inner).insert(key) {
        Ok(InFlightKey(Some(key)))
    } else {
        Err(key_in_use())
    }
}

/// True if a route takes a key with this method. A key is for changes that a repeated request would make twice;
/// a repeated `PUT` or `DELETE` changes nothing.
pub(in crate::http) fn takes_key(method: &Method, path: &str) -> bool {
    (*method == Method::POST || *method == Method::PATCH) && !STREAMS.contains(&path)
}

/// Refuses a key on a stream of many changes.
///
/// # Errors
/// 400 with a key.
pub(in crate::http) fn reject_key_on_stream(request: &HttpRequest) -> Result<(), Problem> {
    if !request.headers().contains_key(HEADER) {
        return Ok(());
    }
    let why = "a stream is many changes and takes no key; a mirror can be sent again as it is, and a load if each file has its own \
               file_id or each document its own key";
    Err(Problem::new(ProblemCode::IdempotencyKeyNotTaken, why).field("Idempotency-Key"))
}

/// Runs an operator action once for its key. A refused action has done nothing, and frees the key.
///
/// # Errors
/// The action's errors, 409 while any process runs the action, and errors of shard 0.
pub(in crate::http) async fn run_once(
    state: &AppState,
    request: &HttpRequest,
    caller: Caller,
    body: &[u8],
    action: impl Future<Output = Result<HttpResponse, Problem>>,
) -> Result<HttpResponse, Problem> {
    let claimed = claim_key(request, caller, body)?;
    let Some(key) = claimed.request_key() else { return action.await };
    match state.admin_keys.begin(key).await? {
        AdminClaim::Running => return Err(key_in_use()),
        AdminClaim::Done(status, body) => {
            let status = StatusCode::from_u16(status).map_err(|error| {
                Problem::new(ProblemCode::Internal, "the answer that was kept for this key cannot be read").cause(error)
            })?;
            return Ok(HttpResponse::build(status).insert_header((CONTENT_TYPE, answer::JSON)).body(body));
        }
        AdminClaim::Yours => {}
    }
    match action.await {
        Ok(done) => {
            let (head, body) = done.into_parts();
            let unreadable =
                || Problem::new(ProblemCode::Internal, "the act is done, but its answer cannot be kept for the key");
            let bytes = body.try_into_bytes().map_err(|_| unreadable())?;
            let text = std::str::from_utf8(&bytes).map_err(|error| unreadable().cause(error))?;
            // If this fails the act is done all the same, and found done by the next try.
            if let Err(error) = state.admin_keys.end(key, Some((head.status().as_u16(), text))).await {
                log::warn!("the answer of an act could not be kept for its key: {error}");
            }
            Ok(head.set_body(actix_web::body::BoxBody::new(bytes)))
        }
        Err(problem) => {
            if let Err(error) = state.admin_keys.end(key, None).await {
                log::warn!("the key of an act could not be freed; it is in two minutes: {error}");
            }
            Err(problem)
        }
    }
}

fn key_in_use() -> Problem {
    let why = "the same request is being worked on; try again in a moment";
    Problem::new(ProblemCode::IdempotencyKeyInUse, why).field("Idempotency-Key")
}

/// The header, which may be there once.
fn header_text(request: &HttpRequest) -> Result<Option<&[u8]>, Problem> {
    let mut values = request.headers().get_all(&HEADER);
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.as_bytes();
    let is_key = (1..=MAX_KEY).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic);
    if is_key && values.next().is_none() {
        return Ok(Some(text));
    }
    let why =
        format!("Idempotency-Key must be there once and be 1 to {MAX_KEY} visible ASCII characters, as a UUID is");
    Err(Problem::new(ProblemCode::InvalidHeader, why).field("Idempotency-Key"))
}

/// The first half of a SHA-256 of the parts, each after the part's length.
fn hash(parts: &[&[u8]]) -> Uuid {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    let digest = context.finish();
    digest.as_ref().first_chunk().map_or(Uuid::nil(), |half| Uuid::from_bytes(*half))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::auth::{Principal, VerifiedToken};

    fn caller(principal: Principal) -> Caller {
        Caller::new(VerifiedToken { principal, subject: 0, until: 0, epoch: 0 })
    }

    fn of(principal: Principal, path: &str, key: &str, body: &[u8]) -> Result<Option<RequestKey>, ProblemCode> {
        let request = TestRequest::post().uri(path).insert_header(("Idempotency-Key", key)).to_http_request();
        let claimed = claim_key(&request, caller(principal), body).map_err(|problem| problem.code())?;
        Ok(claimed.request_key())
    }

    #[test]
    fn a_key_is_the_callers_and_the_request_is_all_that_is_asked_for() {
        let first = of(Principal::User(1), "/ingest", "k", b"{}").unwrap().unwrap();
        assert_eq!(of(Principal::User(1), "/ingest", "k", b"{}").unwrap(), Some(first));
        let other = of(Principal::User(2), "/ingest", "k", b"{}").unwrap().unwrap();
        assert_eq!((other.key == first.key, other.request == first.request), (false, true));
        for (path, body) in [("/store", &b"{}"[..]), ("/ingest?a=1", b"{}"), ("/ingest", b"{ }")] {
            let other = of(Principal::User(1), path, "k", body).unwrap().unwrap();
            assert_eq!((other.key == first.key, other.request == first.request), (true, false), "{path}");
        }
    }

    #[test]
    fn one_at_a_time() {
        let request = TestRequest::post().insert_header(("Idempotency-Key", "one")).to_http_request();
        let caller = caller(Principal::Admin);
        let first = claim_key(&request, caller, b"").unwrap();
        assert_eq!(
            claim_key(&request, caller, b"").err().map(|problem| problem.code()),
            Some(ProblemCode::IdempotencyKeyInUse)
        );
        assert!(claim_key(&request, caller, b"other").is_ok(), "the database tells those apart");
        drop(first);
        assert!(claim_key(&request, caller, b"").is_ok());
    }

    #[test]
    fn nonsense_is_no_key() {
        for bad in ["", "two words", "tab\there", &"x".repeat(256)] {
            assert_eq!(of(Principal::Admin, "/", bad, b""), Err(ProblemCode::InvalidHeader), "{bad}");
        }
        assert!(of(Principal::Admin, "/", &"x".repeat(255), b"").unwrap().is_some());
        let twice = TestRequest::post()
            .append_header(("Idempotency-Key", "a"))
            .append_header(("Idempotency-Key", "a"))
            .to_http_request();
        assert!(claim_key(&twice, caller(Principal::Admin), b"").is_err());
    }
}

//! Gives every request an id for the answer, the log lines and the trace.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix_web::ResponseError;
use actix_web::body::BoxBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::web::Data;
use futures_util::future::{Either, lazy};
use uuid::Uuid;

use super::middleware::EdgeOptions;
use crate::http::guards::rate_limit::address_key;
use crate::http::metrics::request_counts::{RequestCounts, RouteNumber, method_name};
use crate::http::response::problem::Problem;
use crate::telemetry::{RequestContext, Span, TraceContext, begin_request, record_caller, request_span, with_request};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The longest accepted id of a client.
const MAX_ID: usize = 128;

/// The outermost middleware: all other work for a request happens inside.
pub(super) fn with_request_id<S>(
    edge: Rc<EdgeOptions>,
    request: ServiceRequest,
    service: &S,
) -> impl Future<Output = Result<ServiceResponse<BoxBody>, actix_web::Error>> + use<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = actix_web::Error>,
{
    let start = Instant::now();
    let (id, id_header) = request_id(request.headers());
    let trace = trace_parent(request.headers());
    let span = request_span(trace.as_ref(), &id);
    let trace = span.trace_context().or(trace);
    let trace_header = trace.as_ref().and_then(|trace| HeaderValue::from_str(&trace.to_string()).ok());
    let context = RequestContext::new(id, trace);
    let context = if request.method().is_safe() { context.read_only() } else { context };
    let (request_start, early) = edge.begin_request(&request);
    // A gate may note the caller before the first wait.
    let (work, context) = begin_request(context, || match early {
        // Within the request's context, which a problem names.
        Some(answer) => Either::Left(lazy(move |_| {
            let answer = answer.unwrap_or_else(|problem| {
                problem.log();
                problem.error_response()
            });
            Ok(request.into_response(answer))
        })),
        None => {
            record_caller(address_key(request.request(), &edge.proxies).number());
            Either::Right(service.call(request))
        }
    });
    with_request(context, async move {
        let mut answer = edge.finish_response(request_start, work.await?);
        let headers = answer.headers_mut();
        headers.insert(REQUEST_ID, id_header);
        if let Some(header) = trace_header {
            headers.insert(TRACEPARENT, header);
        }
        record_outcome(&answer, start, span);
        Ok(answer)
    })
}

fn record_outcome<B>(answer: &ServiceResponse<B>, start: Instant, mut span: Span) {
    let (request, status, took) = (answer.request(), answer.status(), start.elapsed());
    let route = request.app_data::<RouteNumber>().copied();
    if let Some(counts) = request.app_data::<Data<RequestCounts>>() {
        counts.count_response(route, request.method(), status, took, span.trace_id());
        span.name_request(method_name(request.method()), counts.path(route), status.as_u16());
    }
    if let Some(problem) = answer.response().error().and_then(|error| error.as_error::<Problem>()) {
        problem.log();
    }
    if log::log_enabled!(log::Level::Debug) {
        // The pattern, not the path: ids make no good log fields, and a path can hold anything.
        let pattern = request.match_pattern().unwrap_or_default();
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        log::debug!(
            method = request.method().as_str(), route = pattern.as_str(), status = status.as_u16(),
            micros;
            "request"
        );
    }
}

/// The client's id if fit for a log, or else a new id.
fn request_id(headers: &HeaderMap) -> (Arc<str>, HeaderValue) {
    if let Some(header) = headers.get(REQUEST_ID)
        && (1..=MAX_ID).contains(&header.len())
        && header.as_bytes().iter().all(u8::is_ascii_graphic)
        && let Ok(text) = header.to_str()
    {
        return (text.into(), header.clone());
    }
    let mut buffer = Uuid::encode_buffer();
    let text: &str = Uuid::new_v4().as_hyphenated().encode_lower(&mut buffer);
    // A UUID is always fit for a header.
    let header = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-"));
    (text.into(), header)
}

/// The client's trace, if valid (W3C Trace Context, section 3.2).
fn trace_parent(headers: &HeaderMap) -> Option<TraceContext> {
    TraceContext::parse(headers.get(TRACEPARENT)?.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(value).unwrap());
        headers
    }

    #[test]
    fn a_sane_id_is_kept() {
        for id in ["a", "my-request/42", &"x".repeat(128)] {
            let (kept, header) = request_id(&headers(REQUEST_ID, id.as_bytes()));
            assert_eq!(&*kept, id);
            assert_eq!(header, id);
        }
    }

    #[test]
    fn any_other_id_is_replaced() {
        for id in ["", "two words", "tab\there", "\u{fc}", &"x".repeat(129)] {
            let (made, header) = request_id(&headers(REQUEST_ID, id.as_bytes()));
            assert!(Uuid::parse_str(&made).is_ok(), "{id}");
            assert_eq!(header, *made);
        }
        assert_ne!(request_id(&HeaderMap::new()).0, request_id(&HeaderMap::new()).0);
    }
}

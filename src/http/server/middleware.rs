//! The middleware of every request: the limit on the URL, CORS, security headers, the rate limit's headers.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{HeaderValue, ORIGIN};
use actix_web::{HttpMessage, HttpResponse};
use ipnet::IpNet;

use super::connections::{ClientConnection, InUse};
use super::cors::CorsOrigins;
use super::security_headers;
use crate::http::guards::rate_limit;
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::limits::CallerStanding;

/// The longest path with query, in bytes. A path in a drive has at most 4,096 bytes, which percent-encoding makes three
/// times as many.
const MAX_URL: usize = 16 * 1024;

pub(super) struct EdgeOptions {
    /// True while the service stops: each answer closes the connection.
    pub(super) closing: Arc<AtomicBool>,
    pub(super) over_tls: bool,
    pub(super) cors: Option<CorsOrigins>,
    pub(super) is_limited: bool,
    /// Trusted proxies, with an `X-Forwarded-For` that counts.
    pub(super) proxies: Rc<[IpNet]>,
}

/// Facts of a request that the answer needs.
pub(super) struct RequestStart {
    origin: Option<HeaderValue>,
    in_use: Option<InUse>,
}

impl EdgeOptions {
    /// Begins a request; gives also an answer or a problem, if the request needs no route.
    pub(super) fn begin_request(
        &self,
        request: &ServiceRequest,
    ) -> (RequestStart, Option<Result<HttpResponse, Problem>>) {
        let origin = self.cors.as_ref().and_then(|_| request.headers().get(ORIGIN).cloned());
        let in_use = request.request().conn_data::<Arc<ClientConnection>>().map(InUse::of);
        let length = request.uri().path_and_query().map_or(0, |text| text.as_str().len());
        let answer = if length > MAX_URL {
            Some(Err(Problem::new(ProblemCode::UrlTooLong, format!("path and query may have {MAX_URL} bytes"))))
        } else {
            self.cors.as_ref().and_then(|cors| cors.preflight(request.method(), request.headers())).map(Ok)
        };
        (RequestStart { origin, in_use }, answer)
    }

    pub(super) fn finish_response(
        &self,
        start: RequestStart,
        mut answer: ServiceResponse<BoxBody>,
    ) -> ServiceResponse<BoxBody> {
        let standing =
            if self.is_limited { answer.request().extensions().get::<CallerStanding>().copied() } else { None };
        let fields = answer.headers_mut();
        security_headers::set_security_headers(fields, self.over_tls);
        if let Some(standing) = standing {
            rate_limit::set_rate_limit_headers(standing, fields);
        }
        if let Some(cors) = &self.cors {
            cors.set_headers(start.origin.as_ref(), fields);
        }
        if self.closing.load(Ordering::Relaxed) {
            answer.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
        match start.in_use {
            Some(in_use) => answer.map_body(|_, body| in_use.until_sent(body)),
            None => answer,
        }
    }
}

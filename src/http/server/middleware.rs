//! What every request passes: the limit on the URL, CORS, security headers, the rate limit's headers.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{HeaderValue, ORIGIN};
use actix_web::{HttpMessage, HttpResponse};

use super::connections::{ClientConnection, InUse};
use super::cors::CorsOrigins;
use super::security_headers;
use crate::http::guards::rate_limit;
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::limits::{AddressRange, CallerStanding};

/// The longest path with its query, in bytes. No cursor of ours is longer than a few hundred.
const MAX_URL: usize = 8 * 1024;

/// What the settings say of it.
pub(in crate::http) struct EdgeOptions {
    /// True while the service stops: an answer is the last one on its connection.
    pub(in crate::http) closing: Arc<AtomicBool>,
    pub(super) over_tls: bool,
    pub(in crate::http) cors: Option<CorsOrigins>,
    pub(in crate::http) is_limited: bool,
    /// Those whose `X-Forwarded-For` counts.
    pub(in crate::http) proxies: Rc<[AddressRange]>,
}

/// What must be known of a request once it is answered.
pub(in crate::http) struct RequestStart {
    origin: Option<HeaderValue>,
    in_use: Option<InUse>,
}

impl EdgeOptions {
    /// Looks at a request; gives also an answer to it, or what is wrong with it, if it needs no route.
    pub(in crate::http) fn before(
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

    /// Completes an answer.
    pub(in crate::http) fn after(
        &self,
        before: RequestStart,
        mut answer: ServiceResponse<BoxBody>,
    ) -> ServiceResponse<BoxBody> {
        let standing =
            if self.is_limited { answer.request().extensions().get::<CallerStanding>().copied() } else { None };
        let fields = answer.headers_mut();
        security_headers::protect(fields, self.over_tls);
        if let Some(standing) = standing {
            rate_limit::describe(standing, fields);
        }
        if let Some(cors) = &self.cors {
            cors.describe(before.origin.as_ref(), fields);
        }
        if self.closing.load(Ordering::Relaxed) {
            answer.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
        match before.in_use {
            Some(in_use) => answer.map_body(|_, body| in_use.until_sent(body)),
            None => answer,
        }
    }
}

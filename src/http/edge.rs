//! What is done for every request before and after its route: too long addresses, other sites' questions, headers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{HeaderValue, ORIGIN};
use actix_web::{HttpMessage, HttpResponse};

use super::connections::{Connection, InUse};
use super::cors::CorsOrigins;
use super::{Code, Problem, headers, limit};
use crate::limits::Standing;

/// The longest path with its query, in bytes. No cursor of ours is longer than a few hundred.
const MAX_URL: usize = 8 * 1024;

/// What the settings say of it.
pub(super) struct Edge {
    /// True while the service stops: an answer is the last one on its connection.
    pub(super) closing: Arc<AtomicBool>,
    pub(super) over_tls: bool,
    pub(super) cors: Option<CorsOrigins>,
    pub(super) is_limited: bool,
}

/// What must be known of a request once it is answered.
pub(super) struct Before {
    origin: Option<HeaderValue>,
    in_use: Option<InUse>,
}

impl Edge {
    /// Looks at a request; gives also an answer to it, or what is wrong with it, if it needs no route.
    pub(super) fn before(&self, request: &ServiceRequest) -> (Before, Option<Result<HttpResponse, Problem>>) {
        let origin = self.cors.as_ref().and_then(|_| request.headers().get(ORIGIN).cloned());
        let in_use = request.request().conn_data::<Arc<Connection>>().map(InUse::of);
        let length = request.uri().path_and_query().map_or(0, |text| text.as_str().len());
        let answer = if length > MAX_URL {
            Some(Err(Problem::new(Code::UrlTooLong, format!("path and query may have {MAX_URL} bytes"))))
        } else {
            self.cors.as_ref().and_then(|cors| cors.preflight(request.method(), request.headers())).map(Ok)
        };
        (Before { origin, in_use }, answer)
    }

    /// Completes an answer.
    pub(super) fn after(&self, before: Before, mut answer: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
        let standing = if self.is_limited { answer.request().extensions().get::<Standing>().copied() } else { None };
        let fields = answer.headers_mut();
        headers::protect(fields, self.over_tls);
        if let Some(standing) = standing {
            limit::describe(standing, fields);
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

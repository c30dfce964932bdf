//! CORS: scripts of the sites in the settings may read answers, and no other site's scripts.
//!
//! Scripts send tokens in a header; there are no cookies. So credentials are never allowed, and an
//! admitted origin reaches only the data of the token.

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue,
    ORIGIN, VARY,
};

/// Headers that scripts may send.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Content-Encoding, Idempotency-Key, If-Match, If-None-Match, X-Request-Id, traceparent",
);
/// Headers that scripts may read, besides the safelisted headers.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "ETag, Location, Link, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-Id",
);
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
/// How long a browser may keep a preflight answer, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("3600");

/// The admitted sites.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CorsOrigins {
    /// These origins, as browsers write origins: `https://app.example.org`.
    Only(Vec<String>),
    /// All.
    Any,
}

impl CorsOrigins {
    /// Reads origins with commas in between, or `*`.
    ///
    /// # Errors
    /// The fault.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const REASON: &str = "must be origins with commas in between, as in https://app.example.org, or *";
        if text == "*" {
            return Ok(Self::Any);
        }
        let origins: Vec<String> = text
            .split(',')
            .map(|origin| origin.trim().to_ascii_lowercase())
            .filter(|origin| !origin.is_empty())
            .collect();
        let is_origin = |origin: &String| {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            host.is_some_and(|host| {
                !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
            })
        };
        if origins.is_empty() || !origins.iter().all(is_origin) { Err(REASON) } else { Ok(Self::Only(origins)) }
    }

    fn admits(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::Only(origins) => origins.iter().any(|known| origin.as_bytes() == known.as_bytes()),
        }
    }

    /// The answer to a preflight request; `None` for other requests.
    pub(super) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<HttpResponse> {
        let is_preflight = *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let origin = headers.get(ORIGIN).filter(|_| is_preflight)?;
        let mut answer = HttpResponse::NoContent();
        if self.admits(origin) {
            answer.insert_header((ACCESS_CONTROL_ALLOW_METHODS, METHODS));
            answer.insert_header((ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS));
            answer.insert_header((ACCESS_CONTROL_MAX_AGE, MAX_AGE));
        }
        Some(answer.finish())
    }

    /// Sets the headers that let an admitted origin read the answer.
    pub(super) fn set_headers(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        let allowed = match self {
            Self::Any => origin.map(|_| HeaderValue::from_static("*")),
            Self::Only(_) => {
                answer.append(VARY, HeaderValue::from_static("Origin"));
                origin.filter(|origin| self.admits(origin)).cloned()
            }
        };
        if let Some(allowed) = allowed {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_whole() {
        let origins = CorsOrigins::parse("https://App.example.org, http://localhost:3000").unwrap();
        let admits = |origin: &'static str| origins.admits(&HeaderValue::from_static(origin));
        assert!(admits("https://app.example.org") && admits("http://localhost:3000"));
        for other in
            ["http://app.example.org", "https://app.example.org.evil.example", "https://app.example.org:444", "null"]
        {
            assert!(!admits(other), "{other}");
        }
        for bad in
            ["app.example.org", "https://", "https://a.example/", "https://a b", "*,https://a.example", "ftp://a"]
        {
            assert!(CorsOrigins::parse(bad).is_err(), "{bad}");
        }
    }
}

//! The security headers of every answer.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};

/// Data: a browser must not run, show or frame data.
const FOR_DATA: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
/// Pages: all files come from this server. Scripts of pages write styles into elements.
const FOR_PAGES: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'",
);

/// Sets the headers that the route has not set.
pub(super) fn set_security_headers(headers: &mut HeaderMap, over_tls: bool) {
    let set = |headers: &mut HeaderMap, name: HeaderName, value: HeaderValue| {
        if !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    };
    let is_page = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    set(headers, X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    set(headers, CONTENT_SECURITY_POLICY, if is_page { FOR_PAGES } else { FOR_DATA });
    set(headers, REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // A client may keep an answer with an ETag, and must revalidate.
    let keep = if headers.contains_key(ETAG) { "private, no-cache" } else { "no-store" };
    set(headers, CACHE_CONTROL, HeaderValue::from_static(keep));
    if over_tls {
        set(headers, STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_route_says_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        set_security_headers(&mut headers, true);
        assert_eq!(headers.get(CACHE_CONTROL).unwrap(), "max-age=3600");
        assert_eq!(headers.get(CONTENT_SECURITY_POLICY).unwrap(), FOR_PAGES);
        assert!(headers.contains_key(STRICT_TRANSPORT_SECURITY));
    }

    #[test]
    fn data_is_kept_by_nobody_unless_it_can_be_asked_about_again() {
        let mut headers = HeaderMap::new();
        set_security_headers(&mut headers, false);
        assert_eq!(headers.get(CACHE_CONTROL).unwrap(), "no-store");
        assert_eq!(headers.get(CONTENT_SECURITY_POLICY).unwrap(), FOR_DATA);
        assert!(!headers.contains_key(STRICT_TRANSPORT_SECURITY));
        let mut headers = HeaderMap::new();
        headers.insert(ETAG, HeaderValue::from_static("\"1\""));
        set_security_headers(&mut headers, false);
        assert_eq!(headers.get(CACHE_CONTROL).unwrap(), "private, no-cache");
    }
}

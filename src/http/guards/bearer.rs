//! The bearer token of a request (RFC 6750).

use actix_web::http::header::AUTHORIZATION;
use actix_web::http::header::HeaderMap;

use crate::auth::AuthError;

/// The token of a request (RFC 6750, section 2.1).
pub(in crate::http) fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut all = headers.get_all(AUTHORIZATION);
    let (header, None) = (all.next().ok_or(AuthError::Missing)?, all.next()) else {
        return Err(AuthError::Malformed); // of two, which counts?
    };
    let text = header.to_str().map_err(|_| AuthError::Malformed)?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::Missing);
    }
    let token = token.trim_matches(' ');
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if token.is_empty() || !token.bytes().all(is_token) {
        return Err(AuthError::Malformed);
    }
    Ok(token)
}

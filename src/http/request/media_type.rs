//! Media types in the headers of a request: in lower case, without parameters.

use actix_web::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};

/// The media type of the body; empty without a `Content-Type`.
pub(in crate::http) fn content_type(headers: &HeaderMap) -> String {
    media_type(headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default())
}

/// True for each common name of NDJSON; no name is registered.
pub(in crate::http) fn is_ndjson(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines"
    )
}

pub(in crate::http) fn accepts_ndjson(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|range| is_ndjson(&media_type(range)))
}

fn media_type(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn parameters_and_case_do_not_matter() {
        let headers = |name, value| HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
        assert_eq!(content_type(&headers(CONTENT_TYPE, " Text/CSV ; charset=utf-8")), "text/csv");
        assert_eq!(content_type(&HeaderMap::new()), "");
        assert!(accepts_ndjson(&headers(ACCEPT, "text/html, Application/JSONL;q=0.9")));
        assert!(!accepts_ndjson(&headers(ACCEPT, "application/json, */*")));
    }
}

//! Media types in the headers of a request: in lower case, without parameters.

use actix_web::HttpRequest;
use actix_web::http::header::{ACCEPT, Accept, CONTENT_TYPE, Header, HeaderMap, Quality};

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

/// True if `Accept` names NDJSON, and gives JSON no more weight. The most specific range that fits JSON gives its weight
/// (RFC 9110, section 12.5.1).
pub(in crate::http) fn prefers_ndjson(request: &HttpRequest) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Most requests do not name it: then there is nothing to weigh.
    if !accept.split(',').any(|range| is_ndjson(&media_type(range))) {
        return false;
    }
    let Ok(Accept(ranges)) = Accept::parse(request) else { return false };
    let weight = |fits: &dyn Fn(&str) -> bool| {
        ranges.iter().filter(|range| fits(range.item.essence_str())).map(|range| range.quality).max()
    };
    let of_json =
        ["application/json", "application/*", "*/*"].into_iter().find_map(|name| weight(&|range| range == name));
    weight(&is_ndjson).is_some_and(|of_lines| of_lines > Quality::ZERO && Some(of_lines) >= of_json)
}

/// True if `Accept` names OpenMetrics before plain text; without a preference plain text is right.
pub(in crate::http) fn prefers_openmetrics(request: &HttpRequest) -> bool {
    let known = ["application/openmetrics-text", "text/plain", "text/*", "*/*"];
    let first = by_weight(request).into_iter().find(|name| known.contains(&name.as_str()));
    first.is_some_and(|name| name == "application/openmetrics-text")
}

/// The media types that `Accept` names, by their weight. A weight of 0 means that the client does not take the type.
fn by_weight(request: &HttpRequest) -> Vec<String> {
    let Ok(Accept(mut ranges)) = Accept::parse(request) else { return Vec::new() };
    ranges.retain(|range| range.quality > Quality::ZERO);
    Accept(ranges).ranked().iter().map(|range| range.essence_str().to_owned()).collect()
}

fn media_type(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn parameters_and_case_do_not_matter() {
        let headers = |name, value| HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
        assert_eq!(content_type(&headers(CONTENT_TYPE, " Text/CSV ; charset=utf-8")), "text/csv");
        assert_eq!(content_type(&HeaderMap::new()), "");
    }

    #[test]
    fn ndjson_is_for_those_who_prefer_it() {
        for (accept, expected) in [
            ("application/x-ndjson", true),
            ("text/html, Application/JSONL;q=0.9", true),
            ("application/ndjson, application/json;q=0.9, */*;q=0.1", true),
            ("application/json;q=0.5, application/x-ndjson", true),
            ("application/json, application/x-ndjson;q=0.9", false),
            ("*/*, application/x-ndjson;q=0.1", false),
            ("application/x-ndjson;q=0", false),
            ("application/x-ndjson;q=0, */*", false),
            ("application/json, application/x-ndjson", true),
            ("application/json;q=0, application/x-ndjson;q=0.5, */*", true),
            ("application/*;q=0.1, application/x-ndjson;q=0.5, */*", true),
            ("application/json, */*", false),
            ("no media type", false),
        ] {
            let request = TestRequest::default().insert_header((ACCEPT, accept)).to_http_request();
            assert_eq!(prefers_ndjson(&request), expected, "{accept}");
        }
        assert!(!prefers_ndjson(&TestRequest::default().to_http_request()));
    }

    #[test]
    fn openmetrics_is_for_those_who_prefer_it() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,/;q=0.1";
        for (accept, expected) in [
            (prometheus_2, true),
            (prometheus_3, true),
            ("application/openmetrics-text", true),
            ("text/html, application/openmetrics-text, */*;q=0.1", true),
            ("text/plain, application/openmetrics-text;q=0.9", false),
            ("application/openmetrics-text;q=0.1, */*", false),
            ("application/openmetrics-text;q=0, */*;q=0.5", false),
            ("application/openmetrics-text;q=0", false),
            ("*/*", false),
            ("text/html", false),
            ("no media type", false),
        ] {
            let request = TestRequest::default().insert_header((ACCEPT, accept)).to_http_request();
            assert_eq!(prefers_openmetrics(&request), expected, "{accept}");
        }
        assert!(!prefers_openmetrics(&TestRequest::default().to_http_request()));
    }
}

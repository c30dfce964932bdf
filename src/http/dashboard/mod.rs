//! `/dashboard`: a page that shows the cluster, moves slots and tries the API.
//!
//! The page's files come out of the binary and need no other server. The data comes as server-sent
//! events, and actions go through the public routes.
//!
//! ```text
//! mod (routes) → feed (a task for all watchers) → snapshot (the data) → rates (requests a second)
//! ```

mod feed;
mod rates;
mod snapshot;

pub(super) use feed::DashboardFeed;

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use super::response::problem::Problem;
use super::response::problem_code::ProblemCode;
use super::state::AppState;

/// Nothing from elsewhere, nothing inline, and no text as markup.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);
/// Tells a proxy in front not to keep events back.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

const HTML: &str = "text/html; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// The page's files: name, type, text.
const FILES: &[(&str, &str, &str)] = &[
    ("style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("app.js", JS, include_str!("page/app.js")),
    ("stream.js", JS, include_str!("page/stream.js")),
    ("api.js", JS, include_str!("page/api.js")),
    ("charts.js", JS, include_str!("page/charts.js")),
    ("slots.js", JS, include_str!("page/slots.js")),
    ("shards.js", JS, include_str!("page/shards.js")),
    ("moves.js", JS, include_str!("page/moves.js")),
    ("forms.js", JS, include_str!("page/forms.js")),
    ("drive.js", JS, include_str!("page/drive.js")),
    ("icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

pub(super) async fn page() -> HttpResponse {
    answer(HTML, include_str!("page/index.html"))
}

pub(super) async fn file(name: Path<String>) -> Result<HttpResponse, Problem> {
    if name.is_empty() {
        let page = HeaderValue::from_static("../dashboard");
        return Ok(HttpResponse::PermanentRedirect().insert_header((LOCATION, page)).finish());
    }
    let found = FILES.iter().find(|(file, _, _)| *file == name.as_str());
    let (_, kind, text) =
        found.ok_or_else(|| Problem::new(ProblemCode::UnknownPath, "the page /dashboard has no such file"))?;
    Ok(answer(kind, text))
}

fn answer(kind: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, HeaderValue::from_static(kind)))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .insert_header((REFERRER_POLICY, HeaderValue::from_static("no-referrer")))
        // Asked for again each time: a page must fit the answering process.
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-cache")))
        .body(text)
}

/// Server-sent events for the page: a snapshot each second.
pub(super) async fn events(
    state: Data<AppState>,
    feed: Data<DashboardFeed>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    if state.draining.is_cancelled() {
        return Err(Problem::new(ProblemCode::NotReady, "the service is stopping"));
    }
    let mut response = HttpResponse::build(StatusCode::OK);
    response
        .insert_header((CONTENT_TYPE, HeaderValue::from_static("text/event-stream")))
        .insert_header((CONTENT_ENCODING, HeaderValue::from_static("identity")))
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .insert_header((ACCEL_BUFFERING, HeaderValue::from_static("no")));
    if request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let seat = DashboardFeed::subscribe(feed.into_inner(), state.draining.clone()).ok_or_else(|| {
        Problem::new(ProblemCode::TooManyViewers, "too many people look at the dashboard; try again soon")
    })?;
    Ok(response.streaming(seat.into_events()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_look_costs_little_and_names_no_other_server() {
        let page = include_str!("page/index.html");
        let bytes: usize = page.len() + FILES.iter().map(|(_, _, text)| text.len()).sum::<usize>();
        assert!(bytes < 64_000, "{bytes}");
        for (name, _, text) in FILES.iter().chain([&("index.html", HTML, page)]) {
            let others = text.matches("http://").count() + text.matches("https://").count();
            let namespaces = text.matches("http://www.w3.org/2000/svg").count();
            assert_eq!(others, namespaces, "{name} names another server");
            assert!(!text.contains("innerHTML") && !text.contains("insertAdjacentHTML"), "{name} makes markup of text");
        }
        for (name, _, _) in FILES {
            let users = FILES.iter().map(|(_, _, text)| *text).chain([page]);
            assert!(users.into_iter().any(|text| text.contains(name)), "nothing asks for {name}");
        }
    }
}

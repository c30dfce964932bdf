//! The rate limit before each route, and what each route costs.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::{HttpMessage, HttpRequest};
use ipnet::IpNet;

use super::access::{Caller, RouteAccess};
use super::gate::RouteGate;
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::limits::{CallerKey, CallerStanding, RateLimiter, TakeOutcome, trusted_origin};

const READ: u64 = 1;
const WRITE: u64 = 2;
/// Rows of a bulk body that cost a unit, charged while reading.
pub(in crate::http) const ROWS_PER_UNIT: u64 = 10;
/// Other costs, by path and method.
const OTHERS: &[(&str, Method, u64)] = &[
    // The rows come on top.
    ("/ingest/bulk", Method::POST, 10),
    ("/drives/{user_id}/sync", Method::POST, 10),
    // Many rows by one request.
    ("/drives/{user_id}/batch", Method::POST, 10),
    ("/drives/{user_id}/trash", Method::DELETE, 10),
    ("/drives/{user_id}", Method::GET, 5),
    // Every shard is asked.
    ("/stats", Method::GET, 5),
    ("/shards", Method::GET, 5),
    ("/admin/analysis", Method::GET, 5),
];

/// The least burst with which every route can be called.
pub const LEAST_BURST: u64 = 10;

/// The cost of a call; `None` for free calls: operators need health, metrics and documentation at any time.
pub(in crate::http) fn cost(path: &str, method: &Method, access: RouteAccess) -> Option<u64> {
    if access == RouteAccess::Open {
        return None;
    }
    let special = OTHERS.iter().find(|(of, by, _)| *of == path && by == method);
    Some(special.map_or(if *method == Method::GET { READ } else { WRITE }, |(_, _, cost)| *cost))
}

/// The caller of a request: by the token, else by the address.
pub(in crate::http) fn caller_key(request: &HttpRequest, proxies: &[IpNet]) -> CallerKey {
    if let Some(key) = request.extensions().get::<Caller>().and_then(|caller| caller.key()) {
        return key;
    }
    address_key(request, proxies)
}

pub(in crate::http) fn address_key(request: &HttpRequest, proxies: &[IpNet]) -> CallerKey {
    CallerKey::address(client_address(request, proxies))
}

/// The client's address.
pub(super) fn client_address(request: &HttpRequest, proxies: &[IpNet]) -> IpAddr {
    const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");
    // A client's bytes must not hide the address that a proxy appended.
    let lines: Vec<_> = if proxies.is_empty() {
        Vec::new()
    } else {
        request.headers().get_all(FORWARDED).map(|line| String::from_utf8_lossy(line.as_bytes())).collect()
    };
    trusted_origin(request.peer_addr().map(|peer| peer.ip()), lines.iter().map(AsRef::as_ref), proxies)
}

pub(in crate::http) struct RateLimitGate {
    pub(in crate::http) limiter: Arc<RateLimiter>,
    pub(in crate::http) proxies: Rc<[IpNet]>,
    pub(in crate::http) cost: u64,
}

impl RouteGate for RateLimitGate {
    fn decide_now(&self, request: &ServiceRequest) -> Option<Result<(), Problem>> {
        let caller = caller_key(request.request(), &self.proxies);
        self.limiter.take_now(caller, self.cost).map(|take| record_standing(request, take))
    }

    async fn decide_later(&self, request: &ServiceRequest) -> Result<(), Problem> {
        let caller = caller_key(request.request(), &self.proxies);
        record_standing(request, self.limiter.take_shared(caller, self.cost).await)
    }
}

/// Notes how the caller stands, for the answer.
fn record_standing(request: &ServiceRequest, take: TakeOutcome) -> Result<(), Problem> {
    let (standing, result) = match take {
        TakeOutcome::Admitted(standing) => (standing, Ok(())),
        TakeOutcome::Refused(standing, wait) => (standing, Err(refusal(wait))),
    };
    request.extensions_mut().insert(standing);
    result
}

/// The answer to a caller over the limit.
pub(in crate::http) fn refusal(wait: Duration) -> Problem {
    let seconds = whole_seconds(wait).max(1);
    Problem::new(
        ProblemCode::RateLimited,
        format!("more was asked for than the limit allows; try again in {seconds} s"),
    )
    .header(RETRY_AFTER, HeaderValue::from(seconds))
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Sets the headers `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers).
pub(in crate::http) fn set_rate_limit_headers(standing: CallerStanding, answer: &mut HeaderMap) {
    const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
    const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
    let burst = standing.rate.burst();
    let window = whole_seconds(standing.rate.time_of(burst)).max(1);
    let policy = format!("\"caller\";q={burst};w={window}");
    let limit = format!("\"caller\";r={};t={}", standing.left, whole_seconds(standing.full_in()));
    // Digits, letters and signs, always fit for a header.
    if let (Ok(policy), Ok(limit)) = (HeaderValue::from_str(&policy), HeaderValue::from_str(&limit)) {
        answer.insert(POLICY, policy);
        answer.insert(LIMIT, limit);
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::http::routes::endpoints;
    use crate::limits::RateQuota;

    #[test]
    fn whatever_needs_a_token_costs_something_and_can_be_afforded() {
        let mut special = 0;
        for endpoint in endpoints() {
            for (method, access) in endpoint.methods() {
                let cost = cost(endpoint.path(), method, access);
                assert_eq!(cost.is_none(), access == RouteAccess::Open, "{method} {}", endpoint.path());
                assert!(cost.unwrap_or(1) >= 1 && cost <= Some(LEAST_BURST), "{method} {}", endpoint.path());
                special += usize::from(OTHERS.iter().any(|(path, by, _)| *path == endpoint.path() && by == method));
            }
        }
        assert_eq!(special, OTHERS.len(), "a path of the table that there is not");
    }

    #[test]
    fn the_security_page_shows_access_and_cost_of_every_route() {
        let page = include_str!("../../../docs/security.md");
        let is_row = |line: &&str| {
            ["GET", "POST", "PUT", "PATCH", "DELETE"].iter().any(|method| line.starts_with(&format!("| `{method} /")))
        };
        let shown: Vec<&str> = page.lines().filter(is_row).collect();
        let mut wanted = Vec::new();
        for endpoint in endpoints() {
            for (method, access) in endpoint.methods() {
                let who = match access {
                    RouteAccess::Open => "open".to_owned(),
                    RouteAccess::Own(_) => "own".to_owned(),
                    RouteAccess::Needs(scope) => scope.to_string(),
                    RouteAccess::Does(_) => "admin, noted".to_owned(),
                };
                let units = cost(endpoint.path(), method, access).unwrap_or(0);
                wanted.push(format!("| `{method} {}` | {who} | {units} |", endpoint.path()));
            }
        }
        let missing: Vec<_> = wanted.iter().filter(|row| !shown.iter().any(|line| line.starts_with(*row))).collect();
        assert!(missing.is_empty(), "the table of docs/security.md lacks {missing:#?}");
        assert_eq!(shown.len(), wanted.len(), "docs/security.md shows a route twice, or one that is gone");
    }

    #[test]
    fn bytes_of_a_client_do_not_hide_what_a_proxy_wrote_behind_them() {
        let proxies: [IpNet; 1] = ["10.0.0.0/8".parse().unwrap()];
        let origin_of = |lines: &[&[u8]]| {
            let request = TestRequest::get().peer_addr("10.0.0.1:1".parse().unwrap());
            let add = |request: TestRequest, line: &&[u8]| {
                request.append_header(("X-Forwarded-For", HeaderValue::from_bytes(line).unwrap()))
            };
            client_address(&lines.iter().fold(request, add).to_http_request(), &proxies).to_string()
        };
        assert_eq!(origin_of(&[b"1.1.1.1, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(origin_of(&[b"\xff, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(origin_of(&[b"1.1.1.1\xff", b"203.0.113.9"]), "203.0.113.9");
        assert_eq!(origin_of(&[b"1.1.1.1", b"\xff"]), "10.0.0.1", "no address of the proxy's");
    }

    #[test]
    fn the_fields_are_those_of_the_draft() {
        let mut headers = HeaderMap::new();
        set_rate_limit_headers(CallerStanding { rate: RateQuota::new(10, 25), left: 5 }, &mut headers);
        assert_eq!(headers.get("RateLimit-Policy").unwrap(), "\"caller\";q=25;w=3");
        assert_eq!(headers.get("RateLimit").unwrap(), "\"caller\";r=5;t=2");
    }
}

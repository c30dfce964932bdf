//! Times of answers by route, method and status. A request finds its cells by numbers; nothing is hashed or locked.

use std::sync::OnceLock;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};

use crate::telemetry::TraceId;
use crate::telemetry::metrics::Histogram;

/// A route's index in the table of routes. Each resource has the index at hand.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct RouteNumber(pub(in crate::http) usize);

/// The label of paths without a route: a path can be any text.
const NO_ROUTE: &str = "none";
/// Methods by name; unknown methods count as the last, which has OpenTelemetry's name.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "_OTHER"];

/// The method's name, for methods of routes.
pub(in crate::http) fn method_name(method: &Method) -> &'static str {
    METHODS.get(method_number(method)).copied().unwrap_or("_OTHER")
}

fn method_number(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        _ => 7,
    }
}

/// The times of a method's answers, in a list by status. A status joins the list with its first answer and stays: the
/// list holds only statuses that occur, and the usual status mostly comes first.
#[derive(Default)]
struct MethodTimes(OnceLock<Box<StatusTimes>>);

struct StatusTimes {
    status: u16,
    times: Histogram,
    next: MethodTimes,
}

impl MethodTimes {
    fn of_status(&self, status: u16) -> &Histogram {
        let mut place = self;
        loop {
            let found = place.0.get_or_init(|| Box::new(StatusTimes::new(status)));
            if found.status == status {
                return &found.times;
            }
            place = &found.next;
        }
    }

    fn all(&self) -> impl Iterator<Item = &StatusTimes> {
        std::iter::successors(self.0.get(), |found| found.next.0.get()).map(|found| &**found)
    }
}

impl StatusTimes {
    fn new(status: u16) -> Self {
        Self { status, times: Histogram::of_times(), next: MethodTimes::default() }
    }
}

struct RouteTimes {
    path: String,
    methods: [MethodTimes; METHODS.len()],
}

impl RouteTimes {
    fn new(path: String) -> Self {
        Self { path, methods: Default::default() }
    }
}

/// The answers of a route to a method with one status.
pub(in crate::http) struct CountedAnswers<'a> {
    /// The path of the route.
    pub(in crate::http) route: &'a str,
    /// The method's name.
    pub(in crate::http) method: &'static str,
    /// The status.
    pub(in crate::http) status: u16,
    /// How long the answers took.
    pub(in crate::http) times: &'a Histogram,
}

pub(in crate::http) struct RequestCounts {
    routes: Vec<RouteTimes>,
    elsewhere: RouteTimes,
}

impl RequestCounts {
    /// Cells for the routes with these paths, in the order of the numbers.
    pub(in crate::http) fn new(paths: impl IntoIterator<Item = String>) -> Self {
        let routes = paths.into_iter().map(RouteTimes::new).collect();
        Self { routes, elsewhere: RouteTimes::new(NO_ROUTE.to_owned()) }
    }

    fn route(&self, route: Option<RouteNumber>) -> &RouteTimes {
        route.and_then(|RouteNumber(number)| self.routes.get(number)).unwrap_or(&self.elsewhere)
    }

    pub(in crate::http) fn path(&self, route: Option<RouteNumber>) -> &str {
        &self.route(route).path
    }

    /// Counts an answer, with its trace if the request is traced.
    pub(in crate::http) fn count_response(
        &self,
        route: Option<RouteNumber>,
        method: &Method,
        status: StatusCode,
        took: Duration,
        trace: Option<TraceId>,
    ) {
        if let Some(times) = self.route(route).methods.get(method_number(method)) {
            times.of_status(status.as_u16()).observe_time(took, trace);
        }
    }

    /// All answers so far.
    pub(in crate::http) fn answers(&self) -> impl Iterator<Item = CountedAnswers<'_>> {
        let routes = self.routes.iter().chain([&self.elsewhere]);
        let methods = routes.flat_map(|route| route.methods.iter().zip(METHODS).map(move |pair| (route, pair)));
        methods.flat_map(|(route, (times, method))| {
            times.all().map(move |StatusTimes { status, times, .. }| CountedAnswers {
                route: &route.path,
                method,
                status: *status,
                times,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_route_method_and_status() {
        let counts = RequestCounts::new(["/".to_owned(), "/unused".to_owned()]);
        let brew = Method::from_bytes(b"BREW").unwrap();
        let count = |route: Option<usize>, method: &Method, status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            counts.count_response(route.map(RouteNumber), method, status, Duration::from_millis(1), None);
        };
        for status in [404, 200, 500, 200] {
            count(Some(0), &Method::GET, status);
        }
        count(None, &brew, 404);
        count(Some(9_999), &brew, 999);
        let found: Vec<_> = counts
            .answers()
            .map(|counted| (counted.route, counted.method, counted.status, counted.times.count()))
            .collect();
        assert_eq!(
            found,
            [
                ("/", "GET", 404, 1),
                ("/", "GET", 200, 2),
                ("/", "GET", 500, 1),
                (NO_ROUTE, "_OTHER", 404, 1),
                (NO_ROUTE, "_OTHER", 999, 1)
            ]
        );
    }

    #[test]
    fn threads_that_meet_a_new_status_at_once_count_in_one_place() {
        let counts = RequestCounts::new(["/".to_owned()]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for status in (200..250).map(|status| StatusCode::from_u16(status).unwrap()) {
                        counts.count_response(Some(RouteNumber(0)), &Method::GET, status, Duration::ZERO, None);
                    }
                });
            }
        });
        let mut found: Vec<_> = counts.answers().map(|counted| (counted.status, counted.times.count())).collect();
        found.sort_unstable();
        assert_eq!(found, (200..250).map(|status| (status, 4)).collect::<Vec<_>>());
    }
}

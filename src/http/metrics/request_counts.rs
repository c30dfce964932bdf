//! Counts of requests by route, method and class of status, in cells that exist from the start.

use std::time::Duration;

use actix_web::http::{Method, StatusCode};

use crate::telemetry::metrics::{Counter, Histogram};

/// A route's index in the table of routes. Each resource has the index at hand.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct RouteNumber(pub(in crate::http) usize);

/// The label of paths without a route: a path can be any text.
const NO_ROUTE: &str = "none";
/// Methods by name; unknown methods count as the last.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "other"];
/// Classes of status, from 100 on.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The method's name, for methods of routes.
pub(in crate::http) fn method_name(method: &Method) -> &'static str {
    METHODS.get(method_number(method)).copied().unwrap_or("other")
}

fn method_number(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        _ => 6,
    }
}

/// The counts of a method of a route.
#[derive(Debug)]
pub(in crate::http) struct MethodCounts {
    /// The times of the answers.
    pub(in crate::http) times: Histogram,
    classes: [Counter; CLASSES.len()],
}

impl MethodCounts {
    fn new() -> Self {
        Self { times: Histogram::of_times(), classes: Default::default() }
    }

    /// The answers of each class of status.
    pub(in crate::http) fn classes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CLASSES.into_iter().zip(self.classes.iter().map(Counter::get))
    }
}

struct RouteCounts {
    path: String,
    methods: [MethodCounts; METHODS.len()],
}

impl RouteCounts {
    fn new(path: String) -> Self {
        Self { path, methods: std::array::from_fn(|_| MethodCounts::new()) }
    }
}

pub(in crate::http) struct RequestCounts {
    routes: Vec<RouteCounts>,
    elsewhere: RouteCounts,
}

impl RequestCounts {
    /// Cells for the routes with these paths, in the order of the numbers.
    pub(in crate::http) fn new(paths: impl IntoIterator<Item = String>) -> Self {
        let routes = paths.into_iter().map(RouteCounts::new).collect();
        Self { routes, elsewhere: RouteCounts::new(NO_ROUTE.to_owned()) }
    }

    fn route(&self, route: Option<RouteNumber>) -> &RouteCounts {
        route.and_then(|RouteNumber(number)| self.routes.get(number)).unwrap_or(&self.elsewhere)
    }

    pub(in crate::http) fn path(&self, route: Option<RouteNumber>) -> &str {
        &self.route(route).path
    }

    pub(in crate::http) fn count_response(
        &self,
        route: Option<RouteNumber>,
        method: &Method,
        status: StatusCode,
        took: Duration,
    ) {
        let Some(cell) = self.route(route).methods.get(method_number(method)) else { return };
        cell.times.observe_time(took);
        let class = usize::from(status.as_u16() / 100).wrapping_sub(1);
        if let Some(counter) = cell.classes.get(class) {
            counter.add(1);
        }
    }

    /// Every cell with a count, with route and method.
    pub(in crate::http) fn used(&self) -> impl Iterator<Item = (&str, &'static str, &MethodCounts)> {
        let all = self.routes.iter().chain([&self.elsewhere]);
        let cells = all.flat_map(|route| route.methods.iter().zip(METHODS).map(move |pair| (route, pair)));
        cells
            .map(|(route, (cell, method))| (route.path.as_str(), method, cell))
            .filter(|(_, _, cell)| cell.times.count() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_route_method_and_class() {
        let counts = RequestCounts::new(["/".to_owned()]);
        let brew = Method::from_bytes(b"BREW").unwrap();
        counts.count_response(Some(RouteNumber(0)), &Method::GET, StatusCode::OK, Duration::from_millis(1));
        counts.count_response(Some(RouteNumber(0)), &Method::GET, StatusCode::NOT_FOUND, Duration::from_millis(1));
        counts.count_response(None, &brew, StatusCode::NOT_FOUND, Duration::ZERO);
        counts.count_response(Some(RouteNumber(9_999)), &brew, StatusCode::from_u16(999).unwrap(), Duration::ZERO);
        let used: Vec<_> = counts.used().map(|(path, method, cell)| (path, method, cell.times.count())).collect();
        assert_eq!(used, [("/", "GET", 2), (NO_ROUTE, "other", 2)]);
        let (_, _, cell) = counts.used().next().unwrap();
        assert_eq!(cell.classes().map(|(_, count)| count).collect::<Vec<_>>(), [0, 1, 0, 1, 0]);
    }
}

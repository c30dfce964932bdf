//! Requests a second and latencies, from a reading of the counts to the next.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use chrono::Utc;
use serde::Serialize;

use crate::http::metrics::request_counts::RequestCounts;
use crate::telemetry::metrics::TIMES;

/// Kept points: three minutes.
pub(super) const KEPT: usize = 180;
/// Routes of probes, of Prometheus and of the page, which say nothing of the users.
const EXCLUDED_ROUTES: [&str; 4] = ["/dashboard", "/docs", "/health", "/metrics"];

/// The rates of about a second.
#[derive(Clone, Copy, Serialize, Debug, Default)]
pub(super) struct RatePoint {
    /// The end of the second, in milliseconds since 1970.
    at: i64,
    /// Answers a second.
    requests: f64,
    /// Answers with a 4xx.
    refused: f64,
    /// Answers with a 5xx.
    failed: f64,
    /// Half of the answers took no longer, in milliseconds; `None` if there was none.
    p50_ms: Option<f64>,
    /// 99 of 100 took no longer.
    p99_ms: Option<f64>,
}

/// The counts at a moment.
#[derive(Clone, Default)]
struct CountsReading {
    answers: u64,
    refused: u64,
    failed: u64,
    buckets: [u64; TIMES.len() + 1],
}

pub(super) struct RecentRates {
    before: (Instant, CountsReading),
    points: VecDeque<RatePoint>,
}

impl RecentRates {
    pub(super) fn new() -> Self {
        Self { before: (Instant::now(), CountsReading::default()), points: VecDeque::with_capacity(KEPT) }
    }

    /// Adds a point with the counts since the point before.
    pub(super) fn sample(&mut self, counts: &RequestCounts) {
        let now = (Instant::now(), CountsReading::at(counts));
        let point = now.1.since(&self.before.1, now.0 - self.before.0);
        if self.points.len() == KEPT {
            self.points.pop_front();
        }
        self.points.push_back(RatePoint { at: Utc::now().timestamp_millis(), ..point });
        self.before = now;
    }

    pub(super) fn latest(&self) -> Option<RatePoint> {
        self.points.back().copied()
    }

    pub(super) fn all(&self) -> Vec<RatePoint> {
        self.points.iter().copied().collect()
    }
}

impl CountsReading {
    fn at(counts: &RequestCounts) -> Self {
        let mut look = Self::default();
        let shown =
            counts.answers().filter(|counted| !EXCLUDED_ROUTES.iter().any(|path| counted.route.starts_with(path)));
        for counted in shown {
            let buckets = counted.times.bucket_counts();
            let answers: u64 = buckets.iter().sum();
            for (sum, count) in look.buckets.iter_mut().zip(buckets) {
                *sum += count;
            }
            look.answers += answers;
            match counted.status {
                400..=499 => look.refused += answers,
                500..=599 => look.failed += answers,
                _ => {}
            }
        }
        look
    }

    fn since(&self, before: &Self, took: Duration) -> RatePoint {
        let seconds = took.as_secs_f64().max(0.001);
        let rate = |now: u64, then: u64| float(now.saturating_sub(then)) / seconds;
        let buckets: Vec<u64> =
            self.buckets.iter().zip(before.buckets).map(|(now, then)| now.saturating_sub(then)).collect();
        RatePoint {
            at: 0,
            requests: rate(self.answers, before.answers),
            refused: rate(self.refused, before.refused),
            failed: rate(self.failed, before.failed),
            p50_ms: quantile(&buckets, 0.50),
            p99_ms: quantile(&buckets, 0.99),
        }
    }
}

/// The time within which this share was answered, with requests spread evenly over a bucket.
fn quantile(buckets: &[u64], share: f64) -> Option<f64> {
    let all: u64 = buckets.iter().sum();
    if all == 0 {
        return None;
    }
    let mut left = float(all) * share;
    let mut low = 0.0;
    for (count, bound) in buckets.iter().zip(TIMES) {
        let high = Duration::from_nanos(*bound).as_secs_f64() * 1000.0;
        let count = float(*count);
        if count > 0.0 && count >= left {
            return Some(low + (high - low) * (left / count));
        }
        left -= count;
        low = high;
    }
    Some(low) // longer than the last bound; by how much, nobody counts
}

/// Shows at most 4 thousand million.
fn float(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use actix_web::http::{Method, StatusCode};

    use super::super::super::routes::endpoints;
    use super::*;
    use crate::http::metrics::request_counts::RouteNumber;

    #[test]
    fn rates_are_those_since_the_last_look_and_leave_out_who_only_watches() {
        let counts = RequestCounts::new(endpoints().iter().map(|endpoint| endpoint.path().to_owned()));
        let route = |path: &str| Some(RouteNumber(endpoints().iter().position(|found| found.path() == path).unwrap()));
        let note = |path: &str, status: StatusCode, micros| {
            counts.count_response(route(path), &Method::GET, status, Duration::from_micros(micros), None);
        };
        note("/stats", StatusCode::OK, 400);
        let first = CountsReading::at(&counts);
        for _ in 0..6 {
            note("/query/{user_id}", StatusCode::OK, 700);
        }
        note("/query/{user_id}", StatusCode::BAD_REQUEST, 700);
        note("/query/{user_id}", StatusCode::SERVICE_UNAVAILABLE, 8_000);
        for path in ["/health/ready", "/metrics", "/dashboard/events"] {
            note(path, StatusCode::SERVICE_UNAVAILABLE, 9_000_000);
        }
        let point = CountsReading::at(&counts).since(&first, Duration::from_secs(2));
        assert!((point.requests - 4.0).abs() < 1e-9 && (point.refused - 0.5).abs() < 1e-9, "{point:?}");
        assert!((point.failed - 0.5).abs() < 1e-9, "{point:?}");
        let (p50, p99) = (point.p50_ms.unwrap(), point.p99_ms.unwrap());
        assert!(p50 > 0.5 && p50 < 1.0 && p99 > 5.0 && p99 <= 10.0, "{point:?}");
        let idle = CountsReading::at(&counts).since(&CountsReading::at(&counts), Duration::from_secs(1));
        assert_eq!((idle.p50_ms, idle.p99_ms), (None, None));
    }

    #[test]
    fn only_the_last_minutes_are_kept() {
        let (counts, mut rates) =
            (RequestCounts::new(endpoints().iter().map(|endpoint| endpoint.path().to_owned())), RecentRates::new());
        for _ in 0..KEPT + 5 {
            rates.sample(&counts);
        }
        assert_eq!(rates.all().len(), KEPT);
        assert!(rates.latest().is_some());
    }

    #[test]
    fn what_is_longer_than_the_last_bound_is_shown_as_that() {
        let mut buckets = [0; TIMES.len() + 1];
        buckets[TIMES.len()] = 1;
        assert_eq!(quantile(&buckets, 0.5), Some(10_000.0));
    }
}

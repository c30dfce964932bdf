//! Counters, gauges and histograms: atomic numbers that many threads change without a lock.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Starts at 0.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `number`.
    pub fn add(&self, number: u64) {
        // Relaxed, as everywhere here: a count orders nothing.
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// The count so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that grows and shrinks, as several threads add to it.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `number`, which may be negative.
    pub fn add(&self, number: i64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// The present value.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The upper bounds of the time buckets, in nanoseconds: 0.5 ms to 10 s. One more bucket counts longer times.
pub const TIMES: &[u64] = &[
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
/// Upper bounds of the buckets of batch sizes.
const SIZES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 1_024, 5_000];

/// The number of observations in each bucket. An observation costs two atomic additions.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    is_time: bool,
    /// One bucket for each bound, and one for larger values.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [u64], is_time: bool) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, is_time, buckets, sum: AtomicU64::new(0) }
    }

    /// A histogram of times, shown in seconds.
    #[must_use]
    pub fn of_times() -> Self {
        Self::new(TIMES, true)
    }

    /// A histogram of sizes.
    #[must_use]
    pub fn of_sizes() -> Self {
        Self::new(SIZES, false)
    }

    /// Records a time.
    pub fn observe_time(&self, time: Duration) {
        self.record_value(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Records a size.
    pub fn observe_size(&self, size: usize) {
        self.record_value(u64::try_from(size).unwrap_or(u64::MAX));
    }

    fn record_value(&self, value: u64) {
        let index = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// The observations so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The observations of each bucket so far, for a later [`Histogram::percentile_since`].
    #[must_use]
    pub fn bucket_counts(&self) -> Vec<u64> {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect()
    }

    /// The bucket bound below which `percent` of the observations since `before` fall, and their number. An empty
    /// `before` stands for the start. `None` without an observation.
    #[must_use]
    pub fn percentile_since(&self, before: &[u64], percent: u64) -> Option<(Duration, u64)> {
        let before = before.iter().copied().chain(std::iter::repeat(0));
        let since: Vec<u64> =
            self.bucket_counts().into_iter().zip(before).map(|(now, then)| now.saturating_sub(then)).collect();
        let all: u64 = since.iter().sum();
        let mut left = (all * percent).div_ceil(100);
        let bounds = self.bounds.iter().copied().chain([u64::MAX]);
        let bucket = since.iter().zip(bounds).find(|(count, _)| {
            let found = **count >= left;
            left = left.saturating_sub(**count);
            found
        });
        bucket.filter(|_| all > 0).map(|(_, bound)| (Duration::from_nanos(bound), all))
    }

    /// Each bound in the shown unit, with the number of observations up to the bound.
    pub(super) fn cumulative_buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let counts = self.buckets.iter().scan(0, |sum, bucket| {
            *sum += bucket.load(Ordering::Relaxed);
            Some(*sum)
        });
        let bounds = self.bounds.iter().map(|bound| self.in_shown_unit(*bound)).chain([f64::INFINITY]);
        bounds.zip(counts)
    }

    /// The sum of the observations in the shown unit.
    pub(super) fn shown_sum(&self) -> f64 {
        self.in_shown_unit(self.sum.load(Ordering::Relaxed))
    }

    fn in_shown_unit(&self, value: u64) -> f64 {
        // A duration turns whole numbers into floats without a cast; a size counts as seconds here.
        if self.is_time { Duration::from_nanos(value).as_secs_f64() } else { Duration::from_secs(value).as_secs_f64() }
    }
}

/// Rows of bulk loads, of files and of documents.
#[derive(Debug)]
pub struct BulkRows {
    /// Valid rows, sent to a shard.
    pub accepted: Counter,
    /// Rows with a fault, which are not stored.
    pub rejected: Counter,
    /// New rows that a shard has committed.
    pub stored: Counter,
}

/// Rows of all bulk loads of this process.
pub static BULK_ROWS: BulkRows =
    BulkRows { accepted: Counter::new(), rejected: Counter::new(), stored: Counter::new() };

/// Spans that left this process, or failed to leave.
#[derive(Debug)]
pub struct TraceSpans {
    /// Spans that the collector has accepted.
    pub exported: Counter,
    /// Spans lost because the collector was unreachable or refused them.
    pub failed: Counter,
}

/// Spans of this process.
pub static TRACE_SPANS: TraceSpans = TraceSpans { exported: Counter::new(), failed: Counter::new() };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_fall_into_their_buckets() {
        let times = Histogram::of_times();
        for micros in [1, 500, 501, 20_000_000] {
            times.observe_time(Duration::from_micros(micros));
        }
        let found: Vec<_> = times.cumulative_buckets().collect();
        assert_eq!(found[0], (0.0005, 2), "a bound belongs to its bucket");
        assert_eq!(found[1], (0.001, 3));
        assert_eq!(*found.last().unwrap(), (f64::INFINITY, 4));
        assert_eq!(times.count(), 4);
        assert!((times.shown_sum() - 20.001_002).abs() < 1e-9);

        let before = times.bucket_counts();
        assert_eq!(times.percentile_since(&before, 99), None);
        for _ in 0..98 {
            times.observe_time(Duration::from_millis(3));
        }
        assert_eq!(times.percentile_since(&before, 99), Some((Duration::from_millis(5), 98)));
        times.observe_time(Duration::from_millis(40));
        times.observe_time(Duration::from_millis(40));
        assert_eq!(times.percentile_since(&before, 98), Some((Duration::from_millis(5), 100)));
        assert_eq!(times.percentile_since(&before, 99), Some((Duration::from_millis(50), 100)));

        let sizes = Histogram::of_sizes();
        sizes.observe_size(3);
        assert_eq!(
            sizes.cumulative_buckets().filter(|(_, count)| *count == 1).map(|(bound, _)| bound).next(),
            Some(4.0)
        );
    }
}

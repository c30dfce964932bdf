//! Histograms: observations by size, in atomic numbers, and for each bucket the trace of its last traced observation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::TraceId;

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

/// The number of observations in each bucket. An observation costs two atomic additions, unless it is traced.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    is_time: bool,
    /// One bucket for each bound, and one for larger values.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    /// The last traced observation of each bucket; made for the first traced observation.
    exemplars: OnceLock<Box<[Mutex<Option<Exemplar>>]>>,
}

/// An observation of a traced request.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Exemplar {
    /// The trace of the request.
    pub(super) trace: TraceId,
    /// The observed value in the shown unit.
    pub(super) value: f64,
    /// The time of the observation, since 1970.
    pub(super) at: Duration,
}

impl Histogram {
    fn new(bounds: &'static [u64], is_time: bool) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, is_time, buckets, sum: AtomicU64::new(0), exemplars: OnceLock::new() }
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

    /// Records a time, with the trace of its request if the request is traced.
    pub fn observe_time(&self, time: Duration, trace: Option<TraceId>) {
        let bucket = self.record_value(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        if let Some(trace) = trace {
            self.keep_exemplar(bucket, trace, time.as_secs_f64());
        }
    }

    /// Records a size.
    pub fn observe_size(&self, size: usize) {
        self.record_value(u64::try_from(size).unwrap_or(u64::MAX));
    }

    /// Counts a value; returns the index of its bucket.
    fn record_value(&self, value: u64) -> usize {
        let index = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
        index
    }

    fn keep_exemplar(&self, bucket: usize, trace: TraceId, value: f64) {
        let places = self.exemplars.get_or_init(|| self.buckets.iter().map(|_| Mutex::default()).collect());
        // No request waits for the lock: the exemplar of the request that holds the lock is as good.
        if let Some(mut place) = places.get(bucket).and_then(|place| place.try_lock().ok()) {
            let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            *place = Some(Exemplar { trace, value, at });
        }
    }

    /// The last traced observation of the bucket with this index, if any.
    pub(super) fn exemplar(&self, bucket: usize) -> Option<Exemplar> {
        *self.exemplars.get()?.get(bucket)?.try_lock().ok()?
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_fall_into_their_buckets() {
        let times = Histogram::of_times();
        for micros in [1, 500, 501, 20_000_000] {
            times.observe_time(Duration::from_micros(micros), None);
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
            times.observe_time(Duration::from_millis(3), None);
        }
        assert_eq!(times.percentile_since(&before, 99), Some((Duration::from_millis(5), 98)));
        times.observe_time(Duration::from_millis(40), None);
        times.observe_time(Duration::from_millis(40), None);
        assert_eq!(times.percentile_since(&before, 98), Some((Duration::from_millis(5), 100)));
        assert_eq!(times.percentile_since(&before, 99), Some((Duration::from_millis(50), 100)));

        let sizes = Histogram::of_sizes();
        sizes.observe_size(3);
        assert_eq!(
            sizes.cumulative_buckets().filter(|(_, count)| *count == 1).map(|(bound, _)| bound).next(),
            Some(4.0)
        );
    }

    #[test]
    fn each_bucket_keeps_its_last_traced_observation() {
        let times = Histogram::of_times();
        let trace = |number: u8| TraceId::from_bytes([number; 16]);
        times.observe_time(Duration::from_micros(100), None);
        assert_eq!(times.exemplar(0), None);
        for (number, millis) in [(1, 2), (2, 2), (3, 20_000)] {
            times.observe_time(Duration::from_millis(millis), Some(trace(number)));
        }
        times.observe_time(Duration::from_millis(2), None);
        let found = |bucket| times.exemplar(bucket).map(|kept| (kept.trace, kept.value));
        assert_eq!(found(0), None);
        assert_eq!(found(2), Some((trace(2), 0.002)));
        assert_eq!(found(TIMES.len()), Some((trace(3), 20.0)));
        assert_eq!(found(TIMES.len() + 1), None);
        assert_eq!(times.count(), 5);
    }
}

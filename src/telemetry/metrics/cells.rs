//! Counters and gauges: atomic numbers that many threads change without a lock.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

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
        // Relaxed, as in every cell: a count orders nothing.
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

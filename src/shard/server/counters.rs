//! The counters of a shard's calls and of the shard's pool.

use std::time::Instant;

use super::shard::Shard;
use crate::shard::error::ShardError;
use crate::telemetry::metrics::{Counter, Gauge, Histogram};
use crate::telemetry::{Span, has_current_request, shard_span};

/// The counts of one shard since the start of this process.
#[derive(Debug)]
pub struct ShardCounters {
    /// Calls made for a request, and how long each took, with all waits.
    pub requests: Histogram,
    /// Calls for a request that ended with an error.
    pub failures: Counter,
    /// Rows in each group commit.
    pub commit_batches: Histogram,
    /// Single writes that wait for a group commit.
    pub commit_queue: Gauge,
    /// Reads in each batch of reads.
    pub read_batches: Histogram,
}

impl ShardCounters {
    pub(in crate::shard) fn new() -> Self {
        Self {
            requests: Histogram::of_times(),
            failures: Counter::new(),
            commit_batches: Histogram::of_sizes(),
            commit_queue: Gauge::default(),
            read_batches: Histogram::of_sizes(),
        }
    }
}

/// A pool at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolStatus {
    /// The most connections that the pool may have.
    pub limit: usize,
    /// Idle connections.
    pub idle: usize,
    /// Connections in use or being opened.
    pub in_use: usize,
    /// Calls that wait for a connection.
    pub waiting: usize,
    /// Connections of the HTTP threads, for reads.
    pub of_threads: usize,
}

impl Shard {
    /// The counters of the shard's calls.
    #[must_use]
    pub fn counters(&self) -> &ShardCounters {
        &self.counters
    }

    /// The state of the pool now.
    #[must_use]
    pub fn pool_status(&self) -> PoolStatus {
        let status = self.pool().status();
        let idle = status.available.min(status.size);
        let all: usize = self.all_pools().iter().map(|pool| pool.status().size).sum();
        PoolStatus {
            limit: status.max_size,
            idle,
            in_use: status.size - idle,
            waiting: status.waiting,
            of_threads: all.saturating_sub(status.size),
        }
    }

    /// Starts to time a call of this kind. A call for a request counts; housekeeping does not.
    pub(crate) fn time_call(&self, operation: &'static str) -> TimedCall<'_> {
        let start = has_current_request().then(Instant::now);
        if let Some(start) = start {
            self.record_use(start);
        }
        let span = if start.is_some() { shard_span(operation, self.id().number()) } else { Span::default() };
        TimedCall { shard: self, start, span }
    }
}

/// A call in progress. The drop counts the call, even if the caller has gone away.
pub(crate) struct TimedCall<'a> {
    shard: &'a Shard,
    start: Option<Instant>,
    pub(crate) span: Span,
}

impl TimedCall<'_> {
    /// Ends the timing; records an error.
    pub(crate) fn finish<T>(mut self, result: Result<T, ShardError>) -> Result<T, ShardError> {
        if let (Err(error), true) = (&result, self.start.is_some()) {
            self.shard.counters.failures.add(1);
            self.span.set_failed(error.kind_name());
        }
        result
    }
}

impl Drop for TimedCall<'_> {
    fn drop(&mut self) {
        if let Some(start) = self.start {
            self.shard.counters.requests.observe_time(start.elapsed(), self.span.trace_id());
        }
    }
}

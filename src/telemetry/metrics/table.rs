//! Every metric: name, kind, labels and meaning. docs/observability.md shows the same table, and a test compares
//! both.

/// How a metric's value changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetricKind {
    /// The value only grows.
    Counter,
    /// The value grows and shrinks.
    Gauge,
    /// Observations by size: `_bucket`, `_sum`, `_count`.
    Histogram,
}

impl MetricKind {
    /// The kind's word in the exposition.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metric {
    /// The metric's name, without the endings of a histogram.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: MetricKind,
    /// The names of the labels, in order.
    pub labels: &'static [&'static str],
    /// The metric's meaning, in a sentence.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($name:ident = $kind:ident $text:literal [$($label:literal)*] $help:literal;)+) => {
        $(
            #[doc = concat!("`", $text, "`")]
            pub const $name: Metric =
                Metric { name: $text, kind: MetricKind::$kind, labels: &[$($label),*], help: $help };
        )+

        /// Every metric, in the order of the exposition.
        pub const ALL: &[Metric] = &[$($name),+];
    };
}

metrics! {
    REQUEST_COUNT = Counter "request_count_total" [] "Requests that were answered.";
    HTTP_REQUESTS = Counter "http_requests_total" ["route" "method" "status"] "Answered requests by route, method and class of status (2xx).";
    HTTP_DURATION = Histogram "http_request_duration_seconds" ["route" "method"] "From the head of a request to the head of its answer.";
    PROBLEMS = Counter "problems_total" ["code"] "Answers that are no success, by the code of their problem.";
    CONNECTIONS_OPEN = Gauge "connections_open" [] "Connections of clients that are open.";
    CONNECTIONS = Counter "connections_total" ["result"] "Connections that ended after a request (used) or without one (silent), and those refused by SHARDRIVE_MAX_CONNECTIONS_PER_ADDRESS.";
    HANDSHAKES = Counter "tls_handshakes_total" ["result"] "TLS handshakes by result: done, failed, or timed_out after 5 s.";
    LIMIT_ALONE = Counter "rate_limit_alone_total" [] "Requests that this process limited by itself, as the shared count gave no answer in time; none without SHARDRIVE_RATE_LIMIT_PER_S.";

    SHARD_REQUEST = Histogram "shard_request" ["shard"] "Calls to a shard for clients, in seconds, with the wait for a connection or a batch. Housekeeping is not counted.";
    SHARD_FAILURES = Counter "shard_failures_total" ["shard"] "Calls to a shard for clients that ended with an error.";
    SHARD_DISTRIBUTION = Gauge "shard_distribution" ["shard"] "Files and documents that the shard holds, as in /stats; none while it does not answer.";
    SHARD_DISTRIBUTION_AGE = Gauge "shard_distribution_age_seconds" [] "How long ago shard_distribution was read.";
    SHARD_UP = Gauge "shard_up" ["shard"] "1 if the last health probe of the shard succeeded, else 0.";
    SHARD_EXHAUSTED = Counter "shard_exhausted_total" ["shard" "resource"] "Calls that the shard's server refused as it had run out of something: disk, memory, connections, or a limit of its settings.";
    SHARD_SLOTS = Gauge "shard_slots" ["shard"] "Slots that the shard owns, of 5040.";
    SLOT_MAP_EPOCH = Gauge "slot_map_epoch" [] "Epoch of the slot map that this process uses.";

    POOL_LIMIT = Gauge "shard_pool_connections_max" ["shard"] "Connections that the pool of the shard may have.";
    POOL_CONNECTIONS = Gauge "shard_pool_connections" ["shard" "state"] "Connections in the pool of the shard: idle or in_use.";
    POOL_WAITING = Gauge "shard_pool_waiting" ["shard"] "Calls that wait for a connection of the pool.";
    THREAD_CONNECTIONS = Gauge "shard_thread_connections" ["shard"] "Connections of the HTTP threads for batched reads.";
    COMMIT_BATCH = Histogram "shard_commit_batch_rows" ["shard"] "Rows in a group commit.";
    COMMIT_QUEUE = Gauge "shard_commit_queue" ["shard"] "Single writes that wait for a group commit.";
    COMMIT_QUEUE_LIMIT = Gauge "shard_commit_queue_max" [] "Single writes that may wait in one queue (SHARDRIVE_WRITE_QUEUE_ROWS); files and documents have one each for every shard.";
    READ_BATCH = Histogram "shard_read_batch_reads" ["shard"] "Reads in a batch of reads.";

    BULK = Counter "bulk_rows_total" ["result"] "Rows of bulk loads: accepted, rejected, or stored as new ones.";
    CACHE_AVAILABLE = Gauge "cache_available" [] "1 if the server of the cache can be used, 0 if not; none without REDIS_URL.";
    CACHE_HITS = Counter "cache_hits_total" [] "Reads that the cache answered.";
    CACHE_MISSES = Counter "cache_misses_total" [] "Reads that a shard had to answer although there is a cache.";
    CACHE_KEYS = Gauge "cache_keys" [] "Keys on the server of the cache; none while it is away.";

    EVENTS_PUBLISHED = Counter "events_published_total" [] "Events that this process has relayed to the broker.";
    EVENTS_WAITING = Gauge "events_outbox_rows" ["shard"] "Events that wait on the shard, at most.";
    EVENTS_LAG = Gauge "events_outbox_lag_seconds" ["shard"] "How long the oldest event of the shard has waited.";
    EVENTS_REFUSED = Gauge "events_refused" ["shard" "subject"] "1 for each subject whose events the broker refuses, reported by the process that relays the shard.";
    EVENTS_DROPPED = Counter "events_dropped_total" ["shard"] "Events that were dropped, as more than SHARDRIVE_EVENTS_MAX_ROWS waited or no relay came for a day.";

    MOVES_KNOWN = Gauge "moves_known" [] "1 if the open moves could be read from shard 0, else 0.";
    MOVE_STAGE = Gauge "move_stage" ["move" "source" "target" "stage"] "1 for the stage that an open move is in.";
    MOVE_ROWS = Gauge "move_rows" ["move" "state"] "Rows of an open move: total, copied, verified.";
    MOVE_LAG = Gauge "move_lag_seconds" ["move"] "How long a row of an open move takes to the other shard.";

    TRACES = Counter "trace_spans_total" ["result"] "Spans by what became of them: exported or failed.";
    BUILD = Gauge "shardrive_build_info" ["version"] "1, for the version that runs.";
    START = Gauge "process_start_time_seconds" [] "When the process was started, in seconds since 1970.";
    CPU = Counter "process_cpu_seconds_total" [] "Processor time that the process has used.";
    MEMORY = Gauge "process_resident_memory_bytes" [] "Memory that the process has in use.";
}

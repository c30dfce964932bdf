//! Every metric: name, kind, labels and meaning. docs/observability.md shows the same table, and a test compares
//! both. docs/decisions/0033-metric-names.md has the rules of the names.

/// How a metric's value changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetricKind {
    /// The value only grows.
    Counter,
    /// The value grows and shrinks.
    Gauge,
    /// Observations by size: `_bucket`, `_sum`, `_count`.
    Histogram,
    /// An alias whose name no other kind may have.
    Untyped,
}

impl MetricKind {
    /// The kind's word in the exposition.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Untyped => "untyped",
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

impl Metric {
    /// The name without the ending of a counter.
    #[must_use]
    pub fn base_name(&self) -> &'static str {
        match self.kind {
            MetricKind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            _ => self.name,
        }
    }

    /// The base unit, which ends the name.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes"].into_iter().find(|unit| self.base_name().ends_with(unit))
    }

    /// True for a former name of another metric, which dashboards still use.
    #[must_use]
    pub fn is_alias(&self) -> bool {
        self.help.starts_with("Alias of ")
    }
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
    HTTP_DURATION = Histogram "http_server_request_duration_seconds" ["http_route" "http_request_method" "http_response_status_code"] "From the head of a request to the head of its answer, by route, method and status.";
    PROBLEMS = Counter "shardrive_problems_total" ["code"] "Answers that are no success, by the code of their problem.";
    CONNECTIONS_OPEN = Gauge "shardrive_connections_open" [] "Connections of clients that are open.";
    CONNECTIONS = Counter "shardrive_connections_total" ["result"] "Connections that ended after a request (used) or without one (silent), and those refused by SHARDRIVE_MAX_CONNECTIONS_PER_ADDRESS.";
    HANDSHAKES = Counter "shardrive_tls_handshakes_total" ["result"] "TLS handshakes by result: done, failed, or timed_out after 5 s.";
    LIMIT_ALONE = Counter "shardrive_rate_limit_alone_total" [] "Requests that this process limited by itself, as the shared count gave no answer in time; none without SHARDRIVE_RATE_LIMIT_PER_S.";

    SHARD_REQUEST = Histogram "shardrive_shard_request_duration_seconds" ["shard"] "Calls to a shard for clients, with the wait for a connection or a batch. Housekeeping is not counted.";
    SHARD_FAILURES = Counter "shardrive_shard_failures_total" ["shard"] "Calls to a shard for clients that ended with an error.";
    SHARD_ROWS = Gauge "shardrive_shard_rows" ["shard"] "Files and documents that the shard holds, as in /stats; none while it does not answer.";
    SHARD_ROWS_AGE = Gauge "shardrive_shard_rows_age_seconds" [] "How long ago shardrive_shard_rows was read.";
    SHARD_UP = Gauge "shardrive_shard_up" ["shard"] "1 if the last health probe of the shard succeeded, else 0.";
    SHARD_EXHAUSTED = Counter "shardrive_shard_exhausted_total" ["shard" "resource"] "Calls that the shard's server refused as it had run out of something: disk, memory, connections, or a limit of its settings.";
    SHARD_SLOTS = Gauge "shardrive_shard_slots" ["shard"] "Slots that the shard owns, of 5040.";
    SLOT_MAP_EPOCH = Gauge "shardrive_slot_map_epoch" [] "Epoch of the slot map that this process uses.";

    POOL_LIMIT = Gauge "shardrive_shard_pool_connections_max" ["shard"] "Connections that the pool of the shard may have.";
    POOL_CONNECTIONS = Gauge "shardrive_shard_pool_connections" ["shard" "state"] "Connections in the pool of the shard: idle or in_use.";
    POOL_WAITING = Gauge "shardrive_shard_pool_waiting" ["shard"] "Calls that wait for a connection of the pool.";
    THREAD_CONNECTIONS = Gauge "shardrive_shard_thread_connections" ["shard"] "Connections of the HTTP threads for reads.";
    COMMIT_BATCH = Histogram "shardrive_shard_commit_batch_rows" ["shard"] "Rows in a group commit.";
    COMMIT_QUEUE = Gauge "shardrive_shard_commit_queue" ["shard"] "Single writes that wait for a group commit.";
    COMMIT_QUEUE_LIMIT = Gauge "shardrive_shard_commit_queue_max" [] "Single writes that may wait in one queue (SHARDRIVE_WRITE_QUEUE_ROWS); new, changed and deleted files and documents have one each for every shard.";
    READ_BATCH = Histogram "shardrive_shard_read_batch_reads" ["shard"] "Reads in a batch of reads.";

    BULK = Counter "shardrive_bulk_rows_total" ["result"] "Rows of bulk loads: accepted by the check of their fields, rejected by it or later by the database, or stored as new ones.";
    CACHE_AVAILABLE = Gauge "shardrive_cache_available" [] "1 if the server of the cache can be used, 0 if not; none without REDIS_URL.";
    CACHE_HITS = Counter "shardrive_cache_hits_total" [] "Reads that the cache answered.";
    CACHE_MISSES = Counter "shardrive_cache_misses_total" [] "Reads that a shard had to answer although there is a cache.";
    CACHE_KEYS = Gauge "shardrive_cache_keys" [] "Keys on the server of the cache; none while it is away.";

    EVENTS_PUBLISHED = Counter "shardrive_events_published_total" [] "Events that this process has relayed to the broker.";
    EVENTS_WAITING = Gauge "shardrive_events_outbox_rows" ["shard"] "Events that wait on the shard, at most. Read every two seconds, and every eight while none wait.";
    EVENTS_LAG = Gauge "shardrive_events_outbox_lag_seconds" ["shard"] "How long the oldest event of the shard has waited.";
    EVENTS_REFUSED = Gauge "shardrive_events_refused" ["shard" "subject"] "1 for each subject whose events the broker refuses, reported by the process that relays the shard.";
    EVENTS_DROPPED = Counter "shardrive_events_dropped_total" ["shard"] "Events that were dropped, as more than SHARDRIVE_EVENTS_MAX_ROWS waited or no relay came for a day.";

    MOVES_KNOWN = Gauge "shardrive_moves_known" [] "1 if the open moves could be read from shard 0, else 0.";
    MOVE_STAGE = Gauge "shardrive_move_stage" ["move" "source" "target" "stage"] "1 for the stage that an open move is in.";
    MOVE_ROWS = Gauge "shardrive_move_rows" ["move" "state"] "Rows of an open move: total, copied, verified.";
    MOVE_LAG = Gauge "shardrive_move_lag_seconds" ["move"] "How long a row of an open move takes to the other shard.";

    TRACES = Counter "shardrive_trace_spans_total" ["result"] "Spans by what became of them: exported or failed.";
    BUILD = Gauge "shardrive_build_info" ["version"] "1, for the version that runs.";
    START = Gauge "process_start_time_seconds" [] "When the process was started, in seconds since 1970.";
    CPU = Counter "process_cpu_seconds_total" [] "Processor time that the process has used.";
    MEMORY = Gauge "process_resident_memory_bytes" [] "Memory that the process has in use.";
    VIRTUAL_MEMORY = Gauge "process_virtual_memory_bytes" [] "Address space of the process.";
    THREADS = Gauge "process_threads" [] "Threads of the process.";
    OPEN_FILES = Gauge "process_open_fds" [] "Open files and connections of the process.";
    MAX_FILES = Gauge "process_max_fds" [] "Files and connections that the process may open.";

    REQUEST_COUNT = Counter "request_count_total" [] "Alias of http_server_request_duration_seconds_count, as one sum.";
    SHARD_REQUEST_COUNT = Untyped "shard_request_count" ["shard"] "Alias of shardrive_shard_request_duration_seconds_count.";
    SHARD_DISTRIBUTION = Gauge "shard_distribution" ["shard"] "Alias of shardrive_shard_rows.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_prefix_and_the_ending_of_their_kind() {
        let prefixes = ["shardrive_", "http_server_", "process_"];
        for metric in ALL.iter().filter(|metric| !metric.is_alias()) {
            assert!(prefixes.iter().any(|prefix| metric.name.starts_with(prefix)), "{metric:?}");
            assert_ne!(metric.kind, MetricKind::Untyped, "{metric:?}");
        }
        for metric in ALL {
            assert_eq!(metric.kind == MetricKind::Counter, metric.name.ends_with("_total"), "{metric:?}");
            assert!(!metric.help.contains(['"', '\\', '\n']), "OpenMetrics would escape it: {metric:?}");
        }
    }

    #[test]
    fn the_aliases_are_the_names_that_dashboards_use() {
        let aliases = ALL.iter().filter(|metric| metric.is_alias()).map(|metric| metric.name);
        assert_eq!(aliases.collect::<Vec<_>>(), ["request_count_total", "shard_request_count", "shard_distribution"]);
    }

    #[test]
    fn the_unit_ends_the_name() {
        assert_eq!((CPU.base_name(), CPU.unit()), ("process_cpu_seconds", Some("seconds")));
        assert_eq!((MEMORY.base_name(), MEMORY.unit()), ("process_resident_memory_bytes", Some("bytes")));
        assert_eq!(COMMIT_BATCH.unit(), None);
    }
}

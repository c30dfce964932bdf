//! The settings of the service. Sign-in, the edge and events have files of their own.

use std::time::Duration;

use super::edge::{self, EdgeSettings};
use super::reader::{SettingsReader, to_usize};
use super::setting::{ChoiceSetting, NumberSetting, TextSetting};
use super::values::{parse_bind, parse_collections, parse_collector, parse_filter, parse_ratio};
use super::{auth, events, shards};
use crate::auth::AuthSettings;
use crate::cache::{CacheSettings, CacheUrl};
use crate::events::EventSettings;
use crate::files::bulk::BulkLimits;
use crate::http::ServerOptions;
use crate::records::Collection;
use crate::shard::{ShardLimits, ShardOptions};
use crate::telemetry::{LogFormat, LogOptions, TraceOptions};
use crate::writes::WriterLimits;

const POOL_MIN: NumberSetting = NumberSetting::new("DB_POOL_MIN_SIZE", "2", 0..=1_000).or_short("DB_POOL_MIN_SIZE");
const POOL_MAX: NumberSetting = NumberSetting::new("DB_POOL_MAX_SIZE", "8", 1..=1_000).or_short("DB_POOL_MAX_SIZE");
const CONNECT_TIMEOUT: NumberSetting = NumberSetting::new("CONNECT_TIMEOUT_MS", "2000", 1..=60_000);
const SHARD_TIMEOUT: NumberSetting = NumberSetting::new("SHARD_TIMEOUT_MS", "5000", 1..=600_000);
const MOVE_TIMEOUT: NumberSetting = NumberSetting::new("MOVE_TIMEOUT_MS", "5000", 1..=600_000);
const HEALTH_TIMEOUT: NumberSetting = NumberSetting::new("HEALTH_TIMEOUT_MS", "600", 1..=60_000);
const HEALTH_INTERVAL: NumberSetting = NumberSetting::new("HEALTH_INTERVAL_MS", "100", 10..=60_000);
const REPLICA_MAX_LAG: NumberSetting = NumberSetting::new("REPLICA_MAX_LAG_MS", "1000", 10..=600_000);
const STATS_TIMEOUT: NumberSetting = NumberSetting::new("STATS_TIMEOUT_MS", "1000", 1..=600_000);
const SHUTDOWN_TIMEOUT: NumberSetting = NumberSetting::new("SHUTDOWN_TIMEOUT_S", "30", 0..=3_600);
const DRAIN_DELAY: NumberSetting = NumberSetting::new("DRAIN_DELAY_S", "0", 0..=3_600);
const WRITE_QUEUE: NumberSetting = NumberSetting::new("WRITE_QUEUE_ROWS", "4096", 1..=1_000_000);
const WRITE_BATCH: NumberSetting = NumberSetting::new("WRITE_BATCH_ROWS", "256", 1..=5_000);
const MAX_BULK_COUNT: NumberSetting = NumberSetting::new("MAX_BULK_COUNT", "10000000", 1..=1_000_000_000);
const MAX_BULK_LOADS: NumberSetting = NumberSetting::new("MAX_BULK_LOADS", "8", 1..=1_000);
const MAX_LINE_BYTES: NumberSetting = NumberSetting::new("MAX_LINE_BYTES", "65536", 1_024..=16_777_216);
const BULK_BATCH_ROWS: NumberSetting = NumberSetting::new("BULK_BATCH_ROWS", "16000", 1..=20_000);
/// The default is the number of cores.
const HTTP_WORKERS: NumberSetting = NumberSetting::new("HTTP_WORKERS", "", 1..=1_024);
/// The default depends on sign-in.
pub(super) const BIND_ADDR: TextSetting = TextSetting::new("BIND_ADDR", "").or_short("BIND_ADDR");
const RUST_LOG: TextSetting = TextSetting::new("RUST_LOG", "info").or_short("RUST_LOG");
const COLLECTIONS: TextSetting = TextSetting::new("COLLECTIONS", "").list();
const LOG_FORMAT: ChoiceSetting<LogFormat> = ChoiceSetting {
    setting: TextSetting::new("LOG_FORMAT", "text"),
    values: &[("text", LogFormat::Text), ("json", LogFormat::Json)],
};
const REDIS_URL: TextSetting = TextSetting::new("REDIS_URL", "").or_short("REDIS_URL").secret();
const CACHE_TTL: NumberSetting = NumberSetting::new("CACHE_TTL_S", "300", 1..=86_400).or_short("CACHE_TTL");
const TRASH_KEEP: NumberSetting = NumberSetting::new("TRASH_KEEP_DAYS", "30", 1..=3_650);
/// Longer than a year, so that a yearly audit finds all entries.
const AUDIT_KEEP: NumberSetting = NumberSetting::new("AUDIT_KEEP_DAYS", "400", 1..=3_650);
const OTLP_ENDPOINT: TextSetting = TextSetting::new("OTEL_EXPORTER_OTLP_ENDPOINT", "");
const OTLP_CERTIFICATE: TextSetting = TextSetting::new("OTEL_EXPORTER_OTLP_CERTIFICATE", "");
const OTEL_SERVICE: TextSetting = TextSetting::new("OTEL_SERVICE_NAME", "shardrive");
const OTEL_RATIO: TextSetting = TextSetting::new("OTEL_TRACES_SAMPLER_ARG", "1");

/// Settings that a new service needs first.
pub(super) const FIRST: &[TextSetting] = &[BIND_ADDR, REDIS_URL];

/// The other settings of this file.
pub(super) const ADVANCED: &[TextSetting] = &[
    shards::COUNT,
    POOL_MIN.setting,
    POOL_MAX.setting,
    CONNECT_TIMEOUT.setting,
    SHARD_TIMEOUT.setting,
    MOVE_TIMEOUT.setting,
    HEALTH_INTERVAL.setting,
    HEALTH_TIMEOUT.setting,
    REPLICA_MAX_LAG.setting,
    STATS_TIMEOUT.setting,
    HTTP_WORKERS.setting,
    DRAIN_DELAY.setting,
    SHUTDOWN_TIMEOUT.setting,
    WRITE_QUEUE.setting,
    WRITE_BATCH.setting,
    MAX_BULK_COUNT.setting,
    MAX_BULK_LOADS.setting,
    MAX_LINE_BYTES.setting,
    BULK_BATCH_ROWS.setting,
    COLLECTIONS,
    CACHE_TTL.setting,
    TRASH_KEEP.setting,
    AUDIT_KEEP.setting,
    RUST_LOG,
    LOG_FORMAT.setting,
    OTLP_ENDPOINT,
    OTLP_CERTIFICATE,
    OTEL_SERVICE,
    OTEL_RATIO,
];

/// The settings of the service.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `SHARD_0_URL`, `SHARD_1_URL`, … by number; at least one. With `SHARD_0_REPLICA_URLS`, ….
    pub shards: Vec<ShardOptions>,
    /// `DB_POOL_*` and the times for a shard.
    pub shard_limits: ShardLimits,
    /// `WRITE_*`.
    pub writer: WriterLimits,
    /// `BIND_ADDR`, `HTTP_WORKERS`, `DRAIN_DELAY_S`, `SHUTDOWN_TIMEOUT_S`, `CORS_ORIGINS` and the limits on
    /// connections.
    pub server: ServerOptions,
    /// `RUST_LOG`, `LOG_FORMAT`.
    pub log: LogOptions,
    /// `STATS_TIMEOUT_MS`: how long `/stats` waits for a shard.
    pub stats_timeout: Duration,
    /// `MAX_BULK_COUNT`, `MAX_BULK_LOADS`, `MAX_LINE_BYTES`, `BULK_BATCH_ROWS`.
    pub bulk: BulkLimits,
    /// `COLLECTIONS`: declared at the start.
    pub collections: Vec<Collection>,
    /// `REDIS_URL`, `CACHE_TTL_S`.
    pub cache: CacheSettings,
    /// `EVENTS_*`.
    pub events: EventSettings,
    /// `TRASH_KEEP_DAYS`: after how many days in the trash folders and files are deleted for good.
    pub trash_keep_days: u16,
    /// `AUDIT_KEEP_DAYS`: how long entries of the audit log are kept from now on.
    pub audit_keep_days: u16,
    /// `AUTH_*`: how callers sign in; `None`: sign-in is off.
    pub auth: Option<AuthSettings>,
    /// `RATE_LIMIT_*` and other settings of callers; `TLS_*`.
    pub edge: EdgeSettings,
    /// `OTEL_*`.
    pub traces: TraceOptions,
    /// The names to use for settings that do not count, as they were given without the prefix.
    pub unprefixed: Vec<String>,
}

/// Reads every setting. After a fault a default stands in.
pub(super) fn read(read: &mut SettingsReader) -> Settings {
    let shards = shards::read(read);
    let auth = auth::read(read);
    let edge = edge::read(read);
    let url = read.parsed(&REDIS_URL, |url| if url.is_empty() { Ok(None) } else { CacheUrl::parse(url).map(Some) });
    let url = edge::with_authority(read, url);
    Settings {
        shards,
        shard_limits: read_limits(read),
        writer: WriterLimits { queue: read.size(&WRITE_QUEUE), batch: read.size(&WRITE_BATCH) },
        server: ServerOptions {
            bind: read.parsed(&BIND_ADDR, parse_bind).unwrap_or_else(|| default_bind(auth.is_some()).to_owned()),
            workers: read.optional(&HTTP_WORKERS).map_or_else(cores, to_usize),
            drain_delay: read.seconds(&DRAIN_DELAY),
            shutdown_timeout: read.seconds(&SHUTDOWN_TIMEOUT),
            connections: edge::read_connections(read, &edge.proxies),
            cors: edge::read_cors(read),
        },
        log: LogOptions { filter: read.parsed(&RUST_LOG, parse_filter), format: read.choice(&LOG_FORMAT) },
        stats_timeout: read.millis(&STATS_TIMEOUT),
        bulk: BulkLimits {
            max_count: read.number(&MAX_BULK_COUNT),
            record_bytes: read.size(&MAX_LINE_BYTES),
            batch_rows: read.size(&BULK_BATCH_ROWS),
            loads: read.size(&MAX_BULK_LOADS),
        },
        collections: read.parsed(&COLLECTIONS, parse_collections),
        cache: CacheSettings {
            url,
            ttl: read.seconds(&CACHE_TTL),
            formats: &[crate::files::CACHE_FORMAT, crate::records::CACHE_FORMAT],
        },
        events: events::read(read),
        trash_keep_days: read.days(&TRASH_KEEP),
        audit_keep_days: read.days(&AUDIT_KEEP),
        auth,
        edge,
        traces: TraceOptions {
            endpoint: read.parsed(&OTLP_ENDPOINT, parse_collector),
            ca_certificates: read.ca_certificates(&OTLP_CERTIFICATE),
            service_name: read.parsed(&OTEL_SERVICE, |name| Ok(name.to_owned())),
            ratio: read.parsed(&OTEL_RATIO, parse_ratio),
        },
        unprefixed: read.unprefixed(),
    }
}

/// The address without `BIND_ADDR`: without sign-in only this machine may call.
pub(super) const fn default_bind(has_sign_in: bool) -> &'static str {
    if has_sign_in { "0.0.0.0:8000" } else { "127.0.0.1:8000" }
}

fn read_limits(read: &mut SettingsReader) -> ShardLimits {
    let (pool_min, pool_max) = (read.size(&POOL_MIN), read.size(&POOL_MAX));
    if pool_min > pool_max {
        read.fault(&POOL_MAX.setting, format!("must be at least {}", POOL_MIN.setting.name));
    }
    ShardLimits {
        pool_min,
        pool_max,
        connect_timeout: read.millis(&CONNECT_TIMEOUT),
        call_timeout: read.millis(&SHARD_TIMEOUT),
        move_timeout: read.millis(&MOVE_TIMEOUT),
        health_timeout: read.millis(&HEALTH_TIMEOUT),
        health_interval: read.millis(&HEALTH_INTERVAL),
        replica_max_lag: read.millis(&REPLICA_MAX_LAG),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

//! Settings: environment variables and `.env` → typed values. Nothing else reads the environment.
//!
//! `.env.example` explains every variable; a test compares the file with `all`. A start with wrong settings names all
//! faults at once, and never shows a value: a URL holds a password.

mod auth;
mod dotenv;
mod edge;
mod events;
mod names;
mod reader;
mod shards;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

pub use edge::EdgeSettings;
use names::FILE;
use reader::{ChoiceSetting, NumberSetting, SettingsReader, TextSetting};

use crate::auth::AuthSettings;
use crate::cache::{CacheSettings, CacheUrl};
use crate::events::EventSettings;
use crate::files::bulk::BulkLimits;
use crate::http::ServerOptions;
use crate::records::Collection;
use crate::shard::{ShardLimits, ShardOptions};
use crate::telemetry::{LogFormat, LogOptions, TraceOptions};
use crate::writes::WriterLimits;

const POOL_MIN: NumberSetting = NumberSetting::new("DB_POOL_MIN_SIZE", "2", 0..=1_000);
const POOL_MAX: NumberSetting = NumberSetting::new("DB_POOL_MAX_SIZE", "8", 1..=1_000);
const CONNECT_TIMEOUT: NumberSetting = NumberSetting::new("CONNECT_TIMEOUT_MS", "2000", 1..=60_000);
const SHARD_TIMEOUT: NumberSetting = NumberSetting::new("SHARD_TIMEOUT_MS", "5000", 1..=600_000);
const MOVE_TIMEOUT: NumberSetting = NumberSetting::new("MOVE_TIMEOUT_MS", "5000", 1..=600_000);
const HEALTH_TIMEOUT: NumberSetting = NumberSetting::new("HEALTH_TIMEOUT_MS", "600", 1..=60_000);
const HEALTH_INTERVAL: NumberSetting = NumberSetting::new("HEALTH_INTERVAL_MS", "100", 10..=60_000);
const REPLICA_MAX_LAG: NumberSetting = NumberSetting::new("REPLICA_MAX_LAG_MS", "1000", 10..=600_000);
const STATS_TIMEOUT: NumberSetting = NumberSetting::new("STATS_TIMEOUT_MS", "1000", 1..=600_000);
const SHUTDOWN_TIMEOUT: NumberSetting = NumberSetting::new("SHUTDOWN_TIMEOUT_S", "30", 0..=3_600);
const DRAIN_DELAY: NumberSetting = NumberSetting::new("DRAIN_DELAY_S", "0", 0..=3_600);
const WRITE_QUEUE: NumberSetting = NumberSetting::new("WRITE_QUEUE", "4096", 1..=1_000_000);
const WRITE_BATCH: NumberSetting = NumberSetting::new("WRITE_BATCH", "256", 1..=5_000);
const MAX_BULK_COUNT: NumberSetting = NumberSetting::new("MAX_BULK_COUNT", "10000000", 1..=1_000_000_000);
const MAX_BULK_LOADS: NumberSetting = NumberSetting::new("MAX_BULK_LOADS", "8", 1..=1_000);
const MAX_LINE_BYTES: NumberSetting = NumberSetting::new("MAX_LINE_BYTES", "65536", 1_024..=16_777_216);
const BULK_BATCH_ROWS: NumberSetting = NumberSetting::new("BULK_BATCH_ROWS", "8000", 1..=20_000);
/// The default is the number of cores.
const HTTP_WORKERS: NumberSetting = NumberSetting::new("HTTP_WORKERS", "", 1..=1_024);
const BIND_ADDR: TextSetting = TextSetting { name: "BIND_ADDR", default: "0.0.0.0:8000" };
const RUST_LOG: TextSetting = TextSetting { name: "RUST_LOG", default: "info" };
const COLLECTIONS: TextSetting = TextSetting { name: "COLLECTIONS", default: "" };
const LOG_FORMAT: ChoiceSetting<LogFormat> = ChoiceSetting {
    setting: TextSetting { name: "LOG_FORMAT", default: "text" },
    values: &[("text", LogFormat::Text), ("json", LogFormat::Json)],
};

const REDIS_URL: TextSetting = TextSetting { name: "REDIS_URL", default: "" };
const CACHE_TTL: NumberSetting = NumberSetting::new("CACHE_TTL", "300", 1..=86_400);

/// Longer than a year, so that a yearly audit finds all entries.
const TRASH_KEEP: NumberSetting = NumberSetting::new("TRASH_KEEP_DAYS", "30", 1..=3_650);
const AUDIT_KEEP: NumberSetting = NumberSetting::new("AUDIT_KEEP_DAYS", "400", 1..=3_650);

const OTLP_ENDPOINT: TextSetting = TextSetting { name: "OTEL_EXPORTER_OTLP_ENDPOINT", default: "" };
const OTLP_CERTIFICATE: TextSetting = TextSetting { name: "OTEL_EXPORTER_OTLP_CERTIFICATE", default: "" };
const OTEL_SERVICE: TextSetting = TextSetting { name: "OTEL_SERVICE_NAME", default: "shardrive" };
const OTEL_RATIO: TextSetting = TextSetting { name: "OTEL_TRACES_SAMPLER_ARG", default: "1" };

/// Settings with secrets, besides the shards' URLs: `<name>_FILE` may name a file with the value.
const SECRETS: &[&str] = &[REDIS_URL.name, events::URL.name, auth::SECRET.name];

/// Every setting but the shards' URLs, with the default; an empty default means no fixed default.
fn all() -> impl Iterator<Item = &'static TextSetting> {
    HERE.iter().chain(&auth::ALL).chain(&edge::ALL).chain(&events::ALL)
}

const HERE: &[TextSetting] = &[
    shards::COUNT,
    POOL_MIN.setting,
    POOL_MAX.setting,
    BIND_ADDR,
    HTTP_WORKERS.setting,
    DRAIN_DELAY.setting,
    SHUTDOWN_TIMEOUT.setting,
    RUST_LOG,
    LOG_FORMAT.setting,
    CONNECT_TIMEOUT.setting,
    SHARD_TIMEOUT.setting,
    MOVE_TIMEOUT.setting,
    HEALTH_TIMEOUT.setting,
    HEALTH_INTERVAL.setting,
    REPLICA_MAX_LAG.setting,
    STATS_TIMEOUT.setting,
    WRITE_QUEUE.setting,
    WRITE_BATCH.setting,
    MAX_BULK_COUNT.setting,
    MAX_BULK_LOADS.setting,
    MAX_LINE_BYTES.setting,
    BULK_BATCH_ROWS.setting,
    COLLECTIONS,
    REDIS_URL,
    CACHE_TTL.setting,
    AUDIT_KEEP.setting,
    TRASH_KEEP.setting,
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
    /// `BIND_ADDR`, `HTTP_WORKERS`, `DRAIN_DELAY_S`, `SHUTDOWN_TIMEOUT_S`, `CORS_ORIGINS` and the limits on connections.
    pub server: ServerOptions,
    /// `RUST_LOG`, `LOG_FORMAT`.
    pub log: LogOptions,
    /// `STATS_TIMEOUT_MS`: how long `/stats` waits for a shard.
    pub stats_timeout: Duration,
    /// `MAX_BULK_COUNT`, `MAX_BULK_LOADS`, `MAX_LINE_BYTES`, `BULK_BATCH_ROWS`.
    pub bulk: BulkLimits,
    /// `COLLECTIONS`: declared at the start.
    pub collections: Vec<Collection>,
    /// `REDIS_URL`, `CACHE_TTL`.
    pub cache: CacheSettings,
    /// `EVENTS_*`.
    pub events: EventSettings,
    /// `TRASH_KEEP_DAYS`: after how many days in the trash folders and files are deleted for good.
    pub trash_keep_days: u16,
    /// `AUDIT_KEEP_DAYS`: how long entries of the audit log are kept from now on.
    pub audit_keep_days: u16,
    /// `AUTH_*`: how callers sign in; `None`: sign-in is off.
    pub auth: Option<AuthSettings>,
    /// `RATE_LIMIT` and other settings of callers; `TLS_*`.
    pub edge: EdgeSettings,
    /// `OTEL_*`.
    pub traces: TraceOptions,
    /// Variables with the beginning of a setting's name: another program's, or a mistake.
    pub ignored: Vec<String>,
}

/// A fault of the settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingsFault {
    /// The variable.
    pub name: String,
    /// What must be true of the variable. Never the value.
    pub reason: String,
}

impl fmt::Display for SettingsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

/// All faults of the settings.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the settings are wrong:\n{}", list(.0))]
pub struct SettingsError(pub Vec<SettingsFault>);

fn list(faults: &[SettingsFault]) -> String {
    faults.iter().map(|fault| format!("- {fault}")).collect::<Vec<_>>().join("\n")
}

/// True if the person at the terminal wants no colours of any program (`NO_COLOR`).
#[must_use]
pub fn refuses_colours() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

impl Settings {
    /// Reads the environment and the `.env` file of the working folder; the environment wins.
    ///
    /// # Errors
    /// All faults.
    pub fn load() -> Result<Self, SettingsError> {
        Self::from_vars(reader::environment()?)
    }

    /// Reads the environment as [`Settings::load`] does, without the settings in `left_out`, and with `vars` in place
    /// of the environment's shards and variables.
    ///
    /// # Errors
    /// All faults.
    pub fn load_for(vars: Vec<(String, String)>, left_out: &[&str]) -> Result<Self, SettingsError> {
        let replaced: Vec<String> = vars.iter().map(|(name, _)| format!("{name}{FILE}")).collect();
        let others = reader::environment()?.into_iter();
        let others = others.filter(|(name, _)| {
            !names::names_shards(name) && !replaced.contains(name) && !left_out.contains(&name.as_str())
        });
        Self::from_vars(others.chain(vars))
    }

    /// Reads the settings of sign-in alone, for commands without shards.
    ///
    /// # Errors
    /// All faults.
    pub fn load_auth() -> Result<Option<AuthSettings>, SettingsError> {
        let vars = reader::environment()?.into_iter().filter(|(name, _)| name.starts_with("AUTH_"));
        let mut read = SettingsReader::new(vars);
        let settings = auth::read(&mut read);
        read.finish(settings)
    }

    /// The URL of a service with the settings of this environment on this machine, as in `http://127.0.0.1:8000`; for
    /// commands without other settings.
    ///
    /// # Errors
    /// All faults of `BIND_ADDR` and `TLS_*`.
    pub fn load_own_url() -> Result<String, SettingsError> {
        Self::own_url(reader::environment()?)
    }

    fn own_url(vars: impl IntoIterator<Item = (String, String)>) -> Result<String, SettingsError> {
        let vars = vars.into_iter().filter(|(name, _)| name == BIND_ADDR.name || name.starts_with("TLS_"));
        let mut read = SettingsReader::new(vars);
        let (bind, tls) = (read.parsed(&BIND_ADDR, parse_address), edge::read_tls(&mut read));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let own = match bind.rsplit_once(':') {
            Some(("0.0.0.0", port)) => format!("127.0.0.1:{port}"),
            Some(("[::]", port)) => format!("[::1]:{port}"),
            _ => bind,
        };
        read.finish(format!("{scheme}://{own}"))
    }

    /// Reads settings from variables. Of two variables with the same name the last counts. An empty variable counts as not set, or is
    /// refused if the setting protects the service.
    ///
    /// # Errors
    /// All faults.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, SettingsError> {
        let mut read = SettingsReader::new(vars);
        let shards = shards::read(&mut read);
        let pool_min = read.number(&POOL_MIN);
        let pool_max = read.number(&POOL_MAX);
        if pool_min > pool_max {
            read.fault(POOL_MAX.setting.name, format!("must be at least {}", POOL_MIN.setting.name));
        }
        let edge = edge::read(&mut read);
        let url = read.parsed(&REDIS_URL, |url| CacheUrl::parse(url).map(Some));
        let url = edge::with_authority(&mut read, url);
        let settings = Self {
            shards,
            shard_limits: ShardLimits {
                pool_min: to_usize(pool_min),
                pool_max: to_usize(pool_max),
                connect_timeout: read.millis(&CONNECT_TIMEOUT),
                call_timeout: read.millis(&SHARD_TIMEOUT),
                move_timeout: read.millis(&MOVE_TIMEOUT),
                health_timeout: read.millis(&HEALTH_TIMEOUT),
                health_interval: read.millis(&HEALTH_INTERVAL),
                replica_max_lag: read.millis(&REPLICA_MAX_LAG),
            },
            writer: WriterLimits { queue: read.size(&WRITE_QUEUE), batch: read.size(&WRITE_BATCH) },
            server: ServerOptions {
                bind: read.parsed(&BIND_ADDR, parse_address),
                workers: read.optional(&HTTP_WORKERS).map_or_else(cores, to_usize),
                drain_delay: Duration::from_secs(read.number(&DRAIN_DELAY)),
                shutdown_timeout: Duration::from_secs(read.number(&SHUTDOWN_TIMEOUT)),
                connections: edge::read_connections(&mut read, &edge.proxies),
                cors: edge::read_cors(&mut read),
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
                ttl: Duration::from_secs(read.number(&CACHE_TTL)),
                formats: &[crate::files::CACHE_FORMAT, crate::records::CACHE_FORMAT],
            },
            events: events::read(&mut read),
            trash_keep_days: u16::try_from(read.number(&TRASH_KEEP)).unwrap_or(u16::MAX),
            audit_keep_days: u16::try_from(read.number(&AUDIT_KEEP)).unwrap_or(u16::MAX),
            auth: auth::read(&mut read),
            edge,
            traces: TraceOptions {
                endpoint: read.parsed(&OTLP_ENDPOINT, parse_collector),
                ca_certificates: read.ca_certificates(&OTLP_CERTIFICATE),
                service_name: read.parsed(&OTEL_SERVICE, |name| Ok(name.to_owned())),
                ratio: read.parsed(&OTEL_RATIO, parse_ratio),
            },
            ignored: read.ignored(),
        };
        read.finish(settings)
    }
}

fn parse_address(text: &str) -> Result<String, &'static str> {
    const REASON: &str = "must be host:port, as in 0.0.0.0:8000 or [::1]:8000";
    let (host, port) = text.rsplit_once(':').ok_or(REASON)?;
    let bare_ipv6 = host.contains(':') && !host.starts_with('[');
    if host.is_empty() || bare_ipv6 || port.parse::<u16>().is_err() {
        return Err(REASON);
    }
    Ok(text.to_owned())
}

/// The levels of a log filter.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

fn parse_filter(text: &str) -> Result<String, &'static str> {
    let is_level = |level: &str| level.trim().parse::<log::LevelFilter>().is_ok();
    let (directives, _) = text.split_once('/').unwrap_or((text, ""));
    let is_module = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'));
    // A word that is nearly a level would be taken for a module, and switch off the logs of all others.
    let is_slip = |word: &str| LEVELS.iter().any(|level| strsim::levenshtein(word, level) <= 2);
    let is_fine = |directive: &str| match directive.trim().split_once('=') {
        Some((module, level)) => is_module(module.trim()) && is_level(level),
        None => is_level(directive) || (is_module(directive.trim()) && !is_slip(&directive.trim().to_lowercase())),
    };
    if directives.split(',').all(is_fine) {
        Ok(text.to_owned())
    } else {
        Err("must be levels, as in info or warn,shardrive=debug; a level is off, error, warn, info, debug or trace")
    }
}

fn parse_collections(text: &str) -> Result<Vec<Collection>, &'static str> {
    const REASON: &str = "must be collections as in orders:user_id:integer:many,profiles:user_id:integer,words:-:string: \
                          name, field or -, integer or string, one (if left out) or many; each name once";
    let mut collections: Vec<Collection> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let collection: Collection = part.parse().map_err(|_| REASON)?;
        if collections.iter().any(|other| other.name == collection.name) {
            return Err(REASON);
        }
        collections.push(collection);
    }
    Ok(collections)
}

fn parse_collector(url: &str) -> Result<Option<String>, &'static str> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    match rest {
        _ if url.is_empty() => Ok(None),
        Some(rest) if !rest.is_empty() && !rest.starts_with(['/', ':']) && !rest.contains([' ', '?', '#', '@']) => {
            Ok(Some(url.to_owned()))
        }
        _ => Err("must be the URL of a collector that takes OTLP over HTTP, as in http://localhost:4318"),
    }
}

fn parse_ratio(text: &str) -> Result<f64, &'static str> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or("must be the share of requests to trace, from 0 to 1")
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The limits of the settings keep every number in the range of a `usize`.
fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

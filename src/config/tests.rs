//! What settings are taken, and what is said of those that are not.

use super::*;

const GOOD: &[(&str, &str)] =
    &[("SHARD_0_URL", "postgres://u:secret@h0/drive_shard_0"), ("SHARD_1_URL", "postgres://u:secret@h1/drive_shard_1")];

fn read(more: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let vars = GOOD.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::from_vars(vars)
}

fn faults(more: &[(&str, &str)]) -> Vec<String> {
    let error = read(more).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    error.0.into_iter().map(|fault| fault.to_string()).collect()
}

#[test]
fn defaults() {
    let settings = read(&[("HOME", "/root"), ("SHARD_0_SERVICE_HOST", "10.0.0.1"), ("SHARD_0_PORT", "tcp://10.0.0.1")]);
    let settings = settings.unwrap();
    assert_eq!(settings.shards.len(), 2);
    assert_eq!((settings.shard_limits.pool_min, settings.shard_limits.pool_max), (2, 8));
    assert_eq!(settings.server.bind, "0.0.0.0:8000");
    assert_eq!(settings.log.filter, "info");
    assert_eq!(settings.log.format, LogFormat::Text);
    assert_eq!(settings.stats_timeout, Duration::from_secs(1));
    assert_eq!(settings.bulk.max_count, 10_000_000);
    assert!(settings.server.workers >= 1);
    assert!(settings.cache.url.is_none());
    assert_eq!(settings.cache.ttl, Duration::from_secs(300));
    assert_eq!(settings.traces, TraceOptions { endpoint: None, service_name: "shardrive".into(), ratio: 1.0 });
}

#[test]
fn given_values_are_taken_and_empty_ones_are_not() {
    let settings = read(&[
        ("NUM_SHARDS", ""),
        ("DB_POOL_MIN_SIZE", "8"),
        ("LOG_FORMAT", "json"),
        ("HTTP_WORKERS", "3"),
        ("BIND_ADDR", "[::1]:0"),
        ("SHUTDOWN_TIMEOUT_S", " 5 "),
        ("RUST_LOG", "warn,shardrive=debug"),
    ])
    .unwrap();
    assert_eq!(settings.shard_limits.pool_min, 8);
    assert_eq!(settings.log.format, LogFormat::Json);
    assert_eq!(settings.server.workers, 3);
    assert_eq!(settings.server.bind, "[::1]:0");
    assert_eq!(settings.server.shutdown_timeout, Duration::from_secs(5));
}

#[test]
fn each_fault_names_its_variable() {
    type Vars = &'static [(&'static str, &'static str)];
    let table: &[(Vars, &[&str])] = &[
        (
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"), ("OTEL_TRACES_SAMPLER_ARG", "1.5")],
            &[
                "OTEL_EXPORTER_OTLP_ENDPOINT: must be the URL of a collector that takes OTLP over HTTP, as in http://localhost:4318",
                "OTEL_TRACES_SAMPLER_ARG: must be the share of requests to trace, from 0 to 1",
            ],
        ),
        (&[("NUM_SHARDS", "3")], &["NUM_SHARDS: is 3, but 2 SHARD_*_URL are set; leave it out or correct it"]),
        (&[("NUM_SHARDS", "two")], &["NUM_SHARDS: must be a whole number from 1 to 5040"]),
        (&[("SHARD_3_URL", "postgres://u@h3/d")], &["SHARD_2_URL: is missing, but there is SHARD_3_URL"]),
        (
            &[("SHARD_2_URL", "postgres://u:secret@h1:5432/drive_shard_1")],
            &["SHARD_2_URL: names the same database as SHARD_1_URL; each shard needs its own"],
        ),
        (&[("SHARD_1_URL", "mysql://u:secret@h/d")], &["SHARD_1_URL: must start with postgres:// or postgresql://"]),
        (&[("DB_POOL_MAX_SIZE", "0")], &["DB_POOL_MAX_SIZE: must be a whole number from 1 to 1000"]),
        (&[("DB_POOL_MIN_SIZE", "9")], &["DB_POOL_MAX_SIZE: must be at least DB_POOL_MIN_SIZE"]),
        (&[("SHARD_TIMEOUT_MS", "5s")], &["SHARD_TIMEOUT_MS: must be a whole number from 1 to 600000"]),
        (&[("LOG_FORMAT", "xml")], &["LOG_FORMAT: must be text or json"]),
        (&[("BIND_ADDR", "8000")], &["BIND_ADDR: must be host:port, as in 0.0.0.0:8000 or [::1]:8000"]),
        (&[("BIND_ADDR", "::1:8000")], &["BIND_ADDR: must be host:port, as in 0.0.0.0:8000 or [::1]:8000"]),
        (
            &[("RUST_LOG", "shardrive=loud")],
            &["RUST_LOG: must be levels, as in info or warn,shardrive=debug; \
               a level is off, error, warn, info, debug or trace"],
        ),
        (&[("DB_POOL_MAXSIZE", "9")], &["DB_POOL_MAXSIZE: unknown setting; did you mean DB_POOL_MAX_SIZE?"]),
        (&[("REDIS_URL", "localhost:6381")], &["REDIS_URL: must start with redis://, as in redis://localhost:6381"]),
        (
            &[("REDIS_URL", "rediss://:secret@cache"), ("CACHE_TTL", "0")],
            &[
                "REDIS_URL: must start with redis://; connections with TLS (rediss://) are not supported yet",
                "CACHE_TTL: must be a whole number from 1 to 86400",
            ],
        ),
        (&[("REDIS_URI", "x")], &["REDIS_URI: unknown setting; did you mean REDIS_URL?"]),
        (&[("SHARD_2_URI", "x")], &["SHARD_2_URI: unknown setting; did you mean SHARD_2_URL?"]),
        (&[("SHARD_02_URL", "x")], &["SHARD_02_URL: unknown setting; did you mean SHARD_2_URL?"]),
        (
            &[("LOG_FORMAT", "xml"), ("WRITE_BATCH", "-1"), ("NUM_SHARD", "2")],
            &[
                "WRITE_BATCH: must be a whole number from 1 to 5000",
                "LOG_FORMAT: must be text or json",
                "NUM_SHARD: unknown setting; did you mean NUM_SHARDS?",
            ],
        ),
    ];
    for (vars, expected) in table {
        assert_eq!(faults(vars), *expected, "{vars:?}");
    }
}

#[test]
fn without_shards_there_is_one_fault() {
    let error = Settings::from_vars([]).unwrap_err();
    assert_eq!(error.0.len(), 1);
    assert_eq!(error.0[0].name, "SHARD_0_URL");
}

#[test]
fn a_secret_is_never_shown() {
    let settings = read(&[("REDIS_URL", "redis://:secret@cache")]).unwrap();
    assert!(!format!("{settings:?}").contains("secret"));
}

/// `# NAME=default` or `NAME=value`, once for each setting and for nothing else.
#[test]
fn the_example_lists_every_setting_with_its_default() {
    let example = include_str!("../../.env.example");
    let assignments = example.lines().filter_map(|line| line.trim_start_matches(['#', ' ']).split_once('='));
    let listed: Vec<(&str, &str)> = assignments
        .filter(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'))
        .collect();
    for setting in ALL {
        let values: Vec<_> = listed.iter().filter(|(name, _)| *name == setting.name).map(|(_, value)| *value).collect();
        assert_eq!(values.len(), 1, "{} stands in .env.example once", setting.name);
        assert!(setting.default.is_empty() || values == [setting.default], "{}", setting.name);
    }
    let unknown: Vec<_> = listed
        .iter()
        .filter(|(name, _)| !name.starts_with("SHARD_") && !ALL.iter().any(|setting| setting.name == *name))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let all = listed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::from_vars(all).unwrap();
}

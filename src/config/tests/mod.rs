//! Which settings are accepted, and what they become.

mod faults;
mod nearer;
mod pages;

use std::ffi::OsString;

use super::*;
use crate::shard::ShardOptions;
use crate::telemetry::LogFormat;

const GOOD: &[(&str, &str)] =
    &[("SHARD_0_URL", "postgres://u:secret@h0/drive_shard_0"), ("SHARD_1_URL", "postgres://u:secret@h1/drive_shard_1")];

/// The settings of an environment.
fn given(variables: &[(&str, &str)]) -> GivenSettings {
    let mut given = GivenSettings::default();
    // Of two variables with the same name an environment has the last.
    let variables: std::collections::BTreeMap<_, _> = variables.iter().copied().collect();
    let variables = variables.into_iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    assert_eq!(sources::add_environment(&mut given, variables), None);
    given
}

fn read(more: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    Settings::of(given(&[GOOD, more].concat()))
}

fn faults(more: &[(&str, &str)]) -> Vec<String> {
    texts(read(more).unwrap_err())
}

/// The faults, none of which shows a secret.
fn texts(error: SettingsError) -> Vec<String> {
    assert!(!error.to_string().contains("secret"), "{error}");
    error.0.into_iter().map(|fault| fault.to_string()).collect()
}

#[test]
fn defaults() {
    let settings = read(&[("HOME", "/root"), ("SHARDRIVE_SERVICE_HOST", "10.0.0.1")]);
    let settings = settings.unwrap();
    assert_eq!(settings.shards.len(), 2);
    assert_eq!((settings.shard_limits.pool_min, settings.shard_limits.pool_max), (2, 8));
    assert_eq!(settings.server.bind, "127.0.0.1:8000");
    assert_eq!(settings.log.filter, "info");
    assert_eq!(settings.log.format, LogFormat::Text);
    assert_eq!(settings.stats_timeout, std::time::Duration::from_secs(1));
    assert_eq!(settings.bulk.max_count, 10_000_000);
    assert!(settings.server.workers >= 1);
    assert!(settings.cache.url.is_none());
    assert_eq!(settings.cache.ttl, std::time::Duration::from_secs(300));
    let traces = (settings.traces.endpoint, settings.traces.service_name.as_str(), settings.traces.ratio);
    assert_eq!(traces, (None, "shardrive", 1.0));
    assert_eq!(settings.unprefixed, [""; 0]);
}

#[test]
fn a_shard_may_have_several_hosts_and_replicas() {
    let settings = read(&[
        ("SHARD_0_URL", "postgres://u:secret@a,b:6543/drive_shard_0"),
        (
            "SHARDRIVE_SHARD_0_REPLICA_URLS",
            "postgres://u:secret@b:6543/drive_shard_0 , postgres://u:secret@c/drive_shard_0,",
        ),
    ])
    .unwrap();
    assert_eq!(settings.shards[0].address(), "a:5432,b:6543/drive_shard_0");
    let replicas: Vec<_> = settings.shards[0].replicas().iter().map(ShardOptions::address).collect();
    assert_eq!(replicas, ["b:6543/drive_shard_0", "c:5432/drive_shard_0"]);
    assert!(settings.shards[1].replicas().is_empty());
}

#[test]
fn given_values_are_taken_and_empty_ones_are_not() {
    let settings = read(&[
        ("NUM_SHARDS", ""),
        ("DB_POOL_MIN_SIZE", "8"),
        ("SHARDRIVE_LOG_FORMAT", "json"),
        ("SHARDRIVE_HTTP_WORKERS", "3"),
        ("BIND_ADDR", "[::1]:0"),
        ("SHARDRIVE_SHUTDOWN_TIMEOUT_S", " 5 "),
        ("RUST_LOG", "warn,shardrive=debug"),
    ])
    .unwrap();
    assert_eq!(settings.shard_limits.pool_min, 8);
    assert_eq!(settings.log.format, LogFormat::Json);
    assert_eq!(settings.server.workers, 3);
    assert_eq!(settings.server.bind, "[::1]:0");
    assert_eq!(settings.server.shutdown_timeout, std::time::Duration::from_secs(5));
}

#[test]
fn a_secret_is_never_shown() {
    let secrets = [
        ("REDIS_URL", "redis://:secret@cache"),
        ("SHARDRIVE_AUTH_SECRET", "secret, and long enough to be one of HS256"),
    ];
    assert!(!format!("{:?}", read(&secrets).unwrap()).contains("secret"));
}

#[test]
fn without_sign_in_only_this_machine_may_call() {
    let secret = ("SHARDRIVE_AUTH_SECRET", "secret, and long enough to be one of HS256");
    for (settings, bind) in [
        (&[][..], "127.0.0.1:8000"),
        (&[("BIND_ADDR", "")], "127.0.0.1:8000"),
        (&[("BIND_ADDR", "0.0.0.0:80")], "0.0.0.0:80"),
        (&[secret], "0.0.0.0:8000"),
        (&[secret, ("SHARDRIVE_BIND_ADDR", "127.0.0.1:80")], "127.0.0.1:80"),
    ] {
        assert_eq!(read(settings).unwrap().server.bind, bind, "{settings:?}");
    }
}

#[test]
fn sign_in_is_off_without_its_settings() {
    assert!(read(&[]).unwrap().auth.is_none());
    let auth = read(&[("SHARDRIVE_AUTH_ISSUER", "https://h/realm"), ("SHARDRIVE_AUTH_AUDIENCE", "drive")])
        .unwrap()
        .auth
        .unwrap();
    assert_eq!(auth.provider_url().unwrap().as_str(), "https://h/realm");
    assert_eq!((auth.user_claim.as_str(), auth.scope_claim.as_str()), ("sub", "scope"));
    for (url, exposed) in [
        ("http://h/", true),
        ("http://127.0.0.1.evil.example/", true),
        ("https://h/", false),
        ("http://localhost:80", false),
        ("http://[::1]:80/", false),
        ("http://127.0.0.1/", false),
    ] {
        assert_eq!(crate::auth::ProviderUrl::parse(url).unwrap().is_exposed(), exposed, "{url}");
    }
}

#[test]
fn a_replica_without_a_user_takes_the_shards() {
    let settings = read(&[
        ("SHARD_0_URL", "postgres://me:a%40b@h0,h9/drive_shard_0"),
        (
            "SHARDRIVE_SHARD_0_REPLICA_URLS",
            "postgres://r1:5433/drive_shard_0?sslmode=disable, postgres://other:pw@r2/drive_shard_0",
        ),
    ])
    .unwrap();
    let urls: Vec<_> = settings.shards[0].replicas().iter().map(ShardOptions::secret_subscription_url).collect();
    let wanted = ["postgres://me:a%40b@r1:5433/drive_shard_0?sslmode=disable", "postgres://other:pw@r2/drive_shard_0"];
    assert_eq!(urls, wanted);
}

#[test]
fn a_service_is_found_on_its_own_machine() {
    let tls = [("SHARDRIVE_TLS_CERT_FILE", "c.pem"), ("SHARDRIVE_TLS_KEY_FILE", "k.pem")];
    for (bind, tls, url) in [
        ("", &tls[..0], "http://127.0.0.1:8000"),
        ("0.0.0.0:9000", &tls[..], "https://127.0.0.1:9000"),
        ("[::]:80", &tls[..0], "http://[::1]:80"),
        ("10.0.0.7:80", &tls[..0], "http://10.0.0.7:80"),
    ] {
        let variables = [&[("BIND_ADDR", bind), ("SHARD_0_URL", "not looked at")], tls].concat();
        assert_eq!(Settings::own_url(given(&variables)).unwrap(), url);
    }
    let error = Settings::own_url(given(&[("BIND_ADDR", "8000")])).unwrap_err();
    assert!(error.to_string().starts_with("the settings are wrong:\n- BIND_ADDR: "), "{error}");
}

//! Which settings are accepted, and what the refusals say.

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

const LEVELS_NEEDED: &str = "RUST_LOG: must be levels, as in info or warn,shardrive=debug; \
                             a level is off, error, warn, info, debug or trace";

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
    let traces = (settings.traces.endpoint, settings.traces.service_name.as_str(), settings.traces.ratio);
    assert_eq!(traces, (None, "shardrive", 1.0));
    assert_eq!(settings.ignored, [""; 0]);
}

#[test]
fn a_shard_may_have_several_hosts_and_replicas() {
    let settings = read(&[
        ("SHARD_0_URL", "postgres://u:secret@a,b:6543/drive_shard_0"),
        ("SHARD_0_REPLICA_URLS", "postgres://u:secret@b:6543/drive_shard_0 , postgres://u:secret@c/drive_shard_0,"),
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
        (&[("TLS_CERT_FILE", "c.pem")], &["TLS_KEY_FILE: is missing, but there is TLS_CERT_FILE"]),
        (&[("RATE_LIMIT_BURST", "10")], &["RATE_LIMIT_BURST: says nothing without RATE_LIMIT"]),
        (&[("NUM_SHARDS", "two")], &["NUM_SHARDS: must be a whole number from 1 to 5040"]),
        (&[("SHARD_3_URL", "postgres://u@h3/d")], &["SHARD_2_URL: is missing, but there is SHARD_3_URL"]),
        (
            &[("SHARD_2_URL", "postgres://u:secret@h1:5432/drive_shard_1")],
            &["SHARD_2_URL: names the same database as SHARD_1_URL; each shard needs its own"],
        ),
        (
            &[("SHARD_2_URL", "postgres://u:secret@h2:1,h1:5432/drive_shard_1")],
            &["SHARD_2_URL: names the same database as SHARD_1_URL; each shard needs its own"],
        ),
        (
            &[("SHARD_1_URL", "postgres://u:secret@h1,,h2/drive_shard_1")],
            &["SHARD_1_URL: has a comma but no host before or behind it"],
        ),
        (
            &[
                ("SHARD_0_REPLICA_URLS", "postgres://u:secret@r/d, mysql://u:secret@r2/d,postgres://u:secret@r/d"),
                ("SHARD_5_REPLICA_URLS", "postgres://u:secret@r/d"),
                ("SHARD_0_SPARE_URL", "postgres://u:secret@s/d"),
                ("SHARD_6_SPARE_URL", "u:secret@s/d"),
            ],
            &[
                "SHARD_0_SPARE_URL: is set, and so is SHARD_0_URL: which one counts?",
                "SHARD_6_SPARE_URL: must start with postgres:// or postgresql://",
                "SHARD_0_REPLICA_URLS: URL 2: must start with postgres:// or postgresql://",
                "SHARD_0_REPLICA_URLS: URL 3 names the same server as one before it",
                "SHARD_5_REPLICA_URLS: there is no SHARD_5_URL",
            ],
        ),
        (&[("DRAIN_DELAY_S", "soon")], &["DRAIN_DELAY_S: must be a whole number from 0 to 3600"]),
        (&[("REPLICA_MAX_LAG", "1")], &["REPLICA_MAX_LAG: unknown setting; did you mean REPLICA_MAX_LAG_MS?"]),
        (&[("SHARD_1_URL", "mysql://u:secret@h/d")], &["SHARD_1_URL: must start with postgres:// or postgresql://"]),
        (&[("DB_POOL_MAX_SIZE", "0")], &["DB_POOL_MAX_SIZE: must be a whole number from 1 to 1000"]),
        (&[("DB_POOL_MIN_SIZE", "9")], &["DB_POOL_MAX_SIZE: must be at least DB_POOL_MIN_SIZE"]),
        (&[("SHARD_TIMEOUT_MS", "5s")], &["SHARD_TIMEOUT_MS: must be a whole number from 1 to 600000"]),
        (&[("LOG_FORMAT", "xml")], &["LOG_FORMAT: must be text or json"]),
        (&[("BIND_ADDR", "8000")], &["BIND_ADDR: must be host:port, as in 0.0.0.0:8000 or [::1]:8000"]),
        (&[("BIND_ADDR", "::1:8000")], &["BIND_ADDR: must be host:port, as in 0.0.0.0:8000 or [::1]:8000"]),
        (&[("RUST_LOG", "shardrive=loud")], &[LEVELS_NEEDED]),
        (&[("RUST_LOG", "inof")], &[LEVELS_NEEDED]),
        (&[("RUST_LOG", "((")], &[LEVELS_NEEDED]),
        (&[("DB_POOL_MAXSIZE", "9")], &["DB_POOL_MAXSIZE: unknown setting; did you mean DB_POOL_MAX_SIZE?"]),
        (
            &[("REDIS_URL", "localhost:6381")],
            &["REDIS_URL: must start with redis://, as in redis://localhost:6381, or with rediss:// for TLS"],
        ),
        (
            &[("REDIS_URL", "rediss://:secret@cache/#insecure"), ("CACHE_TTL", "0")],
            &[
                "REDIS_URL: must not say #insecure: REDIS_CA_FILE names the CA certificate of the server",
                "CACHE_TTL: must be a whole number from 1 to 86400",
            ],
        ),
        (
            &[("AUTH_AUDIENCE", "drive")],
            &["AUTH_AUDIENCE: says nothing without AUTH_ISSUER, AUTH_JWKS_URL or AUTH_SECRET; sign-in would be off"],
        ),
        (
            &[("AUTH_ISSUER", "login.example.org"), ("AUTH_SECRET", "secret"), ("AUTH_CLOCK_SKEW_S", "-1")],
            &[
                "AUTH_ISSUER: must be a URL as in https://login.example.org/realms/main, without user, query and #",
                "AUTH_SECRET: must have 32 bytes or more, as from: openssl rand -base64 48",
                "AUTH_CLOCK_SKEW_S: must be a whole number from 0 to 300",
                "AUTH_SECRET: goes with neither AUTH_ISSUER nor AUTH_JWKS_URL: tokens are signed by one or the other",
                "AUTH_AUDIENCE: is missing: the provider's name for this service, or its tokens for other services would \
                 count here too",
            ],
        ),
        (
            &[("AUTH_JWKS_URL", "https://user:secret@h/k"), ("AUTH_AUDIENCE", "drive"), ("AUTH_USER_CLAIM", "a b")],
            &[
                "AUTH_JWKS_URL: must be a URL as in https://login.example.org/realms/main, without user, query and #",
                "AUTH_USER_CLAIM: must be the name of a claim, as in sub or realm_access.roles",
            ],
        ),
        (&[("AUTH_ISUER", "https://h")], &["AUTH_ISUER: unknown setting; did you mean AUTH_ISSUER?"]),
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
    let secrets =
        [("REDIS_URL", "redis://:secret@cache"), ("AUTH_SECRET", "secret, and long enough to be one of HS256")];
    assert!(!format!("{:?}", read(&secrets).unwrap()).contains("secret"));
}

#[test]
fn sign_in_is_off_without_its_settings() {
    assert!(read(&[]).unwrap().auth.is_none());
    let auth = read(&[("AUTH_ISSUER", "https://h/realm"), ("AUTH_AUDIENCE", "drive")]).unwrap().auth.unwrap();
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
fn an_empty_protection_is_refused() {
    let empty = [
        "AUTH_AUDIENCE",
        "AUTH_CA_FILE",
        "AUTH_CLOCK_SKEW_S",
        "AUTH_ISSUER",
        "AUTH_JWKS_URL",
        "AUTH_SCOPE_CLAIM",
        "AUTH_SECRET",
        "AUTH_SECRET_FILE",
        "AUTH_USER_CLAIM",
        "EVENTS_CA_FILE",
        "MAX_BULK_LOADS_PER_CALLER",
        "RATE_LIMIT",
        "RATE_LIMIT_BURST",
        "REDIS_CA_FILE",
        "TLS_CERT_FILE",
        "TLS_KEY_FILE",
    ];
    for value in ["", "  "] {
        let vars = empty.map(|name| (name, value));
        let expected = empty.map(|name| format!("{name}: is empty: give it a value, or remove it to do without"));
        assert_eq!(faults(&vars), expected);
    }
}

#[test]
fn other_programs_variables_do_not_stop_the_start() {
    let ignored = [
        "AUDIT_LOG",
        "AUTH_TOKEN",
        "BIND_ADDRESS",
        "EVENTS_TABLE",
        "HTTP_WORKER_COUNT",
        "LOG_FILE",
        "LOG_LEVEL",
        "RATE_LIMIT_ENABLED",
        "SHARD_KEY",
        "TLS_VERIFY",
        "WRITE_TIMEOUT",
    ];
    let silent = [
        "AUTH_PORT",
        "AUTH_PORT_80_TCP_ADDR",
        "AUTH_SERVICE_HOST",
        "CONNECT_TIMEOUT",
        "CORS_ALLOWED_ORIGINS",
        "DB_0_PORT",
        "KEEP_ALIVE",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_TRACES_SAMPLER",
        "PATH",
        "REDIS_HOST",
        "RUST_BACKTRACE",
        "RUST_LOG_STYLE",
        "SHARD_0_PORT_5432_TCP",
        "SHARD_0_SERVICE_HOST",
        "SSL_CERT_FILE",
    ];
    let vars: Vec<_> = ignored.iter().chain(&silent).map(|name| (*name, "value")).collect();
    assert_eq!(read(&vars).unwrap().ignored, ignored);
}

#[test]
fn certificates_are_read_from_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, "none").unwrap();
    let file = path.to_str().unwrap();
    let secret = "secret, and long enough to be one of HS256";
    assert_eq!(
        faults(&[("AUTH_SECRET", secret), ("AUTH_CA_FILE", "/nowhere"), ("OTEL_EXPORTER_OTLP_CERTIFICATE", file)]),
        [
            "AUTH_CA_FILE: names a file that cannot be read",
            "AUTH_CA_FILE: says nothing without AUTH_ISSUER or AUTH_JWKS_URL",
            "OTEL_EXPORTER_OTLP_CERTIFICATE: must hold certificates in PEM form",
        ]
    );
}

#[test]
fn a_service_is_found_on_its_own_machine() {
    let tls = [("TLS_CERT_FILE", "c.pem"), ("TLS_KEY_FILE", "k.pem")];
    for (bind, tls, url) in [
        ("", &tls[..0], "http://127.0.0.1:8000"),
        ("0.0.0.0:9000", &tls[..], "https://127.0.0.1:9000"),
        ("[::]:80", &tls[..0], "http://[::1]:80"),
        ("10.0.0.7:80", &tls[..0], "http://10.0.0.7:80"),
    ] {
        let vars = [("BIND_ADDR", bind), ("SHARD_0_URL", "not looked at")];
        let vars = vars.iter().chain(tls).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        assert_eq!(Settings::own_url(vars).unwrap(), url);
    }
    let error = Settings::own_url([("BIND_ADDR".to_owned(), "8000".to_owned())]).unwrap_err();
    assert!(error.to_string().starts_with("the settings are wrong:\n- BIND_ADDR: "), "{error}");
}

#[test]
fn a_replica_without_a_user_takes_the_shards() {
    let settings = read(&[
        ("SHARD_0_URL", "postgres://me:a%40b@h0,h9/drive_shard_0"),
        (
            "SHARD_0_REPLICA_URLS",
            "postgres://r1:5433/drive_shard_0?sslmode=disable, postgres://other:pw@r2/drive_shard_0",
        ),
    ])
    .unwrap();
    let urls: Vec<_> = settings.shards[0].replicas().iter().map(ShardOptions::secret_subscription_url).collect();
    let wanted = ["postgres://me:a%40b@r1:5433/drive_shard_0?sslmode=disable", "postgres://other:pw@r2/drive_shard_0"];
    assert_eq!(urls, wanted);
}

#[test]
fn secrets_may_stand_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (shard, cache) = (file("shard", "postgres://u:secret@h2/d\n"), file("cache", " redis://:secret@cache\n\n"));
    let settings = read(&[("SHARD_2_URL_FILE", &shard), ("REDIS_URL_FILE", &cache)]).unwrap();
    assert_eq!(settings.shards.len(), 3);
    assert!(settings.cache.url.is_some());
    let (empty, bytes) = (file("empty", "\n"), folder.path().join("bytes"));
    std::fs::write(&bytes, [0xff; 40]).unwrap();
    assert_eq!(
        faults(&[("REDIS_URL", "redis://h"), ("REDIS_URL_FILE", &cache), ("AUTH_SECRET_FILE", &empty)]),
        ["AUTH_SECRET_FILE: names an empty file", "REDIS_URL_FILE: is set, and so is REDIS_URL: which one counts?"]
    );
    for path in ["/nowhere", bytes.to_str().unwrap(), folder.path().to_str().unwrap()] {
        let found = faults(&[("AUTH_SECRET_FILE", path)]);
        assert!(
            found.len() == 1 && found[0].starts_with("AUTH_SECRET_FILE: names a file that cannot be read"),
            "{found:?}"
        );
    }
    assert_eq!(faults(&[("BIND_ADDR_FILE", &cache)]), ["BIND_ADDR_FILE: unknown setting; did you mean BIND_ADDR?"]);
}

/// `# NAME=default` or `NAME=value`, once for each setting and for nothing else.
#[test]
fn the_example_lists_every_setting_with_its_default() {
    let example = include_str!("../../.env.example");
    let assignments = example.lines().filter_map(|line| line.trim_start_matches(['#', ' ']).split_once('='));
    let listed: Vec<(&str, &str)> = assignments
        .filter(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'))
        .collect();
    for setting in all() {
        let values: Vec<_> = listed.iter().filter(|(name, _)| *name == setting.name).map(|(_, value)| *value).collect();
        assert_eq!(values.len(), 1, "{} stands in .env.example once", setting.name);
        assert!(setting.default.is_empty() || values == [setting.default], "{}", setting.name);
    }
    let unknown: Vec<_> = listed
        .iter()
        .filter(|(name, _)| !name.starts_with("SHARD_") && !all().any(|setting| setting.name == *name))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let all = listed.iter().filter(|(_, value)| !value.is_empty());
    Settings::from_vars(all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).unwrap();
}

/// `| `NAME` | `default` | meaning |`, each setting in one row of docs/settings.md.
#[test]
fn the_settings_page_lists_every_setting_with_its_default() {
    let page = include_str!("../../docs/settings.md");
    let rows: Vec<(Vec<&str>, &str)> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>())
        .filter(|cells| cells.len() == 3)
        .map(|cells| (cells[0].split('`').skip(1).step_by(2).collect(), cells[1]))
        .collect();
    for setting in all() {
        let shown: Vec<_> = rows.iter().filter(|(names, _)| names.contains(&setting.name)).collect();
        assert_eq!(shown.len(), 1, "docs/settings.md has one row for {}", setting.name);
        let (default, written) = (shown[0].1, format!("`{}`", setting.default));
        assert!(setting.default.is_empty() || default == written, "docs/settings.md: {}: {default}", setting.name);
    }
    let names = rows.iter().flat_map(|(names, _)| names);
    let unknown: Vec<_> =
        names.filter(|name| !name.starts_with("SHARD_") && !all().any(|setting| setting.name == **name)).collect();
    assert!(unknown.is_empty(), "docs/settings.md names what is no setting: {unknown:?}");
}

//! What the refusals say.

use super::*;

const LEVELS_NEEDED: &str = "RUST_LOG: must be levels, as in info or warn,shardrive=debug; \
                             a level is off, error, warn, info, debug or trace";

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
        (
            &[("SHARDRIVE_TLS_CERT_FILE", "c.pem")],
            &["SHARDRIVE_TLS_KEY_FILE: is missing, but there is SHARDRIVE_TLS_CERT_FILE"],
        ),
        (
            &[("SHARDRIVE_RATE_LIMIT_BURST", "10")],
            &["SHARDRIVE_RATE_LIMIT_BURST: says nothing without SHARDRIVE_RATE_LIMIT_PER_S"],
        ),
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
                (
                    "SHARDRIVE_SHARD_0_REPLICA_URLS",
                    "postgres://u:secret@r/d, mysql://u:secret@r2/d,postgres://u:secret@r/d",
                ),
                ("SHARDRIVE_SHARD_5_REPLICA_URLS", "postgres://u:secret@r/d"),
                ("SHARDRIVE_SHARD_0_SPARE_URL", "postgres://u:secret@s/d"),
                ("SHARDRIVE_SHARD_6_SPARE_URL", "u:secret@s/d"),
            ],
            &[
                "SHARDRIVE_SHARD_0_SPARE_URL: is set, and so is SHARD_0_URL: which one counts?",
                "SHARDRIVE_SHARD_6_SPARE_URL: must start with postgres:// or postgresql://",
                "SHARDRIVE_SHARD_0_REPLICA_URLS: URL 2: must start with postgres:// or postgresql://",
                "SHARDRIVE_SHARD_0_REPLICA_URLS: URL 3 names the same server as one before it",
                "SHARDRIVE_SHARD_5_REPLICA_URLS: there is no SHARD_5_URL",
            ],
        ),
        (&[("SHARDRIVE_DRAIN_DELAY_S", "soon")], &["SHARDRIVE_DRAIN_DELAY_S: must be a whole number from 0 to 3600"]),
        (
            &[("SHARDRIVE_REPLICA_MAX_LAG", "1")],
            &["SHARDRIVE_REPLICA_MAX_LAG: unknown setting; did you mean SHARDRIVE_REPLICA_MAX_LAG_MS?"],
        ),
        (&[("SHARD_1_URL", "mysql://u:secret@h/d")], &["SHARD_1_URL: must start with postgres:// or postgresql://"]),
        (&[("DB_POOL_MAX_SIZE", "0")], &["DB_POOL_MAX_SIZE: must be a whole number from 1 to 1000"]),
        (&[("DB_POOL_MIN_SIZE", "9")], &["DB_POOL_MAX_SIZE: must be at least DB_POOL_MIN_SIZE"]),
        (
            &[("SHARDRIVE_SHARD_TIMEOUT_MS", "5s")],
            &["SHARDRIVE_SHARD_TIMEOUT_MS: must be a whole number from 1 to 600000"],
        ),
        (&[("SHARDRIVE_LOG_FORMAT", "xml")], &["SHARDRIVE_LOG_FORMAT: must be text or json"]),
        (&[("BIND_ADDR", "8000")], &["BIND_ADDR: must be host:port, as in 0.0.0.0:8000 or [::1]:8000"]),
        (&[("BIND_ADDR", "::1:8000")], &["BIND_ADDR: must be host:port, as in 0.0.0.0:8000 or [::1]:8000"]),
        (&[("RUST_LOG", "shardrive=loud")], &[LEVELS_NEEDED]),
        (&[("RUST_LOG", "inof")], &[LEVELS_NEEDED]),
        (&[("RUST_LOG", "((")], &[LEVELS_NEEDED]),
        (
            &[("SHARDRIVE_DB_POOL_MAXSIZE", "9")],
            &["SHARDRIVE_DB_POOL_MAXSIZE: unknown setting; did you mean SHARDRIVE_DB_POOL_MAX_SIZE?"],
        ),
        (
            &[("REDIS_URL", "localhost:6381")],
            &["REDIS_URL: must start with redis://, as in redis://localhost:6381, or with rediss:// for TLS"],
        ),
        (
            &[("REDIS_URL", "rediss://:secret@cache/#insecure"), ("CACHE_TTL", "0")],
            &[
                "REDIS_URL: must not say #insecure: SHARDRIVE_REDIS_CA_FILE names the CA certificate of the server",
                "CACHE_TTL: must be a whole number from 1 to 86400",
            ],
        ),
        (
            &[("SHARDRIVE_AUTH_AUDIENCE", "drive")],
            &["SHARDRIVE_AUTH_AUDIENCE: says nothing without SHARDRIVE_AUTH_ISSUER, SHARDRIVE_AUTH_JWKS_URL or \
               SHARDRIVE_AUTH_SECRET; sign-in would be off"],
        ),
        (
            &[
                ("SHARDRIVE_AUTH_ISSUER", "login.example.org"),
                ("SHARDRIVE_AUTH_SECRET", "secret"),
                ("SHARDRIVE_AUTH_CLOCK_SKEW_S", "-1"),
            ],
            &[
                "SHARDRIVE_AUTH_ISSUER: must be a URL as in https://login.example.org/realms/main, without user, query and #",
                "SHARDRIVE_AUTH_SECRET: must have 32 bytes or more, as from: openssl rand -base64 48",
                "SHARDRIVE_AUTH_CLOCK_SKEW_S: must be a whole number from 0 to 300",
                "SHARDRIVE_AUTH_SECRET: goes with neither SHARDRIVE_AUTH_ISSUER nor SHARDRIVE_AUTH_JWKS_URL: tokens are signed \
                 by one or the other",
                "SHARDRIVE_AUTH_AUDIENCE: is missing: the provider's name for this service, or its tokens for other services would \
                 count here too",
            ],
        ),
        (
            &[
                ("SHARDRIVE_AUTH_JWKS_URL", "https://user:secret@h/k"),
                ("SHARDRIVE_AUTH_AUDIENCE", "drive"),
                ("SHARDRIVE_AUTH_USER_CLAIM", "a b"),
            ],
            &[
                "SHARDRIVE_AUTH_JWKS_URL: must be a URL as in https://login.example.org/realms/main, without user, query and #",
                "SHARDRIVE_AUTH_USER_CLAIM: must be the name of a claim, as in sub or realm_access.roles",
            ],
        ),
        (
            &[("SHARDRIVE_AUTH_ISUER", "https://h")],
            &["SHARDRIVE_AUTH_ISUER: unknown setting; did you mean SHARDRIVE_AUTH_ISSUER?"],
        ),
        (
            &[("SHARDRIVE_SHARD_2_URI", "x")],
            &["SHARDRIVE_SHARD_2_URI: unknown setting; did you mean SHARDRIVE_SHARD_2_URL?"],
        ),
        (
            &[("SHARDRIVE_SHARD_02_URL", "x")],
            &["SHARDRIVE_SHARD_02_URL: unknown setting; did you mean SHARDRIVE_SHARD_2_URL?"],
        ),
        (
            &[("SHARDRIVE_OTEL_SERVICE_NAME", "x")],
            &["SHARDRIVE_OTEL_SERVICE_NAME: unknown setting; did you mean OTEL_SERVICE_NAME?"],
        ),
        (
            &[("SHARDRIVE_CACHE_TTL", "9")],
            &["SHARDRIVE_CACHE_TTL: unknown setting; did you mean SHARDRIVE_CACHE_TTL_S?"],
        ),
        (
            &[("SHARDRIVE_RATE_LIMT", "9")],
            &["SHARDRIVE_RATE_LIMT: unknown setting; did you mean SHARDRIVE_RATE_LIMIT_PER_S?"],
        ),
        (
            &[("SHARDDRIVE_AUTH_SECRET", "x"), ("SHARD_RIVE_AUTH_SECRET_FILE", "x"), ("shardrive_log_format", "x")],
            &[
                "SHARDDRIVE_AUTH_SECRET: unknown setting; did you mean SHARDRIVE_AUTH_SECRET?",
                "SHARD_RIVE_AUTH_SECRET_FILE: unknown setting; did you mean SHARDRIVE_AUTH_SECRET_FILE?",
                "shardrive_log_format: unknown setting; did you mean SHARDRIVE_LOG_FORMAT?",
            ],
        ),
        (
            &[("SHARDRIVE_NOTHING_LIKE_A_SETTING", "x")],
            &["SHARDRIVE_NOTHING_LIKE_A_SETTING: unknown setting; \"shardrive config show\" lists all of them"],
        ),
        (
            &[("SHARDRIVE_LOG_FORMAT", "xml"), ("SHARDRIVE_WRITE_BATCH_ROWS", "-1"), ("SHARDRIVE_NUM_SHARD", "2")],
            &[
                "SHARDRIVE_NUM_SHARD: unknown setting; did you mean SHARDRIVE_NUM_SHARDS?",
                "SHARDRIVE_WRITE_BATCH_ROWS: must be a whole number from 1 to 5000",
                "SHARDRIVE_LOG_FORMAT: must be text or json",
            ],
        ),
    ];
    for (vars, expected) in table {
        assert_eq!(faults(vars), *expected, "{vars:?}");
    }
}

#[test]
fn without_shards_there_is_one_fault() {
    let error = Settings::of(given(&[])).unwrap_err();
    assert_eq!(error.0.len(), 1);
    assert_eq!(error.0[0].name, "SHARD_0_URL");
}

#[test]
fn an_empty_protection_is_refused() {
    let empty = [
        "SHARDRIVE_AUTH_AUDIENCE",
        "SHARDRIVE_AUTH_CA_FILE",
        "SHARDRIVE_AUTH_CLOCK_SKEW_S",
        "SHARDRIVE_AUTH_ISSUER",
        "SHARDRIVE_AUTH_JWKS_URL",
        "SHARDRIVE_AUTH_SCOPE_CLAIM",
        "SHARDRIVE_AUTH_SECRET",
        "SHARDRIVE_AUTH_SECRET_FILE",
        "SHARDRIVE_AUTH_USER_CLAIM",
        "SHARDRIVE_EVENTS_CA_FILE",
        "SHARDRIVE_MAX_BULK_LOADS_PER_CALLER",
        "SHARDRIVE_RATE_LIMIT_BURST",
        "SHARDRIVE_RATE_LIMIT_PER_S",
        "SHARDRIVE_REDIS_CA_FILE",
        "SHARDRIVE_TLS_CERT_FILE",
        "SHARDRIVE_TLS_KEY_FILE",
    ];
    for value in ["", "  "] {
        let mut found = faults(&empty.map(|name| (name, value)));
        found.sort_unstable();
        assert_eq!(found, empty.map(|name| format!("{name}: is empty: give it a value, or remove it to do without")));
    }
}

#[test]
fn certificates_are_read_from_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, "none").unwrap();
    let file = path.to_str().unwrap();
    let secret = "secret, and long enough to be one of HS256";
    assert_eq!(
        faults(&[
            ("SHARDRIVE_AUTH_SECRET", secret),
            ("SHARDRIVE_AUTH_CA_FILE", "/nowhere"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", file)
        ]),
        [
            "SHARDRIVE_AUTH_CA_FILE: names a file that cannot be read",
            "SHARDRIVE_AUTH_CA_FILE: says nothing without SHARDRIVE_AUTH_ISSUER or SHARDRIVE_AUTH_JWKS_URL",
            "OTEL_EXPORTER_OTLP_CERTIFICATE: must hold certificates in PEM form",
        ]
    );
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
        faults(&[("REDIS_URL", "redis://h"), ("REDIS_URL_FILE", &cache), ("SHARDRIVE_AUTH_SECRET_FILE", &empty)]),
        [
            "REDIS_URL_FILE: is set, and so is REDIS_URL: which one counts?",
            "SHARDRIVE_AUTH_SECRET_FILE: names an empty file"
        ]
    );
    for path in ["/nowhere", bytes.to_str().unwrap(), folder.path().to_str().unwrap()] {
        let found = faults(&[("SHARDRIVE_AUTH_SECRET_FILE", path)]);
        assert!(
            found.len() == 1 && found[0].starts_with("SHARDRIVE_AUTH_SECRET_FILE: names a file that cannot be read"),
            "{found:?}"
        );
    }
    assert_eq!(
        faults(&[("SHARDRIVE_BIND_ADDR_FILE", &cache)]),
        ["SHARDRIVE_BIND_ADDR_FILE: unknown setting; did you mean SHARDRIVE_BIND_ADDR?"]
    );
}

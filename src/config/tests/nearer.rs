//! Which names count where, and which of several values.

use super::*;
use crate::config::origin::Origin;

/// The settings of an environment, a `.env`, a TOML file and the flag `--bind`.
fn of_all(environment: &[(&str, &str)], dotenv: &str, toml: &str, bind: Option<&str>) -> GivenSettings {
    let mut given = given(environment);
    assert_eq!(sources::add_dotenv(&mut given, dotenv), None);
    sources::add_toml(&mut given, "shardrive.toml", toml);
    if let Some(bind) = bind {
        given.set("BIND_ADDR", bind.to_owned(), "--bind");
    }
    given
}

fn toml_faults(text: &str) -> Vec<String> {
    texts(Settings::of(of_all(GOOD, "", text, None)).unwrap_err())
}

#[test]
fn the_nearest_value_counts_and_the_others_are_told() {
    // From the nearest to the farthest: the place, and the value there.
    let places = [
        "--bind",
        "SHARDRIVE_BIND_ADDR in the environment",
        "BIND_ADDR in the environment",
        "SHARDRIVE_BIND_ADDR in .env, line 2",
        "BIND_ADDR in .env, line 1",
        "bind_addr in shardrive.toml, line 1",
        "default",
    ];
    for nearest in 0..places.len() {
        let has = |place: usize| nearest <= place;
        let environment = [("SHARDRIVE_BIND_ADDR", "h:1"), ("BIND_ADDR", "h:2")];
        let environment: Vec<_> = environment.into_iter().zip(1..).filter(|(_, place)| has(*place)).collect();
        let environment: Vec<_> = environment.into_iter().map(|(variable, _)| variable).collect();
        let prefixed = if has(3) { "SHARDRIVE_BIND_ADDR=h:3" } else { "" };
        let short = if has(4) { "BIND_ADDR=h:4" } else { "" };
        let toml = if has(5) { "bind_addr = 'h:5'" } else { "" };
        let bind = Some("h:0").filter(|_| has(0));
        let given = of_all(&[GOOD, &environment].concat(), &format!("{short}\n{prefixed}"), toml, bind);
        let mut read = SettingsReader::new(given);
        let settings = service::read(&mut read);
        let shown = show::explain(read.entries(), &settings);
        let row = shown.iter().find(|row| row.name == "SHARDRIVE_BIND_ADDR").unwrap();
        let value = if nearest == 6 { "127.0.0.1:8000".to_owned() } else { format!("h:{nearest}") };
        assert_eq!((row.source.as_str(), row.value.as_deref()), (places[nearest], Some(value.as_str())));
        assert_eq!(row.overrides, places[(nearest + 1).min(6)..6]);
        assert_eq!(settings.server.bind, value);
        read.finish(()).unwrap();
    }
}

#[test]
fn an_empty_value_and_a_file_of_a_secret_take_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    std::fs::write(&path, "redis://:secret@near").unwrap();
    let path = path.to_str().unwrap();
    for (environment, dotenv, toml, address) in [
        (&[("REDIS_URL", "")][..], "", "redis_url = 'redis://toml'", "redis://toml"),
        (&[("SHARDRIVE_REDIS_URL_FILE", path)], "REDIS_URL=redis://dotenv", "", "redis://:***@near"),
        (&[("SHARDRIVE_REDIS_URL_FILE", path), ("REDIS_URL", "redis://far")], "", "", "redis://:***@near"),
        (
            &[("REDIS_URL", "redis://near")],
            "REDIS_URL=redis://x\nREDIS_URL=redis://y",
            "redis_url_file = '/nowhere'",
            "redis://near",
        ),
        (&[], "REDIS_URL=redis://x\nREDIS_URL=redis://y", "", "redis://y"),
    ] {
        let mut read = SettingsReader::new(of_all(&[GOOD, environment].concat(), dotenv, toml, None));
        let settings = service::read(&mut read);
        let shown = show::explain(read.entries(), &settings);
        let row = shown.iter().find(|row| row.name == "SHARDRIVE_REDIS_URL").unwrap();
        assert_eq!(row.value.as_deref(), Some(address));
        read.finish(()).unwrap();
    }
}

#[test]
fn no_secret_is_shown() {
    let environment = [
        ("SHARDRIVE_SHARD_0_REPLICA_URLS", "postgres://u:secret@r1/d,postgres://u:secret@r2/d"),
        ("SHARDRIVE_AUTH_SECRET", "secret, and long enough to be one of HS256"),
        ("REDIS_URL", "redis://:secret@cache"),
        ("SHARDRIVE_EVENTS_URL", "nats://u:secret@broker"),
    ];
    let mut read = SettingsReader::new(given(&[GOOD, &environment].concat()));
    let settings = service::read(&mut read);
    let shown = show::explain(read.entries(), &settings);
    assert!(!format!("{shown:?}").contains("secret"), "{shown:?}");
    let names: Vec<_> = shown.iter().take(3).map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["SHARDRIVE_SHARD_0_REPLICA_URLS", "SHARDRIVE_SHARD_0_URL", "SHARDRIVE_SHARD_1_URL"]);
}

#[test]
fn a_toml_file_has_the_same_settings() {
    let text = "shard_0_url = 'postgres://u:secret@h0/d'\nshard_0_replica_urls = [\n  'postgres://r1/d',\n  'postgres://r2/d',\n]\n\
                shard_timeout_ms = 7_000\ncors_origins = ['https://a', 'https://b']\notel_traces_sampler_arg = 0.25\n\
                trusted_proxies = '10.0.0.0/8,::1'\nlog_format = \"json\"\n";
    let settings = Settings::of(of_all(&[], "", text, None)).unwrap();
    assert_eq!(settings.shards[0].replicas().len(), 2);
    assert_eq!(settings.shard_limits.call_timeout.as_millis(), 7_000);
    assert_eq!((settings.traces.ratio, settings.edge.proxies.len()), (0.25, 2));
    assert!(settings.server.cors.is_some());
    assert_eq!(settings.log.format, LogFormat::Json);
}

#[test]
fn each_fault_of_a_toml_file_names_its_line() {
    for (text, expected) in [
        (
            "\nshard_timeout_ms = 'soon'",
            "shard_timeout_ms in shardrive.toml, line 2: must be a whole number from 1 to 600000",
        ),
        (
            "shard_timeout_ms = 1.5",
            "shard_timeout_ms in shardrive.toml, line 1: must be a whole number from 1 to 600000",
        ),
        (
            "shard_timeout = 1",
            "shard_timeout in shardrive.toml, line 1: unknown setting; did you mean shard_timeout_ms?",
        ),
        ("BIND_ADDR = 'h:1'", "BIND_ADDR in shardrive.toml, line 1: unknown setting; did you mean bind_addr?"),
        (
            "shardrive_bind_addr = 'h:1'",
            "shardrive_bind_addr in shardrive.toml, line 1: unknown setting; did you mean bind_addr?",
        ),
        ("cache_ttl = 1", "cache_ttl in shardrive.toml, line 1: unknown setting; did you mean cache_ttl_s?"),
        ("bind_addr = ['h:1']", "bind_addr in shardrive.toml, line 1: must be one value, and no array"),
        ("http_workers = true", "http_workers in shardrive.toml, line 1: must be a text or a number, at the top level"),
        (
            "auth_issuer = ''",
            "auth_issuer in shardrive.toml, line 1: is empty: give it a value, or remove it to do without",
        ),
        ("http_workers = 2\nhttp_workers = 3", "shardrive.toml, line 2: is no TOML: duplicate key"),
        ("redis_url = redis://:secret@h", "shardrive.toml, line 1: is no TOML: "),
    ] {
        let found = toml_faults(text);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{text}: {found:?}");
    }
    let both =
        Settings::of(of_all(&[("SHARDRIVE_HTTP_WORKERS", "no")], "SHARDRIVE_AUTH_SECRET=$x", "shard_0_url = 1", None));
    assert_eq!(
        texts(both.unwrap_err()),
        [
            "SHARDRIVE_AUTH_SECRET in .env, line 1: has a $, which Docker Compose replaces: put the value into single quotes",
            "shard_0_url in shardrive.toml, line 1: must start with postgres:// or postgresql://",
            "SHARDRIVE_HTTP_WORKERS: must be a whole number from 1 to 1024",
        ]
    );
}

#[test]
fn a_protection_without_the_prefix_stops_the_start() {
    for (variable, right) in [
        ("AUTH_SECRET", "SHARDRIVE_AUTH_SECRET"),
        ("AUTH_SECRET_FILE", "SHARDRIVE_AUTH_SECRET_FILE"),
        ("AUTH_ISSUER", "SHARDRIVE_AUTH_ISSUER"),
        ("TLS_CERT_FILE", "SHARDRIVE_TLS_CERT_FILE"),
        ("RATE_LIMIT", "SHARDRIVE_RATE_LIMIT_PER_S"),
        ("RATE_LIMIT_BURST", "SHARDRIVE_RATE_LIMIT_BURST"),
        ("REDIS_CA_FILE", "SHARDRIVE_REDIS_CA_FILE"),
    ] {
        let reason = format!("does not count without the prefix: use {right}");
        assert_eq!(faults(&[(variable, "value")]), [format!("{variable}: {reason}")]);
        let in_file = of_all(GOOD, &format!("{variable}=value"), "", None);
        assert_eq!(texts(Settings::of(in_file).unwrap_err()), [format!("{variable} in .env, line 1: {reason}")]);
    }
}

#[test]
fn other_programs_variables_do_not_stop_the_start() {
    let unprefixed = [
        ("LOG_FORMAT", "SHARDRIVE_LOG_FORMAT"),
        ("SHARD_0_REPLICA_URLS", "SHARDRIVE_SHARD_0_REPLICA_URLS"),
        ("WRITE_BATCH_ROWS", "SHARDRIVE_WRITE_BATCH_ROWS"),
    ];
    let silent = [
        ("AUTH_TOKEN", "value"),
        ("BIND_ADDRESS", "value"),
        ("CONNECT_TIMEOUT", "value"),
        ("DB_0_PORT", "value"),
        ("LOG_LEVEL", "info"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "value"),
        ("OTEL_TRACES_SAMPLER", "value"),
        ("PATH", "value"),
        ("REDIS_HOST", "value"),
        ("REDIS_PORT", "tcp://10.0.0.1:6379"),
        ("RUST_BACKTRACE", "1"),
        ("SHARD_KEY", "value"),
        ("TLS_VERIFY", "1"),
        ("SHARDRIVE_VERSION", "0.1.0"),
        // What Kubernetes says of services called shardrive, shardrive-cache and shardrive-shard-0-rw.
        ("SHARDRIVE_PORT", "tcp://10.0.0.1:80"),
        ("SHARDRIVE_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
        ("SHARDRIVE_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("SHARDRIVE_PORT_8000_TCP_PORT", "8000"),
        ("SHARDRIVE_PORT_8000_TCP_PROTO", "tcp"),
        ("SHARDRIVE_SERVICE_HOST", "10.0.0.1"),
        ("SHARDRIVE_SERVICE_PORT", "80"),
        ("SHARDRIVE_SERVICE_PORT_HTTP", "80"),
        ("SHARDRIVE_CACHE_SERVICE_HOST", "10.0.0.1"),
        ("SHARDRIVE_CACHE_PORT", "tcp://10.0.0.1:6379"),
        ("SHARDRIVE_SHARD_0_RW_PORT_5432_TCP", "tcp://10.0.0.1:5432"),
    ];
    let variables: Vec<_> = unprefixed.iter().map(|(name, _)| (*name, "value")).chain(silent).collect();
    assert_eq!(read(&variables).unwrap().unprefixed, unprefixed.map(|(_, right)| right));
    // A port that no service link names is a mistake.
    for name in ["SHARDRIVE_PORT", "SHARDRIVE_BIND_PORT", "SHARDRIVE_PORT_HTTP"] {
        assert_eq!(faults(&[(name, "8000")]).len(), 1, "{name}");
    }
}

#[test]
fn commands_without_shards_read_their_settings_alone() {
    let secret = "secret, and long enough to be one of HS256";
    let others = [
        ("SHARDRIVE_AUTH_SECRET", secret),
        ("SHARDRIVE_HTTP_WORKERS", "no"),
        ("SHARDRIVE_UNKNOWN", "x"),
        ("TLS_KEY_FILE", "k"),
    ];
    let mut given = given(&others);
    given.retain(|name| name.starts_with("AUTH_"));
    assert!(given.faults.is_empty(), "{given:?}");
    assert_eq!(given.values[0].origin, Origin::Environment("SHARDRIVE_AUTH_SECRET".to_owned()));
}

/// The flag, the environment and `.env` may name the file.
#[test]
fn the_toml_file_is_found_by_its_name() {
    let mut given = GivenSettings::default();
    let named =
        [("SHARDRIVE_CONFIG", "/etc/a.toml")].map(|(name, value)| (OsString::from(name), OsString::from(value)));
    assert_eq!(sources::add_environment(&mut given, named), Some("/etc/a.toml".into()));
    assert_eq!(sources::add_dotenv(&mut given, "SHARDRIVE_CONFIG=b.toml"), Some("b.toml".into()));
    assert!(given.values.is_empty() && given.faults.is_empty());
    let folder = tempfile::tempdir().unwrap();
    for (name, content, expected) in
        [("none.toml", None, "there is no file"), ("bytes.toml", Some([0xff; 4]), "must be UTF-8")]
    {
        let file = folder.path().join(name);
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let given = sources::gather(&SettingFlags { file: Some(file), bind: None });
        let found: Vec<_> = given.faults.iter().map(|(_, fault)| fault.to_string()).collect();
        assert!(found.len() == 1 && found[0].starts_with("--config: ") && found[0].contains(expected), "{found:?}");
    }
}

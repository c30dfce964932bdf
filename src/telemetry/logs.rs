//! The logger: lines for people, or JSON objects for machines, on standard error.

use std::io::{self, Write};

use chrono::{SecondsFormat, Utc};
use env_logger::{Builder, Target, WriteStyle};
use log::kv::{Key, Value, VisitSource};
use log::{LevelFilter, Record, SetLoggerError};
use serde_json::{Map, Value as Json};

use super::current_request;
use super::one_line::OneLine;

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    Text,
    /// One JSON object a line: `ts`, `level`, `target`, `message`, and the line's own fields beside them.
    Json,
}

/// The levels and the format of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogOptions {
    /// Levels, overall and by module, as in `warn,shardrive=debug`.
    pub filter: String,
    /// How lines look.
    pub format: LogFormat,
}

/// Modules of libraries whose levels are too loud; the filter may still ask for them. `actix_http` logs malformed
/// requests as errors. `actix_server` reports the start and stop of its threads. `sqlx` repeats notices such as
/// "schema already exists, skipping". `async_nats` logs each try to connect, and the relays report an unreachable
/// broker anyway.
const QUIET_MODULES: &[(&str, LevelFilter)] = &[
    ("actix_http", LevelFilter::Off),
    ("actix_server", LevelFilter::Warn),
    ("async_nats", LevelFilter::Warn),
    ("sqlx::postgres::notice", LevelFilter::Error),
];

/// Makes this the program's logger.
///
/// # Errors
/// If a logger is installed already.
pub fn install_logger(options: &LogOptions) -> Result<(), SetLoggerError> {
    let mut builder = Builder::new();
    for (module, level) in QUIET_MODULES {
        builder.filter_module(module, *level);
    }
    builder.parse_filters(&options.filter).target(Target::Stderr);
    match options.format {
        LogFormat::Text => builder.write_style(WriteStyle::Auto).format(|out, record| {
            let style = out.default_level_style(record.level());
            let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
            write!(out, "{now} {style}{:5}{style:#} {} ", record.level(), record.target())?;
            write_message(out, record)
        }),
        LogFormat::Json => builder.write_style(WriteStyle::Never).format(write_json),
    };
    builder.try_init()
}

/// Writes the message, ` name=value` for each field, and the end of the line. Any part may hold a client's text, so
/// the escape happens here, where no caller can forget it.
fn write_message(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    write!(out, "{}", OneLine(record.args()))?;
    for (name, value) in log_fields(record) {
        let name = OneLine(&name);
        match value {
            Json::String(text) if text.contains([' ', '=', '"']) => {
                write!(out, " {name}={}", OneLine(&Json::String(text)))?;
            }
            Json::String(text) => write!(out, " {name}={}", OneLine(&text))?,
            value => write!(out, " {name}={}", OneLine(&value))?,
        }
    }
    writeln!(out)
}

fn write_json(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    let mut line = log_fields(record);
    line.insert("ts".into(), Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true).into());
    line.insert("level".into(), record.level().as_str().to_ascii_lowercase().into());
    line.insert("target".into(), record.target().into());
    line.insert("message".into(), record.args().to_string().into());
    serde_json::to_writer(&mut *out, &line)?;
    writeln!(out)
}

/// The line's own fields, and the fields of the request behind the line.
fn log_fields(record: &Record<'_>) -> Map<String, Json> {
    struct FieldCollector(Map<String, Json>);
    impl<'kvs> VisitSource<'kvs> for FieldCollector {
        fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
            let json = serde_json::to_value(&value).unwrap_or_else(|_| value.to_string().into());
            self.0.insert(key.as_str().to_owned(), json);
            Ok(())
        }
    }
    let mut collect = FieldCollector(Map::new());
    if let Some(request) = current_request() {
        collect.0.insert("request_id".into(), (*request.request_id).into());
        if let Some(trace) = request.trace_context() {
            collect.0.insert("trace_id".into(), trace.trace_id().to_string().into());
        }
        if let Some(place) = request.route() {
            collect.0.insert("slot".into(), place.slot.into());
            collect.0.insert("shard".into(), place.shard.into());
        }
    }
    // Collecting never fails.
    let _ = record.key_values().visit(&mut collect);
    collect.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{RequestContext, TraceContext, record_route, with_request};

    #[test]
    fn a_client_cannot_forge_a_line_or_a_field() {
        let mut out = Vec::new();
        let forged = "a\n2026-01-01T00:00:00.000Z ERROR forged \x1b[2J\u{202e}";
        let fields = [("path", Value::from("x status=200\r\n")), ("plain", Value::from("a\tb"))];
        let mut record = Record::builder();
        record.level(log::Level::Debug).target("t").key_values(&fields);
        write_message(&mut out, &record.args(format_args!("no such field {forged}")).build()).unwrap();
        let text = String::from_utf8(out).unwrap();
        let (line, rest) = text.split_once('\n').unwrap();
        assert_eq!(rest, "", "one line");
        assert!(!line.contains(char::is_control) && !line.contains('\u{202e}'), "{line:?}");
        assert!(
            line.starts_with("no such field a\\n2026-01-01T00:00:00.000Z ERROR forged \\u{1b}[2J\\u{202e} "),
            "{line}"
        );
        assert!(line.contains(" path=\"x status=200\\r\\n\"") && line.contains(" plain=a\\tb"), "{line}");
    }

    fn line(write: fn(&mut Vec<u8>, &Record<'_>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        let fields = [("shard", Value::from(1)), ("path", Value::from("a \"b\"\n"))];
        let mut record = Record::builder();
        record.level(log::Level::Warn).target("shardrive::http").key_values(&fields);
        write(&mut out, &record.args(format_args!("went {}", "wrong")).build()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[tokio::test]
    async fn a_json_line_holds_the_fields_and_the_request() {
        let trace = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let request = RequestContext::new("r-1".into(), trace);
        let text = with_request(request, async {
            record_route(42, 0);
            line(write_json)
        });
        let text = text.await;
        assert_eq!(text.matches('\n').count(), 1);
        let json: Json = serde_json::from_str(&text).unwrap();
        assert_eq!(json["level"], "warn");
        assert_eq!(json["target"], "shardrive::http");
        assert_eq!(json["message"], "went wrong");
        assert_eq!(json["shard"], 1);
        assert_eq!(json["path"], "a \"b\"\n");
        assert_eq!(json["request_id"], "r-1");
        assert_eq!(json["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(json["slot"], 42, "the line's own shard counts for more than the request's");
        assert!(json["ts"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn a_text_line_ends_with_the_fields() {
        // The order of the fields depends on a feature of serde_json, which crates of the tests may switch on.
        let text = line(write_message);
        let (path, shard) = (r#" path="a \"b\"\n""#, " shard=1");
        assert!(
            [format!("went wrong{path}{shard}\n"), format!("went wrong{shard}{path}\n")].contains(&text),
            "{text:?}"
        );
    }
}

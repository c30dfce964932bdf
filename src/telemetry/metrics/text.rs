//! The text of the metrics, as Prometheus and OpenMetrics write it (docs/decisions/0014-metrics.md says why no library
//! writes it).

use std::fmt::{Display, Write};

use super::histogram::Exemplar;
use super::{Histogram, Metric, MetricKind};

/// The format of the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TextFormat {
    /// The format of Prometheus, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0: with units, exemplars and an end mark.
    OpenMetrics,
}

impl TextFormat {
    /// The media type of the text.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The name under which a metric is announced: OpenMetrics announces counters without `_total`.
    fn family_name(self, metric: &Metric) -> &'static str {
        match self {
            Self::Prometheus => metric.name,
            Self::OpenMetrics => metric.base_name(),
        }
    }

    fn type_name(self, kind: MetricKind) -> &'static str {
        match (self, kind) {
            (Self::OpenMetrics, MetricKind::Untyped) => "unknown",
            (_, kind) => kind.as_str(),
        }
    }
}

/// A text that grows by one family of samples at a time.
#[derive(Debug)]
pub struct Exposition {
    format: TextFormat,
    text: String,
}

impl Exposition {
    /// Begins a text of this format, with room for this many bytes.
    #[must_use]
    pub fn with_capacity(format: TextFormat, bytes: usize) -> Self {
        Self { format, text: String::with_capacity(bytes) }
    }

    /// Begins the samples of a metric; each metric may begin once.
    pub fn begin_family(&mut self, metric: &'static Metric) -> MetricFamily<'_> {
        let (name, kind) = (self.format.family_name(metric), self.format.type_name(metric.kind));
        // A write to a String never fails, here and below.
        let _ = writeln!(self.text, "# HELP {name} {}\n# TYPE {name} {kind}", metric.help);
        let is_openmetrics = self.format == TextFormat::OpenMetrics;
        if let Some(unit) = metric.unit().filter(|_| is_openmetrics) {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
        MetricFamily { text: &mut self.text, metric, shows_exemplars: is_openmetrics }
    }

    /// Writes a metric of one sample without labels.
    pub fn write_single(&mut self, metric: &'static Metric, value: impl Display) {
        self.begin_family(metric).write_sample(&[], value);
    }

    /// The whole text.
    #[must_use]
    pub fn into_text(mut self) -> String {
        if self.format == TextFormat::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// The samples of one metric.
#[derive(Debug)]
pub struct MetricFamily<'a> {
    text: &'a mut String,
    metric: &'static Metric,
    shows_exemplars: bool,
}

impl MetricFamily<'_> {
    /// Writes a sample; the labels' values stand in the order of the labels' names.
    pub fn write_sample(&mut self, labels: &[&dyn Display], value: impl Display) {
        self.write_name("", labels, None);
        let _ = writeln!(self.text, "{value}");
    }

    /// Writes all samples of a histogram.
    pub fn write_histogram(&mut self, labels: &[&dyn Display], histogram: &Histogram) {
        let mut count = 0;
        for (bucket, (bound, up_to)) in histogram.cumulative_buckets().enumerate() {
            self.write_name("_bucket", labels, Some(bound));
            let _ = write!(self.text, "{up_to}");
            if self.shows_exemplars
                && let Some(exemplar) = histogram.exemplar(bucket)
            {
                self.write_exemplar(exemplar);
            }
            self.text.push('\n');
            count = up_to;
        }
        self.write_name("_sum", labels, None);
        let _ = writeln!(self.text, "{}", histogram.shown_sum());
        self.write_name("_count", labels, None);
        let _ = writeln!(self.text, "{count}");
    }

    fn write_exemplar(&mut self, Exemplar { trace, value, at }: Exemplar) {
        let _ = write!(self.text, " # {{trace_id=\"{trace}\"}} {value} {:.3}", at.as_secs_f64());
    }

    /// Writes name and labels of a sample, and the space before its value.
    fn write_name(&mut self, ending: &str, labels: &[&dyn Display], bound: Option<f64>) {
        debug_assert_eq!(labels.len(), self.metric.labels.len(), "labels of {}", self.metric.name);
        let _ = write!(self.text, "{}{ending}", self.metric.name);
        let mut before = '{';
        for (name, value) in self.metric.labels.iter().zip(labels) {
            let _ = write!(self.text, "{before}{name}=\"");
            let _ = write!(EscapedLabel(self.text), "{value}");
            self.text.push('"');
            before = ',';
        }
        match bound {
            Some(bound) if bound.is_infinite() => {
                let _ = write!(self.text, "{before}le=\"+Inf\"}} ");
            }
            // `{:?}` writes 1.0 and not 1, as OpenMetrics asks and Prometheus stores.
            Some(bound) => {
                let _ = write!(self.text, "{before}le=\"{bound:?}\"}} ");
            }
            None => self.text.push_str(if before == ',' { "} " } else { " " }),
        }
    }
}

/// Escapes a label's value.
struct EscapedLabel<'a>(&'a mut String);

impl Write for EscapedLabel<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for letter in text.chars() {
            match letter {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                letter => self.0.push(letter),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry::trace::TraceId;

    use super::super::table;
    use super::*;

    fn assert_lines(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|found| found == *line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn samples_are_written_as_prometheus_reads_them() {
        let mut text = Exposition::with_capacity(TextFormat::Prometheus, 0);
        text.write_single(&table::REQUEST_COUNT, 7);
        text.begin_family(&table::PROBLEMS).write_sample(&[&"a\"b\\c\nd"], 1);
        text.begin_family(&table::SHARD_REQUEST_COUNT).write_sample(&[&1], 5);
        let sizes = Histogram::of_sizes();
        sizes.observe_size(3);
        sizes.observe_size(9_999);
        text.begin_family(&table::COMMIT_BATCH).write_histogram(&[&1], &sizes);
        let times = Histogram::of_times();
        times.observe_time(Duration::from_millis(3), Some(TraceId::from_bytes([0xab; 16])));
        text.begin_family(&table::SHARD_REQUEST).write_histogram(&[&1], &times);
        let text = text.into_text();
        assert_lines(
            &text,
            &[
                "# TYPE request_count_total counter",
                "request_count_total 7",
                r#"shardrive_problems_total{code="a\"b\\c\nd"} 1"#,
                "# TYPE shard_request_count untyped",
                r#"shard_request_count{shard="1"} 5"#,
                "# TYPE shardrive_shard_commit_batch_rows histogram",
                r#"shardrive_shard_commit_batch_rows_bucket{shard="1",le="2.0"} 0"#,
                r#"shardrive_shard_commit_batch_rows_bucket{shard="1",le="4.0"} 1"#,
                r#"shardrive_shard_commit_batch_rows_bucket{shard="1",le="+Inf"} 2"#,
                r#"shardrive_shard_commit_batch_rows_sum{shard="1"} 10002"#,
                r#"shardrive_shard_commit_batch_rows_count{shard="1"} 2"#,
                r#"shardrive_shard_request_duration_seconds_bucket{shard="1",le="0.005"} 1"#,
            ],
        );
        assert!(!text.contains("trace_id") && !text.contains("# UNIT") && !text.contains("# EOF"), "{text}");
    }

    #[test]
    fn openmetrics_has_units_exemplars_and_an_end() {
        let mut text = Exposition::with_capacity(TextFormat::OpenMetrics, 0);
        text.write_single(&table::REQUEST_COUNT, 7);
        text.write_single(&table::CPU, 1.5);
        text.begin_family(&table::SHARD_REQUEST_COUNT).write_sample(&[&1], 5);
        let times = Histogram::of_times();
        times.observe_time(Duration::from_millis(3), Some(TraceId::from_bytes([0xab; 16])));
        text.begin_family(&table::SHARD_REQUEST).write_histogram(&[&1], &times);
        let text = text.into_text();
        assert_lines(
            &text,
            &[
                "# TYPE request_count counter",
                "request_count_total 7",
                "# TYPE process_cpu_seconds counter",
                "# UNIT process_cpu_seconds seconds",
                "process_cpu_seconds_total 1.5",
                "# TYPE shard_request_count unknown",
                "# UNIT shardrive_shard_request_duration_seconds seconds",
                r#"shardrive_shard_request_duration_seconds_bucket{shard="1",le="0.0025"} 0"#,
                r#"shardrive_shard_request_duration_seconds_bucket{shard="1",le="0.01"} 1"#,
                r#"shardrive_shard_request_duration_seconds_bucket{shard="1",le="1.0"} 1"#,
            ],
        );
        let exemplar = format!(r#"le="0.005"}} 1 # {{trace_id="{}"}} 0.003 "#, "ab".repeat(16));
        assert_eq!(text.matches("trace_id").count(), 1, "{text}");
        assert!(text.contains(&exemplar), "{text}");
        assert!(text.ends_with("\n# EOF\n"), "{text}");
    }
}

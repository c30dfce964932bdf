//! The text format of Prometheus, version 0.0.4 (docs/decisions/0014-metrics.md says why no library writes it).

use std::fmt::{Display, Write};

use super::{Histogram, Metric};

/// The type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text that grows by one family of samples at a time.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Reserves room for this many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes) }
    }

    /// Begins the samples of a metric; each metric may begin once.
    pub fn begin_family(&mut self, metric: &'static Metric) -> MetricFamily<'_> {
        let Metric { name, help, .. } = metric;
        // A write to a String never fails, here and below.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {}", metric.kind.as_str());
        MetricFamily { text: &mut self.text, metric }
    }

    /// Writes a metric of one sample without labels.
    pub fn write_single(&mut self, metric: &'static Metric, value: impl Display) {
        self.begin_family(metric).write_sample(&[], value);
    }

    /// The whole text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

/// The samples of one metric.
#[derive(Debug)]
pub struct MetricFamily<'a> {
    text: &'a mut String,
    metric: &'static Metric,
}

impl MetricFamily<'_> {
    /// Writes a sample; the labels' values stand in the order of the labels' names.
    pub fn write_sample(&mut self, labels: &[&dyn Display], value: impl Display) {
        self.write_line("", labels, None, value);
    }

    /// Writes all samples of a histogram.
    pub fn write_histogram(&mut self, labels: &[&dyn Display], histogram: &Histogram) {
        let mut count = 0;
        for (bound, up_to) in histogram.cumulative_buckets() {
            self.write_line("_bucket", labels, Some(bound), up_to);
            count = up_to;
        }
        self.write_line("_sum", labels, None, histogram.shown_sum());
        self.write_line("_count", labels, None, count);
    }

    fn write_line(&mut self, ending: &str, labels: &[&dyn Display], bound: Option<f64>, value: impl Display) {
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
            Some(bound) => {
                let _ = write!(self.text, "{before}le=\"{bound}\"}} ");
            }
            None => self.text.push_str(if before == ',' { "} " } else { " " }),
        }
        let _ = writeln!(self.text, "{value}");
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
    use super::super::table;
    use super::*;

    #[test]
    fn samples_are_written_as_prometheus_reads_them() {
        let mut text = Exposition::default();
        text.write_single(&table::REQUEST_COUNT, 7);
        text.begin_family(&table::PROBLEMS).write_sample(&[&"a\"b\\c\nd"], 1);
        let sizes = Histogram::of_sizes();
        sizes.observe_size(3);
        sizes.observe_size(9_999);
        text.begin_family(&table::COMMIT_BATCH).write_histogram(&[&1], &sizes);
        let text = text.into_text();
        for line in [
            "# HELP request_count_total Requests that were answered.",
            "# TYPE request_count_total counter",
            "request_count_total 7",
            r#"problems_total{code="a\"b\\c\nd"} 1"#,
            "# TYPE shard_commit_batch_rows histogram",
            r#"shard_commit_batch_rows_bucket{shard="1",le="2"} 0"#,
            r#"shard_commit_batch_rows_bucket{shard="1",le="4"} 1"#,
            r#"shard_commit_batch_rows_bucket{shard="1",le="+Inf"} 2"#,
            r#"shard_commit_batch_rows_sum{shard="1"} 10002"#,
            r#"shard_commit_batch_rows_count{shard="1"} 2"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}

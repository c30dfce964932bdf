//! What operators are given: rules, a dashboard, a table of metrics. They must name what the program has.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use shardrive::telemetry::metrics::{Metric, MetricKind, table};

use crate::support::prometheus::promtool;

/// What stands in queries besides metrics: functions, words of the language, labels.
const WORDS: &[&str] = &[
    "by",
    "on",
    "or",
    "vector",
    "group_left",
    "sum",
    "max",
    "min",
    "count",
    "rate",
    "histogram_quantile",
    "min_over_time",
    "time",
    "instance",
    "job",
    "le",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("observability")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The names under which a metric's samples are stored.
fn sample_names(metric: &Metric) -> Vec<String> {
    match metric.kind {
        MetricKind::Histogram => ["_bucket", "_sum", "_count"].map(|end| format!("{}{end}", metric.name)).to_vec(),
        MetricKind::Counter | MetricKind::Gauge | MetricKind::Untyped => vec![metric.name.to_owned()],
    }
}

/// The names in a query that are no word of the language: texts between quotes are left out.
fn names(query: &str) -> BTreeSet<String> {
    let bare: String = query.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let words = bare.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with(|c: char| c.is_alphabetic())).map(str::to_owned).collect()
}

/// The names of samples that a query of ours may ask for: no aliases.
fn metrics_for_queries() -> BTreeSet<String> {
    let ours = table::ALL.iter().filter(|metric| !metric.is_alias());
    ours.flat_map(sample_names).chain(["up".to_owned()]).collect()
}

/// What is wrong with a query, if anything is.
fn fault(query: &str) -> Option<String> {
    let labels: BTreeSet<_> = table::ALL.iter().flat_map(|metric| metric.labels).copied().collect();
    let metrics = metrics_for_queries();
    let names = names(query);
    let unknown = names
        .iter()
        .find(|name| !WORDS.contains(&name.as_str()) && !labels.contains(name.as_str()) && !metrics.contains(*name));
    match unknown {
        Some(unknown) => Some(format!("{unknown} in {query}")),
        None if names.is_disjoint(&metrics) => Some(format!("no metric in {query}")),
        None => None,
    }
}

/// How many times a query names a metric.
fn selectors(query: &str) -> usize {
    let metrics = metrics_for_queries();
    let bare: String = query.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    bare.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| metrics.contains(*word)).count()
}

#[test]
fn a_query_of_something_unknown_is_found() {
    assert_eq!(fault("sum by (shard) (rate(shardrive_shard_request_duration_seconds_count[1m])) > 0"), None);
    assert!(
        fault("rate(shardrive_shard_request_duration_seconds[1m])").is_some(),
        "a histogram has no sample of its bare name"
    );
    assert!(fault("shardrive_shard_uq == 0").is_some());
    assert!(fault("shard_request_count > 0").is_some(), "an alias is for dashboards of others");
    assert!(fault("sum by (shard) (1)").is_some());
}

#[test]
fn alerts_ask_for_metrics_that_there_are() {
    let rules = read("observability/prometheus/rules.yml");
    let queries: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    let alerts = rules.lines().filter(|line| line.trim().starts_with("- alert: ")).count();
    assert_eq!(queries.len(), alerts);
    for word in ["summary: ", "description: ", "runbook_url: "] {
        assert_eq!(rules.matches(word).count(), alerts, "each alert has its {word}");
    }
    let faults: Vec<_> = queries.iter().copied().filter_map(fault).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    for query in queries {
        assert_eq!(
            query.matches(r#"job="shardrive""#).count(),
            selectors(query),
            "another job's metrics count in {query}"
        );
    }
}

#[test]
fn each_alert_leads_to_its_section_of_the_runbook() {
    let rules = read("observability/prometheus/rules.yml");
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let runbook = read("docs/runbook.md");
    let sections: Vec<_> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(sections, alerts);
    let links: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("runbook_url: ")).collect();
    let expected = alerts
        .iter()
        .map(|name| format!("{}/blob/main/docs/runbook.md#{}", env!("CARGO_PKG_REPOSITORY"), name.to_lowercase()));
    assert_eq!(links, expected.collect::<Vec<_>>());
    for part in ["**Means.**", "**Look at.**", "**Do.**"] {
        assert_eq!(runbook.matches(part).count(), alerts.len(), "each alert has its {part}");
    }
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let dashboard: Value = serde_json::from_str(&read("observability/grafana/dashboards/shardrive.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries: Vec<_> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    let faults: Vec<_> = queries.iter().filter_map(|query| fault(query)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let shown: BTreeSet<_> = queries.iter().flat_map(|query| names(query)).collect();
    for metric in table::ALL.iter().filter(|metric| !metric.is_alias()) {
        assert!(sample_names(metric).iter().any(|name| shown.contains(name)), "no panel shows {}", metric.name);
    }
}

#[test]
fn the_dashboard_can_be_imported_anywhere() {
    let dashboard: Value = serde_json::from_str(&read("observability/grafana/dashboards/shardrive.json")).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "job", "instance"]);
    for panel in dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{panel}");
        for query in panel["targets"].as_array().unwrap().iter().map(|target| target["expr"].as_str().unwrap()) {
            let chosen = query.matches(r#"{job=~"$job", instance=~"$instance""#).count();
            assert_eq!(chosen, selectors(query), "other instances' metrics count in {query}");
            assert_eq!(
                query.matches('[').count(),
                query.matches("[$__rate_interval]").count(),
                "a fixed range in {query}"
            );
        }
    }
}

#[test]
fn the_document_and_the_code_name_the_same_metrics() {
    let document = read("docs/observability.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    let found: Vec<String> = rows.map(|row| format!("| `{row}")).collect();
    let expected = table::ALL.iter().map(|metric| {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} |", metric.name, metric.kind.as_str(), labels.join(" "), metric.help)
    });
    let metrics: Vec<_> = found.into_iter().filter(|row| row.matches(" | ").count() == 3).collect();
    assert_eq!(metrics, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn promtool_takes_the_rules_and_their_tests() {
    let folder = folder().join("prometheus");
    for arguments in
        [["check", "config", "prometheus.yml"], ["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]]
    {
        let Some(said) = promtool(&arguments, &folder, "").await else { return };
        assert!(said.contains("SUCCESS"), "{said}");
    }
}

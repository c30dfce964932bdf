//! What was measured: as a table for people, as Markdown for the documentation, as JSON for the next run.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde::Serialize;
use serde_json::Value;

use crate::options::Options;
use crate::rounds::{Comparison, Side};
use crate::usage::load_average;
use crate::{Bench, Result};

/// How a figure is judged.
#[derive(Clone, Serialize, Debug)]
pub struct Bar {
    /// In words.
    pub text: String,
    /// Whether it was met.
    pub met: bool,
}

impl Bar {
    pub fn new(text: impl Into<String>, met: bool) -> Option<Self> {
        Some(Self { text: text.into(), met })
    }

    /// The ratio is at least this.
    pub fn ratio(compared: &Comparison, least: f64) -> Option<Self> {
        Self::new(format!("≥ {least} ×"), compared.ratio >= least)
    }
}

/// One line of the table.
#[derive(Clone, Serialize, Debug)]
pub struct Line {
    pub case: String,
    pub unit: &'static str,
    pub ours: Side,
    pub reference: Option<Side>,
    /// Ours / reference.
    pub ratio: Option<f64>,
    pub bar: Option<Bar>,
    /// What it is compared with, or what else there is to say.
    pub note: String,
}

/// All lines, and where they come from.
#[derive(Serialize)]
pub struct Report {
    date: String,
    commit: String,
    short: bool,
    cores: usize,
    processor: String,
    postgres: String,
    /// The load of the machine at start: far above nothing, somebody else was at work.
    load_before: f64,
    lines: Vec<Line>,
}

impl Report {
    pub fn new(options: &Options) -> Result<Self> {
        let said = |program: &str, args: &[&str]| {
            let output = Command::new(program).args(args).output().ok();
            output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
        };
        let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        Ok(Self {
            date: said("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
            commit: said("git", &["describe", "--always", "--dirty"]),
            short: options.short,
            cores: std::thread::available_parallelism()?.get(),
            processor: processor.trim_start_matches([' ', '\t', ':']).to_owned(),
            postgres: String::new(),
            load_before: load_average(),
            lines: Vec::new(),
        })
    }

    pub fn set_postgres(&mut self, version: String) {
        self.postgres = version;
    }

    /// The figure of a case that has been measured.
    pub fn figure(&self, case: &str) -> Option<f64> {
        self.lines.iter().find(|line| line.case == case).map(|line| line.ours.median)
    }

    /// Takes a line, and shows it at once: a full run is long.
    pub fn add(&mut self, line: Line) {
        println!("{}", cells(&line).join("  "));
        self.lines.push(line);
    }

    /// Shows and writes everything.
    pub fn finish(&self, options: &Options) -> Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let markdown = self.markdown();
        println!("\n{markdown}");
        if let Some(path) = &options.markdown {
            std::fs::write(path, &markdown)?;
        }
        let default = Path::new("target/bench").join(format!("{}.json", self.date.replace(':', "")));
        let path = options.json.as_ref().unwrap_or(&default);
        std::fs::write(path, serde_json::to_string_pretty(self)?)?;
        println!("The figures are in {}", path.display());
        let Some(path) = &options.against else { return Ok(()) };
        let earlier = serde_json::from_str(&std::fs::read_to_string(path)?)?;
        println!("\n{}", self.differences(&earlier));
        let fallen = self.fallen(&earlier, options.most_fall());
        if fallen.is_empty() { Ok(()) } else { Err(format!("ratios have fallen: {}", fallen.join("; ")).into()) }
    }

    /// The cases whose ratio is worse than an earlier run's by more than this share.
    fn fallen(&self, earlier: &Value, most: f64) -> Vec<String> {
        let lines = earlier.get("lines").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let old_ratio = |case: &str| {
            let old = lines.iter().find(|old| old.get("case").and_then(Value::as_str) == Some(case))?;
            old.get("ratio").and_then(Value::as_f64)
        };
        let mut fallen = Vec::new();
        for line in &self.lines {
            let (Some(now), Some(then)) = (line.ratio, old_ratio(&line.case)) else { continue };
            // Of times less is better.
            let kept = if ["ms", "µs", "× GET /"].contains(&line.unit) { then / now } else { now / then };
            if kept < 1.0 - most {
                fallen.push(format!("{}, {then:.2} → {now:.2}", line.case));
            }
        }
        fallen
    }

    fn markdown(&self) -> String {
        let Self { date, commit, cores, processor, postgres, load_before, .. } = self;
        let kind = if self.short { "short" } else { "full" };
        let mut text = format!(
            "{date}, {commit}, {kind} run; {cores} × {processor}, PostgreSQL {postgres}; load of the machine before: \
             {load_before}\n\n\
             | case | ours | reference | ratio | bar | CPU ours: API + PostgreSQL | CPU reference | |\n\
             |---|---:|---:|---:|---|---:|---:|---|\n"
        );
        for line in &self.lines {
            let _ = writeln!(text, "| {} |", cells(line).join(" | ")); // writing to a String does not fail
        }
        text
    }

    /// By how much each figure differs from an earlier run's. Ratios are compared where there are some: they stay the
    /// same on another machine.
    fn differences(&self, earlier: &Value) -> String {
        let mut text = format!("Against {}:\n", earlier.get("commit").and_then(Value::as_str).unwrap_or("?"));
        let lines = earlier.get("lines").and_then(Value::as_array).cloned().unwrap_or_default();
        for line in &self.lines {
            let Some(old) = lines.iter().find(|old| old.get("case").and_then(Value::as_str) == Some(&line.case)) else {
                continue;
            };
            let old_ratio = old.get("ratio").and_then(Value::as_f64);
            let old_figure = old.pointer("/ours/median").and_then(Value::as_f64);
            let (now, then, what) = match (line.ratio, old_ratio, old_figure) {
                (Some(now), Some(then), _) => (now, then, "ratio"),
                (_, _, Some(then)) => (line.ours.median, then, line.unit),
                _ => continue,
            };
            let change = (now / then - 1.0) * 100.0;
            let _ = writeln!(text, "{:40} {then:>10.2} → {now:>10.2} {what}  {change:+.0} %", line.case);
        }
        text
    }
}

/// The cells of a line. Behind what is judged, the ratio or else the figure, stand the least and the most of the rounds.
fn cells(line: &Line) -> Vec<String> {
    let figure = |side: &Side| format!("{} {}", number(side.median), line.unit);
    let (ours, ratio) = match (&line.reference, line.ratio) {
        (Some(reference), Some(ratio)) => {
            let ratios = line.ours.rounds.iter().zip(&reference.rounds).map(|(ours, other)| ours / other);
            (figure(&line.ours), format!("{ratio:.2}{}", spread(ratios, |ratio| format!("{ratio:.2}"))))
        }
        _ => {
            let rounds = spread(line.ours.rounds.iter().copied(), number);
            (format!("{}{rounds}", figure(&line.ours)), String::new())
        }
    };
    let cpu = |side: &Side| (side.cpu.api + side.cpu.postgres > 0.0).then_some(side.cpu);
    vec![
        line.case.clone(),
        ours,
        line.reference.as_ref().map(figure).unwrap_or_default(),
        ratio,
        line.bar.as_ref().map(|bar| format!("{} {}", bar.text, if bar.met { "✓" } else { "✗" })).unwrap_or_default(),
        cpu(&line.ours).map(|cpu| format!("{:.1} + {:.1} µs", cpu.api, cpu.postgres)).unwrap_or_default(),
        line.reference.as_ref().and_then(cpu).map(|cpu| format!("{:.1} µs", cpu.postgres)).unwrap_or_default(),
        line.note.clone(),
    ]
}

/// The least and the most of several rounds; nothing for a single one.
fn spread(rounds: impl Iterator<Item = f64> + Clone, written: impl Fn(f64) -> String) -> String {
    if rounds.clone().count() < 2 {
        return String::new();
    }
    let least = rounds.clone().fold(f64::INFINITY, f64::min);
    let most = rounds.fold(f64::NEG_INFINITY, f64::max);
    format!(" ({} to {})", written(least), written(most))
}

fn number(figure: f64) -> String {
    match figure.abs() {
        size if size >= 1000.0 => {
            let digits = format!("{figure:.0}");
            let head = digits.len() - 3;
            match (digits.get(..head), digits.get(head..)) {
                (Some(thousands), Some(rest)) if thousands.len() <= 3 => format!("{thousands},{rest}"),
                _ => digits,
            }
        }
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

impl Bench {
    /// A comparison as a line.
    pub fn compared(&mut self, case: &str, unit: &'static str, found: Comparison, bar: Option<Bar>, note: &str) {
        let (reference, ratio) = (Some(found.reference), Some(found.ratio));
        self.report.add(Line { case: case.into(), unit, ours: found.ours, reference, ratio, bar, note: note.into() });
    }

    /// A figure without a reference.
    pub fn alone(&mut self, case: &str, unit: &'static str, ours: Side, bar: Option<Bar>, note: &str) {
        let line = Line { case: case.into(), unit, ours, reference: None, ratio: None, bar, note: note.into() };
        self.report.add(line);
    }
}

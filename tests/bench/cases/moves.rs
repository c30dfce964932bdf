//! Many moves in a row under a steady load: who fails, what is lost, and who has to wait for how long.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::{Connection, get};
use crate::load::{Kind, Load, MIX, NAME, Plan, Sample, Seen};
use crate::moving::{Moved, move_slots};
use crate::rounds::{Side, compare_figures, median, p99};
use crate::service::Service;
use crate::shards::SHARDS;
use crate::table::Bar;
use crate::tools::upload;
use crate::usage::{load_average, own_cpu, ticks};
use crate::{Bench, Result, rows};

const PROCESSES: usize = 3;
/// Slots of each move, all of shard 0 at first.
const MOVED: u64 = 60;
/// Moved slots to which somebody writes all the time.
const PROBED: [u64; 2] = [0, 118];
/// Connections of the closed loop that finds the rate.
const CONNECTIONS: u64 = 32;
/// Milliseconds without a write to a moving slot.
const LONGEST: (f64, f64) = (100.0, 500.0);
/// What moves may do to the p99 of others.
const SLOWER: f64 = 1.2;

/// A time in which slots moved, or in which none did, in microseconds since the load began.
#[derive(Clone, Copy)]
struct Window {
    from: u32,
    to: u32,
}

impl Window {
    fn new(begun: Instant, from: Instant, to: Instant) -> Self {
        let micros = |at: Instant| u32::try_from((at - begun).as_micros()).unwrap_or(u32::MAX);
        Self { from: micros(from), to: micros(to) }
    }

    fn has(&self, at: u32) -> bool {
        (self.from..self.to).contains(&at)
    }

    /// As many windows of about this length as it has room for.
    fn parts(self, length: u32) -> impl Iterator<Item = Self> {
        let count = ((self.to - self.from) / length.max(1)).max(1);
        let length = (self.to - self.from) / count;
        (0..count).map(move |part| Self { from: self.from + part * length, to: self.from + (part + 1) * length })
    }
}

/// What a run gave.
struct Outcome {
    begun: Instant,
    seen: Vec<Seen>,
    moves: Vec<(Window, Moved)>,
    /// Each round's moves, and the quiet times before the first and after each.
    moving: Vec<Window>,
    quiet: Vec<Window>,
    rate: f64,
    /// Of all processors' time in the quiet times.
    idle: f64,
    /// Seconds of CPU that the open loop took.
    generator: f64,
}

pub fn run(bench: &mut Bench) -> Result<()> {
    let filled = bench.options.scale(2_000_000, 200_000);
    let services: Result<Vec<Service>> = (0..PROCESSES).map(|_| Service::start_quiet(bench)).collect();
    let services = services?;
    let first = services.first().ok_or("no process")?;
    let file = bench.options.folder.join("rows.ndjson");
    rows::ndjson(&file, filled)?;
    upload(first, "/ingest/bulk", "application/x-ndjson", &file)?;
    std::fs::remove_file(&file)?;
    bench.shards.settle()?;
    let plan = Plan {
        bases: services.iter().map(|service| service.base.clone()).collect(),
        moving: (0..MOVED).map(|number| number * SHARDS as u64).collect(),
        users: rows::users(filled),
    };
    let before = bench.shards.rows()?;
    let outcome = drive(bench, &plan)?;
    right(bench, &plan, &outcome, before)?;
    waits(bench, &outcome);
    others(bench, &outcome);
    Ok(())
}

/// The load, and the moves beside it: there and back, so that the cases after this one find the slots where they were.
fn drive(bench: &Bench, plan: &Plan) -> Result<Outcome> {
    let moves = bench.options.scale(4, 2);
    let mut quiet_time = Duration::from_secs(bench.options.scale(20, 6));
    let (most, mut seen) = Load::closed(plan, CONNECTIONS, Duration::from_secs(bench.options.seconds()))?;
    let rate = most / 3.0;
    bench.shards.settle()?;
    let base = plan.bases.first().ok_or("no process")?;
    let load = Load::start(plan, rate, &PROBED)?;
    let (begun, generator) = (load.begun, own_cpu()?);
    std::thread::sleep(Duration::from_secs(2));
    let (mut idle, mut all) = (0.0, 0.0);
    let mut pause = |time: Duration| {
        let (from, before) = (Instant::now(), ticks());
        std::thread::sleep(time);
        let after = ticks();
        idle += after.0 - before.0;
        all += after.1 - before.1;
        Window::new(begun, from, Instant::now())
    };
    let (mut done, mut moving, mut quiet) = (Vec::new(), Vec::new(), vec![pause(quiet_time)]);
    for _ in 0..bench.options.rounds() {
        let from = Instant::now();
        for number in 0..moves {
            let moved = move_slots(base, &plan.moving, (number + 1) % SHARDS)?;
            done.push((Window::new(begun, moved.from, moved.to), moved));
        }
        quiet_time = from.elapsed();
        moving.push(Window::new(begun, from, Instant::now()));
        quiet.push(pause(quiet_time));
    }
    let generator = own_cpu()? - generator;
    seen.extend(load.stop()?);
    Ok(Outcome { begun, seen, generator, moves: done, moving, quiet, rate, idle: idle / all })
}

/// Failures, and what the shards hold in the end against what was acknowledged; `before` rows were there at first.
fn right(bench: &mut Bench, plan: &Plan, outcome: &Outcome, before: u64) -> Result<()> {
    let answers: usize = outcome.seen.iter().map(|seen| seen.samples.len()).sum();
    let failed: u64 = outcome.seen.iter().map(|seen| seen.failed).sum();
    outcome.seen.iter().flat_map(|seen| &seen.failures).take(10).for_each(|failure| eprintln!("bench: {failure}"));
    let note = format!(
        "of {}; {:.0}/s open loop at {:.0} µs of the generator's CPU each, {:.0} % of the processors idle without moves, load {:.1}",
        answers as u64 + failed,
        outcome.rate,
        outcome.generator * 1e6 / answers.max(1) as f64,
        outcome.idle * 100.0,
        load_average()
    );
    let count = outcome.moves.len();
    none(bench, &format!("{count} moves of {MOVED} slots, failed requests"), failed, &note);

    let mut acknowledged: Vec<u128> = outcome.seen.iter().flat_map(|seen| seen.ids.iter().copied()).collect();
    let total = before + acknowledged.len() as u64;
    let mut held = Vec::new();
    for shard in 0..SHARDS {
        let ids = format!("SELECT replace(file_id::text, '-', '') FROM file_metadata WHERE file_name LIKE '{NAME}%'");
        for id in bench.shards.sql(shard, &ids)?.lines() {
            held.push(u128::from_str_radix(id, 16)?);
        }
    }
    acknowledged.sort_unstable();
    held.sort_unstable();
    let lost = acknowledged.iter().filter(|id| held.binary_search(id).is_err()).count();
    let asked_for = held.iter().filter(|id| acknowledged.binary_search(id).is_ok()).count();
    let doubled = held.windows(2).filter(|pair| matches!(pair, [one, other] if one == other)).count();
    let strange = held.len() - asked_for;
    let others = bench.shards.rows()?.abs_diff(before + held.len() as u64);
    let note = format!(
        "of {total}: {lost} lost, {doubled} doubled, {strange} that nobody got an answer for, {others} of before"
    );
    none(bench, "rows lost, doubled or strange", (lost + doubled + strange) as u64 + others, &note);

    let mut wrong = 0;
    for base in &plan.bases {
        let stats = Connection::open(base)?.json(&get("/stats"))?;
        let says = stats.get("total_records").and_then(Value::as_u64).ok_or("/stats has no total")?;
        wrong = says.abs_diff(total).max(wrong);
    }
    none(bench, "rows too many or too few in /stats", wrong, "the worst of the processes");
    Ok(())
}

/// A figure that must be nothing.
fn none(bench: &mut Bench, case: &str, count: u64, note: &str) {
    let side = Side { median: count as f64, rounds: vec![count as f64], ..Side::default() };
    bench.alone(case, "", side, Bar::new("0", count == 0), note);
}

/// The longest time without an acknowledged write to a moving slot, for each move and probe.
fn waits(bench: &mut Bench, outcome: &Outcome) {
    let windows: Vec<Window> = outcome.moves.iter().map(|(window, _)| *window).collect();
    let length = windows.iter().map(|window| window.to - window.from).sum::<u32>() / windows.len().max(1) as u32;
    let quiet: Vec<Window> = outcome.quiet.iter().flat_map(|window| window.parts(length)).collect();
    let gaps = |windows: &[Window]| -> Vec<f64> {
        let probes = outcome.seen.iter().filter(|seen| matches!(seen.kind, Kind::Probe(_)));
        probes.flat_map(|seen| windows.iter().map(|window| longest_gap(&seen.samples, *window))).collect()
    };
    let (ours, others) = (gaps(&windows), gaps(&quiet));
    let longest = |gaps: &[f64]| gaps.iter().copied().fold(0.0, f64::max);
    let above = ours.iter().filter(|gap| **gap > LONGEST.0).count();
    let note =
        format!("median {:.1} ms, {above} of {} above 100 ms; reference without moves", median(&ours), ours.len());
    let case = "moving slot, longest time without a write";
    let bar = |gap: f64, limit: f64| Bar::new(format!("≤ {limit} ms"), gap <= limit);
    let (gap, usual) = (p99(&ours), p99(&others));
    bench.compared(&format!("{case}, p99"), "ms", compare_figures(&[gap], &[usual]), bar(gap, LONGEST.0), &note);

    let slowest = outcome.moves.iter().max_by(|(_, one), (_, other)| one.freeze().total_cmp(&other.freeze()));
    let parts = slowest.map(|(_, moved)| moved.parts()).unwrap_or_default();
    let (gap, usual) = (longest(&ours), longest(&others));
    let note = format!("parts of the longest write freeze, ms: {}", show(&parts));
    bench.compared(&format!("{case}, max"), "ms", compare_figures(&[gap], &[usual]), bar(gap, LONGEST.1), &note);

    let freezes: Vec<f64> = outcome.moves.iter().map(|(_, moved)| moved.freeze()).collect();
    let given_up: i64 = outcome.moves.iter().map(|(_, moved)| moved.given_up()).sum();
    let all: Vec<(&str, f64)> = outcome.moves.iter().flat_map(|(_, moved)| moved.parts()).collect();
    let of = |name: &str| all.iter().filter(|(part, _)| *part == name).map(|(_, ms)| *ms).collect::<Vec<_>>();
    let typical: Vec<_> = parts.iter().map(|(name, _)| (*name, median(&of(name)))).collect();
    let (most, typical) = (longest(&freezes), show(&typical));
    let note = format!("longest {most:.0} ms, {given_up} tries given up; medians of the parts: {typical}");
    bench.alone(
        "write freeze",
        "ms",
        Side { median: median(&freezes), rounds: freezes, ..Side::default() },
        None,
        &note,
    );
    let seconds: Vec<f64> = windows.iter().map(|window| f64::from(window.to - window.from) / 1e6).collect();
    let stages: Vec<_> = stages(outcome)
        .into_iter()
        .map(|(stage, windows)| {
            let ms: Vec<f64> = windows.iter().map(|window| f64::from(window.to - window.from) / 1e3).collect();
            (stage, median(&ms))
        })
        .collect();
    let note = format!(
        "of {MOVED} slots, from the request to the end of the clean-up; medians of the stages, ms: {}",
        show(&stages)
    );
    bench.alone("a move", "s", Side { median: median(&seconds), rounds: seconds, ..Side::default() }, None, &note);
}

/// Parts of a write freeze and their lengths.
fn show(parts: &[(&str, f64)]) -> String {
    parts.iter().map(|(name, ms)| format!("{name} {ms:.0}")).collect::<Vec<_>>().join(", ")
}

/// Between two acknowledgements, of which one at least was in the window, in milliseconds.
fn longest_gap(samples: &[Sample], window: Window) -> f64 {
    let ends: Vec<u32> = samples.iter().map(|sample| sample.due + sample.took).collect();
    let touching = ends.windows(2).filter_map(|pair| match pair {
        [before, after] if window.has(*before) || window.has(*after) => Some(after - before),
        _ => None,
    });
    f64::from(touching.max().unwrap_or(window.to - window.from)) / 1e3
}

/// The p99 of each kind while slots moved, and in the quiet times of the same length before and after.
fn others(bench: &mut Bench, outcome: &Outcome) {
    for (kind, _, _) in MIX {
        let of = |windows: &[Window], pick: fn(&Sample) -> Option<f64>| -> Vec<f64> {
            let samples = outcome.seen.iter().filter(|seen| seen.kind == kind).flat_map(|seen| &seen.samples);
            samples.filter(|sample| windows.iter().any(|window| window.has(sample.due))).filter_map(pick).collect()
        };
        let took = |sample: &Sample| Some(f64::from(sample.took) / 1e3);
        let late = |sample: &Sample| sample.late.map(|late| f64::from(late) / 1e3);
        let during: Vec<f64> = outcome.moving.iter().map(|window| p99(&of(&[*window], took))).collect();
        let usual: Vec<f64> = outcome.quiet.windows(2).map(|around| p99(&of(around, took))).collect();
        let found = compare_figures(&during, &usual);
        let stages: Vec<_> =
            stages(outcome).into_iter().map(|(stage, windows)| (stage, p99(&of(&windows, took)))).collect();
        let note = format!(
            "p50 {:.2}, without moves {:.2} ms; p99 in each stage: {}; generator late by {:.2} and {:.2} ms (p99)",
            median(&of(&outcome.moving, took)),
            median(&of(&outcome.quiet, took)),
            show(&stages),
            p99(&of(&outcome.moving, late)),
            p99(&of(&outcome.quiet, late))
        );
        let (name, judged) = match kind {
            Kind::WriteOther => ("POST /ingest, other slots", true),
            Kind::WriteMoving | Kind::Probe(_) => ("POST /ingest, moving slots", false),
            Kind::ReadOther => ("GET /query, other slots", true),
            Kind::ReadMoving => ("GET /query, moving slots", true),
            Kind::Stats => ("GET /stats", true),
        };
        let bar = judged.then(|| Bar::new(format!("≤ {SLOWER} ×"), found.ratio <= SLOWER)).flatten();
        bench.compared(&format!("{name}, p99 while slots move"), "ms", found, bar, &note);
    }
}

/// When any of the moves was in each stage, in the order of the stages.
fn stages(outcome: &Outcome) -> Vec<(&str, Vec<Window>)> {
    let mut stages: Vec<(&str, Vec<Window>)> = Vec::new();
    for (stage, begin, end) in outcome.moves.iter().flat_map(|(_, moved)| moved.stages()) {
        let window = Window::new(outcome.begun, begin, end);
        match stages.iter_mut().find(|(known, _)| *known == stage) {
            Some((_, windows)) => windows.push(window),
            None => stages.push((stage, vec![window])),
        }
    }
    stages
}

//! Ours and the reference in turn, and what comes out of several rounds.

use serde::Serialize;

use crate::usage::Cpu;
use crate::{Bench, Result};

/// What one run of one side gave.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// What is compared: operations a second, or a latency.
    pub figure: f64,
    /// Operations that were done, for the CPU of each.
    pub operations: f64,
}

/// Microseconds of CPU for each operation.
#[derive(Clone, Copy, Default, Serialize, Debug)]
pub struct PerOperation {
    pub api: f64,
    pub postgres: f64,
    pub client: f64,
}

/// One side of a comparison.
#[derive(Clone, Default, Serialize, Debug)]
pub struct Side {
    pub median: f64,
    pub rounds: Vec<f64>,
    pub cpu: PerOperation,
}

/// Both sides.
#[derive(Debug)]
pub struct Comparison {
    pub ours: Side,
    pub reference: Side,
    /// The median of the rounds' ratios: what slows a whole round down is not in it.
    pub ratio: f64,
}

/// The middle of some figures.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (Some(&upper), 1) => upper,
        (Some(&upper), _) => f64::midpoint(upper, sorted.get(middle.wrapping_sub(1)).copied().unwrap_or(upper)),
        (None, _) => f64::NAN,
    }
}

/// The figure that 99 % of these are not above: the nearest rank.
pub fn p99(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * 99).div_ceil(100);
    sorted.get(rank.wrapping_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Measures a run and the CPU that it took.
pub fn measure(bench: &Bench, api: Option<u32>, run: impl FnOnce() -> Result<Run>) -> Result<(Run, PerOperation)> {
    let before = Cpu::now(api, &bench.shards.pids)?;
    let done = run()?;
    // PostgreSQL's processes end a moment after their clients.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let used = Cpu::now(api, &bench.shards.pids)? - before;
    let each = |seconds: f64| seconds * 1e6 / done.operations.max(1.0);
    Ok((done, PerOperation { api: each(used.api), postgres: each(used.postgres), client: each(used.client) }))
}

/// Runs both sides in turn, the one first and then the other, so that neither always finds the machine warm.
/// They are given the number of the run, which no two runs share.
pub fn compare(
    bench: &Bench,
    api: u32,
    ours: impl FnMut(u64) -> Result<Run>,
    reference: impl FnMut(u64) -> Result<Run>,
) -> Result<Comparison> {
    compare_services(bench, [api, api], || Ok(()), ours, reference)
}

/// The same for a reference that is a service as well, with a process of its own. `prepare` runs before each run,
/// unmeasured.
pub fn compare_services(
    bench: &Bench,
    [api, reference_api]: [u32; 2],
    mut prepare: impl FnMut() -> Result<()>,
    mut ours: impl FnMut(u64) -> Result<Run>,
    mut reference: impl FnMut(u64) -> Result<Run>,
) -> Result<Comparison> {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for round in 0..bench.options.rounds() {
        let seed = seed();
        for turn in 0..2 {
            prepare()?;
            if (round + turn) % 2 == 0 {
                left.push(measure(bench, Some(api), || ours(seed + turn as u64))?);
            } else {
                right.push(measure(bench, Some(reference_api), || reference(seed + turn as u64))?);
            }
        }
    }
    Ok(judge(&left, &right))
}

/// What comes out of rounds that were measured by [`measure`].
pub fn judge(ours: &[(Run, PerOperation)], reference: &[(Run, PerOperation)]) -> Comparison {
    let ratios: Vec<_> = ours.iter().zip(reference).map(|(ours, other)| ours.0.figure / other.0.figure).collect();
    Comparison { ours: side(ours), reference: side(reference), ratio: median(&ratios) }
}

/// What comes out of rounds whose figures are there already, without the CPU.
pub fn compare_figures(ours: &[f64], reference: &[f64]) -> Comparison {
    let runs = |figures: &[f64]| -> Vec<(Run, PerOperation)> {
        figures.iter().map(|figure| (Run { figure: *figure, operations: 0.0 }, PerOperation::default())).collect()
    };
    judge(&runs(ours), &runs(reference))
}

/// Runs one side alone.
pub fn repeat(bench: &Bench, api: u32, mut ours: impl FnMut(u64) -> Result<Run>) -> Result<Side> {
    let runs: Result<Vec<_>> =
        (0..bench.options.rounds()).map(|_| measure(bench, Some(api), || ours(seed()))).collect();
    Ok(side(&runs?))
}

fn side(runs: &[(Run, PerOperation)]) -> Side {
    let rounds: Vec<f64> = runs.iter().map(|(run, _)| run.figure).collect();
    let of = |part: fn(&PerOperation) -> f64| median(&runs.iter().map(|(_, cpu)| part(cpu)).collect::<Vec<_>>());
    let cpu = PerOperation { api: of(|cpu| cpu.api), postgres: of(|cpu| cpu.postgres), client: of(|cpu| cpu.client) };
    Side { median: median(&rounds), rounds, cpu }
}

/// A number that grows from run to run: the milliseconds since 1970.
fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or_default()
}

//! What the counting for `/metrics` takes of a `POST /ingest`. It cannot be switched off, so what one request counts is
//! counted by itself, by as many threads at the same cells as the service has, and compared with the CPU of a request.

use std::time::Instant;

use shardrive::telemetry::metrics::{Gauge, Histogram};

use crate::rounds::{Side, median, repeat};
use crate::service::Service;
use crate::table::Bar;
use crate::tools::wrk;
use crate::{Bench, Result};

const TIMES: u32 = 1_000_000;
/// Per cent.
const LIMIT: f64 = 2.0;

pub fn run(bench: &mut Bench) -> Result<()> {
    let service = Service::start(bench)?;
    let ingest =
        repeat(bench, service.pid(), |seed| Ok(wrk(bench, &service, 64, "ingest", &[&seed.to_string()])?.run))?;
    drop(service);
    let threads = std::thread::available_parallelism()?.get();
    let rounds: Vec<f64> = (0..bench.options.rounds()).map(|_| nanos(threads)).collect();
    let (cost, api) = (median(&rounds), ingest.cpu.api);
    let share = cost / 10.0 / api;
    let bar = Bar::new("≤ 2 %", share <= LIMIT);
    let note = format!(
        "{cost:.0} ns for what a request counts, {threads} threads at the same cells, not an optimised build; of {api:.1} µs of CPU \
         in the API alone"
    );
    let side = Side { median: share, rounds: rounds.iter().map(|cost| cost / 10.0 / api).collect(), ..Side::default() };
    bench.alone("counting, share of a POST /ingest", "%", side, bar, &note);
    Ok(())
}

/// What it takes to count one request, in nanoseconds of a thread.
fn nanos(threads: usize) -> f64 {
    // The route's (http/metrics/request_counts.rs) and the shard's (shard/server/counters.rs, writes/group_commit.rs).
    let (answers, asked, waiting) = (Histogram::of_times(), Histogram::of_times(), Gauge::default());
    let work = || {
        let start = Instant::now();
        for _ in 0..TIMES {
            let (request, question) = (Instant::now(), Instant::now());
            waiting.add(1);
            asked.observe_time(question.elapsed(), None);
            waiting.add(-1);
            answers.observe_time(request.elapsed(), None);
        }
        start.elapsed().as_nanos() as f64 / f64::from(TIMES)
    };
    let times: Vec<f64> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    median(&times)
}

//! `/stats` takes as long at ten million rows as at a hundred thousand.

use std::time::Duration;

use super::bulk::make;
use crate::rounds::{Run, Side, repeat};
use crate::service::Service;
use crate::table::Bar;
use crate::tools::{Wrk, wrk};
use crate::{Bench, Result};

/// Milliseconds.
const LIMIT: f64 = 5.0;

pub fn run(bench: &mut Bench) -> Result<()> {
    let few = 100_000;
    let many = bench.options.scale(10_000_000, 300_000);
    let (typical, tail) = at(bench, few)?;
    let first = typical.median;
    show(bench, few, typical, tail, None);
    let (typical, tail) = at(bench, many)?;
    let limit = first * 1.2;
    let bar = Bar::new(format!("≤ 1.2 × = {limit:.2} ms"), typical.median <= limit);
    show(bench, many, typical, tail, bar);
    Ok(())
}

fn show(bench: &mut Bench, rows: u64, typical: Side, tail: Side, bar: Option<Bar>) {
    bench.alone(&format!("GET /stats at {rows} rows, p50"), "ms", typical, bar, "1 connection");
    let bar = Bar::new("≤ 5 ms", tail.median <= LIMIT);
    bench.alone(&format!("GET /stats at {rows} rows, p99"), "ms", tail, bar, "1 connection");
}

/// Loads so many rows and asks for their number again and again: the median time, and the 99th percentile.
fn at(bench: &Bench, rows: u64) -> Result<(Side, Side)> {
    bench.shards.clear()?;
    let service = Service::start(bench)?;
    make(&service, rows)?;
    bench.shards.settle()?;
    // The deltas of the load are folded once a second.
    std::thread::sleep(Duration::from_secs(3));
    let ask = |pick: fn(&Wrk) -> f64| {
        repeat(bench, service.pid(), |seed| {
            let done = wrk(bench, &service, 1, "get", &[&seed.to_string(), "/stats"])?;
            Ok(Run { figure: pick(&done), ..done.run })
        })
    };
    Ok((ask(|done| done.p50)?, ask(|done| done.p99)?))
}

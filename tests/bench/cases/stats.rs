//! `/stats` takes as long at ten million rows as at a hundred thousand.

use std::time::Duration;

use super::bulk::make;
use crate::rounds::{Run, Side, repeat};
use crate::service::Service;
use crate::table::Bar;
use crate::tools::wrk;
use crate::{Bench, Result};

/// Milliseconds.
const LIMIT: f64 = 5.0;

pub fn run(bench: &mut Bench) -> Result<()> {
    let few = 100_000;
    let many = bench.options.scale(10_000_000, 1_000_000);
    let before = at(bench, few)?;
    let name = |rows| format!("GET /stats at {rows} rows, p99");
    let (first, bar) = (before.median, Bar::new("≤ 5 ms", before.median <= LIMIT));
    bench.alone(&name(few), "ms", before, bar, "1 connection");

    let after = at(bench, many)?;
    let limit = LIMIT.min(first * 1.2);
    let bar = Bar::new(format!("≤ 1.2 × = {limit:.2} ms"), after.median <= limit);
    bench.alone(&name(many), "ms", after, bar, "1 connection");
    Ok(())
}

/// Loads so many rows and asks for their number again and again.
fn at(bench: &Bench, rows: u64) -> Result<Side> {
    bench.shards.clear()?;
    let service = Service::start(bench)?;
    make(&service, rows)?;
    bench.shards.settle()?;
    // The deltas of the load are folded once a second.
    std::thread::sleep(Duration::from_secs(3));
    repeat(bench, service.pid(), |seed| {
        let done = wrk(bench, &service, 1, "get", &[&seed.to_string(), "/stats"])?;
        Ok(Run { figure: done.p99, ..done.run })
    })
}

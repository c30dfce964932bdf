//! Latency at a fixed rate: half of what the service can do, sent on time whether or not it keeps up.

use std::fmt::Write as _;

use super::query;
use crate::rounds::{Side, median};
use crate::service::Service;
use crate::tools::{oha, open_loop, wrk};
use crate::{Bench, Result};

pub fn run(bench: &mut Bench) -> Result<()> {
    let Some(oha) = oha() else {
        eprintln!("bench: oha is not there (a full run builds it); open-loop latency is left out");
        return Ok(());
    };
    let service = Service::start(bench)?;
    let users = query::fill(bench, &service)?;
    bench.shards.settle()?;

    // Bodies of many users: one line each, of which oha takes one at random.
    let bodies = bench.options.folder.join("bodies");
    let lines = (0..10_000).fold(String::new(), |mut text, user| {
        let _ = writeln!(text, "{{\"user_id\":{user},\"file_name\":\"report.pdf\",\"size_bytes\":4096}}");
        text
    });
    std::fs::write(&bodies, lines)?;
    let rate = wrk(bench, &service, 64, "ingest", &["1"])?.run.figure / 2.0;
    let (url, bodies) = (service.url("/ingest"), bodies.display().to_string());
    let request = ["-m", "POST", "-T", "application/json", "-Z", &bodies, &url];
    measure(bench, "POST /ingest", rate, |bench| open_loop(bench, &oha, rate, &request))?;

    let rate = wrk(bench, &service, 64, "query", &["1", &users.to_string()])?.run.figure / 2.0;
    // Four-digit users: a pattern that oha makes paths of. To it, a dot is a dot.
    let url = format!("{}/query/[1-3][0-9]{{3}}\\?limit=20", service.base);
    let request = ["--rand-regex-url", &url];
    measure(bench, "GET /query", rate, |bench| open_loop(bench, &oha, rate, &request))
}

fn measure(bench: &mut Bench, name: &str, rate: f64, run: impl Fn(&Bench) -> Result<(f64, f64)>) -> Result<()> {
    let found: Result<Vec<_>> = (0..bench.options.rounds()).map(|_| run(bench)).collect();
    let (half, most): (Vec<_>, Vec<_>) = found?.into_iter().unzip();
    let note = format!("open loop, {rate:.0} requests/s, half of the closed loop's");
    for (part, rounds) in [("p50", half), ("p99", most)] {
        let side = Side { median: median(&rounds), rounds, ..Side::default() };
        bench.alone(&format!("{name}, {part} at half load"), "ms", side, None, &note);
    }
    Ok(())
}

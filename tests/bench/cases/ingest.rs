//! `POST /ingest` against single-row INSERTs of the same row, by as many clients over the same shards.

use crate::rounds::{Run, compare};
use crate::service::Service;
use crate::table::Bar;
use crate::tools::{pgbench, pgbench_latency, statements, wrk};
use crate::{Bench, Result};

const CONNECTIONS: u64 = 64;
/// A table as `file_metadata` was before it had a guard and counts: what a plain database would do.
const PLAIN_TABLE: &str = "CREATE TABLE IF NOT EXISTS bench_plain (LIKE file_metadata INCLUDING ALL);
    ALTER TABLE bench_plain DROP CONSTRAINT bench_plain_pkey, ADD PRIMARY KEY (user_id, file_id)";

pub fn run(bench: &mut Bench) -> Result<()> {
    let service = Service::start(bench)?;
    let api = service.pid();
    let insert = statements("insert");
    let ours = |bench: &Bench, seed: u64| Ok(wrk(bench, &service, CONNECTIONS, "ingest", &[&seed.to_string()])?.run);

    let found = compare(bench, api, |seed| ours(bench, seed), |seed| pgbench(bench, 64, &insert, &[("tick", seed)]))?;
    let bar = Bar::ratio(&found, 3.0);
    bench.compared("POST /ingest, 64 connections", "/s", found, bar, "pgbench INSERT, 64 clients");

    bench.shards.everywhere(PLAIN_TABLE)?;
    let plain = bench.options.folder.join("insert_plain.sql");
    std::fs::write(&plain, std::fs::read_to_string(&insert)?.replace("INTO file_metadata", "INTO bench_plain"))?;
    let found = compare(bench, api, |seed| ours(bench, seed), |seed| pgbench(bench, 64, &plain, &[("tick", seed)]))?;
    bench.compared(
        "the same, reference without guard and counts",
        "/s",
        found,
        None,
        "pgbench INSERT into a plain table",
    );
    bench.shards.everywhere("DROP TABLE bench_plain")?;

    let alone = |seed: u64| {
        let done = wrk(bench, &service, 1, "ingest", &[&seed.to_string()])?;
        Ok(Run { figure: done.p50, ..done.run })
    };
    let found = compare(bench, api, alone, |seed| pgbench_latency(bench, &insert, &[("tick", seed)]))?;
    let limit = found.reference.median * 1.1 + 0.2;
    let bar = Bar::new(format!("≤ 1.1 × + 0.2 = {limit:.2} ms"), found.ours.median <= limit);
    bench.compared("POST /ingest, 1 connection, p50", "ms", found, bar, "pgbench INSERT, 1 client, p50");
    Ok(())
}

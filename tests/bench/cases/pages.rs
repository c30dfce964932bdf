//! One user with very many files: each page takes as long as the first, and not much longer than pgbench's SELECT of
//! the same rows.

use std::fs::File;
use std::io::{BufWriter, Write};

use shardrive::files::FileCursor;

use crate::rounds::{Run, Side, compare, median};
use crate::service::Service;
use crate::table::Bar;
use crate::tools::{get_millis, pgbench_latency, upload, wrk};
use crate::{Bench, Result, rows};

const USER: u64 = 42;
const PAGE: u64 = 1000;
/// Milliseconds.
const LIMIT: f64 = 20.0;
const TRIES: usize = 20;

pub fn run(bench: &mut Bench) -> Result<()> {
    let count = bench.options.scale(1_000_000_u64, 100_000);
    let service = Service::start(bench)?;
    let file = bench.options.folder.join("rows.ndjson");
    let mut out = BufWriter::new(File::create(&file)?);
    rows::drive(&mut out, USER, count)?;
    out.flush()?;
    upload(&service, "/ingest/bulk", "application/x-ndjson", &file)?;
    std::fs::remove_file(&file)?;
    bench.shards.settle()?;

    let places = [("first", 0), ("middle", count / 2), ("last", count - PAGE)];
    let mut paths = Vec::new();
    for (name, skipped) in places {
        let mut path = format!("/query/{USER}?limit={PAGE}");
        if skipped > 0 {
            let find = format!(
                "SELECT file_id FROM file_metadata WHERE user_id = {USER} ORDER BY file_id DESC OFFSET {} LIMIT 1",
                skipped - 1
            );
            path = format!("{path}&cursor={}", FileCursor::after(bench.shards.sql(0, &find)?.parse()?));
        }
        paths.push((name, path, Vec::new()));
    }
    for _ in 0..TRIES {
        for (_, path, times) in &mut paths {
            times.push(get_millis(&service, path)?);
        }
    }
    for (name, _, times) in paths {
        let worst = times.iter().copied().fold(0.0, f64::max);
        let side = Side { median: median(&times), rounds: times, ..Side::default() };
        let bar = Bar::new("≤ 20 ms", side.median <= LIMIT);
        let note = format!("of {count} files; slowest of {TRIES}: {worst:.1} ms");
        bench.alone(&format!("a page of 1000 files, {name}"), "ms", side, bar, &note);
    }

    let user = [("random(0, :users / 2 - 1) * 2 + :shard", "42"), ("LIMIT 20", "LIMIT 1000")];
    let select = super::query::plain_select(bench, &user)?;
    let path = format!("/query/{USER}?limit={PAGE}");
    let ours = |seed: u64| {
        let done = wrk(bench, &service, 1, "get", &[&seed.to_string(), &path])?;
        Ok(Run { figure: done.p50, ..done.run })
    };
    let found = compare(bench, service.pid(), ours, |_| pgbench_latency(bench, &select, &[]))?;
    let bar = Bar::new("≤ 1.3 ×", found.ratio <= 1.3);
    bench.compared(
        "a page of 1000 files, 1 connection, p50",
        "ms",
        found,
        bar,
        "pgbench SELECT by a plain key, 1 client, p50",
    );
    bench.shards.everywhere("DROP TABLE bench_plain")
}

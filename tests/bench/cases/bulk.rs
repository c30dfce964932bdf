//! Bulk loads against `\copy` of the same rows into the same tables, guard and counts on for both.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::rounds::{Run, compare, repeat};
use crate::service::Service;
use crate::table::Bar;
use crate::tools::{COLUMNS, answer, copy, upload};
use crate::{Bench, Result, rows};

/// Rows of a load.
pub fn size(bench: &Bench) -> u64 {
    bench.options.scale(2_000_000, 200_000)
}

pub fn run(bench: &mut Bench) -> Result<()> {
    let service = Service::start(bench)?;
    let api = service.pid();
    let folder = bench.options.folder.clone();
    let count = size(bench);

    let file = folder.join("rows.ndjson");
    rows::ndjson(&file, count)?;
    let copies = rows::copy(&folder, count)?;
    let reference = |_| {
        bench.shards.clear()?;
        let seconds = copy(bench, &copies, COLUMNS)?;
        check(bench, count)?;
        Ok(rate(count, seconds))
    };
    let found = compare(bench, api, |_| load(bench, &service, "", "application/x-ndjson", &file, count), reference)?;
    let bar = Bar::ratio(&found, 0.9);
    bench.compared(&format!("bulk, {count} rows of NDJSON"), "rows/s", found, bar, "psql \\copy, one for each shard");
    copies.iter().try_for_each(std::fs::remove_file)?;
    std::fs::remove_file(&file)?;

    let count = 200_000;
    let file = folder.join("rows.csv");
    rows::csv(&file, count)?;
    let found = repeat(bench, api, |_| load(bench, &service, "", "text/csv", &file, count))?;
    bench.alone("bulk, 200000 rows of CSV", "rows/s", found, None, "");
    std::fs::remove_file(&file)?;

    let file = folder.join("rows.lsjson");
    rows::lsjson(&file, count)?;
    let listing = "?format=lsjson&user_id=42";
    let found = repeat(bench, api, |_| load(bench, &service, listing, "application/json", &file, count))?;
    bench.alone("bulk, 200000 rows of lsjson", "rows/s", found, None, "one user, one shard");
    std::fs::remove_file(&file)?;

    let found = repeat(bench, api, |_| {
        bench.shards.clear()?;
        let seconds = make(&service, count)?;
        check(bench, count)?;
        Ok(rate(count, seconds))
    })?;
    bench.alone("bulk, count=200000", "rows/s", found, None, "");
    Ok(())
}

/// Loads a file into empty tables.
fn load(bench: &Bench, service: &Service, query: &str, kind: &str, file: &Path, count: u64) -> Result<Run> {
    bench.shards.clear()?;
    let (seconds, said) = upload(service, &format!("/ingest/bulk{query}"), kind, file)?;
    if said.get("inserted").and_then(Value::as_u64) != Some(count) {
        return Err(format!("not all rows were stored: {said}").into());
    }
    check(bench, count)?;
    Ok(rate(count, seconds))
}

/// Makes test files; gives the seconds that it took.
pub fn make(service: &Service, count: u64) -> Result<f64> {
    let start = Instant::now();
    let output = Command::new("curl")
        .args(["-sS", "--fail-with-body", "-X", "POST"])
        .arg(service.url(&format!("/ingest/bulk?count={count}")))
        .output()?;
    answer(output)?;
    Ok(start.elapsed().as_secs_f64())
}

fn rate(count: u64, seconds: f64) -> Run {
    Run { figure: count as f64 / seconds, operations: count as f64 }
}

/// What was answered for must be there.
fn check(bench: &Bench, count: u64) -> Result<()> {
    let found = bench.shards.rows()?;
    if found == count { Ok(()) } else { Err(format!("{found} rows are there instead of {count}").into()) }
}

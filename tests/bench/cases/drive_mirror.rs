//! A mirror of a listing in which nothing has changed, against psql's `\copy` into a staging table and one `MERGE`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;

use crate::rounds::{Run, compare};
use crate::service::Service;
use crate::table::Bar;
use crate::tools::upload;
use crate::{Bench, Result, rows};

const SYNC: &str = "/drives/42/sync";
const TABLES: &str = "CREATE TABLE bench_mirror (path text COLLATE \"C\" PRIMARY KEY, size_bytes bigint, mime_type text, modified_at timestamptz);
    CREATE UNLOGGED TABLE bench_stage (LIKE bench_mirror)";
const MERGE: &str = "MERGE INTO bench_mirror AS m USING bench_stage AS s ON m.path = s.path
    WHEN MATCHED AND (m.size_bytes, m.mime_type, m.modified_at) IS DISTINCT FROM (s.size_bytes, s.mime_type, s.modified_at)
    THEN UPDATE SET size_bytes = s.size_bytes, mime_type = s.mime_type, modified_at = s.modified_at
    WHEN NOT MATCHED THEN INSERT VALUES (s.path, s.size_bytes, s.mime_type, s.modified_at)";

pub fn run(bench: &mut Bench) -> Result<()> {
    let count: u64 = bench.options.scale(200_000, 50_000);
    let service = Service::start(bench)?;
    let listing = bench.options.folder.join("listing.json");
    rows::lsjson(&listing, count)?;
    let lines = bench.options.folder.join("listing.copy");
    write_lines(&lines, count)?;
    upload(&service, SYNC, "application/json", &listing)?;
    bench.shards.settle()?;
    bench.shards.sql(0, TABLES)?;
    // The first fills the table.
    merge(bench, &lines)?;

    let version = "SELECT last_value FROM shardrive.version";
    let before = bench.shards.sql(0, version)?;
    let ours = |_| {
        let (seconds, answer) = upload(&service, SYNC, "application/json", &listing)?;
        if answer.pointer("/unchanged/files").and_then(Value::as_u64) != Some(count) {
            return Err(format!("not all is unchanged: {answer}").into());
        }
        Ok(Run { figure: count as f64 / seconds, operations: count as f64 })
    };
    let reference = |_| Ok(Run { figure: count as f64 / merge(bench, &lines)?, operations: count as f64 });
    let found = compare(bench, service.pid(), ours, reference)?;
    let written = bench.shards.sql(0, version)? != before;
    let bar = Bar::new("≥ 0.6 ×, no row written", found.ratio >= 0.6 && !written);
    bench.compared(
        &format!("mirror of an unchanged listing of {count}"),
        "rows/s",
        found,
        bar,
        "psql \\copy and MERGE",
    );
    bench.shards.sql(0, "DROP TABLE bench_mirror, bench_stage")?;
    std::fs::remove_file(&listing)?;
    Ok(std::fs::remove_file(&lines)?)
}

/// The seconds of one comparison by psql.
fn merge(bench: &Bench, lines: &std::path::Path) -> Result<f64> {
    let begun = Instant::now();
    let copy = format!("\\copy bench_stage FROM '{}'", lines.display());
    let output = bench
        .shards
        .psql(0)
        .args(["--command", "TRUNCATE bench_stage", "--command", &copy, "--command", "ANALYZE bench_stage"])
        .args(["--command", MERGE])
        .stdout(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// The listing of [`rows::lsjson`] for `\copy`.
fn write_lines(path: &std::path::Path, count: u64) -> Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for index in 0..count {
        let (path, size) = rows::listed(index, count);
        writeln!(out, "{path}\t{size}\tapplication/pdf\t2025-03-04T05:06:07Z")?;
    }
    Ok(out.flush()?)
}

//! Changes of a drive's tree: a rename whatever is below, batches, loads with folders, and the purge of the trash.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::drive_reads::text;
use crate::http::{Connection, change, post};
use crate::rounds::{Run, Side, compare, compare_figures, median, p99};
use crate::service::Service;
use crate::table::Bar;
use crate::tools::{COLUMNS, copy, upload};
use crate::{Bench, Result, rows};

const USER: u64 = 42;
const RENAMES: usize = 50;
const BATCH: usize = 100;

pub fn run(bench: &mut Bench) -> Result<()> {
    let service = Service::start(bench)?;
    loads(bench, &service)?;
    renames(bench, &service)?;
    batches(bench, &service)?;
    purges(bench, &service)
}

/// Writes a tree, and the same files without paths; loads the one or the other.
fn loads(bench: &mut Bench, service: &Service) -> Result<()> {
    let count: u64 = bench.options.scale(1_000_000, 100_000);
    let folders = count / 100;
    let (placed, loose) = (bench.options.folder.join("placed.ndjson"), bench.options.folder.join("loose.ndjson"));
    let mut out = BufWriter::new(File::create(&placed)?);
    rows::tree(&mut out, USER, folders, count)?;
    out.flush()?;
    let mut out = BufWriter::new(File::create(&loose)?);
    rows::drive(&mut out, USER, count)?;
    out.flush()?;
    let found = compare(
        bench,
        service.pid(),
        |_| load(bench, service, &placed, count),
        |_| load(bench, service, &loose, count),
    )?;
    let bar = Bar::ratio(&found, 0.8);
    let name = format!("bulk, {count} rows of NDJSON in {folders} folders");
    bench.compared(&name, "rows/s", found, bar, "the same rows without paths");

    // The rows as the load has stored them, in the same folders.
    let columns = format!("{COLUMNS}, folder_id");
    let [folders_copy, files_copy] = ["folders.copy", "files.copy"].map(|name| bench.options.folder.join(name));
    load(bench, service, &placed, count)?;
    let psql = |command: String| bench.shards.sql(0, &format!("\\copy {command}"));
    psql(format!("folders TO '{}'", folders_copy.display()))?;
    psql(format!("(SELECT {columns} FROM file_metadata ORDER BY file_id) TO '{}'", files_copy.display()))?;
    let copy = |_| {
        bench.shards.clear()?;
        psql(format!("folders FROM '{}'", folders_copy.display()))?;
        let seconds = copy(bench, std::slice::from_ref(&files_copy), &columns)?;
        Ok(Run { figure: count as f64 / seconds, operations: count as f64 })
    };
    let found = compare(bench, service.pid(), |_| load(bench, service, &placed, count), copy)?;
    let bar = Bar::ratio(&found, 0.7);
    bench.compared(
        &format!("the same bulk in {folders} folders"),
        "rows/s",
        found,
        bar,
        "psql \\copy into the same tables",
    );
    std::fs::remove_file(&folders_copy)?;
    std::fs::remove_file(&files_copy)?;
    std::fs::remove_file(&placed)?;
    Ok(std::fs::remove_file(&loose)?)
}

/// Loads a file into empty tables.
fn load(bench: &Bench, service: &Service, file: &Path, count: u64) -> Result<Run> {
    bench.shards.clear()?;
    let (seconds, answer) = upload(service, "/ingest/bulk", "application/x-ndjson", file)?;
    if answer.get("inserted").and_then(Value::as_u64) != Some(count) {
        return Err(format!("not all is stored: {answer}").into());
    }
    Ok(Run { figure: count as f64 / seconds, operations: count as f64 })
}

/// A folder with many files below, and an empty one.
fn renames(bench: &mut Bench, service: &Service) -> Result<()> {
    let count: u64 = bench.options.scale(1_000_000, 100_000);
    bench.shards.clear()?;
    let file = bench.options.folder.join("tree.ndjson");
    let mut out = BufWriter::new(File::create(&file)?);
    rows::tree(&mut out, USER, 1, count)?;
    out.flush()?;
    upload(service, "/ingest/bulk", "application/x-ndjson", &file)?;
    std::fs::remove_file(&file)?;
    bench.shards.settle()?;
    let mut api = Connection::open(&service.base)?;
    let full = text(&api.json(&crate::http::get(&format!("/drives/{USER}/path/d0")))?, "/data/folder_id")?;
    let made = api.json(&post(&format!("/drives/{USER}/folders"), "{\"path\":\"empty\"}"))?;
    let empty = text(&made, "/data/folder_id")?;
    let mut figures = [Vec::new(), Vec::new()];
    let mut log = 0.0;
    for number in 0..RENAMES {
        for (place, id) in [&full, &empty].into_iter().enumerate() {
            let name = format!("{{\"folder_name\":\"name {place} {number}\"}}");
            let before = bench.shards.sql(0, "SELECT pg_current_wal_insert_lsn()")?;
            let begun = Instant::now();
            api.json(&change("PATCH", &format!("/folders/{id}"), &name))?;
            if let Some(figures) = figures.get_mut(place) {
                figures.push(begun.elapsed().as_secs_f64() * 1e3);
            }
            if place == 0 {
                let written = format!("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '{before}')");
                log += bench.shards.sql(0, &written)?.parse::<f64>()? / RENAMES as f64;
            }
        }
    }
    let [full, empty] = figures;
    let rename = median(&full);
    let found = compare_figures(&full, &empty);
    let met = rename / median(&empty) <= 1.5 && log <= 8192.0;
    let note = format!("a rename of an empty folder; {:.1} KiB of log for each", log / 1024.0);
    let name = format!("rename of a folder with {count} files below");
    bench.compared(&name, "ms", found, Bar::new("≤ 1.5 ×, ≤ 8 KiB of log", met), &note);

    // What a service with paths in every row needs: a file by its id, and by its path.
    bench.shards.sql(
        0,
        "CREATE TABLE bench_paths AS SELECT user_id, file_id, 'd0/' || file_name AS path FROM file_metadata;
         ALTER TABLE bench_paths ADD PRIMARY KEY (user_id, file_id);
         CREATE UNIQUE INDEX ON bench_paths (user_id, path)",
    )?;
    let begun = Instant::now();
    bench.shards.sql(0, "UPDATE bench_paths SET path = 'new/' || substr(path, 4)")?;
    let flat = begun.elapsed().as_secs_f64() * 1e3;
    bench.shards.sql(0, "DROP TABLE bench_paths")?;
    let side = Side { median: flat / rename, rounds: vec![flat / rename], ..Side::default() };
    let note = format!("{flat:.0} ms for the UPDATE of as many paths by psql");
    // Of a million rows; the short form has fewer.
    let bar = Bar::new("≥ 1000 ×", flat / rename >= 1000.0).filter(|_| !bench.options.short);
    bench.alone("rename of a folder, times as fast as paths in every row", "×", side, bar, &note);
    Ok(())
}

/// New files by batches, and one at a time, over one connection.
fn batches(bench: &mut Bench, service: &Service) -> Result<()> {
    let time = Duration::from_secs(bench.options.seconds());
    let batch = |seed: u64| {
        let mut api = Connection::open(&service.base)?;
        let (begun, mut stored) = (Instant::now(), 0);
        while begun.elapsed() < time {
            let operations: Vec<String> = (stored..stored + BATCH)
                .map(|number| format!("{{\"op\":\"put_file\",\"path\":\"batch {seed}/{number}\",\"size_bytes\":1}}"))
                .collect();
            let body = format!("{{\"operations\":[{}]}}", operations.join(","));
            api.json(&post(&format!("/drives/{USER}/batch"), &body))?;
            stored += BATCH;
        }
        Ok(Run { figure: stored as f64 / begun.elapsed().as_secs_f64(), operations: stored as f64 })
    };
    let single = |seed: u64| {
        let mut api = Connection::open(&service.base)?;
        let (begun, mut stored) = (Instant::now(), 0);
        while begun.elapsed() < time {
            let path = format!("/drives/{USER}/path/single%20{seed}/{stored}");
            api.json(&change("PUT", &path, "{\"size_bytes\":1}"))?;
            stored += 1;
        }
        Ok(Run { figure: f64::from(stored) / begun.elapsed().as_secs_f64(), operations: f64::from(stored) })
    };
    let found = compare(bench, service.pid(), batch, single)?;
    let bar = Bar::ratio(&found, 10.0);
    bench.compared("new files by batches of 100, 1 connection", "files/s", found, bar, "one PUT at a time");
    Ok(())
}

/// What others notice of a purge.
fn purges(bench: &mut Bench, service: &Service) -> Result<()> {
    let count: u64 = bench.options.scale(100_000, 20_000);
    bench.shards.clear()?;
    let file = bench.options.folder.join("tree.ndjson");
    let mut out = BufWriter::new(File::create(&file)?);
    rows::tree(&mut out, USER, 100, count)?;
    out.flush()?;
    upload(service, "/ingest/bulk", "application/x-ndjson", &file)?;
    std::fs::remove_file(&file)?;
    let mut api = Connection::open(&service.base)?;
    for folder in 0..100 {
        api.json(&change("DELETE", &format!("/drives/{USER}/path/d{folder}"), ""))?;
    }
    bench.shards.settle()?;
    let time = Duration::from_secs(bench.options.seconds());
    let alone = AtomicBool::new(false);
    let quiet = std::thread::scope(|scope| {
        let others = scope.spawn(|| latencies(service, &alone));
        std::thread::sleep(time);
        alone.store(true, Ordering::Relaxed);
        others.join().map_err(|_| "the load broke off")
    })??;
    let done = AtomicBool::new(false);
    let (purged, busy) = std::thread::scope(|scope| {
        let others = scope.spawn(|| latencies(service, &done));
        let purged = empty(service);
        done.store(true, Ordering::Relaxed);
        (purged, others.join().map_err(|_| "the load broke off"))
    });
    let (purged, seconds) = purged?;
    let busy = busy??;
    if purged < count {
        return Err(format!("{purged} rows of {count} were purged").into());
    }
    let ratio = p99(&busy) / p99(&quiet);
    let note = format!("{purged} rows in {seconds:.1} s; without a purge {:.2} ms", p99(&quiet));
    let side = Side { median: p99(&busy), rounds: busy, ..Side::default() };
    let bar = Bar::new("≤ 1.2 × of without", ratio <= 1.2);
    bench.alone("p99 of other users' writes while the trash is purged", "ms", side, bar, &note);
    Ok(())
}

/// Deletes the trash for good; gives the rows and the seconds.
fn empty(service: &Service) -> Result<(u64, f64)> {
    let mut api = Connection::open(&service.base)?;
    let (begun, mut purged) = (Instant::now(), 0);
    loop {
        let answer = api.json(&change("DELETE", &format!("/drives/{USER}/trash"), ""))?;
        purged += answer.get("purged").and_then(Value::as_u64).ok_or("no number of purged rows")?;
        if answer.get("more") == Some(&Value::Bool(false)) {
            return Ok((purged, begun.elapsed().as_secs_f64()));
        }
    }
}

/// Milliseconds of another user's writes on the same shard, one after the other.
fn latencies(service: &Service, stop: &AtomicBool) -> Result<Vec<f64>> {
    let mut api = Connection::open(&service.base)?;
    let request = post("/ingest", "{\"user_id\":44,\"file_name\":\"other.txt\"}");
    let mut found = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        api.json(&request)?;
        found.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(found)
}

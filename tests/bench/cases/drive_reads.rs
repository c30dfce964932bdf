//! Reads of a drive's tree: pages of folders, however large, and paths, however deep.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Instant;

use serde_json::Value;

use crate::http::{Connection, change, get};
use crate::rounds::{Side, compare, median};
use crate::service::Service;
use crate::table::Bar;
use crate::tools::{upload, wrk};
use crate::{Bench, Result, rows};

const CONNECTIONS: u64 = 64;
const TRIES: usize = 50;
/// Milliseconds.
const PAGE_LIMIT: f64 = 5.0;
/// Users on different shards.
const USERS: [u64; 2] = [42, 43];

pub fn run(bench: &mut Bench) -> Result<()> {
    let service = Service::start(bench)?;
    let count = bench.options.scale(1_000_000, 50_000);
    for folders in [1, 1000] {
        bench.shards.clear()?;
        fill(bench, &service, folders, count)?;
        bench.shards.settle()?;
        pages(bench, &service, folders, count)?;
    }
    paths(bench, &service)
}

/// Gives both users so many files in so many folders.
fn fill(bench: &Bench, service: &Service, folders: u64, count: u64) -> Result<()> {
    let file = bench.options.folder.join("tree.ndjson");
    let mut out = BufWriter::new(File::create(&file)?);
    for user in USERS {
        rows::tree(&mut out, user, folders, count)?;
    }
    out.flush()?;
    let (_, answer) = upload(service, "/ingest/bulk", "application/x-ndjson", &file)?;
    std::fs::remove_file(&file)?;
    if answer.get("inserted").and_then(Value::as_u64) != Some(2 * count) {
        return Err(format!("the trees were not stored: {answer}").into());
    }
    Ok(())
}

fn pages(bench: &mut Bench, service: &Service, folders: u64, count: u64) -> Result<()> {
    let mut api = Connection::open(&service.base)?;
    let mut ids = Vec::new();
    for user in USERS {
        let folder = api.json(&get(&format!("/drives/{user}/path/d0")))?;
        ids.push(text(&folder, "/data/folder_id")?);
    }
    let (Some(first), Some(second)) = (ids.first().cloned(), ids.get(1).cloned()) else {
        return Err("no folders".into());
    };
    let script = bench.options.folder.join("children.sql");
    let statement = std::fs::read_to_string(crate::tools::statements("children"))?;
    // Each shard has a folder of its own.
    let folder = format!("(CASE WHEN :shard = 0 THEN '{first}' ELSE '{second}' END)::uuid");
    let statement = statement.replace("':folder'::uuid", &folder);
    std::fs::write(&script, statement)?;
    let ours = |seed: u64| Ok(wrk(bench, service, CONNECTIONS, "children", &[&seed.to_string(), &first, &second])?.run);
    let found = compare(bench, service.pid(), ours, |_| crate::tools::pgbench(bench, 64, &script, &[]))?;
    let bar = Bar::new("time ≤ 1.5 ×", found.ratio >= 1.0 / 1.5);
    let name = format!("a page of 100 of a folder, {count} files in {folders}");
    bench.compared(&name, "/s", found, bar, "pgbench SELECT by the same index, 64 clients");
    std::fs::remove_file(&script)?;

    // The cursor before the last page: that of the page before it, found by walking once.
    let base = format!("/drives/42/children?folder_id={first}");
    let mut cursor = String::new();
    let mut last = String::new();
    loop {
        let page = api.json(&get(&format!("{base}&limit=1000{cursor}")))?;
        match page.get("next_cursor").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
        last.clone_from(&cursor);
    }
    let first_page = times(&mut api, &format!("{base}&limit=100"))?;
    let last_page = times(&mut api, &format!("{base}&limit=100{last}"))?;
    let ratio = median(&last_page) / median(&first_page);
    let met = ratio <= 1.2 && median(&last_page) <= PAGE_LIMIT;
    let note = format!("first page {:.2} ms; {ratio:.2} × of it", median(&first_page));
    let side = Side { median: median(&last_page), rounds: last_page, ..Side::default() };
    let bar = Bar::new("≤ 1.2 × the first, ≤ 5 ms", met);
    bench.alone(&format!("the last page of a folder, {count} files in {folders}"), "ms", side, bar, &note);
    Ok(())
}

/// Milliseconds of each of some requests.
fn times(api: &mut Connection, path: &str) -> Result<Vec<f64>> {
    let request = get(path);
    (0..TRIES)
        .map(|_| {
            let begun = Instant::now();
            let (status, _) = api.ask(&request)?;
            if status == 200 {
                Ok(begun.elapsed().as_secs_f64() * 1e3)
            } else {
                Err(format!("{path}: {status}").into())
            }
        })
        .collect()
}

/// A path of eight names against the same file by its id.
fn paths(bench: &mut Bench, service: &Service) -> Result<()> {
    const PATH: &str = "/drives/42/path/a/b/c/d/e/f/g/file.txt";
    let mut api = Connection::open(&service.base)?;
    let stored = api.json(&change("PUT", PATH, "{\"size_bytes\":1}"))?;
    let by_id = format!("/files/{}", text(&stored, "/data/file_id")?);
    let ask = |seed: u64, path: &str| Ok(wrk(bench, service, CONNECTIONS, "get", &[&seed.to_string(), path])?.run);
    let found = compare(bench, service.pid(), |seed| ask(seed, PATH), |seed| ask(seed, &by_id))?;
    let bar = Bar::ratio(&found, 0.5);
    bench.compared("GET of a path of 8 names, 64 connections", "/s", found, bar, "the same file by GET /files/{id}");
    Ok(())
}

/// A text of an answer, by its place.
pub fn text(answer: &Value, place: &str) -> Result<String> {
    Ok(answer.pointer(place).and_then(Value::as_str).ok_or_else(|| format!("no {place} in {answer}"))?.to_owned())
}

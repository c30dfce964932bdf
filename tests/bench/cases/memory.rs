//! The most memory that the service ever has: in a load, with a thousand connections, and while an endless body comes
//! in.

use std::io::BufWriter;
use std::process::Stdio;

use super::query;
use crate::rounds::Side;
use crate::service::Service;
use crate::table::Bar;
use crate::tools::{answer, upload, upload_command, wrk};
use crate::usage::peak_memory;
use crate::{Bench, Result, rows};

/// MiB.
const LIMIT: f64 = 128.0;

pub fn run(bench: &mut Bench) -> Result<()> {
    let count = super::bulk::size(bench);
    let file = bench.options.folder.join("rows.ndjson");
    rows::ndjson(&file, count)?;
    let service = Service::start(bench)?;
    upload(&service, "/ingest/bulk", "application/x-ndjson", &file)?;
    std::fs::remove_file(&file)?;
    add(bench, &service, &format!("memory, load of {count} rows"), "")?;
    drop(service);

    bench.shards.clear()?;
    let service = Service::start(bench)?;
    let users = query::fill(bench, &service)?;
    drop(service);
    let service = Service::start(bench)?;
    wrk(bench, &service, 1000, "mixed", &["1", &users.to_string()])?;
    add(bench, &service, "memory, 1000 connections", "one write for each two reads, as fast as they go")?;
    drop(service);

    let bytes = bench.options.scale(5_000_000_000, 200_000_000);
    let service = Service::start(bench)?;
    stream(&service, bytes)?;
    let note = "most lines are rejected or duplicates";
    add(bench, &service, &format!("memory, a body of {} MB", bytes / 1_000_000), note)
}

/// Sends a body that is made on the way.
fn stream(service: &Service, bytes: u64) -> Result<()> {
    let mut curl = upload_command(service, "/ingest/bulk", "application/x-ndjson");
    let mut curl = curl.args(["-T", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let lines = {
        let pipe = curl.stdin.take().ok_or("no pipe to curl")?;
        rows::mostly_refused(&mut BufWriter::with_capacity(1 << 16, pipe), bytes)?
    };
    let said = answer(curl.wait_with_output()?)?;
    let read: u64 = ["inserted", "duplicates", "rejected"].iter().filter_map(|name| said.get(*name)?.as_u64()).sum();
    if read == lines { Ok(()) } else { Err(format!("{read} of {lines} lines were read: {said}").into()) }
}

fn add(bench: &mut Bench, service: &Service, case: &str, note: &str) -> Result<()> {
    let peak = peak_memory(service.pid())?;
    let side = Side { median: peak, rounds: vec![peak], ..Side::default() };
    bench.alone(case, "MiB", side, Bar::new("≤ 128 MiB", peak <= LIMIT), note);
    Ok(())
}

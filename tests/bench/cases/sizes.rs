//! What a request takes of the API's CPU, whatever the number of shards and of rows; and what a process with many
//! shards takes by itself.
//!
//! Each size has databases of its own on the same few servers. The service of the smallest size runs in turn with each
//! other one.

use std::path::Path;
use std::time::Duration;

use shardrive::local_servers::LocalCluster;
use tokio::runtime::Handle;

use super::bulk::make;
use crate::rounds::{Comparison, Run, Side, compare_services, repeat};
use crate::service::Service;
use crate::shards::{SHARDS, databases};
use crate::table::Bar;
use crate::tools::{Wrk, upload, wrk};
use crate::usage::{cpu_of, peak_memory};
use crate::{Bench, Result, rows};

const CONNECTIONS: u64 = 64;
/// Rows that one request makes: a service refuses more than ten million.
const MOST_MADE: u64 = 5_000_000;
/// How long a service without requests is watched.
const REST: Duration = Duration::from_secs(10);
/// After so long without requests a shard rests: it is looked at less often.
const BEFORE_REST: Duration = Duration::from_secs(3);

/// A request, and how much more of the API's CPU it may take than in the smallest cluster.
struct Call {
    name: &'static str,
    script: &'static str,
    limit: f64,
    /// With more rows.
    limit_of_rows: f64,
}

const CALLS: [Call; 3] = [
    Call { name: "GET /query, 20 files", script: "query", limit: 1.1, limit_of_rows: 1.1 },
    Call { name: "GET /files/{id}", script: "find", limit: 1.1, limit_of_rows: 1.1 },
    Call { name: "POST /ingest", script: "ingest", limit: 1.5, limit_of_rows: 1.1 },
];

pub fn run(bench: &mut Bench) -> Result<()> {
    let rows = bench.options.scale(&[100_000, 1_000_000, 10_000_000][..], &[100_000, 300_000][..]);
    on_servers(bench, SHARDS, |bench, cluster| with_more_rows(bench, cluster, rows))?;
    let (shards, servers) = bench.options.scale((&[2, 4, 8, 16, 64][..], 8), (&[2, 8][..], 2));
    on_servers(bench, servers, |bench, cluster| with_more_shards(bench, cluster, shards))
}

/// Runs on so many servers of its own.
fn on_servers(
    bench: &mut Bench,
    servers: usize,
    run: impl FnOnce(&mut Bench, &LocalCluster) -> Result<()>,
) -> Result<()> {
    let folder = bench.options.folder.join("sizes");
    std::fs::create_dir_all(&folder)?;
    let cluster = Handle::current().block_on(LocalCluster::start(&folder, servers, 0))?;
    let done = run(bench, &cluster);
    Handle::current().block_on(cluster.stop());
    done?;
    Ok(std::fs::remove_dir_all(&folder)?)
}

/// A service with rows.
struct Filled {
    /// How many shards or rows there are.
    size: String,
    service: Service,
    urls: Vec<String>,
    users: u64,
}

fn with_more_shards(bench: &mut Bench, cluster: &LocalCluster, sizes: &[usize]) -> Result<()> {
    let [first, others @ ..] = sizes else { return Ok(()) };
    let smallest = filled(bench, cluster, &format!("of_{first}"), *first)?;
    for shards in others {
        let larger = filled(bench, cluster, &format!("of_{shards}"), *shards)?;
        for call in &CALLS {
            compare_sizes(bench, call, call.limit, &larger, &smallest)?;
        }
        if Some(shards) == others.last() {
            by_itself(bench, &larger)?;
        }
    }
    Ok(())
}

/// `/stats`, rest and memory of a service with many shards.
fn by_itself(bench: &mut Bench, filled: &Filled) -> Result<()> {
    let Filled { size, service, users, .. } = filled;
    std::thread::sleep(BEFORE_REST);
    let before = cpu_of(service.pid())?;
    std::thread::sleep(REST);
    let share = (cpu_of(service.pid())? - before) / REST.as_secs_f64() * 100.0;
    let side = |figure: f64| Side { median: figure, rounds: vec![figure], ..Side::default() };
    let bar = Bar::new("≤ 3 %", share <= 3.0);
    bench.alone(&format!("a service with {size} and no requests"), "% of a core", side(share), bar, "");

    let stats = repeat(bench, service.pid(), |seed| {
        let done = wrk(bench, service, 1, "get", &[&seed.to_string(), "/stats"])?;
        Ok(Run { figure: done.p50, ..done.run })
    })?;
    let bar = Bar::new("≤ 10 ms", stats.median <= 10.0);
    bench.alone(&format!("GET /stats of {size}, p50"), "ms", stats, bar, "1 connection");

    wrk(bench, service, 1000, "mixed", &["1", &users.to_string()])?;
    let peak = peak_memory(service.pid())?;
    let bar = Bar::new("≤ 200 MiB", peak <= 200.0);
    bench.alone(&format!("memory, {size} and 1000 connections"), "MiB", side(peak), bar, "");
    Ok(())
}

/// Services on databases of ever more rows, each in turn with the one of the fewest.
fn with_more_rows(bench: &mut Bench, cluster: &LocalCluster, sizes: &[u64]) -> Result<()> {
    let [first, others @ ..] = sizes else { return Ok(()) };
    let smallest = filled_to(bench, cluster, *first)?;
    for size in others {
        let larger = filled_to(bench, cluster, *size)?;
        for call in &CALLS {
            compare_sizes(bench, call, call.limit_of_rows, &larger, &smallest)?;
        }
    }
    Ok(())
}

/// A service on two databases with so many rows each.
fn filled_to(bench: &Bench, cluster: &LocalCluster, size: u64) -> Result<Filled> {
    let filled =
        Filled { size: format!("{size} rows a shard"), ..filled(bench, cluster, &format!("rows_{size}"), SHARDS)? };
    let mut missing = (size * SHARDS as u64).saturating_sub(rows::FINDABLE + filled.users * rows::FILES_PER_USER);
    while missing > 0 {
        let more = MOST_MADE.min(missing);
        make(&filled.service, more)?;
        missing -= more;
    }
    bench.shards.with_urls(filled.urls.clone()).settle()?;
    Ok(filled)
}

/// The API's CPU for a request to the one service and to the other, in turn.
fn compare_sizes(bench: &mut Bench, call: &Call, limit: f64, larger: &Filled, smallest: &Filled) -> Result<()> {
    let ask = |side: &Filled, seed| Ok(asked(bench, &side.service, call, side.users, seed)?.run);
    let pids = [larger.service.pid(), smallest.service.pid()];
    let found = compare_services(bench, pids, || Ok(()), |seed| ask(larger, seed), |seed| ask(smallest, seed))?;
    let found = of_cpu(&found);
    let bar = Bar::new(format!("≤ {limit} ×"), found.ratio <= limit);
    let name = format!("{}, API's CPU with {}", call.name, larger.size);
    bench.compared(&name, "µs", found, bar, &format!("the same with {}", smallest.size));
    Ok(())
}

/// A cluster of so many databases, and a service on it.
fn filled(bench: &Bench, cluster: &LocalCluster, name: &str, shards: usize) -> Result<Filled> {
    let urls = Handle::current().block_on(databases(cluster, name, shards))?;
    // With each server's hundred connections.
    let settings = [("DB_POOL_MIN_SIZE", "0"), ("DB_POOL_MAX_SIZE", "3"), ("SHARDRIVE_HTTP_WORKERS", "2")];
    let settings = settings.map(|(name, value)| (name, value.to_owned()));
    let service = Service::start_on(&bench.options.program, &urls, &settings)?;
    let users = fill(bench, &service)?;
    Ok(Filled { size: format!("{shards} shards"), service, urls, users })
}

/// Stores the rows that the calls ask for; gives how many users there are.
fn fill(bench: &Bench, service: &Service) -> Result<u64> {
    let file = bench.options.folder.join("rows.ndjson");
    let count = bench.options.scale(100_000, 20_000);
    rows::ndjson(&file, count)?;
    load(service, &file)?;
    rows::findable(&file)?;
    load(service, &file)?;
    Ok(rows::users(count))
}

fn load(service: &Service, file: &Path) -> Result<()> {
    upload(service, "/ingest/bulk", "application/x-ndjson", file).map(drop)
}

fn asked(bench: &Bench, service: &Service, call: &Call, users: u64, seed: u64) -> Result<Wrk> {
    wrk(bench, service, CONNECTIONS, call.script, &[&seed.to_string(), &users.to_string()])
}

/// The comparison of the API's CPU for a request, in place of the rates.
fn of_cpu(found: &Comparison) -> Comparison {
    let side = |side: &Side| Side { median: side.cpu.api, rounds: Vec::new(), ..Side::default() };
    Comparison {
        ours: side(&found.ours),
        reference: side(&found.reference),
        ratio: found.ours.cpu.api / found.reference.cpu.api,
    }
}

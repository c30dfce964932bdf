//! `/metrics` of a cluster of a hundred shards: a hundred databases of ten servers, each of which has answered
//! requests. The short form has twenty of four.

use std::time::{Duration, Instant};

use shardrive::local_servers::LocalCluster;
use tokio::runtime::Handle;

use crate::http::{Connection, get, post};
use crate::rounds::{PerOperation, Run, Side, measure, median, p99};
use crate::service::Service;
use crate::shards::databases;
use crate::table::Bar;
use crate::{Bench, Result};

const SCRAPES: usize = 100;
/// Milliseconds.
const LIMIT: f64 = 10.0;

pub fn run(bench: &mut Bench) -> Result<()> {
    let folder = bench.options.folder.join("hundred");
    std::fs::create_dir_all(&folder)?;
    let (shards, servers) = bench.options.scale((100, 10), (20, 4));
    let cluster = Handle::current().block_on(LocalCluster::start(&folder, servers, 0))?;
    let done = measured(bench, &cluster, shards);
    Handle::current().block_on(cluster.stop());
    done?;
    Ok(std::fs::remove_dir_all(&folder)?)
}

fn measured(bench: &mut Bench, cluster: &LocalCluster, shards: usize) -> Result<()> {
    let urls = Handle::current().block_on(databases(cluster, "hundred", shards))?;
    // With each server's hundred connections.
    let settings = [("DB_POOL_MIN_SIZE", "0"), ("DB_POOL_MAX_SIZE", "3"), ("SHARDRIVE_HTTP_WORKERS", "2")];
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let service = Service::start_on(&bench.options.program, &urls, &settings)?;
    let mut api = Connection::open(&service.base)?;
    // Writes and reads of each shard: its histograms have something in them.
    for user in 0..10 * shards {
        api.json(&post("/ingest", &format!("{{\"user_id\":{user},\"file_name\":\"a\"}}")))?;
        api.json(&get(&format!("/query/{user}")))?;
    }
    let last = format!("shardrive_shard_up{{shard=\"{}\"}} 1", shards - 1);
    let mut bytes = 0;
    let mut times = Vec::new();
    let (_, cpu) = measure(bench, Some(service.pid()), || {
        for _ in 0..SCRAPES {
            let begun = Instant::now();
            let (status, body) = api.ask(&get("/metrics"))?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            bytes = body.len();
            if status != 200 || !String::from_utf8_lossy(body).contains(&last) {
                return Err(format!("there are not {shards} shards in /metrics").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Run { figure: 0.0, operations: SCRAPES as f64 })
    })?;
    let tail = p99(&times);
    let note = format!(
        "{bytes} bytes; p50 {:.2} ms; {:.0} µs of CPU, with what the service does besides",
        median(&times),
        cpu.api
    );
    let side = Side { median: tail, rounds: times, cpu: PerOperation::default() };
    let case = format!("GET /metrics of {shards} shards, p99");
    bench.alone(&case, "ms", side, Bar::new("≤ 10 ms", tail <= LIMIT), &note);
    Ok(())
}

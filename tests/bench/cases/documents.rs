//! Documents: keys and values against pgbench's SELECT and upsert of the same rows, with and without the cache; and
//! objects at ten million of them.

use crate::cache::Cache;
use crate::rounds::{Comparison, Run, Side, compare, judge, measure, repeat};
use crate::service::Service;
use crate::shards::SHARDS;
use crate::table::Bar;
use crate::tools::{Wrk, pgbench, statements, wrk};
use crate::{Bench, Result};

const CONNECTIONS: u64 = 64;
/// Keys that are read and written again and again.
const HOT: u64 = 10_000;
/// Milliseconds.
const DATA_LIMIT: f64 = 500.0;

pub fn run(bench: &mut Bench) -> Result<()> {
    let keys = bench.options.scale(1_000_000, 50_000);
    fill(bench, keys)?;
    against_pgbench(bench, keys)?;

    with_cache(bench, &Cache::start(bench)?, keys)?;
    objects(bench)
}

/// Keys and values as `/write` leaves them, and as many for pgbench, whose keys are numbers: it cannot make an MD5.
fn fill(bench: &Bench, keys: u64) -> Result<()> {
    const DOCUMENT: &str = "('{\"name\":\"John Doe ' || 100000000 + n || '\",\"mail\":\"john.doe.' || 100000000 + n || '@example.org\",\"theme\":\"dark\"}')::json";
    for shard in 0..SHARDS {
        bench.shards.sql(
            shard,
            &format!(
                "INSERT INTO records (collection, key, slot, document)
                 SELECT 'kv', key, shardrive.slot_of(key), {DOCUMENT}
                   FROM (SELECT n, 'user:' || n AS key FROM generate_series(0, {keys} - 1) AS n) AS keys
                  WHERE shardrive.slot_of(key) % {SHARDS} = {shard}"
            ),
        )?;
        bench.shards.sql(
            shard,
            &format!(
                "INSERT INTO records (collection, key, slot, document)
                 SELECT 'bench', n::text, shardrive.slot_of(n), {DOCUMENT}
                   FROM generate_series({shard}::bigint, {keys} - 1, {SHARDS}) AS n"
            ),
        )?;
    }
    bench.shards.settle()
}

fn against_pgbench(bench: &mut Bench, keys: u64) -> Result<()> {
    let service = &Service::start(bench)?;
    let select = statements("read");
    let variables = [("keys", keys)];
    let read = |seed: u64| asked(bench, service, CONNECTIONS, "read", seed, keys);
    let found = compare(bench, service.pid(), read, |_| pgbench(bench, 64, &select, &variables))?;
    let bar = Bar::ratio(&found, 1.0);
    bench.compared("GET /read without a cache, 64 connections", "/s", found, bar, "pgbench SELECT, 64 clients");

    let upsert = statements("upsert");
    let write = |seed: u64| asked(bench, service, CONNECTIONS, "write", seed, keys);
    let found = compare(bench, service.pid(), write, |_| pgbench(bench, 64, &upsert, &variables))?;
    let bar = Bar::ratio(&found, 1.5);
    bench.compared("POST /write, 64 connections", "/s", found, bar, "pgbench upsert, 64 clients");
    bench.shards.settle()
}

fn with_cache(bench: &mut Bench, cache: &Cache, keys: u64) -> Result<()> {
    const KNOWN_KEY: &str = "/read/user:1";
    let cached = cache.serve(bench, KNOWN_KEY)?;
    // Every hot key is there before it counts.
    asked(bench, &cached, CONNECTIONS, "read", 1, HOT)?;
    let read = |seed: u64| asked(bench, &cached, CONNECTIONS, "read", seed, HOT);
    let root = |seed: u64| Ok(wrk(bench, &cached, CONNECTIONS, "get", &[&seed.to_string(), "/"])?.run);
    let found = compare(bench, cached.pid(), read, root)?;
    let bar = Bar::ratio(&found, 0.6);
    bench.compared("GET /read from the cache, 64 connections", "/s", found, bar, "GET / of the same server");

    let write = |seed: u64| asked(bench, &cached, CONNECTIONS, "write", seed, keys);
    let found = repeat(bench, cached.pid(), write)?;
    bench.alone(
        "POST /write with a cache, 64 connections",
        "/s",
        found,
        None,
        "a write removes its key from the cache",
    );
    drop(cached);
    bench.shards.settle()?;

    for (connections, name) in [(CONNECTIONS, "64 connections"), (2, "2 connections")] {
        // One service at a time: one without a cache keeps the others from using theirs.
        let (mut misses, mut alone) = (Vec::new(), Vec::new());
        for round in 0..bench.options.rounds() as u64 {
            let service = cache.serve(bench, KNOWN_KEY)?;
            cache.empty()?;
            let read = |service: &Service, seed| asked(bench, service, connections, "read_once", seed, keys);
            misses.push(measure(bench, Some(service.pid()), || read(&service, round * 2))?);
            drop(service);
            let service = Service::start(bench)?;
            alone.push(measure(bench, Some(service.pid()), || read(&service, round * 2 + 1))?);
        }
        let found = inverted(judge(&misses, &alone));
        let bar = Bar::new("≤ 1.15 × the time", found.ratio <= 1.15);
        let name = format!("GET /read, a miss of the cache, {name}");
        bench.compared(&name, "µs each", found, bar, "the same without a cache");
    }
    Ok(())
}

/// Ten million objects behind `/data`, half of them on each shard, with ids as the service mints them.
fn objects(bench: &mut Bench) -> Result<()> {
    let each: u64 = bench.options.scale(5_000_000, 50_000);
    bench.shards.clear()?;
    let step = 500_000;
    for first in (0..each).step_by(step) {
        let last = (first + 500_000).min(each) - 1;
        for shard in 0..SHARDS {
            bench.shards.sql(
                shard,
                &format!(
                    "INSERT INTO records (collection, key, slot, document)
                     SELECT 'data', format('0190%s-%s-7000-8000-00%s5d4c1e', lpad((n / 10000)::text, 4, '0'),
                                           lpad((n % 10000)::text, 4, '0'), lpad(to_hex(slot), 4, '0')), slot,
                            ('{{\"number\":' || n || ',\"text\":\"an object of no great length\"}}')::json
                       FROM (SELECT n, ((n * {SHARDS} + {shard}) % 5040)::int AS slot
                               FROM generate_series({first}, {last}) AS n) AS objects"
                ),
            )?;
        }
    }
    bench.shards.settle()?;
    let service = Service::start(bench)?;
    let total = each * 2;
    let cases: [(&str, &str, String); 3] = [
        ("GET /data/{id}", "data_find", each.to_string()),
        ("GET /data, 100 objects", "get", "/data?limit=100".to_owned()),
        ("POST /data", "data_store", String::new()),
    ];
    for (name, script, argument) in cases {
        let ask = |pick: fn(&Wrk) -> f64| -> Result<Side> {
            repeat(bench, service.pid(), |seed| {
                let done = wrk(bench, &service, CONNECTIONS, script, &[&seed.to_string(), &argument])?;
                Ok(Run { figure: pick(&done), ..done.run })
            })
        };
        let tail = ask(|done| done.p99)?;
        let bar = Bar::new("≤ 500 ms", tail.median <= DATA_LIMIT);
        bench.alone(&format!("{name} at {total} objects, p99"), "ms", tail, bar, "64 connections");
    }
    Ok(())
}

fn asked(bench: &Bench, service: &Service, connections: u64, script: &str, seed: u64, keys: u64) -> Result<Run> {
    Ok(wrk(bench, service, connections, script, &[&seed.to_string(), &keys.to_string()])?.run)
}

/// Operations a second as microseconds for each.
fn inverted(found: Comparison) -> Comparison {
    let micros = |side: Side| Side {
        median: 1e6 / side.median,
        rounds: side.rounds.iter().map(|rate| 1e6 / rate).collect(),
        ..side
    };
    Comparison { ours: micros(found.ours), reference: micros(found.reference), ratio: 1.0 / found.ratio }
}

//! How exactly three processes share one limit through Redis when three times as much is asked for; and what the limit
//! costs where nothing is shared.

use std::time::{Duration, Instant};

use shardrive::limits::{CallerKey, RateLimiter, RateQuota};
use shardrive::local_servers::{CacheServer, free_port};
use tokio::runtime::Handle;

use crate::http::{Connection, get};
use crate::rounds::{Side, median, p99};
use crate::service::Service;
use crate::table::Bar;
use crate::{Bench, Result};

const PROCESSES: usize = 3;
/// Connections to each process.
const CONNECTIONS: usize = 4;
/// Units a second, and at once.
const RATE: u32 = 1000;
/// How often the limit is asked for.
const TIMES: u32 = 3;
const SECONDS: u64 = 10;
/// Per cent.
const LIMIT: f64 = 1.0;

pub fn run(bench: &mut Bench) -> Result<()> {
    let folder = bench.options.folder.join("cache");
    let program =
        CacheServer::find_program().ok_or("there is no redis-server or valkey-server; run scripts/setup bench")?;
    let mut server = CacheServer::new(program, folder, free_port()?);
    Handle::current().block_on(server.start())?;
    let done = shared(bench, &server);
    Handle::current().block_on(server.stop());
    done?;
    in_process(bench);
    Ok(())
}

fn shared(bench: &mut Bench, server: &CacheServer) -> Result<()> {
    let settings = [("SHARDRIVE_RATE_LIMIT_PER_S", RATE), ("SHARDRIVE_RATE_LIMIT_BURST", RATE)]
        .map(|(name, value)| (name, value.to_string()));
    let settings = [&settings[..], &[("REDIS_URL", server.url())]].concat();
    let started: Result<Vec<_>> = (0..PROCESSES).map(|_| Service::start_with(bench, &settings)).collect();
    let services = started?;
    for service in &services {
        until_shared(service)?;
    }
    let (mut errors, mut alone, mut late) = (Vec::new(), 0.0, Vec::new());
    for _ in 0..bench.options.rounds() {
        // Until all that may be taken at once is there.
        std::thread::sleep(Duration::from_secs(2));
        let before: Result<Vec<f64>> = services.iter().map(decided_alone).collect();
        let flood = flood(&services)?;
        let after: Result<Vec<f64>> = services.iter().map(decided_alone).collect();
        alone += after?.iter().sum::<f64>() - before?.iter().sum::<f64>();
        let earned = f64::from(RATE) * (1.0 + flood.took.as_secs_f64());
        errors.push((f64::from(flood.admitted) / earned - 1.0) * 100.0);
        late.push(flood.asked / (flood.took.as_secs_f64() * f64::from(RATE)));
    }
    let worst =
        errors.iter().copied().fold(0.0, |worst: f64, error| if error.abs() > worst.abs() { error } else { worst });
    let note = format!(
        "admitted against burst + rate × time of {SECONDS} s; the worst of {} rounds, asked for {:.2} times the limit; \
         {alone:.0} decided without Redis",
        errors.len(),
        median(&late)
    );
    let bar = Bar::new("within 1 %", worst.abs() <= LIMIT);
    let side = Side { median: worst, rounds: errors, ..Side::default() };
    bench.alone("a limit of three processes, error", "%", side, bar, &note);
    Ok(())
}

/// What came of asking all processes.
struct Flood {
    asked: f64,
    admitted: u32,
    /// From before the first request to after the last answer.
    took: Duration,
}

/// Asks all processes at a steady rate.
fn flood(services: &[Service]) -> Result<Flood> {
    let clients = services.len() * CONNECTIONS;
    let every = Duration::from_secs_f64(clients as f64 / f64::from(RATE * TIMES));
    let opened: Result<Vec<_>> =
        services.iter().flat_map(|service| (0..CONNECTIONS).map(|_| Connection::open(&service.base))).collect();
    let begun = Instant::now();
    let running: Vec<_> = opened?
        .into_iter()
        .enumerate()
        .map(|(number, connection)| std::thread::spawn(move || steadily(connection, begun, number, every)))
        .collect();
    let (mut asked, mut admitted) = (0, 0);
    for client in running {
        let (more, through) = client.join().map_err(|_| "a client ended")??;
        (asked, admitted) = (asked + more, admitted + through);
    }
    Ok(Flood { asked: f64::from(asked), admitted, took: begun.elapsed() })
}

fn steadily(mut connection: Connection, begun: Instant, number: usize, every: Duration) -> Result<(u32, u32)> {
    let request = get("/query/1");
    let (mut asked, mut admitted) = (0, 0);
    let mut due = begun + every.mul_f64(number as f64 / (PROCESSES * CONNECTIONS) as f64);
    while due < begun + Duration::from_secs(SECONDS) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        asked += 1;
        match connection.ask(&request)?.0 {
            200 => admitted += 1,
            429 => {}
            other => return Err(format!("the service answered {other}").into()),
        }
        due += every;
    }
    Ok((asked, admitted))
}

/// Waits until the process asks Redis.
fn until_shared(service: &Service) -> Result<()> {
    for _ in 0..200 {
        let before = decided_alone(service)?;
        Connection::open(&service.base)?.ask(&get("/query/1"))?;
        if decided_alone(service)? <= before {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err("the limit is not shared".into())
}

/// Requests that a process has decided without Redis so far.
fn decided_alone(service: &Service) -> Result<f64> {
    let mut connection = Connection::open(&service.base)?;
    let (_, body) = connection.ask(&get("/metrics"))?;
    let text = String::from_utf8_lossy(body);
    let line = text.lines().find_map(|line| line.strip_prefix("shardrive_rate_limit_alone_total "));
    Ok(line.ok_or("no shardrive_rate_limit_alone_total")?.parse()?)
}

/// The limiter by itself, as this program was built: its figures are above those of an optimised one.
fn in_process(bench: &mut Bench) {
    const CALLERS: i64 = 10_000;
    let limiter = RateLimiter::new(RateQuota::new(1_000_000, 100_000_000), None);
    let work = |thread: i64| -> Vec<f64> {
        (0..200_000)
            .map(|number| {
                let began = Instant::now();
                let _ = limiter.take_now(CallerKey::user((number + thread) % CALLERS), 1);
                began.elapsed().as_secs_f64() * 1e3
            })
            .collect()
    };
    let times: Vec<f64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    let tail = p99(&times);
    let side = Side { median: tail * 1e3, rounds: vec![tail * 1e3], ..Side::default() };
    let note = format!("p50 {:.2} µs; 4 threads, 10,000 callers; not an optimised build", median(&times) * 1e3);
    bench.alone("a limit in one process, p99 of a decision", "µs", side, Bar::new("≤ 1 ms", tail <= 1.0), &note);
}

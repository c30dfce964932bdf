//! `POST /ingest` while each change is told to NATS `JetStream`, against the same without events.

use std::time::Duration;

use crate::nats::Nats;
use crate::rounds::{PerOperation, Run, Side, judge, measure, median};
use crate::service::Service;
use crate::shards::SHARDS;
use crate::table::Bar;
use crate::tools::wrk;
use crate::usage::cpu_of;
use crate::{Bench, Result};

const CONNECTIONS: u64 = 64;
const POLL: Duration = Duration::from_millis(20);
/// How long it may take until all events are told after a round.
const PATIENCE: Duration = Duration::from_mins(2);

pub fn run(bench: &mut Bench) -> Result<()> {
    let nats = Nats::start(&bench.options.folder.join("nats"))?;
    // With events, what is told meanwhile is part of what it costs; what is left to tell at the end stands beside it.
    let (mut told, mut silent): (Vec<(Run, PerOperation)>, Vec<_>) = (Vec::new(), Vec::new());
    let (mut broker, mut behind) = (Vec::new(), Vec::new());
    for round in 0..bench.options.rounds() as u64 {
        for with in [round % 2 == 0, round % 2 == 1] {
            // Without a relay the triggers would go on for a day.
            bench.shards.everywhere("SELECT shardrive.switch_events(false); TRUNCATE shardrive.outbox")?;
            let settings = if with { vec![("SHARDRIVE_EVENTS_URL", nats.url())] } else { Vec::new() };
            let service = Service::start_with(bench, &settings)?;
            if with {
                until(bench, "the relays to begin", "SELECT shardrive.records_events()", "t")?;
            }
            let ingest = |seed: u64| Ok(wrk(bench, &service, CONNECTIONS, "ingest", &[&seed.to_string()])?.run);
            // The first writes of a process prepare its statements and open its connections.
            ingest(round * 4 + 1)?;
            if !with {
                silent.push(measure(bench, Some(service.pid()), || ingest(round * 4 + 2))?);
                continue;
            }
            until(bench, "the events to be told", "SELECT NOT EXISTS (SELECT FROM shardrive.outbox)", "t")?;
            let (before, messages) = (cpu_of(nats.pid())?, nats.messages()?);
            let done = measure(bench, Some(service.pid()), || ingest(round * 4 + 3))?;
            let arrived = nats.messages()? - messages;
            broker.push((cpu_of(nats.pid())? - before) * 1e6 / arrived.max(1.0));
            behind.push(100.0 - arrived * 100.0 / done.0.operations);
            told.push(done);
            until(bench, "the events to be told", "SELECT NOT EXISTS (SELECT FROM shardrive.outbox)", "t")?;
        }
    }
    let found = judge(&told, &silent);
    let bar = Bar::ratio(&found, 0.9);
    let cpu = found.reference.cpu;
    let note = format!(
        "the same without events; CPU {:.1} + {:.1} µs; the broker's {:.1} µs an event",
        cpu.api,
        cpu.postgres,
        median(&broker)
    );
    bench.compared("POST /ingest, each change published to NATS", "/s", found, bar, &note);
    let side = Side { median: median(&behind), rounds: behind, ..Side::default() };
    bench.alone("events not published yet at the end of a round", "%", side, None, "of those of the round");
    bench.shards.everywhere("SELECT shardrive.switch_events(false); TRUNCATE shardrive.outbox")
}

/// Waits until all shards answer a question with `yes`.
fn until(bench: &Bench, what: &str, question: &str, yes: &str) -> Result<()> {
    let begun = std::time::Instant::now();
    for shard in 0..SHARDS {
        while bench.shards.sql(shard, question)? != yes {
            if begun.elapsed() > PATIENCE {
                return Err(format!("waiting for {what} took too long").into());
            }
            std::thread::sleep(POLL);
        }
    }
    Ok(())
}

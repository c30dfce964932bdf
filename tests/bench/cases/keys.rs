//! `POST /ingest` with an `Idempotency-Key` of its own on every request, against the same without keys.

use crate::rounds::compare;
use crate::service::Service;
use crate::table::Bar;
use crate::tools::wrk;
use crate::{Bench, Result};

const CONNECTIONS: u64 = 64;

pub fn run(bench: &mut Bench) -> Result<()> {
    let service = Service::start(bench)?;
    let ingest = |script: &str, seed: u64| Ok(wrk(bench, &service, CONNECTIONS, script, &[&seed.to_string()])?.run);
    // The first writes of a process prepare its statements and open its connections.
    ingest("ingest", 1)?;
    ingest("ingest_keyed", 2)?;
    let found = compare(bench, service.pid(), |seed| ingest("ingest_keyed", seed), |seed| ingest("ingest", seed))?;
    let note = reference_note(&found);
    let bar = Bar::ratio(&found, 0.95);
    bench.compared("POST /ingest, each with an Idempotency-Key", "/s", found, bar, &note);
    Ok(())
}

/// The reference is the service too: the table has no column for the CPU of its API.
fn reference_note(found: &crate::rounds::Comparison) -> String {
    let cpu = found.reference.cpu;
    format!("the same without keys; CPU {:.1} + {:.1} µs", cpu.api, cpu.postgres)
}

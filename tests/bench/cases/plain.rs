//! The service against what a good engineer writes in a day for the same calls: `plain/main.rs`, on the same servers.
//!
//! Both have the same rows, of users whose files came interleaved over time, so that a user's rows lie on many pages.

use super::query::fill;
use crate::rounds::{Comparison, Run, compare_services};
use crate::service::Service;
use crate::table::Bar;
use crate::tools::{upload, wrk};
use crate::{Bench, Result, rows};

const COPY: &str = "TRUNCATE bench.plain_files; INSERT INTO bench.plain_files \
    SELECT user_id, file_id, file_name, NULL, mime_type, checksum, size_bytes, modified_at, created_at, updated_at \
    FROM file_metadata ORDER BY ctid";

/// One line of the table: a request of both services.
struct Call {
    name: &'static str,
    connections: u64,
    script: &'static str,
    argument: String,
    /// The least ratio of the rates.
    bar: f64,
    /// Runs in the short form as well.
    short: bool,
    /// The rows are made anew before each run, as each is changed once.
    changes: bool,
}

pub fn run(bench: &mut Bench) -> Result<()> {
    let plain = Service::start_plain(bench)?;
    let ours = Service::start(bench)?;
    let users = load(bench, &ours)?.to_string();
    let call = |name, connections, script, argument: &str, bar| Call {
        name,
        connections,
        script,
        argument: argument.to_owned(),
        bar,
        short: false,
        changes: false,
    };
    let calls = [
        Call { short: true, ..call("GET /query, 20 scattered files", 64, "query", &users, 2.5) },
        Call { short: true, ..call("POST /ingest", 64, "ingest", "", 4.5) },
        Call { short: true, ..call("POST /ingest", 2, "ingest", "", 1.0) },
        call("POST /ingest", 1, "ingest", "", 1.0),
        Call { changes: true, ..call("PATCH /files/{id}", 64, "change", "PATCH", 3.0) },
        Call { changes: true, ..call("DELETE /files/{id}", 64, "change", "DELETE", 3.0) },
    ];
    let short = bench.options.short;
    for call in calls.iter().filter(|call| call.short || !short) {
        let found = compare_services(
            bench,
            [ours.pid(), plain.pid()],
            || if call.changes { load(bench, &ours).map(drop) } else { Ok(()) },
            |seed| ask(bench, &ours, call, seed),
            |seed| ask(bench, &plain, call, seed),
        )?;
        let bar = Bar::ratio(&found, call.bar);
        let name = format!("{}, {} connections, against plain", call.name, call.connections);
        let note = note(&found);
        bench.compared(&name, "/s", found, bar, &note);
    }
    drop((ours, plain));
    bench.shards.everywhere("DROP SCHEMA bench CASCADE")
}

/// Fills both tables with the same rows in the same order; gives how many users there are.
fn load(bench: &Bench, ours: &Service) -> Result<u64> {
    bench.shards.clear()?;
    let users = fill(bench, ours)?;
    let file = bench.options.folder.join("rows.ndjson");
    rows::findable(&file)?;
    upload(ours, "/ingest/bulk", "application/x-ndjson", &file)?;
    bench.shards.everywhere(COPY)?;
    bench.shards.everywhere("VACUUM (ANALYZE) bench.plain_files")?;
    bench.shards.settle()?;
    Ok(users)
}

fn ask(bench: &Bench, service: &Service, call: &Call, seed: u64) -> Result<Run> {
    Ok(wrk(bench, service, call.connections, call.script, &[&seed.to_string(), &call.argument])?.run)
}

/// The table has no column for the CPU of a reference's API.
fn note(found: &Comparison) -> String {
    let cpu = found.reference.cpu;
    format!("a plain service, one statement a request; CPU {:.1} + {:.1} µs", cpu.api, cpu.postgres)
}

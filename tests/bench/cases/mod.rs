//! What is measured, in an order in which each case finds what it needs: one file each.

mod bulk;
mod cached_pages;
mod counts;
mod documents;
mod drive_changes;
mod drive_mirror;
mod drive_reads;
mod events;
mod ingest;
mod keys;
mod large_move;
mod latency;
mod limits;
mod memory;
mod moves;
mod pages;
mod plain;
mod query;
mod scrape;
mod sign_in;
mod sizes;
mod stats;

use crate::{Bench, Result};

/// Measures, and adds its lines to the report.
type Case = fn(&mut Bench) -> Result<()>;

/// Runs the cases that were asked for.
pub fn run(bench: &mut Bench) -> Result<()> {
    let version = bench.shards.version()?;
    bench.report.set_postgres(version);
    let cases: [(&str, Case); 22] = [
        ("ingest", ingest::run),
        ("keys", keys::run),
        ("events", events::run),
        ("limits", limits::run),
        ("counts", counts::run),
        ("scrape", scrape::run),
        ("sign-in", sign_in::run),
        ("bulk", bulk::run),
        ("query", query::run),
        ("cached", cached_pages::run),
        ("plain", plain::run),
        ("latency", latency::run),
        ("memory", memory::run),
        ("pages", pages::run),
        ("drive-reads", drive_reads::run),
        ("drive-changes", drive_changes::run),
        ("drive-mirror", drive_mirror::run),
        ("stats", stats::run),
        ("sizes", sizes::run),
        ("documents", documents::run),
        ("moves", moves::run),
        ("large-moves", large_move::run),
    ];
    for (name, case) in cases {
        if bench.options.wants(name) {
            eprintln!("bench: {name} ...");
            bench.shards.clear()?;
            case(bench).map_err(|error| format!("{name}: {error}"))?;
        }
    }
    Ok(())
}

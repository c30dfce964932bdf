//! Half of a shard's slots in one move, with nobody else writing, against `COPY … TO STDOUT | COPY … FROM STDIN` of the
//! same rows.

use std::process::Stdio;
use std::time::Instant;

use super::bulk::make;
use crate::load::SLOTS;
use crate::moving::move_slots;
use crate::rounds::{Side, compare_figures, median};
use crate::service::Service;
use crate::shards::SHARDS;
use crate::table::Bar;
use crate::{Bench, Result};

/// A table like that of the files, without what counts and guards.
const TABLE: &str = "bench_copy";

pub fn run(bench: &mut Bench) -> Result<()> {
    // A quarter of them moves.
    let filled = bench.options.scale(4_000_000, 300_000);
    let service = Service::start_quiet(bench)?;
    make(&service, filled)?;
    let slots: Vec<u64> = (0..SLOTS).step_by(SHARDS * 2).collect();
    // There and back, so that the slots are where they were in the end.
    let rounds = bench.options.rounds().next_multiple_of(2);
    let (mut copies, mut references) = (Vec::new(), Vec::new());
    let (mut checks, mut cleans, mut moved_rows) = (Vec::new(), Vec::new(), 0.0);
    for round in 0..rounds {
        let (from, to) = (round % SHARDS, (round + 1) % SHARDS);
        if from == 0 {
            references.push(copy(bench, &slots, from, to)?);
        }
        bench.shards.settle()?;
        let moved = move_slots(&service.base, &slots, to)?;
        copies.push(moved.rows() / moved.between("copy", "catch_up")?);
        checks.push(moved.rows() / moved.between("verify", "cutover")?);
        cleans.push(moved.between("clean_up", "done")?);
        moved_rows = moved.rows();
        if from != 0 {
            references.push(copy(bench, &slots, to, from)?);
        }
    }
    let found = compare_figures(&copies, &references);
    let bar = Bar::ratio(&found, 0.5);
    let case = format!("a move of {moved_rows} rows");
    let note = "psql COPY | psql COPY into an empty table";
    bench.compared(&format!("{case}, copy"), "rows/s", found, bar, note);
    let found = compare_figures(&checks, &copies);
    let bar = Bar::ratio(&found, 1.0);
    bench.compared(&format!("{case}, comparison"), "rows/s", found, bar, "the copy of the same move");
    let side = Side { median: median(&cleans), rounds: cleans, ..Side::default() };
    bench.alone(&format!("{case}, clean-up"), "s", side, None, "");
    Ok(())
}

/// The reference: the rows of the slots go from one server into an empty table of another; gives the rows a second.
fn copy(bench: &Bench, slots: &[u64], from: usize, to: usize) -> Result<f64> {
    let slots: Vec<String> = slots.iter().map(u64::to_string).collect();
    let slots = slots.join(",");
    bench.shards.sql(to, &format!("CREATE TABLE {TABLE} (LIKE file_metadata INCLUDING ALL)"))?;
    bench.shards.settle()?;
    let out = format!(
        "COPY (SELECT * FROM file_metadata WHERE shardrive.slot_of(user_id) = ANY ('{{{slots}}}'::int[])) TO STDOUT"
    );
    let into = format!("COPY {TABLE} FROM STDIN");
    let begun = Instant::now();
    let mut reader = bench.shards.psql(from).args(["--command", &out]).stdout(Stdio::piped()).spawn()?;
    let pipe = reader.stdout.take().ok_or("no pipe from psql")?;
    let written = bench.shards.psql(to).args(["--command", &into]).stdin(pipe).status()?;
    let seconds = begun.elapsed().as_secs_f64();
    if !(reader.wait()?.success() && written.success()) {
        return Err("psql did not copy the rows".into());
    }
    let rows: f64 = bench.shards.sql(to, &format!("SELECT count(*) FROM {TABLE}"))?.parse()?;
    bench.shards.sql(to, &format!("DROP TABLE {TABLE}"))?;
    Ok(rows / seconds)
}

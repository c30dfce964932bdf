//! Reads against pgbench's prepared SELECTs of the same rows.

use std::path::PathBuf;

use crate::rounds::{compare, repeat};
use crate::service::Service;
use crate::table::Bar;
use crate::tools::{pgbench, statements, upload, wrk};
use crate::{Bench, Result, rows};

const CONNECTIONS: u64 = 64;
/// The same rows at the same places, under a plain key: what a plain database would read.
const PLAIN_TABLE: &str = "CREATE TABLE IF NOT EXISTS bench_plain AS SELECT * FROM file_metadata;
    ALTER TABLE bench_plain ADD PRIMARY KEY (user_id, file_id);
    VACUUM ANALYZE bench_plain";
/// The case whose throughput sets the rate of the open-loop case.
pub const LIST: &str = "GET /query, 20 files, 64 connections";

/// Fills the shards with users who have more files than a page; gives how many users there are.
pub fn fill(bench: &Bench, service: &Service) -> Result<u64> {
    let count = super::bulk::size(bench) / 2;
    let file = bench.options.folder.join("rows.ndjson");
    rows::ndjson(&file, count)?;
    upload(service, "/ingest/bulk", "application/x-ndjson", &file)?;
    std::fs::remove_file(&file)?;
    Ok(rows::users(count))
}

/// Makes [`PLAIN_TABLE`]; gives pgbench's SELECT of a page from there, with these changes of its text.
pub fn plain_select(bench: &Bench, changes: &[(&str, &str)]) -> Result<PathBuf> {
    PLAIN_TABLE.split(';').try_for_each(|statement| bench.shards.everywhere(statement))?;
    let mut text = std::fs::read_to_string(statements("query"))?;
    for (old, new) in [("FROM file_metadata", "FROM bench_plain")].iter().chain(changes) {
        if !text.contains(old) {
            return Err(format!("pgbench's SELECT has no {old}").into());
        }
        text = text.replace(old, new);
    }
    let select = bench.options.folder.join("query_plain.sql");
    std::fs::write(&select, text)?;
    Ok(select)
}

pub fn run(bench: &mut Bench) -> Result<()> {
    let service = Service::start(bench)?;
    let api = service.pid();
    let users = fill(bench, &service)?;
    let file = bench.options.folder.join("rows.ndjson");
    let findable = rows::findable(&file)?;
    let (_, said) = upload(&service, "/ingest/bulk", "application/x-ndjson", &file)?;
    if said.get("inserted").and_then(serde_json::Value::as_u64) != Some(findable) {
        return Err(format!("the files to find were not stored: {said}").into());
    }
    bench.shards.settle()?;

    let select = plain_select(bench, &[])?;
    let ours =
        |seed: u64| Ok(wrk(bench, &service, CONNECTIONS, "query", &[&seed.to_string(), &users.to_string()])?.run);
    let found = compare(bench, api, ours, |_| pgbench(bench, 64, &select, &[("users", users)]))?;
    let bar = Bar::ratio(&found, 1.0);
    bench.compared(LIST, "/s", found, bar, "pgbench SELECT, 64 clients");
    bench.shards.everywhere("DROP TABLE bench_plain")?;

    let select = statements("find");
    let ours = |seed: u64| Ok(wrk(bench, &service, CONNECTIONS, "find", &[&seed.to_string()])?.run);
    let found = compare(bench, api, ours, |_| pgbench(bench, 64, &select, &[]))?;
    bench.compared("GET /files/{id}, 64 connections", "/s", found, None, "pgbench SELECT, 64 clients");

    let found =
        repeat(bench, api, |seed| Ok(wrk(bench, &service, CONNECTIONS, "get", &[&seed.to_string(), "/"])?.run))?;
    bench.alone("GET /, 64 connections", "/s", found, None, "no database: what HTTP alone can do");
    Ok(())
}

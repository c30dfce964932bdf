//! Pages of a user's files from the cache against `GET /` of the same process, which no database and no cache answers.

use crate::cache::Cache;
use crate::rounds::compare;
use crate::service::Service;
use crate::table::Bar;
use crate::tools::wrk;
use crate::{Bench, Result};

const CONNECTIONS: u64 = 64;
/// Users whose pages are in the cache before it counts.
const HOT_USERS: u64 = 4_000;

pub fn run(bench: &mut Bench) -> Result<()> {
    let users = super::query::fill(bench, &Service::start(bench)?)?.min(HOT_USERS);
    bench.shards.settle()?;
    let cache = Cache::start(bench)?;
    let service = cache.serve(bench, "/query/0?limit=20")?;
    let page =
        |seed: u64| Ok(wrk(bench, &service, CONNECTIONS, "query", &[&seed.to_string(), &users.to_string()])?.run);
    let root = |seed: u64| Ok(wrk(bench, &service, CONNECTIONS, "get", &[&seed.to_string(), "/"])?.run);
    // The first run reads every page into the cache.
    page(1)?;
    let missed = Cache::misses(&service)?;
    let found = compare(bench, service.pid(), page, root)?;
    let missed = Cache::misses(&service)? - missed;
    let bar = Bar::ratio(&found, 0.55);
    let note = format!("GET / of the same process; {missed} pages came from a shard");
    bench.compared("GET /query from the cache, 20 files, 64 connections", "/s", found, bar, &note);
    Ok(())
}

//! `GET /stats`: how much is where.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::cache::CacheState;
use crate::http::request::extract::query;
use crate::http::response::answer;
use crate::http::response::problem::Problem;
use crate::http::response::problem_responses::RequestProblems;
use crate::http::state::AppState;
use crate::shard::{ScatterBreadth, Shard};
use crate::stats::{CountMethod, ShardStats, ShardStatus, count_all};

/// How much is where.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct StatsAnswer {
    /// True if any shard answered.
    #[schema(example = true)]
    success: bool,
    /// True if every shard answered. Otherwise the totals leave out silent shards.
    #[schema(example = true)]
    complete: bool,
    /// Files.
    #[schema(example = 100)]
    total_records: u64,
    /// Sum of the known sizes of all files, at most 9,223,372,036,854,775,807.
    #[schema(example = 123_456)]
    total_bytes: u64,
    /// Documents of all collections.
    #[schema(example = 20)]
    total_documents: u64,
    #[schema(example = 2)]
    total_shards: usize,
    /// Files and documents together, by answering shard.
    #[schema(value_type = BTreeMap<String, u64>, example = json!({"shard_0": 60, "shard_1": 60}))]
    shard_distribution: BTreeMap<String, u64>,
    shards: Vec<ShardAnswer>,
    #[schema(example = 2)]
    num_shards: usize,
    /// Open connections of this process to each shard, by the shard's name.
    #[schema(example = json!({"shard_0": 2, "shard_1": 2}))]
    shard_pool_sizes: BTreeMap<String, usize>,
    /// True if this process can use the cache's server.
    #[schema(example = true)]
    cache_available: bool,
    /// Reads answered by the cache since the start of this process.
    #[schema(example = 900)]
    cache_hits: u64,
    /// Reads answered by a shard, in a process with a cache.
    #[schema(example = 100)]
    cache_misses: u64,
    /// Hits in percent of hits and misses.
    #[schema(example = 90.0)]
    cache_hit_rate: f64,
    /// Keys in the database of the cache's server (`DBSIZE`), a second or two old: keys of every process, with short
    /// marks and foreign keys. `null` while the cache is not available.
    #[schema(example = 800)]
    cache_keys: Option<u64>,
}

/// A shard's share.
#[derive(Serialize, ToSchema)]
struct ShardAnswer {
    #[schema(example = 0)]
    shard_id: u16,
    #[schema(example = "drive_shard_0")]
    database: String,
    /// Files; `null` if the shard did not answer.
    #[schema(example = 50)]
    record_count: Option<u64>,
    /// Per cent of all counted records.
    #[schema(example = 50.0)]
    percentage: Option<f64>,
    /// Sum of the known sizes, at most 9,223,372,036,854,775,807.
    #[schema(example = 61_728)]
    size_bytes: Option<u64>,
    /// Documents of all collections.
    #[schema(example = 10)]
    document_count: Option<u64>,
    /// Sum of the lengths.
    #[schema(example = 1_234)]
    document_bytes: Option<u64>,
    /// Owned slots, of 5,040.
    #[schema(example = 2520)]
    slots: Option<u64>,
    status: ShardStatus,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatsQuery {
    exact: Option<String>,
}

/// Count the files and documents of each shard
///
/// Every shard is asked at once, and the answer comes by a deadline: shards without an answer by then are named, and
/// `complete` is false.
#[utoipa::path(
    get, path = "/stats", tag = "stats",
    params(("exact" = Option<String>, Query, description = "`counts` (as without this): what every transaction keeps. `scan`: read every row, to audit the counts; slow")),
    responses((status = 200, description = "The counts", body = StatsAnswer), RequestProblems)
)]
pub(in crate::http) async fn stats(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let StatsQuery { exact } = query(&request)?;
    let method = match exact.as_deref() {
        None | Some("counts") => CountMethod::Counts,
        Some("scan") => CountMethod::Scan,
        Some(_) => return Err(Problem::query("exact", "must be counts or scan")),
    };
    let deadline = match method {
        CountMethod::Counts => state.stats_timeout,
        CountMethod::Scan => CountMethod::SCAN_LIMIT,
    };
    let stats = count_all(&state.cluster, method, ScatterBreadth::All, deadline).await;
    let total = stats.total_rows();
    let cache = state.cache.counts();
    let open = |shard: &Arc<Shard>| (format!("shard_{}", shard.id()), shard.pool_size());
    answer::ok(&StatsAnswer {
        success: stats.shards.iter().any(|shard| shard.rows.is_some()),
        complete: stats.complete,
        total_records: total,
        total_bytes: stats.total_bytes(),
        total_documents: stats.total_documents(),
        total_shards: stats.shards.len(),
        shard_distribution: stats.shards.iter().filter_map(held).collect(),
        num_shards: stats.shards.len(),
        shards: stats.shards.into_iter().map(|shard| share(shard, total)).collect(),
        shard_pool_sizes: state.cluster.shards().iter().map(open).collect(),
        cache_available: state.cache.state() == CacheState::Healthy,
        cache_hits: cache.hits,
        cache_misses: cache.misses,
        cache_hit_rate: percentage(cache.hits, cache.hits + cache.misses),
        cache_keys: cache.keys,
    })
}

/// Files and documents of a shard, if the shard answered.
fn held(shard: &ShardStats) -> Option<(String, u64)> {
    Some((format!("shard_{}", shard.shard), shard.rows? + shard.documents?))
}

fn share(shard: ShardStats, total: u64) -> ShardAnswer {
    ShardAnswer {
        shard_id: shard.shard.number(),
        database: shard.database,
        record_count: shard.rows,
        percentage: shard.rows.map(|rows| percentage(rows, total)),
        size_bytes: shard.bytes,
        document_count: shard.documents,
        document_bytes: shard.document_bytes,
        slots: shard.slots,
        status: shard.status,
    }
}

/// To two decimals, never rounded up: only all rows are 100 %. Whole numbers up to the division, as rows may be more
/// than a float holds.
fn percentage(rows: u64, total: u64) -> f64 {
    let hundredths = u128::from(rows) * 10_000 / u128::from(total.max(1));
    u32::try_from(hundredths).map_or(100.0, |hundredths| f64::from(hundredths) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages() {
        for (rows, total, expected) in
            [(50, 100, 50.0), (0, 0, 0.0), (1, 3, 33.33), (2, 3, 66.66), (u64::MAX, u64::MAX, 100.0)]
        {
            assert!((percentage(rows, total) - expected).abs() < 1e-9, "{rows} of {total}");
        }
    }
}

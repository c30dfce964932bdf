//! `GET /metrics`: the counts and samples of this process as text, for Prometheus. Asks no shard.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::request_counts::RequestCounts;
use super::sampler::ShardSample;
use crate::cache::{Cache, CacheState};
use crate::events::EventsStatus;
use crate::http::request::media_type::prefers_openmetrics;
use crate::http::response::problem::Problem;
use crate::http::response::problem_counts::problems;
use crate::http::server::connections::ConnectionTable;
use crate::http::state::AppState;
use crate::shard::{Cluster, PoolStatus, ServerResource, Shard, ShardState};
use crate::telemetry::metrics::{BULK_ROWS, Exposition, Metric, TRACE_SPANS, TextFormat, table};
use crate::telemetry::process;

/// Figures for Prometheus
///
/// docs/observability.md explains every metric. The counts are of this process; data of the shards is
/// some seconds old.
#[utoipa::path(
    get, path = "/metrics", tag = "service",
    responses((status = 200, description = "Prometheus's text 0.0.4; OpenMetrics 1.0 if `Accept` prefers it", content(
        (String = "text/plain"), (String = "application/openmetrics-text")
    )))
)]
pub(in crate::http) async fn metrics(
    request: HttpRequest,
    state: Data<AppState>,
    counts: Data<RequestCounts>,
    connections: Data<ConnectionTable>,
) -> Result<HttpResponse, Problem> {
    let (sample, usage) = tokio::join!(state.sampler.latest(), process::process_usage());
    let format = if prefers_openmetrics(&request) { TextFormat::OpenMetrics } else { TextFormat::Prometheus };
    let mut text = Exposition::with_capacity(format, 32 * 1024);
    of_requests(&mut text, &counts);
    of_connections(&mut text, &connections);
    if let Some(limiter) = &state.limiter {
        text.write_single(&table::LIMIT_ALONE, limiter.decided_alone());
    }
    of_shards(&mut text, &state.cluster, &sample);
    of_pools(&mut text, state.cluster.shards(), state.write_queue);
    of_bulk_and_cache(&mut text, &state.cache);
    of_events(&mut text, &state.events);
    of_moves(&mut text, &sample);
    of_process(&mut text, usage);
    under_former_names(&mut text, &counts, state.cluster.shards(), &sample);
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, HeaderValue::from_static(format.content_type())))
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .body(text.into_text()))
}

fn of_requests(text: &mut Exposition, counts: &RequestCounts) {
    let mut family = text.begin_family(&table::HTTP_DURATION);
    for answers in counts.answers() {
        family.write_histogram(&[&answers.route, &answers.method, &answers.status], answers.times);
    }
    let mut family = text.begin_family(&table::PROBLEMS);
    for (code, count) in problems() {
        family.write_sample(&[&code], count);
    }
}

fn of_connections(text: &mut Exposition, connections: &ConnectionTable) {
    text.write_single(&table::CONNECTIONS_OPEN, connections.count());
    let counters = connections.counters();
    let mut family = text.begin_family(&table::CONNECTIONS);
    family.write_sample(&[&"used"], counters.used.get());
    family.write_sample(&[&"silent"], counters.silent.get());
    family.write_sample(&[&"refused"], counters.refused.get());
    let mut family = text.begin_family(&table::HANDSHAKES);
    family.write_sample(&[&"done"], counters.handshakes.done.get());
    family.write_sample(&[&"failed"], counters.handshakes.failed.get());
    family.write_sample(&[&"timed_out"], counters.handshakes.timed_out.get());
}

fn of_shards(text: &mut Exposition, cluster: &Cluster, sample: &ShardSample) {
    let shards = cluster.shards();
    let mut family = text.begin_family(&table::SHARD_REQUEST);
    for shard in shards {
        family.write_histogram(&[&shard.id()], &shard.counters().requests);
    }
    each_shard(text, &table::SHARD_FAILURES, shards, |shard| shard.counters().failures.get());
    rows_of_shards(text, &table::SHARD_ROWS, sample);
    if let Some(at) = sample.at {
        text.write_single(&table::SHARD_ROWS_AGE, at.elapsed().as_secs_f64());
    }
    each_shard(text, &table::SHARD_UP, shards, |shard| u8::from(shard.state() == ShardState::Healthy));
    let mut family = text.begin_family(&table::SHARD_EXHAUSTED);
    for shard in shards {
        for resource in ServerResource::ALL {
            family.write_sample(&[&shard.id(), &resource.as_str()], shard.refusal_count(resource));
        }
    }
    let map = cluster.map();
    let mut owned = vec![0_u32; shards.len()];
    for slot in crate::shard::Slot::all() {
        if let Some(count) = owned.get_mut(map.owner(slot).index()) {
            *count += 1;
        }
    }
    let mut family = text.begin_family(&table::SHARD_SLOTS);
    for (shard, slots) in shards.iter().zip(owned) {
        family.write_sample(&[&shard.id()], slots);
    }
    text.write_single(&table::SLOT_MAP_EPOCH, map.epoch());
}

fn of_pools(text: &mut Exposition, shards: &[Arc<Shard>], write_queue: usize) {
    let pools: Vec<(_, PoolStatus)> = shards.iter().map(|shard| (shard.id(), shard.pool_status())).collect();
    let mut family = text.begin_family(&table::POOL_LIMIT);
    for (shard, pool) in &pools {
        family.write_sample(&[shard], pool.limit);
    }
    let mut family = text.begin_family(&table::POOL_CONNECTIONS);
    for (shard, pool) in &pools {
        family.write_sample(&[shard, &"idle"], pool.idle);
        family.write_sample(&[shard, &"in_use"], pool.in_use);
    }
    let mut family = text.begin_family(&table::POOL_WAITING);
    for (shard, pool) in &pools {
        family.write_sample(&[shard], pool.waiting);
    }
    let mut family = text.begin_family(&table::THREAD_CONNECTIONS);
    for (shard, pool) in &pools {
        family.write_sample(&[shard], pool.of_threads);
    }
    let mut family = text.begin_family(&table::COMMIT_BATCH);
    for shard in shards {
        family.write_histogram(&[&shard.id()], &shard.counters().commit_batches);
    }
    // A write may leave the queue before the queue's counter grows.
    each_shard(text, &table::COMMIT_QUEUE, shards, |shard| shard.counters().commit_queue.get().max(0));
    text.write_single(&table::COMMIT_QUEUE_LIMIT, write_queue);
    let mut family = text.begin_family(&table::READ_BATCH);
    for shard in shards {
        family.write_histogram(&[&shard.id()], &shard.counters().read_batches);
    }
}

fn each_shard<T: std::fmt::Display>(
    text: &mut Exposition,
    metric: &'static Metric,
    shards: &[Arc<Shard>],
    value: impl Fn(&Shard) -> T,
) {
    let mut family = text.begin_family(metric);
    for shard in shards {
        family.write_sample(&[&shard.id()], value(shard));
    }
}

fn of_bulk_and_cache(text: &mut Exposition, cache: &Cache) {
    let mut family = text.begin_family(&table::BULK);
    family.write_sample(&[&"accepted"], BULK_ROWS.accepted.get());
    family.write_sample(&[&"rejected"], BULK_ROWS.rejected.get());
    family.write_sample(&[&"stored"], BULK_ROWS.stored.get());
    let (state, counts) = (cache.state(), cache.counts());
    if state != CacheState::Disabled {
        text.write_single(&table::CACHE_AVAILABLE, u8::from(state == CacheState::Healthy));
    }
    text.write_single(&table::CACHE_HITS, counts.hits);
    text.write_single(&table::CACHE_MISSES, counts.misses);
    if let Some(keys) = counts.keys {
        text.write_single(&table::CACHE_KEYS, keys);
    }
}

fn of_events(text: &mut Exposition, events: &EventsStatus) {
    text.write_single(&table::EVENTS_PUBLISHED, events.published.get());
    let outboxes = events.outbox_statuses();
    let mut family = text.begin_family(&table::EVENTS_WAITING);
    for (shard, outbox) in &outboxes {
        family.write_sample(&[shard], outbox.rows);
    }
    let mut family = text.begin_family(&table::EVENTS_LAG);
    for (shard, outbox) in &outboxes {
        family.write_sample(&[shard], outbox.lag_seconds);
    }
    let mut family = text.begin_family(&table::EVENTS_REFUSED);
    for (shard, subjects) in events.refused_subjects() {
        for refused in subjects {
            family.write_sample(&[&shard, &refused.subject], 1);
        }
    }
    let mut family = text.begin_family(&table::EVENTS_DROPPED);
    for (shard, outbox) in &outboxes {
        family.write_sample(&[shard], outbox.dropped);
    }
}

fn of_moves(text: &mut Exposition, sample: &ShardSample) {
    text.write_single(&table::MOVES_KNOWN, u8::from(sample.moves.is_some()));
    let moves = sample.moves.as_deref().unwrap_or_default();
    if moves.is_empty() {
        return;
    }
    let mut family = text.begin_family(&table::MOVE_STAGE);
    for open in moves {
        family.write_sample(&[&open.id, &open.source, &open.target, &open.stage.as_str()], 1);
    }
    let mut family = text.begin_family(&table::MOVE_ROWS);
    for open in moves {
        family.write_sample(&[&open.id, &"total"], open.total_rows);
        family.write_sample(&[&open.id, &"copied"], open.copied_rows);
        family.write_sample(&[&open.id, &"verified"], open.verified_rows);
    }
    let mut family = text.begin_family(&table::MOVE_LAG);
    for open in moves {
        if let Some(lag) = open.lag_ms.and_then(|lag| u64::try_from(lag).ok()) {
            family.write_sample(&[&open.id], Duration::from_millis(lag).as_secs_f64());
        }
    }
}

fn of_process(text: &mut Exposition, usage: process::ProcessUsage) {
    let mut family = text.begin_family(&table::TRACES);
    family.write_sample(&[&"exported"], TRACE_SPANS.exported.get());
    family.write_sample(&[&"failed"], TRACE_SPANS.failed.get());
    text.begin_family(&table::BUILD).write_sample(&[&env!("CARGO_PKG_VERSION")], 1);
    text.write_single(&table::START, process::mark_start().as_secs_f64());
    if let Some(cpu) = usage.cpu {
        text.write_single(&table::CPU, cpu.as_secs_f64());
    }
    for (metric, value) in [
        (&table::MEMORY, usage.resident_bytes),
        (&table::VIRTUAL_MEMORY, usage.virtual_bytes),
        (&table::THREADS, usage.threads),
        (&table::OPEN_FILES, usage.open_files),
        (&table::MAX_FILES, usage.max_files),
    ] {
        if let Some(value) = value {
            text.write_single(metric, value);
        }
    }
}

fn rows_of_shards(text: &mut Exposition, metric: &'static Metric, sample: &ShardSample) {
    let mut family = text.begin_family(metric);
    for (shard, rows) in sample.held() {
        family.write_sample(&[&shard], rows);
    }
}

fn under_former_names(text: &mut Exposition, counts: &RequestCounts, shards: &[Arc<Shard>], sample: &ShardSample) {
    let answers: u64 = counts.answers().map(|answers| answers.times.count()).sum();
    text.write_single(&table::REQUEST_COUNT, answers);
    each_shard(text, &table::SHARD_REQUEST_COUNT, shards, |shard| shard.counters().requests.count());
    rows_of_shards(text, &table::SHARD_DISTRIBUTION, sample);
}

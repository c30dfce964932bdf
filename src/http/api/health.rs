//! `/` and `/health`: the last results of the health probes, without waiting for a shard.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use actix_web::web::Data;
use serde::Serialize;
use utoipa::ToSchema;

use crate::events::{EventsStatus, RefusedSubject};
use crate::http::response::answer;
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::http::state::AppState;
use crate::shard::{ServerResource, Shard, ShardState};

/// The name for a service with data on several databases, as clients of `GET /health` expect.
const LAYER: &str = "4-db-sharding";

/// The service's name, version and size.
#[derive(Serialize, ToSchema)]
struct ServiceAnswer {
    #[schema(value_type = String, example = "shardrive")]
    service: &'static str,
    #[schema(value_type = String, example = "running")]
    status: &'static str,
    /// How many shards the users are spread over.
    #[schema(example = 2)]
    num_shards: usize,
    #[schema(value_type = String, example = "0.1.0")]
    version: &'static str,
}

/// How the service is.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct HealthAnswer {
    status: HealthStatus,
    /// The kind of service, for callers of several kinds.
    #[schema(value_type = String, example = "4-db-sharding")]
    layer: &'static str,
    /// `healthy` or `unreachable`, by the shard's name.
    #[schema(value_type = BTreeMap<String, String>, example = json!({"shard_0": "healthy", "shard_1": "healthy"}))]
    shards: BTreeMap<String, &'static str>,
    /// `closed` (requests go to the shard), `half-open` (requests go on trial) or `open` (requests are refused at
    /// once), by the shard's name.
    #[schema(value_type = BTreeMap<String, String>, example = json!({"shard_0": "closed", "shard_1": "closed"}))]
    circuits: BTreeMap<String, &'static str>,
    /// Faults beside which the service goes on, such as a full disk of a server. Left out without faults.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<HealthWarning>,
    /// `healthy`, `unhealthy` or, without `REDIS_URL`, `disabled`. Without a cache the service is only slower.
    #[schema(value_type = String, example = "healthy")]
    cache: &'static str,
}

/// A fault that needs an operator, while requests are answered.
#[derive(Serialize, ToSchema)]
struct HealthWarning {
    /// The name of the shard.
    #[schema(example = "shard_1")]
    about: String,
    /// `disk`, `memory`, `connections` or `limit`, if the shard's server has run out of this resource; `read_only`;
    /// `events_refused`; `events_wait`.
    #[schema(value_type = String, example = "disk")]
    code: &'static str,
    /// The fault in words.
    #[schema(example = "the server of shard 1 has no space left on its disk; reads go on, writes need space")]
    detail: String,
}

impl HealthWarning {
    fn of_shard(shard: &Shard) -> impl Iterator<Item = Self> {
        let (about, id) = (format!("shard_{}", shard.id()), shard.id());
        let read_only = (!shard.takes_writes())
            .then(|| ("read_only", format!("the server of shard {id} is read-only; reads go on, writes are refused")));
        let short = move |resource: ServerResource| (resource.as_str(), format!("the server of shard {id} {resource}"));
        let all = shard.shortages().into_iter().map(short).chain(read_only);
        all.map(move |(code, detail)| Self { about: about.clone(), code, detail })
    }

    fn of_events(events: &EventsStatus) -> Vec<Self> {
        let about = |shard| format!("shard_{shard}");
        let refused = events.refused_subjects().into_iter().flat_map(|(shard, subjects)| {
            subjects.into_iter().map(move |RefusedSubject { subject, reason }| {
                let detail = format!("the broker refuses events {subject} of shard {shard}: {reason}");
                Self { about: about(shard), code: "events_refused", detail }
            })
        });
        let waiting = events.outbox_statuses().into_iter().filter_map(|(shard, outbox)| {
            let kind = outbox.oldest.filter(|_| outbox.lag_seconds > EVENTS_WAIT_SECONDS)?;
            let detail = format!("events of shard {shard} wait, the oldest ({kind}) for {:.0} s", outbox.lag_seconds);
            Some(Self { about: about(shard), code: "events_wait", detail })
        });
        refused.chain(waiting).collect()
    }
}

/// Events that wait longer need a look at the broker.
const EVENTS_WAIT_SECONDS: f64 = 30.0;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum HealthStatus {
    /// Every shard is healthy.
    Healthy,
    /// Some shards are away, which only the users of these shards notice; or there are warnings.
    Degraded,
    /// No shard is healthy.
    Unhealthy,
}

/// The answer to a probe.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ProbeAnswer {
    #[schema(value_type = String, example = "live")]
    status: &'static str,
}

/// The service
///
/// Name, version, and the number of shards.
#[utoipa::path(get, path = "/", tag = "service", responses((status = 200, description = "The service", body = ServiceAnswer)))]
pub(in crate::http) async fn service(state: Data<AppState>) -> Result<HttpResponse, Problem> {
    answer::ok(&ServiceAnswer {
        service: "shardrive",
        status: "running",
        num_shards: state.cluster.shards().len(),
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// How every shard is
///
/// The last result of the health probes; the answer waits for no shard.
#[utoipa::path(
    get, path = "/health", tag = "service",
    responses(
        (status = 200, description = "Healthy, or degraded", body = HealthAnswer),
        (status = 503, description = "No shard is healthy", body = HealthAnswer, headers(("Retry-After" = u32))),
    )
)]
pub(in crate::http) async fn health(state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let shards = state.cluster.shards();
    let of_shards = shards.iter().flat_map(|shard| HealthWarning::of_shard(shard));
    let warnings: Vec<_> = of_shards.chain(HealthWarning::of_events(&state.events)).collect();
    let status = match judge(shards.iter().map(|shard| shard.state())) {
        HealthStatus::Healthy if !warnings.is_empty() => HealthStatus::Degraded,
        status => status,
    };
    let name = |shard: &Shard| format!("shard_{}", shard.id());
    let circuits = shards.iter().map(|shard| (name(shard), shard.circuit().as_str())).collect();
    let shards = shards.iter().map(|shard| (name(shard), shard.state().as_str())).collect();
    let code = if status == HealthStatus::Unhealthy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let cache = state.cache.state().as_str();
    let answer = HealthAnswer { status, layer: LAYER, shards, circuits, warnings, cache };
    let mut response = answer::json(code, &answer, 512)?;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == HealthStatus::Unhealthy {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}

/// Is the process alive?
///
/// For the liveness probe of an orchestrator: says nothing of the shards.
#[utoipa::path(get, path = "/health/live", tag = "service", responses((status = 200, description = "It is", body = ProbeAnswer)))]
pub(in crate::http) async fn live() -> Result<HttpResponse, Problem> {
    answer::ok(&ProbeAnswer { status: "live" })
}

/// Is the service ready for requests?
///
/// For the readiness probe of an orchestrator or a load balancer.
#[utoipa::path(
    get, path = "/health/ready", tag = "service",
    responses(
        (status = 200, description = "It may", body = ProbeAnswer),
        (status = 503, description = "It is stopping, or no shard is healthy", body = crate::http::response::problem::ProblemBody<'static>,
            content_type = "application/problem+json", headers(("Retry-After" = u32))),
    )
)]
pub(in crate::http) async fn ready(state: Data<AppState>) -> Result<HttpResponse, Problem> {
    if state.draining.is_cancelled() {
        return Err(Problem::new(ProblemCode::NotReady, "the service is stopping"));
    }
    if judge(state.cluster.shards().iter().map(|shard| shard.state())) == HealthStatus::Unhealthy {
        return Err(Problem::new(ProblemCode::NotReady, "no shard is healthy"));
    }
    answer::ok(&ProbeAnswer { status: "ready" })
}

fn judge(states: impl Iterator<Item = ShardState>) -> HealthStatus {
    let (mut any, mut all) = (false, true);
    for state in states {
        let healthy = state == ShardState::Healthy;
        any |= healthy;
        all &= healthy;
    }
    match (any, all) {
        (true, true) => HealthStatus::Healthy,
        (true, false) => HealthStatus::Degraded,
        (false, _) => HealthStatus::Unhealthy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degraded_is_told_from_unhealthy() {
        use ShardState::{Healthy, Unreachable};
        let judge = |states: &[ShardState]| judge(states.iter().copied());
        assert_eq!(judge(&[Healthy, Healthy]), HealthStatus::Healthy);
        assert_eq!(judge(&[Healthy, Unreachable]), HealthStatus::Degraded);
        assert_eq!(judge(&[Unreachable, Unreachable]), HealthStatus::Unhealthy);
    }
}

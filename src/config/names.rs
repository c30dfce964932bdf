//! Which variables are settings of this service: exact names, misspelt names, and other variables.
//!
//! A misspelt name stops the start. A variable that only begins like a setting may be another program's, and is ignored with a line in the
//! log.

use strsim::levenshtein;

use super::{SECRETS, all, auth, edge, events};

/// Beginnings of settings' names. Not all of `REDIS_`: orchestrators set such variables for a service named `redis`.
const BEGINNINGS: [&str; 26] = [
    "SHARD_",
    "COLLECTION",
    "NUM_SHARD",
    "DB_POOL_",
    "BIND_",
    "LOG_",
    "HTTP_WORKER",
    "MOVE_TIMEOUT",
    "HEALTH_TIMEOUT",
    "HEALTH_INTERVAL",
    "STATS_TIMEOUT",
    "SHUTDOWN_TIMEOUT",
    "DRAIN_DELAY",
    "REPLICA_MAX",
    "WRITE_",
    "BULK_",
    "MAX_BULK_",
    "MAX_LINE_",
    "REDIS_UR",
    "CACHE_TT",
    "EVENTS_",
    "AUDIT_",
    "AUTH_",
    "TLS_",
    "RATE_LIM",
    "TRUSTED_PROX",
];

/// Units at the end of names, which are left out or put in by mistake.
const UNITS: [&str; 4] = ["_MS", "_S", "_DAYS", "_SIZE"];
/// Names without a unit that other programs use as well.
const GENERIC: [&str; 2] = ["CONNECT_TIMEOUT", "KEEP_ALIVE"];
/// Names that libraries of this program read.
const FOREIGN: [&str; 1] = ["OTEL_"];

/// True for settings, and for misspelt settings.
pub(super) fn is_ours(name: &str) -> bool {
    if is_known(name) || secret_of(name).is_some() {
        return true;
    }
    if is_orchestrators(name) || FOREIGN.iter().any(|foreign| name.starts_with(foreign)) {
        return false;
    }
    is_of_a_shard(name) || name.strip_suffix(FILE).is_some_and(is_known) || is_slip(name)
}

/// True for names that begin like settings.
pub(super) fn looks_like_ours(name: &str) -> bool {
    !is_orchestrators(name) && BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

/// True for settings that protect: without a value the service would be open, or trust too much.
pub(super) fn is_protection(name: &str) -> bool {
    let name = name.strip_suffix(FILE).filter(|secret| SECRETS.contains(secret)).unwrap_or(name);
    auth::ALL.iter().any(|setting| setting.name == name)
        || edge::PROTECTIONS.contains(&name)
        || name == events::CA_FILE.name
}

fn is_known(name: &str) -> bool {
    all().any(|setting| setting.name == name) || is_shard_url(name)
}

/// `SHARD_2_URI`, `SHARD_02_URL`: the number names a shard.
fn is_of_a_shard(name: &str) -> bool {
    name.strip_prefix("SHARD_").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// True if at most one letter in eight differs from a setting's name, or the unit at its end.
fn is_slip(name: &str) -> bool {
    if GENERIC.contains(&name) {
        return false;
    }
    let most = if name.len() < 10 { 1 } else { 2 };
    let by_unit = |known: &str| {
        UNITS.iter().any(|unit| known.strip_suffix(unit) == Some(name) || name.strip_suffix(unit) == Some(known))
    };
    all().any(|known| {
        known.name.len().abs_diff(name.len()) <= most && levenshtein(name, known.name) <= most || by_unit(known.name)
    })
}

/// True for the variables that name shards.
pub(super) fn names_shards(name: &str) -> bool {
    name == super::shards::COUNT.name || is_shard_url(name.strip_suffix(FILE).unwrap_or(name))
}

/// True for variables with URLs of shards, and so with passwords.
fn is_shard_url(name: &str) -> bool {
    ["_URL", "_REPLICA_URLS", "_SPARE_URL"].iter().any(|ending| shard_number(name, ending).is_some())
}

/// The ending of variables that name the file of a secret.
pub(super) const FILE: &str = "_FILE";
/// The secret whose file a variable names.
pub(super) fn secret_of(name: &str) -> Option<&str> {
    let secret = name.strip_suffix(FILE)?;
    (SECRETS.contains(&secret) || is_shard_url(secret)).then_some(secret)
}

pub(super) fn shard_number(name: &str, ending: &str) -> Option<u32> {
    let number = name.strip_prefix("SHARD_")?.strip_suffix(ending)?;
    let canonical = number == "0" || !number.starts_with('0');
    number.parse().ok().filter(|_| canonical && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Kubernetes and Docker links tell every container about a service named `shard-0` or `auth` in variables such as
/// `SHARD_0_SERVICE_HOST` and `AUTH_PORT_5432_TCP`.
fn is_orchestrators(name: &str) -> bool {
    name.ends_with("_PORT")
        || name.contains("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.contains("_PORT_")
}

/// The known name with the fewest different letters, if near at all.
pub(super) fn nearest(name: &str) -> Option<String> {
    let url = name.strip_prefix("SHARD_").map(|rest| {
        let digits: String = rest.chars().filter(char::is_ascii_digit).collect();
        let number = digits.parse::<u16>().unwrap_or_default();
        [format!("SHARD_{number}_URL"), format!("SHARD_{number}_REPLICA_URLS")]
    });
    let known = all().map(|setting| setting.name.to_owned()).chain(url.into_iter().flatten());
    let (distance, best) = known.map(|known| (levenshtein(name, &known), known)).min()?;
    (distance <= name.len() / 2).then_some(best)
}

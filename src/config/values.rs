//! How the values of single settings are read.

use crate::records::Collection;

pub(super) fn parse_bind(text: &str) -> Result<Option<String>, &'static str> {
    if text.is_empty() { Ok(None) } else { parse_address(text).map(Some) }
}

fn parse_address(text: &str) -> Result<String, &'static str> {
    const REASON: &str = "must be host:port, as in 0.0.0.0:8000 or [::1]:8000";
    let (host, port) = text.rsplit_once(':').ok_or(REASON)?;
    let bare_ipv6 = host.contains(':') && !host.starts_with('[');
    if host.is_empty() || bare_ipv6 || port.parse::<u16>().is_err() {
        return Err(REASON);
    }
    Ok(text.to_owned())
}

/// The levels of a log filter.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

pub(super) fn parse_filter(text: &str) -> Result<String, &'static str> {
    let is_level = |level: &str| level.trim().parse::<log::LevelFilter>().is_ok();
    let (directives, _) = text.split_once('/').unwrap_or((text, ""));
    let is_module = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'));
    // A word that is nearly a level would be taken for a module, and switch off the logs of all others.
    let is_slip = |word: &str| LEVELS.iter().any(|level| strsim::levenshtein(word, level) <= 2);
    let is_fine = |directive: &str| match directive.trim().split_once('=') {
        Some((module, level)) => is_module(module.trim()) && is_level(level),
        None => is_level(directive) || (is_module(directive.trim()) && !is_slip(&directive.trim().to_lowercase())),
    };
    if directives.split(',').all(is_fine) {
        Ok(text.to_owned())
    } else {
        Err("must be levels, as in info or warn,shardrive=debug; a level is off, error, warn, info, debug or trace")
    }
}

pub(super) fn parse_collections(text: &str) -> Result<Vec<Collection>, &'static str> {
    const REASON: &str = "must be collections as in orders:user_id:integer:many,profiles:user_id:integer,words:-:string: \
                          name, field or -, integer or string, one (if left out) or many; each name once";
    let mut collections: Vec<Collection> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let collection: Collection = part.parse().map_err(|_| REASON)?;
        if collections.iter().any(|other| other.name == collection.name) {
            return Err(REASON);
        }
        collections.push(collection);
    }
    Ok(collections)
}

pub(super) fn parse_collector(url: &str) -> Result<Option<String>, &'static str> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    match rest {
        _ if url.is_empty() => Ok(None),
        Some(rest) if !rest.is_empty() && !rest.starts_with(['/', ':']) && !rest.contains([' ', '?', '#', '@']) => {
            Ok(Some(url.to_owned()))
        }
        _ => Err("must be the URL of a collector that takes OTLP over HTTP, as in http://localhost:4318"),
    }
}

pub(super) fn parse_ratio(text: &str) -> Result<f64, &'static str> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or("must be the share of requests to trace, from 0 to 1")
}

//! Every setting with its value and the value's place, for people who look for one. No secret is shown.

use std::collections::BTreeMap;

use super::names::all;
use super::origin::Origin;
use super::reader::SettingEntry;
use super::service::{BIND_ADDR, Settings};
use super::setting::variable_of;

/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// A setting, as people may see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownSetting {
    /// The name in the environment.
    pub name: String,
    /// The value, with its secrets hidden; `None` without a value.
    pub value: Option<String>,
    /// Where the value stands.
    pub source: String,
    /// Where the setting has values that do not count.
    pub overrides: Vec<String>,
}

/// The settings that have a value, and all others with their defaults.
pub(super) fn explain(entries: &BTreeMap<String, SettingEntry>, settings: &Settings) -> Vec<ShownSetting> {
    let is_fixed = |name: &str| all().any(|setting| setting.name == name);
    let of_shards = entries.iter().filter(|(name, _)| !is_fixed(name));
    let of_shards = of_shards.map(|(name, entry)| describe(name, entry));
    let fixed = all().map(|setting| match entries.get(setting.name) {
        Some(entry) => describe(setting.name, entry),
        None => {
            let default = if setting.name == BIND_ADDR.name { &settings.server.bind } else { setting.default };
            ShownSetting {
                name: variable_of(setting.name),
                value: Some(default.to_owned()).filter(|default| !default.is_empty()),
                source: "default".to_owned(),
                overrides: Vec::new(),
            }
        }
    });
    of_shards.chain(fixed).collect()
}

fn describe(name: &str, entry: &SettingEntry) -> ShownSetting {
    ShownSetting {
        name: variable_of(name),
        value: Some(if entry.is_secret { hide(&entry.text) } else { entry.text.clone() }),
        source: entry.origin.place(),
        overrides: entry.overridden.iter().map(Origin::place).collect(),
    }
}

/// A secret without what is secret: URLs keep their servers.
fn hide(secret: &str) -> String {
    let mut urls: Vec<String> = Vec::new();
    for part in secret.split(',') {
        match urls.last_mut() {
            // Servers of one URL have commas in between as well.
            Some(url) if !part.contains("://") => *url = format!("{url},{part}"),
            _ => urls.push(part.to_owned()),
        }
    }
    urls.iter().map(|url| hide_in_url(url)).collect::<Vec<_>>().join(",")
}

fn hide_in_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return HIDDEN.to_owned() };
    // Parameters may hold a password as well.
    let without_parameters = |text: &str| match text.split_once('?') {
        Some((before, _)) => format!("{before}?{HIDDEN}"),
        None => text.to_owned(),
    };
    match rest.rsplit_once('@') {
        Some((credentials, _)) if credentials.contains(['/', '?', '#']) => format!("{scheme}://{HIDDEN}"),
        Some((credentials, server)) => {
            let user = credentials.split_once(':').map(|(user, _)| format!("{user}:")).unwrap_or_default();
            format!("{scheme}://{user}{HIDDEN}@{}", without_parameters(server))
        }
        None if names_servers(rest) => format!("{scheme}://{}", without_parameters(rest)),
        None => format!("{scheme}://{HIDDEN}"),
    }
}

/// True for servers without credentials: what looks like a port must be one.
fn names_servers(rest: &str) -> bool {
    let servers = rest.split(['/', '?', '#']).next().unwrap_or_default();
    servers.split(',').all(|server| {
        let port = server.rsplit_once(']').map_or(server, |(_, port)| port).split_once(':');
        port.is_none_or(|(_, port)| port.parse::<u16>().is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_their_passwords_and_other_secrets_everything() {
        for (secret, shown) in [
            ("a secret of some length", "***"),
            ("postgres://me:secret@h:5432/d", "postgres://me:***@h:5432/d"),
            ("postgres://me:se@cret@h1,h2:6543/d", "postgres://me:***@h1,h2:6543/d"),
            ("postgres://h1:5432,[::1]:6543/d", "postgres://h1:5432,[::1]:6543/d"),
            ("postgres://h/d?password=secret", "postgres://h/d?***"),
            ("postgres://h/d?password=se@cret", "postgres://***"),
            ("postgres://me:se/cret@h/d", "postgres://***"),
            ("postgres://me:secret/d", "postgres://***"),
            ("postgres://a:secret@h1/d, postgres://b:secret@h2/d", "postgres://a:***@h1/d, postgres://b:***@h2/d"),
            ("postgres://a:sec,ret@h1/d,postgres://h2/d", "postgres://a:***@h1/d,postgres://h2/d"),
            ("redis://:secret@cache", "redis://:***@cache"),
            ("nats://secret@broker", "nats://***@broker"),
        ] {
            assert_eq!(hide(secret), shown, "{secret}");
        }
    }
}

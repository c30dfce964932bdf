//! Where the shards are: `SHARD_<n>_URL`, `SHARD_<n>_REPLICA_URLS`, `SHARD_<n>_SPARE_URL` and `NUM_SHARDS`.

use std::collections::BTreeMap;

use super::reader::{NumberSetting, SettingsReader, TextSetting};
use crate::shard::{SLOT_COUNT, ShardOptions};

/// How many there must be, if said.
pub(super) const COUNT: TextSetting = TextSetting { name: "NUM_SHARDS", default: "" };

/// `SHARD_0_URL`, `SHARD_1_URL`, … without a gap, each another database.
pub(super) fn read(read: &mut SettingsReader) -> Vec<ShardOptions> {
    let urls = read.take_shard_urls();
    let mut replicas = read.take_replica_urls();
    let spares = read_spares(read, &urls);
    if urls.is_empty() {
        read.fault(
            "SHARD_0_URL",
            "is missing: name the first shard's database, postgres://user:password@host/database",
        );
    }
    if urls.len() > usize::from(SLOT_COUNT) {
        read.fault("SHARD_*_URL", format!("there may be {SLOT_COUNT} shards at most"));
        return Vec::new();
    }
    let mut expected = 0;
    let mut shards: Vec<(u32, ShardOptions)> = Vec::new();
    for (&number, url) in &urls {
        if number != expected {
            read.fault(&format!("SHARD_{expected}_URL"), format!("is missing, but there is SHARD_{number}_URL"));
        }
        expected = number.saturating_add(1);
        let name = format!("SHARD_{number}_URL");
        match ShardOptions::parse(url) {
            Err(reason) => read.fault(&name, reason),
            Ok(options) => {
                if let Some((first, _)) = shards.iter().find(|(_, other)| other.shares_host_with(&options)) {
                    read.fault(
                        &name,
                        format!("names the same database as SHARD_{first}_URL; each shard needs its own"),
                    );
                }
                let given = replicas.remove(&number).unwrap_or_default();
                let replicas = read_replicas(read, number, &options, &given);
                shards.push((number, options.with_replicas(replicas)));
            }
        }
    }
    for number in replicas.into_keys().filter(|number| !urls.contains_key(number)) {
        read.fault(&replicas_name(number), format!("there is no SHARD_{number}_URL"));
    }
    if let Some(count) = read.optional(&NumberSetting::new(COUNT.name, COUNT.default, 1..=u64::from(SLOT_COUNT)))
        && usize::try_from(count) != Ok(urls.len())
    {
        read.fault(
            COUNT.name,
            format!("is {count}, but {} SHARD_*_URL are set; leave it out or correct it", urls.len()),
        );
    }
    let mut shards: Vec<_> = shards.into_iter().map(|(_, options)| options).collect();
    if let Some(first) = shards.first_mut() {
        *first = first.clone().with_spares(spares);
    }
    shards
}

/// Databases for new shards while this process runs, with user and password.
fn read_spares(read: &mut SettingsReader, shards: &BTreeMap<u32, String>) -> Vec<ShardOptions> {
    let mut spares = Vec::new();
    for (number, url) in read.take_spare_urls() {
        let name = format!("SHARD_{number}_SPARE_URL");
        match ShardOptions::parse(&url) {
            _ if shards.contains_key(&number) => {
                read.fault(&name, format!("is set, and so is SHARD_{number}_URL: which one counts?"));
            }
            Ok(options) => spares.push(options),
            Err(reason) => read.fault(&name, reason),
        }
    }
    spares
}

fn replicas_name(number: u32) -> String {
    format!("SHARD_{number}_REPLICA_URLS")
}

/// URLs with commas in between, each of one server. A URL without a user takes user and password of the shard's URL, so that
/// no other variable repeats the password.
fn read_replicas(read: &mut SettingsReader, number: u32, shard: &ShardOptions, given: &str) -> Vec<ShardOptions> {
    let mut replicas: Vec<ShardOptions> = Vec::new();
    for (index, url) in given.split(',').map(str::trim).filter(|url| !url.is_empty()).enumerate() {
        match shard.parse_with_default_credentials(url) {
            Ok(options) if replicas.iter().any(|other| other.shares_host_with(&options)) => {
                read.fault(&replicas_name(number), format!("URL {} names the same server as one before it", index + 1));
            }
            Ok(options) => replicas.push(options),
            Err(reason) => read.fault(&replicas_name(number), format!("URL {}: {reason}", index + 1)),
        }
    }
    replicas
}

//! Where the shards are: `SHARD_<n>_URL`, `SHARD_<n>_REPLICA_URLS`, `SHARD_<n>_SPARE_URL` and `NUM_SHARDS`.

use std::collections::BTreeMap;

use super::reader::SettingsReader;
use super::setting::{NumberSetting, SettingTraits, TextSetting, variable_of};
use crate::shard::{SLOT_COUNT, ShardOptions};

/// How many there must be, if said.
pub(super) const COUNT: TextSetting = TextSetting::new("NUM_SHARDS", "").or_short("NUM_SHARDS");

const URL: &str = "_URL";
const REPLICA_URLS: &str = "_REPLICA_URLS";
const SPARE_URL: &str = "_SPARE_URL";

/// The number of the shard in a name with this ending.
fn number_in(name: &str, ending: &str) -> Option<u32> {
    let number = name.strip_prefix("SHARD_")?.strip_suffix(ending)?;
    let canonical = number == "0" || !number.starts_with('0');
    number.parse().ok().filter(|_| canonical && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The number of the shard whose URL the setting is.
pub(super) fn url_number(name: &str) -> Option<u32> {
    number_in(name, URL)
}

/// The traits of a shard's settings; all of them are URLs, and so hold passwords.
pub(super) fn traits_of(name: &str) -> Option<SettingTraits> {
    let ending = [URL, REPLICA_URLS, SPARE_URL].into_iter().find(|ending| number_in(name, ending).is_some())?;
    Some(SettingTraits { is_secret: true, is_list: ending == REPLICA_URLS, ..SettingTraits::default() })
}

/// True for settings that name shards.
pub(super) fn is_of_shards(name: &str) -> bool {
    name == COUNT.name || traits_of(name).is_some()
}

/// The settings of the shard that a misspelt name may mean.
pub(super) fn names_like(name: &str) -> Vec<String> {
    let Some(rest) = name.strip_prefix("SHARD_") else { return Vec::new() };
    let digits: String = rest.chars().filter(char::is_ascii_digit).collect();
    let number = digits.parse::<u16>().unwrap_or_default();
    [URL, REPLICA_URLS, SPARE_URL].map(|ending| format!("SHARD_{number}{ending}")).to_vec()
}

/// `SHARD_0_URL`, `SHARD_1_URL`, … without a gap, each another database.
pub(super) fn read(read: &mut SettingsReader) -> Vec<ShardOptions> {
    let urls = numbered(read, URL);
    let mut replicas = numbered(read, REPLICA_URLS);
    let spares = read_spares(read, &urls);
    if urls.is_empty() {
        let reason = "is missing: name the first shard's database, postgres://user:password@host/database; \
                      shardrive dev prints the URLs of its shards";
        fault(read, 0, URL, reason);
    }
    if urls.len() > usize::from(SLOT_COUNT) {
        read.fault_of("", "SHARD_*_URL".to_owned(), format!("there may be {SLOT_COUNT} shards at most"));
        return Vec::new();
    }
    let mut expected = 0;
    let mut shards: Vec<(u32, ShardOptions)> = Vec::new();
    for (&number, url) in &urls {
        if number != expected {
            fault(read, expected, URL, format!("is missing, but there is SHARD_{number}_URL"));
        }
        expected = number.saturating_add(1);
        match ShardOptions::parse(url) {
            Err(reason) => fault(read, number, URL, reason),
            Ok(options) => {
                if let Some((first, _)) = shards.iter().find(|(_, other)| other.shares_host_with(&options)) {
                    let reason = format!("names the same database as SHARD_{first}_URL; each shard needs its own");
                    fault(read, number, URL, reason);
                }
                let given = replicas.remove(&number).unwrap_or_default();
                let replicas = read_replicas(read, number, &options, &given);
                shards.push((number, options.with_replicas(replicas)));
            }
        }
    }
    for number in replicas.into_keys().filter(|number| !urls.contains_key(number)) {
        fault(read, number, REPLICA_URLS, format!("there is no SHARD_{number}_URL"));
    }
    if let Some(count) = read.optional(&NumberSetting { setting: COUNT, range: 1..=u64::from(SLOT_COUNT) })
        && usize::try_from(count) != Ok(urls.len())
    {
        let reason = format!("is {count}, but {} SHARD_*_URL are set; leave it out or correct it", urls.len());
        read.fault(&COUNT, reason);
    }
    let mut shards: Vec<_> = shards.into_iter().map(|(_, options)| options).collect();
    if let Some(first) = shards.first_mut() {
        *first = first.clone().with_spares(spares);
    }
    shards
}

/// The values of the settings `SHARD_<number><ending>`, by number.
fn numbered(read: &SettingsReader, ending: &str) -> BTreeMap<u32, String> {
    let entries = read.entries().iter();
    entries.filter_map(|(name, entry)| Some((number_in(name, ending)?, entry.text.clone()))).collect()
}

/// A fault of the setting `SHARD_<number><ending>`.
fn fault(read: &mut SettingsReader, number: u32, ending: &str, reason: impl Into<String>) {
    let name = format!("SHARD_{number}{ending}");
    let shown = if ending == URL { name.clone() } else { variable_of(&name) };
    read.fault_of(&name, shown, reason);
}

/// Databases for new shards while this process runs, with user and password.
fn read_spares(read: &mut SettingsReader, shards: &BTreeMap<u32, String>) -> Vec<ShardOptions> {
    let mut spares = Vec::new();
    for (number, url) in numbered(read, SPARE_URL) {
        match ShardOptions::parse(&url) {
            _ if shards.contains_key(&number) => {
                let reason = format!("is set, and so is SHARD_{number}_URL: which one counts?");
                fault(read, number, SPARE_URL, reason);
            }
            Ok(options) => spares.push(options),
            Err(reason) => fault(read, number, SPARE_URL, reason),
        }
    }
    spares
}

/// URLs with commas in between, each of one server. A URL without a user takes user and password of the shard's URL, so
/// that no other setting repeats the password.
fn read_replicas(read: &mut SettingsReader, number: u32, shard: &ShardOptions, given: &str) -> Vec<ShardOptions> {
    let mut replicas: Vec<ShardOptions> = Vec::new();
    for (index, url) in given.split(',').map(str::trim).filter(|url| !url.is_empty()).enumerate() {
        match shard.parse_with_default_credentials(url) {
            Ok(options) if replicas.iter().any(|other| other.shares_host_with(&options)) => {
                fault(read, number, REPLICA_URLS, format!("URL {} names the same server as one before it", index + 1));
            }
            Ok(options) => replicas.push(options),
            Err(reason) => fault(read, number, REPLICA_URLS, format!("URL {}: {reason}", index + 1)),
        }
    }
    replicas
}

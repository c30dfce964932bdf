//! Which names are settings: in the environment and `.env`, and in a TOML file.

use strsim::levenshtein;

use super::setting::{FILE, PREFIX, SettingTraits, TextSetting, is_standard, variable_of, without_unit};
use super::{auth, edge, events, service, shards};

/// The variable that names the TOML file.
pub(super) const CONFIG: &str = "SHARDRIVE_CONFIG";
/// The version of the image, which Docker Compose takes from the same `.env`.
const COMPOSE_VERSION: &str = "SHARDRIVE_VERSION";

/// Every setting except the numbered ones of the shards.
pub(super) fn all() -> impl Iterator<Item = &'static TextSetting> {
    service::FIRST.iter().chain(&auth::ALL).chain(&edge::ALL).chain(service::ADVANCED).chain(&events::ALL)
}

/// The name of a setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SettingName {
    /// In capitals, without the prefix, and without the ending of a secret's file.
    pub(super) name: String,
    pub(super) traits: SettingTraits,
    /// The value is the path of a file with the secret.
    pub(super) is_file: bool,
}

/// What a variable of the environment is to the service.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Variable {
    /// A setting.
    Setting(SettingName),
    /// A setting's name, but for the prefix; the name to use.
    Unprefixed(SettingName, String),
    /// A setting's name with a slip in the prefix, or an unknown name with the prefix. Holds the part behind the
    /// prefix.
    Unknown(String),
    /// A variable of other programs.
    Foreign,
}

/// What the variable is.
pub(super) fn classify(variable: &str, value: &str) -> Variable {
    if let Some(name) = variable.strip_prefix(PREFIX) {
        return match find(name).filter(|_| !is_standard(name)) {
            Some(setting) => Variable::Setting(setting),
            None if [CONFIG, COMPOSE_VERSION].contains(&variable) || is_service_link(name, value) => Variable::Foreign,
            None => Variable::Unknown(name.to_owned()),
        };
    }
    if let Some(name) = behind_wrong_prefix(variable) {
        return Variable::Unknown(name);
    }
    if let Some(setting) = find_short(variable) {
        return Variable::Setting(setting);
    }
    match find(variable).or_else(|| find_protection(variable)) {
        Some(setting) if is_standard(variable) => Variable::Setting(setting),
        Some(setting) => {
            let ending = if setting.is_file { FILE } else { "" };
            let right = format!("{}{ending}", variable_of(&setting.name));
            Variable::Unprefixed(setting, right)
        }
        None => Variable::Foreign,
    }
}

/// The setting of this name, in capitals and without the prefix.
pub(super) fn find(name: &str) -> Option<SettingName> {
    let of = |name: &str, is_file| traits_of(name).map(|traits| SettingName { name: name.to_owned(), traits, is_file });
    of(name, false).or_else(|| of(name.strip_suffix(FILE)?, true).filter(|setting| setting.traits.is_secret))
}

fn traits_of(name: &str) -> Option<SettingTraits> {
    all().find(|setting| setting.name == name).map(|setting| setting.traits).or_else(|| shards::traits_of(name))
}

/// The setting that counts by this name without the prefix.
fn find_short(variable: &str) -> Option<SettingName> {
    let has_short = |setting: &&TextSetting| setting.traits.short == Some(variable);
    let by_other_name = all().find(has_short).and_then(|setting| find(setting.name));
    by_other_name.or_else(|| {
        let setting = find(variable)?;
        let is_short = setting.traits.short == Some(&*setting.name) || shards::url_number(&setting.name).is_some();
        is_short.then_some(setting)
    })
}

/// The setting's name behind a misspelt prefix, as in `SHARDDRIVE_AUTH_SECRET` or `shardrive_auth_secret`.
fn behind_wrong_prefix(variable: &str) -> Option<String> {
    let capitals = variable.to_ascii_uppercase();
    let splits = capitals.match_indices('_').map(|(place, _)| capitals.split_at(place + 1));
    let is_near = |prefix: &str, name: &str| levenshtein(prefix, PREFIX) <= 2 && find(name).is_some();
    splits.into_iter().find(|(prefix, name)| is_near(prefix, name)).map(|(_, name)| name.to_owned())
}

/// The protection whose name lacks nothing but its unit.
fn find_protection(name: &str) -> Option<SettingName> {
    let setting = all().find(|setting| setting.traits.protects && setting.lacks_unit(name))?;
    find(setting.name)
}

/// Kubernetes tells every container about a service `shardrive` or `shardrive-cache` in such variables.
fn is_service_link(name: &str, value: &str) -> bool {
    const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];
    let is_address = || PROTOCOLS.iter().any(|protocol| value.trim().starts_with(&format!("{protocol}://")));
    let is_port = |rest: &str| {
        let mut parts = rest.split('_');
        parts.next().is_some_and(|port| port.parse::<u16>().is_ok())
            && parts.next().is_some_and(|protocol| PROTOCOLS.contains(&&*protocol.to_ascii_lowercase()))
    };
    let ending = format!("_{name}");
    ending.ends_with("_SERVICE_HOST")
        || ending.contains("_SERVICE_PORT")
        || (ending.ends_with("_PORT") && is_address())
        || ending.rsplit_once("_PORT_").is_some_and(|(_, port)| is_port(port))
}

/// The known name with the fewest different letters, with its unit or without, if near at all.
pub(super) fn nearest(name: &str) -> Option<String> {
    if find(name).is_some() {
        return Some(name.to_owned());
    }
    let known = all().map(|setting| setting.name.to_owned()).chain(shards::names_like(name));
    let distance = |known: &str| levenshtein(name, known).min(levenshtein(name, without_unit(known)));
    let (distance, best) = known.map(|known| (distance(&known), known)).min()?;
    (distance <= name.len() / 2).then_some(best)
}

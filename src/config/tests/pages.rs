//! The pages and examples that list all settings.

use super::*;
use crate::config::names::{SettingName, all, find};
use crate::config::setting::{FILE, key_of, variable_of};

const ENV_EXAMPLE: &str = include_str!("../../../.env.example");

/// `# NAME=default` or `NAME=value`.
fn assignments(example: &str) -> Vec<(&str, &str)> {
    let lines = example.lines().filter_map(|line| line.trim_start_matches(['#', ' ']).split_once('='));
    lines.filter(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')).collect()
}

/// The setting of a name in the environment, which a list of settings has in full.
fn setting_of(variable: &str) -> Option<SettingName> {
    let name = variable.strip_prefix(setting::PREFIX).unwrap_or(variable);
    find(name).filter(|setting| variable_of(name) == variable && !setting.is_file)
}

#[test]
fn the_example_of_the_environment_lists_every_setting_with_its_default() {
    let listed = assignments(ENV_EXAMPLE);
    for setting in all() {
        let variable = variable_of(setting.name);
        let values: Vec<_> = listed.iter().filter(|(name, _)| *name == variable).map(|(_, value)| *value).collect();
        assert_eq!(values.len(), 1, "{variable} stands in .env.example once");
        assert!(setting.default.is_empty() || values == [setting.default], "{variable}");
    }
    let unknown: Vec<_> = listed.iter().filter(|(name, _)| setting_of(name).is_none()).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let all: Vec<_> = listed.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    Settings::of(given(&all)).unwrap();
}

/// The same lines as in `.env.example`, with the names and values of TOML.
#[test]
fn the_example_of_the_toml_file_has_the_lines_of_the_other() {
    let example = include_str!("../../../shardrive.example.toml");
    let body = |text: &str| text.split_once("\n# ---").map(|(_, body)| body.to_owned()).unwrap();
    let wanted: Vec<String> = body(ENV_EXAMPLE).lines().map(toml_line).collect();
    let found: Vec<String> = body(example).lines().map(str::to_owned).collect();
    for (number, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
        assert_eq!(found, wanted, "line {} of the settings in shardrive.example.toml", number + 1);
    }
    assert_eq!(found.len(), wanted.len());
    let lines = example.lines().map(|line| line.strip_prefix("# ").filter(|line| is_assignment(line)).unwrap_or(line));
    let mut keys = std::collections::BTreeSet::new();
    // Of a setting with several examples the first, and none that is empty.
    let mut is_first = |line: &str| keys.insert(line.split(' ').next().unwrap().to_owned());
    let counts = |line: &&str| !is_assignment(line) || (!line.ends_with("\"\"") && is_first(line));
    let whole: Vec<&str> = lines.filter(counts).collect();
    let mut given = GivenSettings::default();
    sources::add_toml(&mut given, "shardrive.example.toml", &whole.join("\n"));
    assert_eq!(given.faults, []);
    Settings::of(given).unwrap();
}

fn is_assignment(line: &str) -> bool {
    line.split_once(" = ").is_some_and(|(key, _)| find(&key.to_ascii_uppercase()).is_some())
}

/// A line of `.env.example` as the TOML file has it.
fn toml_line(line: &str) -> String {
    let (mark, rest) = line.strip_prefix("# ").map_or(("", line), |rest| ("# ", rest));
    if let Some((name, value)) = rest.split_once('=')
        && let Some(setting) = setting_of(name)
    {
        let is_number = value.parse::<f64>().is_ok();
        let value = if is_number { value.to_owned() } else { format!("\"{value}\"") };
        return format!("{mark}{} = {value}", key_of(&setting.name));
    }
    // Names within sentences.
    let words = line.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words
        .map(|word| {
            let name = word.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            let setting = setting_of(name.strip_suffix(FILE).filter(|name| setting_of(name).is_some()).unwrap_or(name));
            if setting.is_none() {
                return word.to_owned();
            }
            let key = name.strip_prefix(setting::PREFIX).unwrap_or(name).to_ascii_lowercase();
            word.replacen(name, &key, 1)
        })
        .collect()
}

/// `| `NAME` | `default` | meaning |`, each setting in one row of docs/settings.md.
#[test]
fn the_settings_page_lists_every_setting_with_its_default() {
    let page = include_str!("../../../docs/settings.md");
    let rows: Vec<(Vec<&str>, &str)> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>())
        .filter(|cells| cells.len() == 3)
        .map(|cells| (cells[0].split('`').skip(1).step_by(2).collect(), cells[1]))
        .collect();
    for setting in all() {
        let variable = variable_of(setting.name);
        let shown: Vec<_> = rows.iter().filter(|(names, _)| names.contains(&variable.as_str())).collect();
        assert_eq!(shown.len(), 1, "docs/settings.md has one row for {variable}");
        let (default, written) = (shown[0].1, format!("`{}`", setting.default));
        assert!(setting.default.is_empty() || default == written, "docs/settings.md: {variable}: {default}");
    }
    let names = rows.iter().flat_map(|(names, _)| names);
    let unknown: Vec<_> = names.filter(|name| setting_of(name).is_none()).collect();
    assert!(unknown.is_empty(), "docs/settings.md names unknown settings: {unknown:?}");
}

/// A name says its unit in one way.
#[test]
fn units_are_spelt_alike() {
    let spellings =
        ["_MILLIS", "_SEC", "_SECS", "_SECONDS", "_MIN", "_MINUTES", "_H", "_HOURS", "_D", "_KB", "_MB", "_TTL"];
    for setting in all() {
        assert!(spellings.iter().all(|spelling| !setting.name.ends_with(spelling)), "{}", setting.name);
    }
}

/// A short name is the setting's own, but for a unit that people do not write.
#[test]
fn short_names_are_those_of_the_simple_set_up() {
    let short: Vec<_> = all().filter_map(|setting| setting.traits.short).collect();
    let known =
        ["BIND_ADDR", "REDIS_URL", "NUM_SHARDS", "DB_POOL_MIN_SIZE", "DB_POOL_MAX_SIZE", "CACHE_TTL", "RUST_LOG"];
    assert_eq!(short, known);
}

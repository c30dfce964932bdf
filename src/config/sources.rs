//! Where settings come from: flags, the environment, the file `.env` of the working folder, and a TOML file.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::dotenv;
use super::fault::SettingsFault;
use super::given::{GivenSettings, GivenValue};
use super::names::{CONFIG, SettingName, Variable, classify, find, nearest};
use super::origin::Origin;
use super::setting::{PREFIX, key_of, variable_of};
use super::toml_file::{self, TomlEntry, TomlText};

/// The TOML file that is read without being named.
const DEFAULT_FILE: &str = "shardrive.toml";

/// The settings of a command line.
#[derive(Clone, Default, Debug)]
pub struct SettingFlags {
    /// `--config`: the TOML file.
    pub file: Option<PathBuf>,
    /// `--bind`: `BIND_ADDR`.
    pub bind: Option<String>,
}

/// The values of all sources of this process.
pub(super) fn gather(flags: &SettingFlags) -> GivenSettings {
    let mut given = GivenSettings::default();
    if let Some(bind) = &flags.bind {
        given.set("BIND_ADDR", bind.clone(), "--bind");
    }
    let named = flags.file.clone().map(|file| (file, "--config".to_owned()));
    let by_environment = add_environment(&mut given, std::env::vars_os());
    let by_dotenv = match read_optional(Path::new(".env")) {
        Ok(text) => add_dotenv(&mut given, &text.unwrap_or_default()),
        Err(reason) => {
            given.faults.push((None, SettingsFault::new(".env", reason)));
            None
        }
    };
    let named = named.or_else(|| by_environment.or(by_dotenv).map(|file| (file, CONFIG.to_owned())));
    add_named_file(&mut given, named);
    given
}

/// Adds the settings among the environment's variables. Returns the TOML file that the environment names.
pub(super) fn add_environment(
    given: &mut GivenSettings,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Option<PathBuf> {
    let mut file = None;
    for (variable, value) in variables {
        let Ok(variable) = variable.into_string() else { continue };
        if variable == CONFIG {
            file = Some(PathBuf::from(value)).filter(|file| !file.as_os_str().is_empty());
            continue;
        }
        let origin = Origin::Environment(variable.clone());
        match value.into_string() {
            Ok(value) => add_variable(given, &variable, value, origin),
            Err(value) if counts(&variable, &value.to_string_lossy()) => {
                given.faults.push((Some(without_prefix(&variable)), SettingsFault::new(origin, "must be UTF-8")));
            }
            Err(_) => {}
        }
    }
    file
}

/// Adds the settings among the lines of `.env`. Of two lines of a variable the last counts. Returns the TOML file that
/// `.env` names.
pub(super) fn add_dotenv(given: &mut GivenSettings, text: &str) -> Option<PathBuf> {
    let (lines, faults) = dotenv::read(text, |variable| variable == CONFIG || counts(variable, ""));
    given.faults.extend(faults.into_iter().map(|(variable, fault)| (variable.as_deref().map(without_prefix), fault)));
    let mut file = None;
    for (index, (variable, value, line)) in lines.iter().enumerate() {
        if lines.iter().skip(index + 1).any(|(later, _, _)| later == variable) {
            continue;
        }
        if variable == CONFIG {
            file = Some(PathBuf::from(value)).filter(|file| !file.as_os_str().is_empty());
            continue;
        }
        let origin = Origin::DotEnv { variable: variable.clone(), line: *line };
        add_variable(given, variable, value.clone(), origin);
    }
    file
}

/// True if the variable is a setting, or looks like one.
fn counts(variable: &str, value: &str) -> bool {
    classify(variable, value) != Variable::Foreign
}

fn without_prefix(variable: &str) -> String {
    variable.strip_prefix(PREFIX).unwrap_or(variable).to_owned()
}

fn add_variable(given: &mut GivenSettings, variable: &str, value: String, origin: Origin) {
    match classify(variable, &value) {
        Variable::Setting(setting) => add_value(given, setting, value, origin),
        Variable::Unprefixed(setting, right) if setting.traits.protects => {
            let reason = format!("does not count without the prefix: use {right}");
            given.faults.push((Some(setting.name), SettingsFault::new(origin, reason)));
        }
        Variable::Unprefixed(setting, right) => given.unprefixed.push((setting.name, right)),
        Variable::Unknown(name) => {
            let reason = unknown(nearest(&name).map(|name| variable_of(&name)));
            given.faults.push((Some(name), SettingsFault::new(origin, reason)));
        }
        Variable::Foreign => {}
    }
}

fn add_value(given: &mut GivenSettings, setting: SettingName, text: String, origin: Origin) {
    let SettingName { name, traits, is_file } = setting;
    given.values.push(GivenValue { name, traits, text, is_file, origin });
}

fn unknown(near: Option<String>) -> String {
    match near {
        Some(known) => format!("unknown setting; did you mean {known}?"),
        None => "unknown setting; \"shardrive config show\" lists all of them".to_owned(),
    }
}

/// Adds the settings of the TOML file: the file with the name and who named it, or the default file if that is there.
fn add_named_file(given: &mut GivenSettings, named: Option<(PathBuf, String)>) {
    let (file, by) = named.map_or_else(|| (PathBuf::from(DEFAULT_FILE), None), |(file, by)| (file, Some(by)));
    let shown = file.display().to_string();
    let fault = match (read_optional(&file), by) {
        (Ok(Some(text)), _) => return add_toml(given, &shown, &text),
        (Ok(None), None) => return,
        (Ok(None), Some(by)) => SettingsFault::new(by, format!("there is no file {shown}")),
        (Err(reason), Some(by)) => SettingsFault::new(by, format!("{shown} {reason}")),
        (Err(reason), None) => SettingsFault::new(shown, reason),
    };
    given.faults.push((None, fault));
}

/// Adds the settings of a TOML file's text.
pub(super) fn add_toml(given: &mut GivenSettings, file: &str, text: &str) {
    let (entries, faults) = toml_file::read(text);
    for (line, reason) in faults {
        given.faults.push((None, SettingsFault::new(format_args!("{file}, line {line}"), reason)));
    }
    for TomlEntry { key, line, value } in entries {
        let name = key.to_ascii_uppercase();
        let origin = Origin::TomlFile { file: file.to_owned(), key: key.clone(), line };
        let setting = find(&name).filter(|_| key_of(&name) == key);
        let reason = match (setting, value) {
            (None, _) => unknown(nearest(&without_prefix(&name)).map(|name| key_of(&name))),
            (Some(setting), TomlText::One(text)) => {
                add_value(given, setting, text, origin);
                continue;
            }
            (Some(setting), TomlText::List(text)) if setting.traits.is_list && !setting.is_file => {
                add_value(given, setting, text, origin);
                continue;
            }
            (Some(_), TomlText::List(_)) => "must be one value, and no array".to_owned(),
            (Some(_), TomlText::Neither) => "must be a text or a number, at the top level".to_owned(),
        };
        given.faults.push((Some(name), SettingsFault::new(origin, reason)));
    }
}

/// The text of a file, or `None` without the file.
fn read_optional(file: &Path) -> Result<Option<String>, String> {
    match std::fs::read(file).map(String::from_utf8) {
        Ok(Ok(text)) => Ok(Some(text)),
        Ok(Err(_)) => Err("must be UTF-8".to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

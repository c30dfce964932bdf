//! Reads settings one by one, and collects every fault.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::Read as _;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::names::{is_ours, is_protection, looks_like_ours, secret_of, shard_number};
use super::{SettingsError, SettingsFault, dotenv, names, to_usize};
use crate::outbound::CaCertificates;

/// A variable and its default.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextSetting {
    pub(super) name: &'static str,
    pub(super) default: &'static str,
}

/// A variable with a whole number.
#[derive(Clone, Debug)]
pub(super) struct NumberSetting {
    pub(super) setting: TextSetting,
    range: RangeInclusive<u64>,
}

impl NumberSetting {
    pub(super) const fn new(name: &'static str, default: &'static str, range: RangeInclusive<u64>) -> Self {
        Self { setting: TextSetting { name, default }, range }
    }
}

/// A variable with a few valid words.
pub(super) struct ChoiceSetting<T: 'static> {
    pub(super) setting: TextSetting,
    /// The first stands in where the word is wrong.
    pub(super) values: &'static [(&'static str, T)],
}

/// The process's environment on top of the `.env` file of the working folder, which may be missing.
pub(super) fn environment() -> Result<Vec<(String, String)>, SettingsError> {
    let (mut vars, mut faults) = match std::fs::read(".env").map(String::from_utf8) {
        Ok(Ok(text)) => dotenv::read(&text, is_ours),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (Vec::new(), Vec::new()),
        unreadable => {
            let reason = unreadable.map_or_else(|error| format!("cannot be read: {error}"), |_| "must be UTF-8".into());
            (Vec::new(), vec![SettingsFault { name: ".env".into(), reason }])
        }
    };
    for (name, value) in env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => vars.push((name, value)),
            Err(_) if is_ours(&name) => faults.push(SettingsFault { name, reason: "must be UTF-8".into() }),
            Err(_) => {}
        }
    }
    if faults.is_empty() { Ok(vars) } else { Err(SettingsError(faults)) }
}

/// The unread variables, and the faults found so far.
pub(super) struct SettingsReader {
    vars: BTreeMap<String, String>,
    /// Variables that only look like settings.
    ignored: Vec<String>,
    faults: Vec<SettingsFault>,
}

impl SettingsReader {
    pub(super) fn new(vars: impl IntoIterator<Item = (String, String)>) -> Self {
        let (mut ours, mut ignored) = (BTreeMap::new(), BTreeSet::new());
        for (name, value) in vars {
            if is_ours(&name) {
                ours.insert(name, value.trim().to_owned());
            } else if looks_like_ours(&name) {
                ignored.insert(name);
            }
        }
        let mut reader = Self { vars: ours, ignored: ignored.into_iter().collect(), faults: Vec::new() };
        reader.drop_empty();
        reader.read_files();
        reader
    }

    /// An empty variable counts as not set, except for protections.
    fn drop_empty(&mut self) {
        let (empty, given) = std::mem::take(&mut self.vars).into_iter().partition(|(_, value)| value.is_empty());
        self.vars = given;
        let empty: BTreeMap<String, String> = empty;
        for name in empty.into_keys().filter(|name| is_protection(name)) {
            self.fault(&name, "is empty: give it a value, or remove it to do without");
        }
    }

    /// The variables that only look like settings.
    pub(super) fn ignored(&mut self) -> Vec<String> {
        std::mem::take(&mut self.ignored)
    }

    /// The CA certificates in the file that a variable names.
    pub(super) fn ca_certificates(&mut self, setting: &TextSetting) -> Option<CaCertificates> {
        self.parsed(setting, |file| {
            if file.is_empty() {
                return Ok(None);
            }
            let pem = std::fs::read(file).map_err(|_| "names a file that cannot be read")?;
            CaCertificates::of_pem(&pem).map(Some)
        })
    }

    /// Reads the files of secrets in place of the files' names.
    fn read_files(&mut self) {
        let names: Vec<String> = self.vars.keys().filter(|name| secret_of(name).is_some()).cloned().collect();
        for name in names {
            let (Some(path), Some(secret)) = (self.vars.remove(&name), secret_of(&name)) else { continue };
            let text = match read_file(&path) {
                _ if self.vars.contains_key(secret) => Err(format!("is set, and so is {secret}: which one counts?")),
                Ok(text) if text.trim().is_empty() => Err("names an empty file".to_owned()),
                Ok(text) => Ok(text.trim().to_owned()),
                Err(error) => Err(format!("names a file that cannot be read: {error}")),
            };
            match text {
                Ok(text) => {
                    self.vars.insert(secret.to_owned(), text);
                }
                Err(reason) => self.fault(&name, reason),
            }
        }
    }

    /// True if the variable is still to be read.
    pub(super) fn has(&self, name: &str) -> bool {
        self.vars.contains_key(name)
    }

    pub(super) fn fault(&mut self, name: &str, reason: impl Into<String>) {
        self.faults.push(SettingsFault { name: name.to_owned(), reason: reason.into() });
    }

    /// The variables `SHARD_<number>_URL`, by number.
    pub(super) fn take_shard_urls(&mut self) -> BTreeMap<u32, String> {
        self.take_numbered("_URL")
    }

    /// The variables `SHARD_<number>_REPLICA_URLS`, by number.
    pub(super) fn take_replica_urls(&mut self) -> BTreeMap<u32, String> {
        self.take_numbered("_REPLICA_URLS")
    }

    /// The variables `SHARD_<number>_SPARE_URL`, by number.
    pub(super) fn take_spare_urls(&mut self) -> BTreeMap<u32, String> {
        self.take_numbered("_SPARE_URL")
    }

    fn take_numbered(&mut self, ending: &str) -> BTreeMap<u32, String> {
        let mut urls = BTreeMap::new();
        self.vars.retain(|name, value| match shard_number(name, ending) {
            Some(number) => {
                urls.insert(number, std::mem::take(value));
                false
            }
            None => true,
        });
        urls
    }

    /// The parsed value of a variable; after a fault the parsed default.
    pub(super) fn parsed<T: Default>(
        &mut self,
        setting: &TextSetting,
        parse: fn(&str) -> Result<T, &'static str>,
    ) -> T {
        if let Some(text) = self.vars.remove(setting.name) {
            match parse(&text) {
                Ok(value) => return value,
                Err(reason) => self.fault(setting.name, reason),
            }
        }
        parse(setting.default).unwrap_or_default()
    }

    pub(super) fn choice<T: Copy>(&mut self, choice: &ChoiceSetting<T>) -> T {
        let name = choice.setting.name;
        let text = self.vars.remove(name).unwrap_or_else(|| choice.setting.default.to_owned());
        if let Some((_, value)) = choice.values.iter().find(|(word, _)| *word == text) {
            return *value;
        }
        let words: Vec<_> = choice.values.iter().map(|(word, _)| *word).collect();
        self.fault(name, format!("must be {}", words.join(" or ")));
        #[expect(clippy::expect_used, reason = "a choice is a constant of this module and has values")]
        choice.values.first().expect("a choice has values").1
    }

    /// The number, or `None` for a missing or wrong number.
    pub(super) fn optional(&mut self, number: &NumberSetting) -> Option<u64> {
        let text = self.vars.remove(number.setting.name)?;
        let value = text.parse().ok().filter(|value| number.range.contains(value));
        if value.is_none() {
            let (low, high) = (number.range.start(), number.range.end());
            self.fault(number.setting.name, format!("must be a whole number from {low} to {high}"));
        }
        value
    }

    pub(super) fn number(&mut self, number: &NumberSetting) -> u64 {
        self.optional(number).or_else(|| number.setting.default.parse().ok()).unwrap_or(*number.range.start())
    }

    pub(super) fn size(&mut self, number: &NumberSetting) -> usize {
        to_usize(self.number(number))
    }

    pub(super) fn millis(&mut self, number: &NumberSetting) -> Duration {
        Duration::from_millis(self.number(number))
    }

    /// The settings, unless something was wrong or is left over.
    pub(super) fn finish<T>(mut self, settings: T) -> Result<T, SettingsError> {
        for name in std::mem::take(&mut self.vars).into_keys() {
            let reason = match names::nearest(&name) {
                Some(known) => format!("unknown setting; did you mean {known}?"),
                None => "unknown setting; .env.example lists those there are".to_owned(),
            };
            self.fault(&name, reason);
        }
        if self.faults.is_empty() { Ok(settings) } else { Err(SettingsError(self.faults)) }
    }
}

/// The longest secret in a file, in bytes.
const MAX_FILE: u64 = 64 * 1024;

fn read_file(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

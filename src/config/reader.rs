//! Reads settings one by one, and collects every fault.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::time::Duration;

use super::fault::{SettingsError, SettingsFault};
use super::given::{GivenSettings, GivenValue};
use super::origin::Origin;
use super::setting::{ChoiceSetting, NumberSetting, TextSetting};
use crate::outbound::CaCertificates;

/// The value of a setting that counts, and where it was set.
#[derive(Debug)]
pub(super) struct SettingEntry {
    pub(super) text: String,
    is_file: bool,
    pub(super) is_secret: bool,
    pub(super) origin: Origin,
    /// Places with values that do not count, as this one is nearer.
    pub(super) overridden: Vec<Origin>,
}

/// The values that count, and the faults found so far.
pub(super) struct SettingsReader {
    entries: BTreeMap<String, SettingEntry>,
    unprefixed: Vec<String>,
    faults: Vec<SettingsFault>,
}

impl SettingsReader {
    /// Of two values of a setting the nearer counts. An empty value counts as not set, except for protections.
    pub(super) fn new(mut given: GivenSettings) -> Self {
        given.values.sort_by_key(|value| (value.origin.distance(), value.is_file));
        let mut reader = Self {
            entries: BTreeMap::new(),
            unprefixed: given
                .unprefixed
                .into_iter()
                .map(|(_, variable)| variable)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            faults: given.faults.into_iter().map(|(_, fault)| fault).collect(),
        };
        for value in given.values {
            reader.take(value);
        }
        reader.read_files();
        reader
    }

    fn take(&mut self, value: GivenValue) {
        let GivenValue { name, traits, text, is_file, origin } = value;
        let text = text.trim();
        if let Some(entry) = self.entries.get_mut(&name) {
            if entry.origin.distance() == origin.distance() && entry.is_file != is_file {
                let reason = format!("is set, and so is {}: which one counts?", entry.origin);
                self.faults.push(SettingsFault::new(&origin, reason));
            } else if !text.is_empty() {
                entry.overridden.push(origin);
            }
        } else if !text.is_empty() {
            let (text, is_secret) = (text.to_owned(), traits.is_secret);
            self.entries.insert(name, SettingEntry { text, is_file, is_secret, origin, overridden: Vec::new() });
        } else if traits.protects {
            let reason = "is empty: give it a value, or remove it to do without";
            self.faults.push(SettingsFault::new(&origin, reason));
        }
    }

    /// Puts the texts of files in place of the files' names.
    fn read_files(&mut self) {
        let faults = &mut self.faults;
        self.entries.retain(|_, entry| {
            if !entry.is_file {
                return true;
            }
            let reason = match read_file(&entry.text) {
                Ok(text) if text.trim().is_empty() => "names an empty file".to_owned(),
                Ok(text) => {
                    text.trim().clone_into(&mut entry.text);
                    return true;
                }
                Err(error) => format!("names a file that cannot be read: {error}"),
            };
            faults.push(SettingsFault::new(&entry.origin, reason));
            false
        });
    }

    /// All values that count, by the names of their settings.
    pub(super) fn entries(&self) -> &BTreeMap<String, SettingEntry> {
        &self.entries
    }

    /// The names to use for settings that were given without the prefix.
    pub(super) fn unprefixed(&self) -> Vec<String> {
        self.unprefixed.clone()
    }

    /// True if the setting has a value.
    pub(super) fn has(&self, setting: &TextSetting) -> bool {
        self.entries.contains_key(setting.name)
    }

    pub(super) fn fault(&mut self, setting: &TextSetting, reason: impl Into<String>) {
        self.fault_of(setting.name, setting.shown(), reason);
    }

    /// A fault of the setting `name`, which is called `otherwise` if it has no value.
    pub(super) fn fault_of(&mut self, name: &str, otherwise: String, reason: impl Into<String>) {
        let name = self.entries.get(name).map_or(otherwise, |entry| entry.origin.to_string());
        self.faults.push(SettingsFault { name, reason: reason.into() });
    }

    /// The parsed value of a setting; after a fault the parsed default.
    pub(super) fn parsed<T: Default>(
        &mut self,
        setting: &TextSetting,
        parse: fn(&str) -> Result<T, &'static str>,
    ) -> T {
        match self.entries.get(setting.name).map(|entry| parse(&entry.text)) {
            Some(Ok(value)) => return value,
            Some(Err(reason)) => self.fault(setting, reason),
            None => {}
        }
        parse(setting.default).unwrap_or_default()
    }

    /// The CA certificates in the file that a setting names.
    pub(super) fn ca_certificates(&mut self, setting: &TextSetting) -> Option<CaCertificates> {
        self.parsed(setting, |file| {
            if file.is_empty() {
                return Ok(None);
            }
            let pem = std::fs::read(file).map_err(|_| "names a file that cannot be read")?;
            CaCertificates::of_pem(&pem).map(Some)
        })
    }

    pub(super) fn choice<T: Copy>(&mut self, choice: &ChoiceSetting<T>) -> T {
        let text = self.entries.get(choice.setting.name).map_or(choice.setting.default, |entry| &entry.text);
        if let Some((_, value)) = choice.values.iter().find(|(word, _)| *word == text) {
            return *value;
        }
        let words: Vec<_> = choice.values.iter().map(|(word, _)| *word).collect();
        self.fault(&choice.setting, format!("must be {}", words.join(" or ")));
        #[expect(clippy::expect_used, reason = "a choice is a constant of this module and has values")]
        choice.values.first().expect("a choice has values").1
    }

    /// The number, or `None` for a missing or wrong number.
    pub(super) fn optional(&mut self, number: &NumberSetting) -> Option<u64> {
        let entry = self.entries.get(number.setting.name)?;
        let value = entry.text.parse().ok().filter(|value| number.range.contains(value));
        if value.is_none() {
            let (low, high) = (number.range.start(), number.range.end());
            self.fault(&number.setting, format!("must be a whole number from {low} to {high}"));
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
        debug_assert!(number.setting.name.ends_with("_MS"), "the name says the unit");
        Duration::from_millis(self.number(number))
    }

    pub(super) fn seconds(&mut self, number: &NumberSetting) -> Duration {
        debug_assert!(number.setting.name.ends_with("_S"), "the name says the unit");
        Duration::from_secs(self.number(number))
    }

    pub(super) fn days(&mut self, number: &NumberSetting) -> u16 {
        debug_assert!(number.setting.name.ends_with("_DAYS"), "the name says the unit");
        u16::try_from(self.number(number)).unwrap_or(u16::MAX)
    }

    /// The settings, unless something was wrong.
    pub(super) fn finish<T>(self, settings: T) -> Result<T, SettingsError> {
        if self.faults.is_empty() { Ok(settings) } else { Err(SettingsError(self.faults)) }
    }
}

/// The limits of the settings keep every number in the range of a `usize`.
pub(super) fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The longest secret in a file, in bytes.
const MAX_FILE: u64 = 64 * 1024;

fn read_file(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

//! What a setting is: a name, a default, and the traits of the value.

use std::ops::RangeInclusive;

/// The beginning of a setting's name in the environment.
pub(super) const PREFIX: &str = "SHARDRIVE_";
/// The ending of names whose value is the path of a file with a secret.
pub(super) const FILE: &str = "_FILE";
/// The beginning of OpenTelemetry's own names, which stand without the prefix.
const STANDARD: &str = "OTEL_";
/// The units at the end of names.
const UNITS: [&str; 6] = ["_PER_S", "_MS", "_S", "_DAYS", "_BYTES", "_ROWS"];

/// What is true of a setting, whatever its value.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct SettingTraits {
    /// The value may hold a password, and may stand in a file of its own.
    pub(super) is_secret: bool,
    /// The value is a list with commas in between.
    pub(super) is_list: bool,
    /// Without a value the service would be open, or trust too much: an empty value must be a mistake.
    pub(super) protects: bool,
    /// A name without the prefix that counts in the environment as well.
    pub(super) short: Option<&'static str>,
}

/// A setting and its default.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextSetting {
    /// In capitals and without the prefix, as in `SHARD_TIMEOUT_MS`.
    pub(super) name: &'static str,
    /// Empty: there is no fixed default.
    pub(super) default: &'static str,
    pub(super) traits: SettingTraits,
}

impl TextSetting {
    pub(super) const fn new(name: &'static str, default: &'static str) -> Self {
        let traits = SettingTraits { is_secret: false, is_list: false, protects: false, short: None };
        Self { name, default, traits }
    }

    pub(super) const fn secret(mut self) -> Self {
        self.traits.is_secret = true;
        self
    }

    pub(super) const fn list(mut self) -> Self {
        self.traits.is_list = true;
        self
    }

    pub(super) const fn protecting(mut self) -> Self {
        self.traits.protects = true;
        self
    }

    pub(super) const fn or_short(mut self, short: &'static str) -> Self {
        self.traits.short = Some(short);
        self
    }

    /// The shortest name of the setting in the environment.
    pub(super) fn shown(&self) -> String {
        self.traits.short.map_or_else(|| variable_of(self.name), str::to_owned)
    }

    /// True if `name` lacks only the unit of this setting's name.
    pub(super) fn lacks_unit(&self, name: &str) -> bool {
        name != self.name && without_unit(self.name) == name
    }
}

/// A setting's name without the unit at its end, if it has one.
pub(super) fn without_unit(name: &str) -> &str {
    UNITS.iter().find_map(|unit| name.strip_suffix(unit)).unwrap_or(name)
}

/// A setting with a whole number.
#[derive(Clone, Debug)]
pub(super) struct NumberSetting {
    pub(super) setting: TextSetting,
    pub(super) range: RangeInclusive<u64>,
}

impl NumberSetting {
    pub(super) const fn new(name: &'static str, default: &'static str, range: RangeInclusive<u64>) -> Self {
        Self { setting: TextSetting::new(name, default), range }
    }

    pub(super) const fn protecting(mut self) -> Self {
        self.setting = self.setting.protecting();
        self
    }

    pub(super) const fn or_short(mut self, short: &'static str) -> Self {
        self.setting = self.setting.or_short(short);
        self
    }
}

/// A setting with a few valid words.
pub(super) struct ChoiceSetting<T: 'static> {
    pub(super) setting: TextSetting,
    /// The first stands in where the word is wrong.
    pub(super) values: &'static [(&'static str, T)],
}

/// True for names that belong to OpenTelemetry.
pub(super) fn is_standard(name: &str) -> bool {
    name.starts_with(STANDARD)
}

/// The name of a setting in the environment.
pub(super) fn variable_of(name: &str) -> String {
    if is_standard(name) { name.to_owned() } else { format!("{PREFIX}{name}") }
}

/// The name of a setting in a TOML file.
pub(super) fn key_of(name: &str) -> String {
    name.to_ascii_lowercase()
}

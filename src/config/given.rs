//! What the sources give, before anything is read: values with their places, and faults of the sources.

use super::fault::SettingsFault;
use super::origin::Origin;
use super::setting::SettingTraits;

/// A value of a setting at one place.
#[derive(Clone, Debug)]
pub(super) struct GivenValue {
    /// The setting, in capitals and without the prefix.
    pub(super) name: String,
    pub(super) traits: SettingTraits,
    pub(super) text: String,
    /// The text is the path of a file with the value.
    pub(super) is_file: bool,
    pub(super) origin: Origin,
}

/// The values of all sources.
#[derive(Default, Debug)]
pub(super) struct GivenSettings {
    pub(super) values: Vec<GivenValue>,
    /// Each with the name that is wrong, unless a whole source is.
    pub(super) faults: Vec<(Option<String>, SettingsFault)>,
    /// Names that do not count, as they lack the prefix: the setting, and the name to use.
    pub(super) unprefixed: Vec<(String, String)>,
}

impl GivenSettings {
    /// Leaves out what is given for other settings.
    pub(super) fn retain(&mut self, counts: impl Fn(&str) -> bool) {
        self.values.retain(|value| counts(&value.name));
        self.faults.retain(|(name, _)| name.as_deref().is_none_or(&counts));
        self.unprefixed.retain(|(name, _)| counts(name));
    }

    /// Adds a value that a command sets.
    pub(super) fn set(&mut self, name: &str, text: String, by: &'static str) {
        self.values.push(GivenValue {
            name: name.to_owned(),
            traits: SettingTraits::default(),
            text,
            is_file: false,
            origin: Origin::Flag(by),
        });
    }
}

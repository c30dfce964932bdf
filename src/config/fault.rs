//! What is wrong with the settings: all faults at once, and never a value, as a URL holds a password.

use std::fmt;

/// A fault of the settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingsFault {
    /// The setting, as it is written where it is set.
    pub name: String,
    /// What must be true of the setting. Never the value.
    pub reason: String,
}

impl SettingsFault {
    pub(super) fn new(name: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self { name: name.to_string(), reason: reason.into() }
    }
}

impl fmt::Display for SettingsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

/// All faults of the settings.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the settings are wrong:\n{}", list(.0))]
pub struct SettingsError(pub Vec<SettingsFault>);

fn list(faults: &[SettingsFault]) -> String {
    faults.iter().map(|fault| format!("- {fault}")).collect::<Vec<_>>().join("\n")
}

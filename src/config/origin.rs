//! Where a value is set, and which of several places is nearer.

use std::fmt;

use super::setting::PREFIX;

/// The place of a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// The command line, by the flag.
    Flag(&'static str),
    /// The environment, by the variable.
    Environment(String),
    /// The file `.env` of the working folder.
    DotEnv {
        /// The variable.
        variable: String,
        /// From 1.
        line: usize,
    },
    /// A TOML file.
    TomlFile {
        /// The file's path.
        file: String,
        /// The key in the file.
        key: String,
        /// From 1.
        line: usize,
    },
}

impl Origin {
    /// The lower number is nearer, and its value counts. A name with the prefix is nearer than one without.
    pub(super) fn distance(&self) -> u8 {
        let is_short = |variable: &str| u8::from(!variable.starts_with(PREFIX));
        match self {
            Self::Flag(_) => 0,
            Self::Environment(variable) => 1 + is_short(variable),
            Self::DotEnv { variable, .. } => 3 + is_short(variable),
            Self::TomlFile { .. } => 5,
        }
    }

    /// The place, for people who look for it.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Environment(variable) => format!("{variable} in the environment"),
            Self::Flag(_) | Self::DotEnv { .. } | Self::TomlFile { .. } => self.to_string(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Environment(variable) => f.write_str(variable),
            Self::DotEnv { variable, line } => write!(f, "{variable} in .env, line {line}"),
            Self::TomlFile { file, key, line } => write!(f, "{key} in {file}, line {line}"),
        }
    }
}

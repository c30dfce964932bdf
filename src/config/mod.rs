//! Settings: flags, environment variables, `.env` and a TOML file → typed values. Nothing else reads the environment.
//!
//! Each setting has one name: `shard_timeout_ms` in the file, `SHARDRIVE_SHARD_TIMEOUT_MS` in the environment and in
//! `.env`. `.env.example`, `shardrive.example.toml` and `docs/settings.md` explain every setting; tests compare them
//! with `names::all`.

mod auth;
mod dotenv;
mod edge;
mod events;
mod fault;
mod given;
mod names;
mod origin;
mod reader;
mod service;
mod setting;
mod shards;
mod show;
mod sources;
#[cfg(test)]
mod tests;
mod toml_file;
mod values;

pub use edge::EdgeSettings;
pub use fault::{SettingsError, SettingsFault};
use given::GivenSettings;
use reader::SettingsReader;
pub use service::Settings;
pub use show::ShownSetting;
pub use sources::SettingFlags;

use crate::auth::AuthSettings;

/// True if the person at the terminal wants no colours of any program (`NO_COLOR`).
#[must_use]
pub fn refuses_colours() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

impl Settings {
    /// Reads the settings of this process: flags, the environment, `.env` and the TOML file, of which the nearer wins.
    ///
    /// # Errors
    /// All faults.
    pub fn load(flags: &SettingFlags) -> Result<Self, SettingsError> {
        Self::of(sources::gather(flags))
    }

    /// Reads the settings as [`Settings::load`] does, without those in `left_out`, and with `values` in place of all
    /// shards and of settings with the same names.
    ///
    /// # Errors
    /// All faults.
    pub fn load_for(values: Vec<(String, String)>, left_out: &[&str], by: &'static str) -> Result<Self, SettingsError> {
        let mut given = sources::gather(&SettingFlags::default());
        let is_replaced = |name: &str| values.iter().any(|(replaced, _)| replaced == name);
        given.retain(|name| !shards::is_of_shards(name) && !left_out.contains(&name) && !is_replaced(name));
        for (name, value) in values {
            given.set(&name, value, by);
        }
        Self::of(given)
    }

    /// Reads the settings of sign-in alone, for commands without shards.
    ///
    /// # Errors
    /// All faults.
    pub fn load_auth(flags: &SettingFlags) -> Result<Option<AuthSettings>, SettingsError> {
        let mut given = sources::gather(flags);
        given.retain(|name| name.starts_with("AUTH_"));
        let mut read = SettingsReader::new(given);
        let settings = auth::read(&mut read);
        read.finish(settings)
    }

    /// The URL of a service with these settings on this machine, as in `http://127.0.0.1:8000`; for commands without
    /// other settings.
    ///
    /// # Errors
    /// All faults of `BIND_ADDR` and `TLS_*`.
    pub fn load_own_url(flags: &SettingFlags) -> Result<String, SettingsError> {
        Self::own_url(sources::gather(flags))
    }

    /// Reads the settings, and says where each value comes from.
    pub fn explain(flags: &SettingFlags) -> (Vec<ShownSetting>, Result<Self, SettingsError>) {
        let mut read = SettingsReader::new(sources::gather(flags));
        let settings = service::read(&mut read);
        (show::explain(read.entries(), &settings), read.finish(settings))
    }

    fn of(given: GivenSettings) -> Result<Self, SettingsError> {
        let mut read = SettingsReader::new(given);
        let settings = service::read(&mut read);
        read.finish(settings)
    }

    fn own_url(mut given: GivenSettings) -> Result<String, SettingsError> {
        given.retain(|name| name == service::BIND_ADDR.name || name.starts_with("TLS_"));
        let mut read = SettingsReader::new(given);
        let (bind, tls) = (read.parsed(&service::BIND_ADDR, values::parse_bind), edge::read_tls(&mut read));
        // Whether sign-in is on makes no difference on this machine.
        let bind = bind.unwrap_or_else(|| service::default_bind(false).to_owned());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let own = match bind.rsplit_once(':') {
            Some(("0.0.0.0", port)) => format!("127.0.0.1:{port}"),
            Some(("[::]", port)) => format!("[::1]:{port}"),
            _ => bind,
        };
        read.finish(format!("{scheme}://{own}"))
    }
}

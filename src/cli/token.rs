//! `shardrive token`: signs a token with the service's shared secret.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::CliError;
use super::config::ConfigArgs;
use super::output::say;
use crate::auth::{Scope, mint_token};
use crate::config::Settings;

const EXAMPLES: &str = "\
Examples:
  export SHARDRIVE_AUTH_SECRET_FILE=secret.txt       the service has the same secret
  shardrive token --user 42
  shardrive token --scope admin --ttl 15m
  curl -H \"Authorization: Bearer $(shardrive token --user 42)\" localhost:8000/query/42

Exit codes: 0 done, 1 failed, 2 wrong usage or settings.";

/// Make a sign-in token, where a secret is shared
///
/// Standard output holds the token and nothing else.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TokenArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The user of the token.
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
    user: Option<i64>,
    /// The scope: user, service or admin.
    #[arg(long, default_value = "user", value_parser = parse_scope)]
    scope: Scope,
    /// The lifetime: a number and s, m, h or d; at most 365d.
    #[arg(long, default_value = "1h", value_parser = parse_duration)]
    ttl: Duration,
    /// Print the token and its end as JSON.
    #[arg(long)]
    json: bool,
}

impl TokenArgs {
    pub(super) fn run(self) -> Result<(), CliError> {
        let settings = Settings::load_auth(&self.config.into_flags())?.ok_or_else(|| {
            CliError::Usage(
                "sign-in is off: set SHARDRIVE_AUTH_SECRET or SHARDRIVE_AUTH_SECRET_FILE as for the service".to_owned(),
            )
        })?;
        let (token, end) =
            mint_token(&settings, self.scope, self.user, self.ttl).map_err(|why| CliError::Usage(why.into()))?;
        if self.json {
            let ends = chrono::DateTime::from_timestamp(i64::try_from(end).unwrap_or(i64::MAX), 0);
            let json = json!({
                "token": token, "scope": self.scope.as_str(), "user": self.user, "expires_at": ends.map(|end| end.to_rfc3339()),
            });
            say!("{json}");
        } else {
            say!("{token}");
        }
        Ok(())
    }
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    Scope::from_name(text).ok_or_else(|| "must be user, service or admin".to_owned())
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    const REASON: &str = "must be a number and s, m, h or d, as in 90s or 1h; at most 365d";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..).unwrap_or_default() {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(REASON.to_owned()),
    };
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match seconds.filter(|seconds| (1..=365 * 86_400).contains(seconds)) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err(REASON.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [("1s", 1), ("90m", 5_400), ("1h", 3_600), ("365d", 31_536_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "1", "h", "0s", "-1h", "1.5h", "366d", "1 h", "1w", "99999999999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}

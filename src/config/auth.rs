//! The settings of sign-in, and which settings belong together.

use std::time::Duration;

use super::reader::{NumberSetting, SettingsReader, TextSetting};
use crate::auth::{AuthSettings, KeySource, ProviderUrl, SigningSecret};

const ISSUER: TextSetting = TextSetting { name: "AUTH_ISSUER", default: "" };
const JWKS_URL: TextSetting = TextSetting { name: "AUTH_JWKS_URL", default: "" };
pub(super) const SECRET: TextSetting = TextSetting { name: "AUTH_SECRET", default: "" };
const CA_FILE: TextSetting = TextSetting { name: "AUTH_CA_FILE", default: "" };
const AUDIENCE: TextSetting = TextSetting { name: "AUTH_AUDIENCE", default: "" };
const CLOCK_SKEW: NumberSetting = NumberSetting::new("AUTH_CLOCK_SKEW_S", "30", 0..=300);
const USER_CLAIM: TextSetting = TextSetting { name: "AUTH_USER_CLAIM", default: "sub" };
const SCOPE_CLAIM: TextSetting = TextSetting { name: "AUTH_SCOPE_CLAIM", default: "scope" };

pub(super) const ALL: [TextSetting; 8] =
    [ISSUER, JWKS_URL, SECRET, CA_FILE, AUDIENCE, CLOCK_SKEW.setting, USER_CLAIM, SCOPE_CLAIM];

/// How callers sign in; `None` without settings.
pub(super) fn read(read: &mut SettingsReader) -> Option<AuthSettings> {
    let given: Vec<&str> = ALL.iter().map(|setting| setting.name).filter(|name| read.has(name)).collect();
    let issuer = read.parsed(&ISSUER, |text| optional(text, ProviderUrl::parse));
    let issuer_text = issuer.as_ref().map(|issuer| issuer.as_str().to_owned());
    let jwks = read.parsed(&JWKS_URL, |text| optional(text, ProviderUrl::parse));
    let secret = read.parsed(&SECRET, |text| optional(text, SigningSecret::new));
    let ca_certificates = read.ca_certificates(&CA_FILE);
    let audience = read.parsed(&AUDIENCE, |text| optional(text, |text| Ok(text.to_owned())));
    let clock_skew = Duration::from_secs(read.number(&CLOCK_SKEW));
    let user_claim = read.parsed(&USER_CLAIM, claim);
    let scope_claim = read.parsed(&SCOPE_CLAIM, claim);

    let is_given = |setting: &TextSetting| given.contains(&setting.name);
    let by_provider = is_given(&ISSUER) || is_given(&JWKS_URL);
    match given.first() {
        None => return None,
        Some(first) if !by_provider && !is_given(&SECRET) => {
            read.fault(first, "says nothing without AUTH_ISSUER, AUTH_JWKS_URL or AUTH_SECRET; sign-in would be off");
        }
        Some(_) => {}
    }
    if by_provider && is_given(&SECRET) {
        read.fault(
            SECRET.name,
            "goes with neither AUTH_ISSUER nor AUTH_JWKS_URL: tokens are signed by one or the other",
        );
    }
    if is_given(&CA_FILE) && is_given(&SECRET) {
        read.fault(CA_FILE.name, "says nothing without AUTH_ISSUER or AUTH_JWKS_URL");
    }
    if by_provider && !is_given(&AUDIENCE) {
        read.fault(
            AUDIENCE.name,
            "is missing: the provider's name for this service, or its tokens for other services would count here too",
        );
    }
    let source = match (issuer, jwks, secret) {
        (_, Some(jwks), _) => KeySource::Jwks(jwks, issuer_text),
        (Some(issuer), None, _) => KeySource::Issuer(issuer),
        (None, None, secret) => KeySource::Secret(secret?),
    };
    Some(AuthSettings { source, ca_certificates, audience, clock_skew, user_claim, scope_claim })
}

/// The result of `parse`, or `None` for an empty text.
fn optional<T>(text: &str, parse: impl Fn(&str) -> Result<T, &'static str>) -> Result<Option<T>, &'static str> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

fn claim(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.bytes().any(|byte| byte.is_ascii_whitespace()) {
        return Err("must be the name of a claim, as in sub or realm_access.roles");
    }
    Ok(text.to_owned())
}

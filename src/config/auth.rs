//! The settings of sign-in, and which settings belong together.

use super::reader::SettingsReader;
use super::setting::{NumberSetting, TextSetting};
use crate::auth::{AuthSettings, KeySource, ProviderUrl, SigningSecret};

const ISSUER: TextSetting = TextSetting::new("AUTH_ISSUER", "").protecting();
const JWKS_URL: TextSetting = TextSetting::new("AUTH_JWKS_URL", "").protecting();
const SECRET: TextSetting = TextSetting::new("AUTH_SECRET", "").secret().protecting();
const CA_FILE: TextSetting = TextSetting::new("AUTH_CA_FILE", "").protecting();
const AUDIENCE: TextSetting = TextSetting::new("AUTH_AUDIENCE", "").protecting();
const CLOCK_SKEW: NumberSetting = NumberSetting::new("AUTH_CLOCK_SKEW_S", "30", 0..=300).protecting();
const USER_CLAIM: TextSetting = TextSetting::new("AUTH_USER_CLAIM", "sub").protecting();
const SCOPE_CLAIM: TextSetting = TextSetting::new("AUTH_SCOPE_CLAIM", "scope").protecting();

pub(super) const ALL: [TextSetting; 8] =
    [ISSUER, JWKS_URL, SECRET, CA_FILE, AUDIENCE, CLOCK_SKEW.setting, USER_CLAIM, SCOPE_CLAIM];

/// How callers sign in; `None` without settings.
pub(super) fn read(read: &mut SettingsReader) -> Option<AuthSettings> {
    let issuer = read.parsed(&ISSUER, |text| optional(text, ProviderUrl::parse));
    let issuer_text = issuer.as_ref().map(|issuer| issuer.as_str().to_owned());
    let jwks = read.parsed(&JWKS_URL, |text| optional(text, ProviderUrl::parse));
    let secret = read.parsed(&SECRET, |text| optional(text, SigningSecret::new));
    let ca_certificates = read.ca_certificates(&CA_FILE);
    let audience = read.parsed(&AUDIENCE, |text| optional(text, |text| Ok(text.to_owned())));
    let clock_skew = read.seconds(&CLOCK_SKEW);
    let user_claim = read.parsed(&USER_CLAIM, claim);
    let scope_claim = read.parsed(&SCOPE_CLAIM, claim);

    let given: Vec<&TextSetting> = ALL.iter().filter(|setting| read.has(setting)).collect();
    let by_provider = read.has(&ISSUER) || read.has(&JWKS_URL);
    match given.first() {
        None => return None,
        Some(first) if !by_provider && !read.has(&SECRET) => {
            read.fault(
                first,
                "says nothing without SHARDRIVE_AUTH_ISSUER, SHARDRIVE_AUTH_JWKS_URL or SHARDRIVE_AUTH_SECRET; \
                 sign-in would be off",
            );
        }
        Some(_) => {}
    }
    if by_provider && read.has(&SECRET) {
        read.fault(
            &SECRET,
            "goes with neither SHARDRIVE_AUTH_ISSUER nor SHARDRIVE_AUTH_JWKS_URL: tokens are signed by one or the other",
        );
    }
    if read.has(&CA_FILE) && read.has(&SECRET) {
        read.fault(&CA_FILE, "says nothing without SHARDRIVE_AUTH_ISSUER or SHARDRIVE_AUTH_JWKS_URL");
    }
    if by_provider && !read.has(&AUDIENCE) {
        read.fault(
            &AUDIENCE,
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

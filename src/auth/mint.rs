//! Signs tokens with a shared secret, for set-ups without a provider.

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};
use serde_json::Value;

use super::claims::Claims;
use super::{AuthSettings, KeySource, Scope, crypto, unix_now};

/// A token for this scope and user, valid for `ttl` from now on; and its end, in seconds since 1970.
///
/// # Errors
/// If the settings name no secret, or the scope `user` comes without a user.
pub fn mint_token(
    settings: &AuthSettings,
    scope: Scope,
    user: Option<i64>,
    ttl: Duration,
) -> Result<(String, u64), &'static str> {
    let KeySource::Secret(secret) = &settings.source else {
        return Err("the sign-in provider issues the tokens; this command needs SHARDRIVE_AUTH_SECRET");
    };
    if scope == Scope::User && user.is_none() {
        return Err("the scope user needs --user");
    }
    crypto::install_provider();
    let now = unix_now();
    let end = now.saturating_add(ttl.as_secs());
    let mut claims = Claims::new();
    set_claim(&mut claims, &settings.user_claim, user.map_or(Value::Null, |user| user.to_string().into()));
    set_claim(&mut claims, &settings.scope_claim, scope.as_str().into());
    claims.insert("iat".into(), now.into());
    claims.insert("exp".into(), end.into());
    if let Some(audience) = &settings.audience {
        claims.insert("aud".into(), audience.as_str().into());
    }
    let token = EncodingKey::from_secret(secret.as_bytes())
        .and_then(|key| jsonwebtoken::encode(&Header::default(), &claims, &key))
        .map_err(|_| "the token could not be signed")?;
    Ok((token, end))
}

/// Sets a claim under the name that the settings expect.
fn set_claim(claims: &mut Claims, path: &str, value: Value) {
    if !value.is_null() {
        claims.insert(path.to_owned(), value);
    }
}

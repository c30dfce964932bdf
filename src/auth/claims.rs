//! From the claims of a genuine token to the caller's rights.

use serde_json::{Map, Value};

use super::{AuthError, Principal, Scope};

/// The claims of a token.
pub(super) type Claims = Map<String, Value>;

/// The claims that hold user and scopes.
#[derive(Clone, Debug)]
pub(super) struct ClaimRules {
    pub(super) user: String,
    pub(super) scopes: String,
}

impl ClaimRules {
    /// The caller by the widest scope that the token grants.
    ///
    /// # Errors
    /// `NoScope`; `NoUser` if the scope is `user` and the claim is not a user's number.
    pub(super) fn principal_of(&self, claims: &Claims) -> Result<Principal, AuthError> {
        match find_claim(claims, &self.scopes).and_then(widest_scope) {
            Some(Scope::Admin) => Ok(Principal::Admin),
            Some(Scope::Service) => Ok(Principal::Service),
            Some(Scope::User) => {
                find_claim(claims, &self.user).and_then(user_number).map(Principal::User).ok_or(AuthError::NoUser)
            }
            None => Err(AuthError::NoScope),
        }
    }
}

/// The claim with this name. Names may hold dots themselves; without such a claim, the dots lead into nested objects.
fn find_claim<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    find_claim(claims.get(first)?.as_object()?, rest)
}

fn widest_scope(value: &Value) -> Option<Scope> {
    match value {
        Value::String(text) => text.split_ascii_whitespace().filter_map(Scope::from_name).max(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).filter_map(Scope::from_name).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// A whole number from 0 on, also as text. The text has one valid form: `"042"` must not be another way to be user
/// 42.
fn user_number(value: &Value) -> Option<i64> {
    let number = match value {
        Value::Number(number) => number.as_i64()?,
        Value::String(text) => text.parse::<i64>().ok().filter(|number| number.to_string() == *text)?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    (number >= 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn principal(claims: Value, user: &str, scopes: &str) -> Result<Principal, AuthError> {
        let rules = ClaimRules { user: user.to_owned(), scopes: scopes.to_owned() };
        rules.principal_of(claims.as_object().unwrap())
    }

    #[test]
    fn the_widest_scope_counts() {
        let of = |scope: Value| principal(json!({"sub": "42", "scope": scope}), "sub", "scope");
        assert_eq!(of(json!("user")), Ok(Principal::User(42)));
        assert_eq!(of(json!("openid user profile")), Ok(Principal::User(42)));
        assert_eq!(of(json!("user service")), Ok(Principal::Service));
        assert_eq!(of(json!(["admin", "user"])), Ok(Principal::Admin));
        for none in
            [json!(""), json!("users"), json!("User"), json!(["user service"]), json!(null), json!(1), json!({})]
        {
            assert_eq!(of(none.clone()), Err(AuthError::NoScope), "{none}");
        }
    }

    #[test]
    fn claims_are_found_by_name_and_by_path() {
        let claims = json!({
            "realm_access": {"roles": ["user"]}, "https://a.example/user": 7, "ext": {"drive": {"id": "9"}},
        });
        assert_eq!(principal(claims.clone(), "https://a.example/user", "realm_access.roles"), Ok(Principal::User(7)));
        assert_eq!(principal(claims.clone(), "ext.drive.id", "realm_access.roles"), Ok(Principal::User(9)));
        assert_eq!(principal(claims.clone(), "ext.drive", "realm_access.roles"), Err(AuthError::NoUser));
        assert_eq!(principal(claims, "sub", "roles"), Err(AuthError::NoScope));
    }

    #[test]
    fn a_user_has_one_spelling() {
        let of = |user: Value| principal(json!({"sub": user, "scope": "user"}), "sub", "scope");
        assert_eq!(of(json!(0)), Ok(Principal::User(0)));
        assert_eq!(of(json!("9223372036854775807")), Ok(Principal::User(i64::MAX)));
        for bad in ["", "042", "+42", "-1", "42 ", "4.2", "0x2a", "9223372036854775808", "alice", "\u{664}\u{662}"] {
            assert_eq!(of(json!(bad)), Err(AuthError::NoUser), "{bad}");
        }
        for bad in [json!(-1), json!(4.2), json!(9_223_372_036_854_775_808_u64), json!(null), json!([42]), json!({})] {
            assert_eq!(of(bad.clone()), Err(AuthError::NoUser), "{bad}");
        }
    }
}

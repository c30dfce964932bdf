//! User and password of a URL: removed from the shards' list of one another, and put back by each process.
//!
//! The list is in every dump of a shard, so the list holds no user and no password
//! (docs/decisions/0027-credentials.md).

/// The parameters of a URL that hold credentials.
const SIGN_IN_PARAMETERS: [&str; 4] = ["user", "password", "sslpassword", "passfile"];

/// The parts of a URL that matter here: `scheme://[user@]place[?parameters]`.
struct UrlParts<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    place: &'a str,
    parameters: Vec<&'a str>,
}

impl<'a> UrlParts<'a> {
    fn split(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = rest.split('/').next().unwrap_or(rest);
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        let place = user.and_then(|user| rest.get(user.len() + 1..)).unwrap_or(rest);
        let parameters = parameters.split('&').filter(|parameter| !parameter.is_empty()).collect();
        Some(Self { scheme, user, place, parameters })
    }

    fn signs_in(parameter: &str) -> bool {
        let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
        SIGN_IN_PARAMETERS.iter().any(|known| name.eq_ignore_ascii_case(known))
    }

    fn credentials(&self) -> (Option<&'a str>, Vec<&'a str>) {
        (self.user, self.parameters.iter().copied().filter(|parameter| Self::signs_in(parameter)).collect())
    }

    fn with_credentials(&self, (user, signing): (Option<&str>, Vec<&str>)) -> String {
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        let others = self.parameters.iter().copied().filter(|parameter| !Self::signs_in(parameter));
        let parameters = others.chain(signing).collect::<Vec<_>>().join("&");
        let sign = if parameters.is_empty() { "" } else { "?" };
        format!("{}://{user}{}{sign}{parameters}", self.scheme, self.place)
    }
}

/// The URL without user and password.
pub(super) fn remove_credentials(url: &str) -> String {
    UrlParts::split(url).map_or_else(|| url.to_owned(), |parts| parts.with_credentials((None, Vec::new())))
}

/// The URL with the user and password of `lender`, unless the URL has its own.
pub(super) fn lend_credentials(url: &str, lender: &str) -> String {
    match (UrlParts::split(url), UrlParts::split(lender)) {
        (Some(parts), Some(lender)) if !has_credentials(url) => parts.with_credentials(lender.credentials()),
        _ => url.to_owned(),
    }
}

/// True if the URL holds credentials.
pub(super) fn has_credentials(url: &str) -> bool {
    UrlParts::split(url).is_some_and(|parts| parts.credentials() != (None, Vec::new()))
}

/// True if both URLs hold the same credentials.
pub(super) fn same_credentials(one: &str, other: &str) -> bool {
    UrlParts::split(one).map(|parts| parts.credentials()) == UrlParts::split(other).map(|parts| parts.credentials())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_taken_out_and_put_back() {
        for (url, bare) in [
            ("postgres://u:p%40@h:1/d", "postgres://h:1/d"),
            ("postgresql://u@h1:1,h2:2/d?sslmode=disable", "postgresql://h1:1,h2:2/d?sslmode=disable"),
            ("postgres://h/d?user=u&sslmode=require&password=p", "postgres://h/d?sslmode=require"),
            ("postgres://h/d?Password=p", "postgres://h/d"),
            ("postgres://u:p@h/d?sslpassword=p&passfile=/f", "postgres://h/d"),
            ("postgres://h/d", "postgres://h/d"),
        ] {
            assert_eq!(remove_credentials(url), bare);
            assert!(!has_credentials(bare), "{bare}");
            assert!(same_credentials(&lend_credentials("postgres://new/e", url), url), "{url}");
        }
        assert_eq!(lend_credentials("postgres://h2/e", "postgres://u:p@h1/d?a=b"), "postgres://u:p@h2/e");
        assert_eq!(lend_credentials("postgres://x@h2/e", "postgres://u:p@h1/d"), "postgres://x@h2/e");
        assert_eq!(
            lend_credentials("postgres://h2/e?sslmode=require", "postgres://h1/d?user=u&password=p"),
            "postgres://h2/e?sslmode=require&user=u&password=p"
        );
        assert!(!same_credentials("postgres://u:p@h/d", "postgres://u:q@h/d"));
    }
}

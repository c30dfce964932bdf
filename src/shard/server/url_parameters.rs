//! The parameters of a shard's URL. The driver passes over a parameter that it does not know: a misspelt `sslmode`
//! would leave the connection without TLS. A server that subscribes to the shard refuses such a URL.

/// The parameters that a URL may have (PostgreSQL manual, "Parameter Key Words").
const PARAMETERS: [&str; 23] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "gssencmode",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "options",
    "passfile",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslpassword",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];
/// A name within this edit distance of a parameter is taken for a slip.
const NEAR: usize = 3;

/// Refuses a URL with an unknown parameter.
///
/// # Errors
/// The fault and an advice. The text never shows the unknown name: behind a `?` in a password, the name is a part of
/// the password.
pub(super) fn check_parameters(url: &str) -> Result<(), String> {
    let Some((_, query)) = url.split_once('?') else { return Ok(()) };
    let mut names = query.split('&').filter_map(|part| part.split('=').next()).filter(|name| !name.is_empty());
    let Some(unknown) = names.find(|name| !PARAMETERS.contains(name)) else { return Ok(()) };
    let distance = |known: &&&str| strsim::levenshtein(unknown, known);
    let advice = match PARAMETERS.iter().min_by_key(distance).filter(|known| distance(known) <= NEAR) {
        Some(known) => format!("did you mean {known}?"),
        None => "leave it out, and write a ? within the password as %3F".to_owned(),
    };
    Err(format!("has an unknown parameter; {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_parameter_is_refused_and_never_shown() {
        for (url, advice) in [
            ("postgres://u:secret@h/d?sslmod=verify-full", Some("did you mean sslmode?")),
            ("postgres://u:secret@h/d?sslmode=require&sslrootcrt=/nope", Some("did you mean sslrootcert?")),
            ("postgres://u:secret@h/d?bogus=secret", Some("leave it out")),
            ("postgres://u:p?secret@h/d", Some("%3F")),
            ("postgres://u:p?secret&secret@h/d?sslmode=require", Some("%3F")),
            ("postgres://u:secret@h/d?sslmode=require&channel_binding=require", None),
            ("postgres://u:secret@h/d?", None),
            ("postgres://u:secret@h/d", None),
        ] {
            let refused = check_parameters(url).err();
            assert_eq!(refused.is_some(), advice.is_some(), "{url}: {refused:?}");
            let reason = refused.unwrap_or_default();
            assert!(reason.contains(advice.unwrap_or_default()) && !reason.contains("secret"), "{reason}");
        }
    }
}

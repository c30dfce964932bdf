//! The file `.env` of the working folder. Docker Compose reads the file too: a value that both would read differently
//! is refused.
//!
//! | value | read as |
//! |---|---|
//! | `'anything'` | written, a `$`, a `#` and a `"` included |
//! | `"anything"` | written; without `$` and `\`, which Compose replaces |
//! | `anything` | written, up to a comment behind a blank; without `$`, which Compose replaces |

use super::fault::SettingsFault;
use super::origin::Origin;

const USE_SINGLE_QUOTES: &str = "put the value into single quotes";

/// A variable, its value, and its line.
type DotEnvLine = (String, String, usize);
/// A fault, and the variable that it is about.
type DotEnvFault = (Option<String>, SettingsFault);

/// Variables of the file's text, and the faults of variables for which `counts` is true. Other programs' variables may
/// have any value.
pub(super) fn read(text: &str, counts: impl Fn(&str) -> bool) -> (Vec<DotEnvLine>, Vec<DotEnvFault>) {
    let (mut vars, mut faults) = (Vec::new(), Vec::new());
    let mut lines = text.trim_start_matches('\u{feff}').lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let line = line.trim();
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, text) =
            line.split_once('=').map_or((line, None), |(name, text)| (name.trim_end(), Some(text.trim())));
        if !is_name(name) {
            // The line may hold a secret, and is not shown.
            let place = format!(".env, line {number}");
            faults.push((None, SettingsFault::new(place, "must be NAME=value, a comment, or empty")));
            continue;
        }
        // Without a value the environment's variable counts.
        let Some(text) = text else { continue };
        if !counts(name) {
            if let Some(quote) = open_quote(text) {
                lines.by_ref().find(|(line, _)| line.contains(quote));
            }
            continue;
        }
        match value(text) {
            Ok(value) => vars.push((name.to_owned(), value, number)),
            Err(reason) => {
                let origin = Origin::DotEnv { variable: name.to_owned(), line: number };
                faults.push((Some(name.to_owned()), SettingsFault::new(origin, reason)));
            }
        }
    }
    (vars, faults)
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    bytes.next().is_some_and(is_letter)
        && bytes.all(|byte| is_letter(byte) || byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
}

/// The open quote of a value with more lines.
fn open_quote(text: &str) -> Option<char> {
    let quote = text.chars().next().filter(|first| matches!(first, '\'' | '"'))?;
    text.strip_prefix(quote).is_some_and(|rest| !rest.contains(quote)).then_some(quote)
}

fn value(text: &str) -> Result<String, String> {
    match text.chars().next() {
        Some(quote @ ('\'' | '"')) => quoted(text.strip_prefix(quote).unwrap_or(text), quote),
        _ => bare(text),
    }
}

fn quoted(text: &str, quote: char) -> Result<String, String> {
    let Some((inner, rest)) = text.split_once(quote) else {
        return Err(format!("has no closing {quote}"));
    };
    if !rest.is_empty() && !rest.trim_start().starts_with('#') {
        return Err(format!("has more behind the closing {quote}; a {quote} within the value cannot be written"));
    }
    if inner.ends_with('\\') {
        return Err(format!("has a \\ before the closing {quote}, by which Docker Compose reads on"));
    }
    if quote == '"' && inner.contains(['$', '\\']) {
        return Err(format!("has $ or \\ in double quotes, which Docker Compose replaces: {USE_SINGLE_QUOTES}"));
    }
    Ok(inner.to_owned())
}

fn bare(text: &str) -> Result<String, String> {
    let (value, comment) = text.split_once(" #").map_or((text, None), |(value, comment)| (value, Some(comment)));
    if value.contains('$') {
        return Err(format!("has a $, which Docker Compose replaces: {USE_SINGLE_QUOTES}"));
    }
    // Compose would cut a password at the #.
    if value.starts_with('#') || value.contains("\t#") {
        return Err(format!("has a # that may begin a comment: {USE_SINGLE_QUOTES}, or remove the comment"));
    }
    if comment.is_some_and(|comment| !comment.is_empty() && !comment.starts_with(char::is_whitespace)) {
        return Err(format!(
            "has a # behind a blank, which would cut the value: {USE_SINGLE_QUOTES}, or write a blank behind the #"
        ));
    }
    Ok(value.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that both read alike; `tests/compose/run` holds Docker Compose against the same two files.
    #[test]
    fn what_compose_reads_alike() {
        let (vars, faults) = read(include_str!("../../tests/compose/alike.env"), |_| true);
        assert_eq!(faults, []);
        let lines: Vec<_> = vars.iter().map(|(name, value, _)| format!("{name}=[{value}]")).collect();
        let wanted: Vec<_> = include_str!("../../tests/compose/alike.expected").lines().collect();
        assert_eq!(lines, wanted);
    }

    #[test]
    fn what_compose_reads_differently_is_refused_without_being_shown() {
        for (text, fault) in [
            ("A=$ecret", "A in .env, line 1: has a $, which Docker Compose replaces"),
            ("A=pre${x}", "A in .env, line 1: has a $"),
            ("A=\"$ecret\"", "A in .env, line 1: has $ or \\ in double quotes"),
            ("A=\"a\\nb\"", "A in .env, line 1: has $ or \\ in double quotes"),
            ("A='a\\'", "A in .env, line 1: has a \\ before the closing '"),
            ("A='it's'", "A in .env, line 1: has more behind the closing '"),
            ("\n\nA='open", "A in .env, line 3: has no closing '"),
            ("A=secret #more", "A in .env, line 1: has a # behind a blank"),
            ("A=#secret", "A in .env, line 1: has a # that may begin a comment"),
            ("A=secret\t#more", "A in .env, line 1: has a # that may begin a comment"),
            ("secret", ""),
            ("sec ret", ".env, line 1: must be NAME=value"),
            ("=secret", ".env, line 1: must be NAME=value"),
        ] {
            let (vars, faults) = read(text, |_| true);
            assert_eq!(vars, [], "{text}");
            let found = faults.first().map(|(_, fault)| fault.to_string()).unwrap_or_default();
            assert!(found.starts_with(fault) && faults.len() <= 1, "{text}: {found}");
            assert!(!found.contains("secret") && !found.contains("ecret"), "{found}");
        }
    }

    #[test]
    fn other_programs_values_may_be_anything() {
        let text = "A=$HOME/x\nB=\"two\nlines\"\nC='open\n still' \nOURS=1\nD=$(date)";
        let (vars, faults) = read(text, |name| name == "OURS");
        assert_eq!((vars, faults), (vec![("OURS".to_owned(), "1".to_owned(), 6)], vec![]));
    }
}

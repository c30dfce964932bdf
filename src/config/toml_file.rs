//! A TOML file with settings: a key for each, at the top level.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// A key of the file.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct TomlEntry {
    pub(super) key: String,
    /// From 1.
    pub(super) line: usize,
    pub(super) value: TomlText,
}

/// The value of a key, as the environment would have it.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum TomlText {
    /// A text or a number.
    One(String),
    /// An array, with commas in between.
    List(String),
    /// What no setting takes.
    Neither,
}

/// The entries of the file's text in their order, and what is wrong with its lines. A line with a fault has no entry.
pub(super) fn read(text: &str) -> (Vec<TomlEntry>, Vec<(usize, String)>) {
    let line_of = |place: usize| text.bytes().take(place).filter(|byte| *byte == b'\n').count() + 1;
    let (table, errors) = DeTable::parse_recoverable(text);
    // Never the error's own text, which shows the line.
    let faults: Vec<(usize, String)> = errors
        .iter()
        .map(|error| (line_of(error.span().unwrap_or_default().start), format!("is no TOML: {}", error.message())))
        .collect();
    let mut entries: Vec<TomlEntry> = table
        .get_ref()
        .iter()
        .map(|(key, value)| TomlEntry {
            key: key.get_ref().to_string(),
            line: line_of(key.span().start),
            value: text_of(value.get_ref()),
        })
        .filter(|entry| faults.iter().all(|(line, _)| *line != entry.line))
        .collect();
    entries.sort_by_key(|entry| entry.line);
    (entries, faults)
}

fn text_of(value: &DeValue<'_>) -> TomlText {
    match value {
        DeValue::Array(list) => join(list).map_or(TomlText::Neither, TomlText::List),
        one => scalar(one).map_or(TomlText::Neither, TomlText::One),
    }
}

fn join(list: &DeArray<'_>) -> Option<String> {
    let parts: Option<Vec<String>> = list.iter().map(Spanned::get_ref).map(scalar).collect();
    parts.map(|parts| parts.join(","))
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_the_texts_of_the_environment() {
        for (text, value) in [
            ("a = \"text, with $ and #\"", TomlText::One("text, with $ and #".to_owned())),
            ("a = 'C:\\x'", TomlText::One("C:\\x".to_owned())),
            ("a = 10_000", TomlText::One("10000".to_owned())),
            ("a = 0.5", TomlText::One("0.5".to_owned())),
            ("a = []", TomlText::List(String::new())),
            ("a = [\"x\", 'y',\n  3]", TomlText::List("x,y,3".to_owned())),
            ("a = true", TomlText::Neither),
            ("a = [[\"x\"]]", TomlText::Neither),
            ("a = 2026-01-01", TomlText::Neither),
            ("[a]\nb = 1", TomlText::Neither),
            ("a.b = 1", TomlText::Neither),
        ] {
            let (entries, faults) = read(&format!("# a comment\n\n{text}"));
            assert_eq!(faults, [], "{text}");
            assert_eq!(entries, [TomlEntry { key: "a".to_owned(), line: 3, value }], "{text}");
        }
    }

    #[test]
    fn every_line_that_is_no_toml_is_named_and_none_is_shown() {
        for (text, expected) in [
            ("a = secret\nb = 1\nc \"secret\"", &[1, 3][..]),
            ("b = 1\n\na = 'secret", &[3]),
            ("b = 1\na = 'secret\nc = 2", &[2]),
            ("b = 1\nb = 2", &[2]),
            ("b = 1\n[a\n", &[2]),
        ] {
            let (entries, faults) = read(text);
            let mut lines: Vec<usize> = faults.iter().map(|(line, _)| *line).collect();
            lines.sort_unstable();
            assert_eq!(lines, expected, "{text}: {faults:?}");
            assert!(faults.iter().all(|(_, reason)| reason.starts_with("is no TOML: ") && !reason.contains("secret")));
            assert!(entries.iter().any(|entry| entry.key == "b"), "{text}: {entries:?}");
        }
    }
}

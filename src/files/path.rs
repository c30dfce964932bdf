//! Paths in a drive: the names of folders from the root on, and the name of an entry.

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;

use crate::payload::FieldFault;

/// The longest name, in bytes of UTF-8.
const MAX_NAME: usize = 1024;
/// The longest path, in bytes of UTF-8.
const MAX_PATH: usize = 4096;
/// The names of a path; no name is the root.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DrivePath(Vec<String>);

impl DrivePath {
    /// The most names of a path.
    pub const MAX_DEPTH: usize = 128;
    /// The longest name, in bytes.
    pub const MAX_NAME: usize = MAX_NAME;

    /// Reads a path such as `letters/2026/a.txt`. A slash at the beginning or at the end changes nothing; `/` alone is
    /// the root.
    ///
    /// # Errors
    /// A fault of `field`, which holds the path.
    pub fn parse(text: &str, field: &'static str) -> Result<Self, FieldFault> {
        let path = check_path(text, field)?;
        Ok(if path.is_empty() { Self::default() } else { Self(path.split('/').map(str::to_owned).collect()) })
    }

    /// The path of these names, which are checked already.
    #[must_use]
    pub fn of_names(names: &[String]) -> Self {
        Self(names.to_vec())
    }

    /// The names, from the root on.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The folder around the entry, and the name of the entry; `None` for the root.
    #[must_use]
    pub fn split_last(&self) -> Option<(&[String], &str)> {
        self.0.split_last().map(|(name, folders)| (folders, name.as_str()))
    }
}

impl fmt::Display for DrivePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

/// Checks a path as [`DrivePath::parse`] does. Returns the path without a slash at its ends.
///
/// # Errors
/// A fault of `field`, which holds the path.
pub(super) fn check_path<'a>(text: &'a str, field: &'static str) -> Result<&'a str, FieldFault> {
    let wrong = |reason: String| Err(FieldFault::new(field, reason));
    if text.len() > MAX_PATH {
        return wrong(format!("must not be longer than {MAX_PATH} bytes"));
    }
    let path = text.strip_prefix('/').unwrap_or(text);
    if path.is_empty() {
        return Ok(path);
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut depth = 0;
    for name in path.split('/') {
        depth += 1;
        if depth > DrivePath::MAX_DEPTH {
            return wrong(format!("must not have more than {} names", DrivePath::MAX_DEPTH));
        }
        if let Err(reason) = check_name(name) {
            return wrong(format!("has a name that {reason}"));
        }
    }
    Ok(path)
}

fn check_name(name: &str) -> Result<(), String> {
    match name {
        "" => Err("is empty".to_owned()),
        "." | ".." => Err(format!("is {name:?}, which names no entry")),
        name if name.len() > MAX_NAME => Err(format!("is longer than {MAX_NAME} bytes")),
        name if name.contains('\0') => Err("contains NUL".to_owned()),
        _ => Ok(()),
    }
}

/// True if both texts name one entry: their NFC is the same (Unicode Standard Annex 15).
pub(super) fn is_same_name(one: &str, other: &str) -> bool {
    one == other || (!(one.is_ascii() && other.is_ascii()) && one.nfc().eq(other.nfc()))
}

/// Checks the name of a folder or of a file in a folder.
///
/// # Errors
/// A fault of `field`, which holds the name.
pub fn check_entry_name(name: &str, field: &'static str) -> Result<(), FieldFault> {
    if name.contains('/') {
        return Err(FieldFault::new(field, "must not contain /, as this is one name and no path"));
    }
    check_name(name).map_err(|reason| FieldFault::new(field, format!("must not be a name that {reason}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_the_same_in_each_normal_form() {
        for (one, other, same) in
            [("a", "a", true), ("a", "b", false), ("caf\u{e9}", "cafe\u{301}", true), ("é", "e", false)]
        {
            assert_eq!(is_same_name(one, other), same, "{one} {other}");
        }
    }

    #[test]
    fn paths_are_names_and_nothing_else() {
        let names = |text: &str| DrivePath::parse(text, "path").map(|path| path.0);
        for (text, expected) in [
            ("", vec![]),
            ("/", vec![]),
            ("a", vec!["a"]),
            ("/a/b.txt", vec!["a", "b.txt"]),
            ("a/b/", vec!["a", "b"]),
            ("a b/ü/…", vec!["a b", "ü", "…"]),
            ("...", vec!["..."]),
        ] {
            assert_eq!(names(text).unwrap(), expected, "{text}");
        }
        let long = "x".repeat(MAX_NAME + 1);
        let deep = vec!["d"; DrivePath::MAX_DEPTH + 1].join("/");
        for text in ["//", "a//b", "a/./b", "..", "a/..", "a\0b", &long, &deep, &"x/".repeat(2100)] {
            assert_eq!(names(text).unwrap_err().field, "path", "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_path_reads_as_it_is_written(text in "[a-z./]{0,20}") {
            if let Ok(path) = DrivePath::parse(&text, "path") {
                prop_assert_eq!(DrivePath::parse(&path.to_string(), "path").unwrap(), path);
            }
        }
    }
}

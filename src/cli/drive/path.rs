//! Paths of the command line.
//!
//! They are checked before they go into a URL: an HTTP client takes `..` out of a URL, and would call another route.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::files::DrivePath;

/// What a URL escapes in a path of a drive.
const ESCAPED_IN_PATH: &AsciiSet = &ESCAPED_IN_QUERY.remove(b'/');
/// What a URL escapes in a parameter.
const ESCAPED_IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A path that a person typed.
#[derive(Clone, Debug, Default)]
pub(super) struct TypedPath {
    path: DrivePath,
    /// Ends in `/`, and so can mean only a folder.
    pub(super) means_folder: bool,
}

impl TypedPath {
    /// Reads an argument.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let path = DrivePath::parse(text, "path").map_err(|fault| fault.reason.into_owned())?;
        Ok(Self { path, means_folder: text.is_empty() || text.ends_with('/') })
    }

    /// The path for the path of a URL.
    pub(super) fn in_url(&self) -> String {
        utf8_percent_encode(&self.path.to_string(), ESCAPED_IN_PATH).to_string()
    }

    /// The folder around the entry, and the name of the entry; `None` for the root.
    pub(super) fn split_last(&self) -> Option<(Self, &str)> {
        let (folders, name) = self.path.split_last()?;
        Some((Self { path: DrivePath::of_names(folders), means_folder: true }, name))
    }

    /// The path of an entry of this folder.
    pub(super) fn join(&self, name: &str) -> String {
        join(&self.to_string(), name)
    }
}

impl fmt::Display for TypedPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

/// The path of an entry of a folder.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// A text for a parameter of a URL.
pub(super) fn in_query(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED_IN_QUERY).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reaches_no_other_route() {
        for wrong in ["..", "../trash", "a/../b", ".", "a//b", "a\0"] {
            assert!(TypedPath::parse(wrong).is_err(), "{wrong}");
        }
        let odd = TypedPath::parse("/50% of ü?#/a+b&c%2e%2e").unwrap();
        assert_eq!(odd.in_url(), "50%25%20of%20%C3%BC%3F%23/a%2Bb%26c%252e%252e");
        assert_eq!(in_query("a/b c+d"), "a%2Fb%20c%2Bd");
    }

    #[test]
    fn a_slash_at_the_end_means_a_folder() {
        for (text, means_folder) in [("a", false), ("/a", false), ("a/", true), ("/", true), ("", true)] {
            assert_eq!(TypedPath::parse(text).unwrap().means_folder, means_folder, "{text}");
        }
        let (folder, name) =
            TypedPath::parse("/a/b/c").map(|path| path.split_last().map(|(f, n)| (f, n.to_owned()))).unwrap().unwrap();
        assert_eq!((folder.join("d"), name.as_str()), ("a/b/d".to_owned(), "c"));
        assert_eq!(TypedPath::default().join("d"), "d");
    }
}

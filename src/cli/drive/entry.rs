//! An entry of a drive as the service answers it, and how a person sees the entry.

use chrono::{DateTime, Local};
use indicatif::HumanBytes;
use serde_json::Value;

use crate::cli::output::is_coloured;
use crate::cli::service::json_field;
use crate::telemetry::OneLine;

/// What stands in the place of an unknown size or time.
const UNKNOWN: &str = "-";

/// A folder or file: an entry of a folder, of the trash, or at a path. The names of its members differ between the
/// three.
#[derive(Clone, Debug)]
pub(super) struct RemoteEntry(Value);

impl RemoteEntry {
    pub(super) fn new(answer: Value) -> Self {
        Self(answer)
    }

    pub(super) fn is_folder(&self) -> bool {
        self.text(&["kind"]).map_or(self.0.get("folder_name").is_some(), |kind| kind == "folder")
    }

    pub(super) fn id(&self) -> &str {
        let names = if self.is_folder() { ["id", "folder_id"] } else { ["id", "file_id"] };
        self.text(&names).unwrap_or_default()
    }

    pub(super) fn name(&self) -> &str {
        self.text(&["name", "folder_name", "file_name"]).unwrap_or_default()
    }

    /// The path from the root on; not in a page of a folder.
    pub(super) fn path(&self) -> Option<&str> {
        self.text(&["path"])
    }

    /// The size for a person.
    pub(super) fn size(&self) -> String {
        json_field(&self.0, "size_bytes").as_u64().map_or(UNKNOWN.to_owned(), |bytes| HumanBytes(bytes).to_string())
    }

    /// The newest known time, by the clock of this machine.
    pub(super) fn time(&self) -> String {
        let time = self.text(&["trashed_at", "modified_at", "updated_at"]);
        let time = time.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        time.map_or(UNKNOWN.to_owned(), |time| time.with_timezone(&Local).format("%Y-%m-%d %H:%M").to_string())
    }

    /// As the service answered.
    pub(super) fn json(&self) -> &Value {
        &self.0
    }

    pub(super) fn into_json(self) -> Value {
        self.0
    }

    /// The same with the path, if the service left the path out.
    pub(super) fn with_path(mut self, path: String) -> Self {
        if let Value::Object(members) = &mut self.0 {
            members.insert("path".to_owned(), path.into());
        }
        self
    }

    /// The first of these members that is a text.
    fn text(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.0.get(*name)?.as_str())
    }
}

/// Shows names: foreign texts on one line each, and folders marked by a slash, and by a colour on a terminal.
#[derive(Clone, Copy)]
pub(super) struct NameStyle {
    is_coloured: bool,
}

impl NameStyle {
    /// The style for the standard output.
    pub(super) fn of_output() -> Self {
        Self { is_coloured: is_coloured() }
    }

    /// The name, or another text for the entry such as its path.
    pub(super) fn show(self, text: &str, is_folder: bool) -> String {
        match (is_folder, self.is_coloured) {
            (true, true) => format!("\x1b[1;34m{}\x1b[0m/", OneLine(text)),
            (true, false) => format!("{}/", OneLine(text)),
            (false, _) => OneLine(text).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_answer_is_the_same_entry() {
        let in_folder = RemoteEntry::new(json!({"kind": "file", "id": "7", "name": "a", "size_bytes": 1536}));
        let at_path = RemoteEntry::new(json!({"file_id": "7", "folder_id": "5", "file_name": "a", "size_bytes": 1536}));
        for file in [in_folder, at_path] {
            assert_eq!((file.id(), file.name(), file.is_folder(), &*file.size()), ("7", "a", false, "1.50 KiB"));
        }
        let in_folder = RemoteEntry::new(json!({"kind": "folder", "id": "5", "name": "b"}));
        let at_path = RemoteEntry::new(json!({"folder_id": "5", "folder_name": "b", "path": "a/b"}));
        for folder in [in_folder, at_path] {
            assert_eq!((folder.id(), folder.name(), folder.is_folder(), &*folder.size()), ("5", "b", true, "-"));
        }
    }

    #[test]
    fn a_name_neither_steers_the_terminal_nor_ends_the_line() {
        let plain = NameStyle { is_coloured: false };
        assert_eq!(plain.show("a\n\x1b[31mb", false), "a\\n\\u{1b}[31mb");
        assert_eq!(NameStyle { is_coloured: true }.show("a", true), "\x1b[1;34ma\x1b[0m/");
    }
}

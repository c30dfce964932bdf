//! Lists that a new entry must reach: what a change could forget is named here.

use std::path::Path;

use super::{assert_none, code, files};

/// The files that make keys of the cache. Each has a function `spoiled_keys`, which gives all keys that a write makes wrong.
const MAKERS_OF_KEYS: &[&str] = &["src/files/page_codec.rs", "src/records/cached.rs"];

/// The lines of a function of this name, from its head to its end.
fn body<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let start = text.find(&format!("fn {name}("))?;
    let rest = text.get(start..)?;
    Some(rest.get(..rest.find("\n}").unwrap_or(rest.len())).unwrap_or(rest))
}

#[test]
fn a_write_removes_every_cached_value_that_it_spoils() {
    let mut faults = Vec::new();
    for (path, text) in files("src", "rs").into_iter().filter(|(path, _)| !path.starts_with("src/cache/")) {
        for (number, line) in code(&text) {
            let marks = [".before_write(", "cache.mark("].iter().any(|call| line.contains(call));
            if marks && !line.contains("spoiled_keys(") {
                faults
                    .push(format!("{path}:{number}: a write removes the keys of spoiled_keys, and no list of its own"));
            }
            if line.contains("CacheKey::new(") && !MAKERS_OF_KEYS.contains(&path.as_str()) {
                faults.push(format!(
                    "{path}:{number}: keys are made beside spoiled_keys, in {}",
                    MAKERS_OF_KEYS.join(" or ")
                ));
            }
        }
        if !MAKERS_OF_KEYS.contains(&path.as_str()) {
            continue;
        }
        let spoiled = body(&text, "spoiled_keys").unwrap_or_default();
        for (number, line) in code(&text).filter(|(_, line)| line.contains("-> CacheKey {")) {
            let name = line.split("fn ").nth(1).and_then(|rest| rest.split('(').next()).unwrap_or_default();
            if !spoiled.contains(&format!("{name}(")) {
                faults.push(format!("{path}:{number}: spoiled_keys does not give the key of {name}"));
            }
        }
    }
    assert_none("a cached value that no write removes is stale for good", &faults);
}

#[test]
fn every_page_of_the_documentation_is_in_its_index() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The first is for readers of the repository, the second for the site.
    let indexes = ["README.md", "SUMMARY.md"];
    let texts = indexes.map(|index| std::fs::read_to_string(root.join("docs").join(index)).unwrap());
    let mut faults = Vec::new();
    for (path, text) in files("docs", "md") {
        let name = path.trim_start_matches("docs/");
        for (index, entries) in indexes.iter().zip(&texts) {
            if !indexes.contains(&name) && !entries.contains(&format!("]({name})")) {
                faults.push(format!("docs/{index} does not lead to {path}"));
            }
        }
        if let Some(file) = name.strip_prefix("decisions/") {
            let number = file.split('-').next().unwrap_or_default();
            if !text.starts_with(&format!("# {number}: ")) {
                faults.push(format!("{path}: its heading does not begin with \"# {number}: \""));
            }
            if !text.contains("**Decision.**") {
                faults.push(format!("{path}: no paragraph begins with **Decision.**"));
            }
        }
    }
    assert_none("pages that nobody finds", &faults);
}

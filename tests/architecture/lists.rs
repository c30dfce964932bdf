//! Lists that a new entry must reach: what a change could forget is named here.

use std::path::Path;

use super::{assert_none, code, files};

/// The files that make keys of the cache. Each has a function `spoiled_keys`, which gives all keys that a write makes
/// wrong.
const MAKERS_OF_KEYS: &[&str] = &["src/files/page.rs", "src/records/cached.rs"];

/// The only file that writes beside the cache.
const DOOR: &str = "src/writes/door.rs";

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
            if line.contains("cache.write(") && path != DOOR {
                faults.push(format!("{path}:{number}: writes beside the cache go through {DOOR}"));
            }
            if line.contains("CacheKey::new(") && !MAKERS_OF_KEYS.contains(&path.as_str()) {
                faults.push(format!(
                    "{path}:{number}: keys are made beside spoiled_keys, in {}",
                    MAKERS_OF_KEYS.join(" or ")
                ));
            }
        }
        for keys in text.split("fn cache_keys(").skip(1).filter_map(|rest| rest.split_once("\n    }")) {
            if !path.starts_with("src/writes/") && !keys.0.contains("spoiled_keys") {
                faults.push(format!("{path}: a write removes the keys of spoiled_keys, and no list of its own"));
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
fn files_and_documents_change_through_the_door_alone() {
    let verbs = ["INSERT INTO", "UPDATE", "DELETE FROM", "COPY", "MERGE INTO"];
    let is_change = |text: &str| {
        let words: Vec<&str> = text.split([' ', '\n', '(']).filter(|word| !word.is_empty()).collect();
        let text = words.join(" ");
        ["file_metadata", "records"].iter().any(|table| {
            let changes = |verb: &&str| {
                text.contains(&format!("{verb} {table} ")) || text.contains(&format!("{verb} public.{table} "))
            };
            verbs.iter().any(changes)
        })
    };
    let changes: Vec<String> =
        files("sql", "sql").into_iter().filter(|(_, text)| is_change(text)).map(|(path, _)| path).collect();
    assert!(changes.len() >= 10, "{changes:?}");
    let mut faults = Vec::new();
    for (path, text) in files("src", "rs").into_iter().filter(|(_, text)| text.contains("ShardCall for ")) {
        let used = changes.iter().filter(|change| text.contains(&format!("{change}\"")));
        faults.extend(used.map(|change| format!("{path}: has a ShardCall, and {change}")));
    }
    assert_none(
        "a statement that changes files or documents belongs to a SlotWrite or a BatchWrite, in a file without reads",
        &faults,
    );
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

/// Pages whose names of files must be right.
const PAGES_ABOUT_CODE: &[&str] = &[
    "docs/architecture.md",
    "docs/glossary.md",
    "docs/resharding.md",
    "docs/cache.md",
    "docs/failover.md",
    "CONTRIBUTING.md",
];

#[test]
fn files_that_the_documentation_names_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_name = |text: &str| {
        let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        let is_file =
            [".rs", ".sql", ".md", ".py", ".json", ".yml", ".toml"].iter().any(|ending| text.ends_with(ending));
        is_plain && !text.starts_with('/') && text.contains('/') && (is_file || text.ends_with('/'))
    };
    let mut faults = Vec::new();
    for page in PAGES_ABOUT_CODE {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        for (number, line) in text.lines().enumerate() {
            for name in line.split('`').skip(1).step_by(2).filter(|name| is_name(name)) {
                if !["", "src", "tests", "docs"].iter().any(|folder| root.join(folder).join(name).exists()) {
                    faults.push(format!("{page}:{}: {name}", number + 1));
                }
            }
        }
    }
    assert_none("the documentation names files that are not there", &faults);
}

#[test]
fn links_of_the_documentation_lead_to_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = files("docs", "md");
    for name in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        pages.push((name.to_owned(), std::fs::read_to_string(root.join(name)).unwrap()));
    }
    let mut faults = Vec::new();
    for (path, text) in &pages {
        let folder = root.join(path).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if file.contains("://") || file.starts_with("mailto:") {
                continue;
            }
            let target = if file.is_empty() { root.join(path) } else { folder.join(file) };
            if !target.exists() {
                faults.push(format!("{path}: {link} leads nowhere"));
            } else if !anchor.is_empty()
                && !anchors(&std::fs::read_to_string(&target).unwrap()).contains(&anchor.to_owned())
            {
                faults.push(format!("{path}: {link}: no such heading"));
            }
        }
    }
    assert_none("links", &faults);
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let letters = title.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
            letters.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn every_metric_is_written() {
    const TABLE: &str = "src/telemetry/metrics/table.rs";
    let sources = files("src", "rs");
    let (_, table) = sources.iter().find(|(path, _)| path == TABLE).expect("the table of metrics");
    let names: Vec<&str> = table
        .lines()
        .filter_map(|line| line.trim().split_once(" = "))
        .filter(|(name, rest)| {
            ["Counter ", "Gauge ", "Histogram ", "Untyped "].iter().any(|kind| rest.starts_with(kind))
                && !name.contains(' ')
        })
        .map(|(name, _)| name)
        .collect();
    assert!(names.len() >= 40, "{names:?}");
    let is_used = |name: &&&str| {
        let word = format!("table::{name}");
        let stands_in = |text: &String| {
            text.split(&word).skip(1).any(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
        };
        sources.iter().any(|(path, text)| path != TABLE && stands_in(text))
    };
    let faults: Vec<String> =
        names.iter().filter(|name| !is_used(name)).map(|name| format!("{TABLE}: nothing writes {name}")).collect();
    assert_none("a metric in the table is shown by src/http/metrics/", &faults);
}

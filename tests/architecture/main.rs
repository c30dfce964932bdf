//! The rules of the house (docs/architecture.md), checked: who may know whom, and where things stand.

#![expect(clippy::unwrap_used, clippy::string_slice, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod circles;
mod lists;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What each module of the top level may import of the crate besides itself.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            "audit",
            "auth",
            "cache",
            "config",
            "drive",
            "events",
            "files",
            "http",
            "limits",
            "local_servers",
            "outbound",
            "records",
            "reshard",
            "shard",
            "stats",
            "telemetry",
            "payload",
        ],
    ),
    (
        "config",
        &["auth", "cache", "events", "files", "http", "limits", "outbound", "records", "shard", "telemetry", "writes"],
    ), // the types of the settings
    (
        "http",
        &[
            "audit",
            "auth",
            "cache",
            "drive",
            "events",
            "files",
            "limits",
            "records",
            "reshard",
            "shard",
            "stats",
            "telemetry",
            "payload",
        ],
    ),
    ("drive", &["cache", "files", "shard", "payload", "writes"]),
    ("files", &["cache", "shard", "telemetry", "payload", "writes"]),
    ("records", &["cache", "shard", "telemetry", "payload", "writes"]),
    ("audit", &["shard", "payload"]),
    ("events", &["shard", "telemetry"]),
    ("payload", &[]),
    ("stats", &["cache", "shard"]),
    ("reshard", &["shard", "payload"]), // how numbers are written
    ("writes", &["cache", "shard", "telemetry"]),
    ("cache", &["outbound", "shard"]),
    ("limits", &["cache"]), // where the Redis server is
    ("shard", &["telemetry"]),
    ("auth", &["outbound"]),
    ("local_servers", &[]),
    ("telemetry", &["outbound"]),
    ("outbound", &[]),
];

/// SQL in the code itself: servers that we start ourselves, before there is a schema; and statements that name objects
/// of one move or are made for each table that moves, whose names cannot be bound.
const SQL_IN_CODE: &[&str] = &["src/local_servers/server.rs", "src/reshard/transfer/compose.rs"];

/// The folder's files with this ending, by their path from the project's folder, in order.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut folders) = (Vec::new(), vec![root.join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == ending) {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no .{ending} in {folder}");
    found
}

/// The code without comments and without the module of tests, line by line with its number.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_tests = false;
    text.lines().enumerate().map(|(number, line)| (number + 1, line)).filter(move |(_, line)| {
        in_tests |= *line == "mod tests {";
        let counts = !in_tests && !line.trim_start().starts_with("//");
        in_tests &= *line != "}";
        counts
    })
}

/// The module of the top level that a file belongs to.
fn module(path: &str) -> &str {
    path["src/".len()..].split(['/', '.']).next().unwrap()
}

/// The words directly behind each `prefix` in a line, also within braces: `crate::{a, b::C}` gives `a` and `b`.
fn words_behind<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    let mut words = Vec::new();
    for rest in line.split(prefix).skip(1) {
        let inside = rest.strip_prefix('{').map_or(vec![rest], |list| list.split(", ").collect());
        words.extend(inside.iter().map(|part| part.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()));
    }
    words
}

fn assert_none(rule: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{rule}:\n{}", faults.join("\n"));
}

#[test]
fn the_list_of_modules_is_complete_and_in_order() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let listed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("//! - [`")?.split('`').next()).collect();
    let mut declared: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let mut sorted = listed.clone();
    sorted.sort_unstable();
    declared.sort_unstable();
    assert_eq!(sorted, declared, "src/lib.rs lists other modules than it has");
    for (module, imports) in MAY_IMPORT.iter().filter(|(module, _)| *module != "main") {
        let place = |name: &str| listed.iter().position(|listed| *listed == name).unwrap();
        for import in *imports {
            assert!(place(import) < place(module), "src/lib.rs lists {module} before {import}, which it imports");
        }
    }
}

#[test]
fn the_architecture_page_shows_the_same_modules() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md")).unwrap();
    let names = |cell: &str| -> BTreeSet<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let section = page.split("## Modules").nth(1).unwrap().split("\n## ").next().unwrap();
    let shown: BTreeMap<String, BTreeSet<String>> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
            (names(cells[0]).first().unwrap().clone(), names(cells.last().unwrap()))
        })
        .collect();
    let known: BTreeMap<String, BTreeSet<String>> = MAY_IMPORT
        .iter()
        .map(|(module, imports)| ((*module).to_owned(), imports.iter().map(|name| (*name).to_owned()).collect()))
        .collect();
    assert_eq!(shown, known, "docs/architecture.md shows other modules than MAY_IMPORT");
}

#[test]
fn no_two_types_share_a_name() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in files("src", "rs") {
        for (number, line) in code(&text) {
            let line = line.trim_start();
            let Some(rest) = line.strip_prefix("pub").map(|rest| rest.split_once(") ").map_or(rest, |(_, rest)| rest))
            else {
                continue;
            };
            let mut words = rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            let kind = words.by_ref().find(|word| !word.is_empty());
            if kind.is_some_and(|kind| ["struct", "enum", "trait", "type"].contains(&kind)) {
                let name = words.next().unwrap_or_default().to_owned();
                places.entry(name).or_default().push(format!("{path}:{number}"));
            }
        }
    }
    let shared = places.into_iter().filter(|(_, places)| places.len() > 1);
    let shared: Vec<String> = shared.map(|(name, places)| format!("{name}: {}", places.join(", "))).collect();
    assert_none("a type's name says what it is without its path", &shared);
}

#[test]
fn every_dependency_has_its_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let mut crates = BTreeSet::new();
    let mut in_dependencies = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = ["[dependencies]", "[dev-dependencies]", "[build-dependencies]"].contains(&line);
        } else if in_dependencies && let Some((name, _)) = line.split_once(" = ") {
            crates.insert(name.to_owned());
        }
    }
    let decision = std::fs::read_to_string(root.join("docs/decisions/0008-dependencies.md")).unwrap();
    let rows = decision.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let reasons: BTreeSet<String> = rows
        .filter(|names| *names != "crate")
        .flat_map(|names| names.split(", "))
        .map(|name| name.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(crates, reasons, "Cargo.toml and docs/decisions/0008-dependencies.md name other crates");
}

#[test]
fn arrows_point_down_only() {
    let mut faults = Vec::new();
    for (path, text) in files("src", "rs") {
        let own = module(&path);
        if own == "lib" {
            continue;
        }
        let allowed = MAY_IMPORT.iter().find(|(name, _)| *name == own).map(|(_, allowed)| *allowed);
        let Some(allowed) = allowed else {
            faults.push(format!("{path}: the module {own} has no rule yet"));
            continue;
        };
        for (number, line) in code(&text) {
            let prefix = if own == "main" { "shardrive::" } else { "crate::" };
            for word in words_behind(line, prefix) {
                if word != own && !allowed.contains(&word) {
                    faults.push(format!("{path}:{number}: {own} must not know {word}"));
                }
            }
        }
    }
    assert_none("imports that docs/architecture.md forbids", &faults);
}

#[test]
fn only_some_modules_know_the_outside() {
    let rules: &[(&str, &[&str])] = &[
        ("actix_web", &["http"]),
        ("actix_http", &["http", "telemetry"]), // by name, to keep its log quiet
        ("std::env", &["config"]),
        ("env::var", &["config"]),
        ("clap", &["cli"]),
        ("redis::", &["cache", "limits"]),
        ("async_nats", &["events", "telemetry"]), // as actix_http
        (
            "sqlx",
            &[
                "audit",
                "cache",
                "cli",
                "drive",
                "events",
                "files",
                "http",
                "local_servers",
                "records",
                "reshard",
                "shard",
                "stats",
                "telemetry",
                "writes",
            ],
        ),
        ("reqwest", &["auth", "cli", "outbound", "telemetry"]), // of keys, of a service, of a collector
        ("opentelemetry", &["telemetry"]),
    ];
    let mut faults = Vec::new();
    for (path, text) in files("src", "rs") {
        for (number, line) in code(&text) {
            for (what, allowed) in rules {
                if line.contains(what) && !allowed.contains(&module(&path)) {
                    faults.push(format!("{path}:{number}: knows {what}"));
                }
            }
        }
    }
    assert_none("only some modules may know these", &faults);
}

#[test]
fn every_file_says_its_duty_and_stays_readable() {
    let mut faults = Vec::new();
    for (path, text) in files("src", "rs").into_iter().chain(files("tests", "rs")) {
        if !text.starts_with("//! ") {
            faults.push(format!("{path}: does not start with //!"));
        }
        let lines = text.lines().count();
        if lines > 500 {
            faults.push(format!("{path}: has {lines} lines"));
        }
    }
    assert_none("a file has one duty, which its first line states, and 500 lines at most", &faults);
}

#[test]
fn every_statement_stands_in_a_file_that_is_used_once() {
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    let mut faults = Vec::new();
    for (_, text) in files("src", "rs") {
        for part in text.split("include_str!(\"").skip(1) {
            let file = part.split('"').next().unwrap().trim_start_matches("../");
            *uses.entry(file.to_owned()).or_default() += 1;
        }
    }
    for (path, text) in files("sql", "sql") {
        if !text.starts_with("-- ") {
            faults.push(format!("{path}: does not start with a comment"));
        }
        if path.starts_with("sql/inspect/") {
            continue;
        }
        let statement: String = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
        if statement.contains(';') || statement.trim().is_empty() {
            faults.push(format!("{path}: is not one statement"));
        }
        match uses.get(&path) {
            Some(1) => {}
            found => faults.push(format!("{path}: is used {} times", found.unwrap_or(&0))),
        }
    }
    assert_none("one statement, one file, one place that uses it", &faults);
}

#[test]
fn no_statement_stands_in_the_code() {
    let verbs = [
        "SELECT ",
        "INSERT INTO ",
        "UPDATE ",
        "DELETE FROM ",
        "COPY ",
        "CREATE ",
        "ALTER ",
        "DROP ",
        "LOCK ",
        "SET ",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "VACUUM",
        "TRUNCATE ",
        "WITH ",
        "CALL ",
        "MERGE ",
    ];
    let mut faults = Vec::new();
    for (path, text) in files("src", "rs") {
        if SQL_IN_CODE.contains(&path.as_str()) {
            continue;
        }
        for (number, line) in code(&text) {
            // Every string that begins with a verb in capitals, as ours do.
            let strings = line.split('"').skip(1).step_by(2);
            for string in strings.filter(|string| verbs.iter().any(|verb| string.trim_start().starts_with(verb))) {
                faults.push(format!("{path}:{number}: {string}"));
            }
        }
    }
    assert_none("SQL belongs into sql/", &faults);
}

#[test]
fn tests_wait_for_conditions_only() {
    let mut faults = Vec::new();
    let sleep = concat!("sl", "eep("); // not this line
    // In a chaos run the faults last for a time, and between two measurements the machine comes to rest.
    // A slow client, and one that asks all the time, keep times of their own.
    let may_sleep = ["tests/it/support/poll.rs", "tests/it/support/pace.rs", "tests/chaos/", "tests/bench/"];
    let must_wait = |path: &str| !may_sleep.iter().any(|may| path.starts_with(may));
    for (path, text) in files("tests", "rs").into_iter().filter(|(path, _)| must_wait(path)) {
        for (number, line) in
            code(&text).filter(|(_, line)| line.contains(sleep) && !line.contains(&format!("pg_{sleep}")))
        {
            faults.push(format!("{path}:{number}: {}", line.trim()));
        }
    }
    assert_none("tests wait for a condition (poll::until), never for a time", &faults);
}

#[test]
fn migrations_have_no_gap() {
    let found: Vec<_> = files("migrations", "sql").into_iter().map(|(path, _)| path).collect();
    for (number, path) in (1..).zip(&found) {
        assert!(path.starts_with(&format!("migrations/{number:04}_")), "{path} should be number {number}");
    }
}

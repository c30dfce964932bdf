//! Arrows between files of one module: which file imports which, and the circles that this makes.

use std::collections::{BTreeMap, BTreeSet};

use super::{assert_none, files};

/// Circles of files that stay, each with its reason. The list may only shrink.
const CIRCLES_THAT_STAY: &[(&[&str], &str)] = &[
    (
        &["src/cache/commands.rs", "src/cache/shared_connection.rs"],
        "a new connection is tried with the script that releases a lease",
    ),
    (
        &["src/files/bulk/csv.rs", "src/files/bulk/json.rs", "src/files/bulk/parse.rs"],
        "each format makes the records that the parser gives",
    ),
    (
        &["src/local_servers/account.rs", "src/local_servers/binaries.rs"],
        "the account decides how programs are found, and programs how the account is asked",
    ),
    (&["src/local_servers/server.rs", "src/local_servers/shutdown.rs"], "a server knows its end"),
    (&["src/records/document.rs", "src/records/error.rs"], "an error names the limit of a document"),
    (
        &[
            "src/shard/call.rs",
            "src/shard/cluster/append_only.rs",
            "src/shard/cluster/known_map.rs",
            "src/shard/cluster/registry.rs",
            "src/shard/cluster/routing.rs",
            "src/shard/cluster/scatter.rs",
            "src/shard/server/admission.rs",
            "src/shard/server/counters.rs",
            "src/shard/server/health.rs",
            "src/shard/server/replica.rs",
            "src/shard/server/shard.rs",
            "src/shard/server/shortage.rs",
        ],
        "a cluster is made of shards, and a shard asks its cluster for the map",
    ),
    (&["src/shard/error.rs", "src/shard/server/fault.rs"], "an error names the resource that a server has run out of"),
    (&["src/telemetry/collector_client.rs", "src/telemetry/export.rs"], "both share the limit of an export"),
    (&["src/telemetry/request.rs", "src/telemetry/traces.rs"], "a request carries its trace"),
];

/// A module's path from the crate's root: `["http", "api", "files"]`.
type ModulePath = Vec<String>;

/// The files of `src` by the module that each defines, and what each re-exports.
struct Crate {
    /// Module path → file, text without comments and tests.
    modules: BTreeMap<ModulePath, (String, String)>,
    /// Module path → name → path of the imported item.
    imports: BTreeMap<ModulePath, BTreeMap<String, ModulePath>>,
}

impl Crate {
    fn read() -> Self {
        let mut modules = BTreeMap::new();
        for (path, text) in files("src", "rs") {
            let mut module: ModulePath =
                path["src/".len()..path.len() - ".rs".len()].split('/').map(str::to_owned).collect();
            if module.last().is_some_and(|name| name == "mod" || name == "lib") {
                module.pop();
            }
            let code: String = super::code(&text).map(|(_, line)| format!("{line}\n")).collect();
            modules.insert(module, (path, code));
        }
        let mut this = Self { modules, imports: BTreeMap::new() };
        for (module, (_, text)) in &this.modules {
            let named = use_paths(text, true).into_iter().filter_map(|path| {
                let name = path.last()?.clone();
                Some((name, this.absolute(&path, module)?))
            });
            let named = named.collect();
            this.imports.insert(module.clone(), named);
        }
        this
    }

    /// The path from the crate's root, if the path leads into the crate.
    fn absolute(&self, path: &[String], module: &[String]) -> Option<ModulePath> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([module, rest].concat()),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                Some([&module[..module.len().checked_sub(ups)?], &path[ups..]].concat())
            }
            name => {
                let child = [module, &[name.to_owned()]].concat();
                self.modules.contains_key(&child).then(|| [module, path].concat())
            }
        }
    }

    /// The module that defines what `path` names, with re-exports followed.
    fn module_of(&self, path: &[String], depth: usize) -> Option<&ModulePath> {
        let (module, rest) = (0..=path.len()).rev().find_map(|length| {
            self.modules.get_key_value(&path[..length]).map(|(module, _)| (module, &path[length..]))
        })?;
        let reexport = rest.first().and_then(|name| self.imports.get(module)?.get(name));
        match reexport {
            Some(target) if depth < 8 && target.as_slice() != path => self.module_of(target, depth + 1),
            _ => Some(module),
        }
    }

    /// File → files of the same top-level module that it imports.
    fn arrows(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (module, (file, text)) in &self.modules {
            let own: &mut BTreeSet<&str> = arrows.entry(file).or_default();
            for path in use_paths(text, false).into_iter().chain(inline_paths(text)) {
                let Some(path) = self.absolute(&path, module) else { continue };
                let Some(target) = self.module_of(&path, 0) else { continue };
                if target != module && target.first() == module.first() && !target.is_empty() {
                    own.insert(&self.modules[target].0);
                }
            }
        }
        arrows
    }
}

/// The paths of all `use` statements, one for each name; those of `pub use` only if asked for: it opens a door, and is
/// no arrow.
fn use_paths(text: &str, with_public: bool) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("use ") {
        let before = rest[..start].lines().last().unwrap_or_default();
        let is_statement = before.trim().is_empty() || (with_public && before.trim_start().starts_with("pub"));
        rest = &rest[start + "use ".len()..];
        if is_statement && let Some(end) = rest.find(';') {
            expand(&rest[..end], &[], &mut paths);
            rest = &rest[end..];
        }
    }
    paths
}

/// `a::{b, c::d}` → `a::b`, `a::c::d`.
fn expand(tree: &str, prefix: &[String], paths: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let name = tree.split(" as ").next().unwrap_or_default();
        let parts =
            name.split("::").map(|part| part.trim().to_owned()).filter(|part| part != "self" || prefix.is_empty());
        paths.push(prefix.iter().cloned().chain(parts).collect());
        return;
    };
    let head = tree[..open].split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty());
    let prefix: Vec<String> = prefix.iter().cloned().chain(head).collect();
    let inside = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
    let (mut depth, mut from) = (0, 0);
    for (place, letter) in inside.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&inside[from..place], &prefix, paths);
                from = place + 1;
            }
            _ => {}
        }
    }
    if !inside[from..].trim().is_empty() {
        expand(&inside[from..], &prefix, paths);
    }
}

/// Paths that the code names without a `use`: `crate::a::B` and `super::a::b`.
fn inline_paths(text: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for prefix in ["crate::", "super::"] {
        for (start, _) in text.match_indices(prefix) {
            if text[..start].ends_with(|before: char| before.is_alphanumeric() || before == ':' || before == '_') {
                continue;
            }
            let path: String =
                text[start..].chars().take_while(|letter| letter.is_alphanumeric() || "_:".contains(*letter)).collect();
            let path: Vec<String> = path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
            if path.len() > 1 {
                paths.push(path);
            }
        }
    }
    paths
}

/// All files that can be reached from a file.
fn reachable<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let (mut found, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(file) = open.pop() {
        for next in arrows.get(file).into_iter().flatten() {
            if found.insert(*next) {
                open.push(next);
            }
        }
    }
    found
}

#[test]
fn files_of_a_module_import_each_other_in_no_circle() {
    let this = Crate::read();
    let arrows = this.arrows();
    let reach: BTreeMap<&str, BTreeSet<&str>> = arrows.keys().map(|file| (*file, reachable(&arrows, file))).collect();
    let mut circles: BTreeSet<Vec<&str>> = BTreeSet::new();
    for (file, found) in reach.iter().filter(|(file, found)| found.contains(*file)) {
        circles.insert(found.iter().filter(|other| reach[*other].contains(file)).copied().collect());
    }
    let known: BTreeSet<Vec<&str>> = CIRCLES_THAT_STAY.iter().map(|(files, _)| files.to_vec()).collect();
    let new: Vec<String> = circles.difference(&known).map(|circle| circle.join(" ⇄ ")).collect();
    assert_none("files of one module import each other in a circle", &new);
    let gone: Vec<String> = known.difference(&circles).map(|circle| circle.join(" ⇄ ")).collect();
    assert_none("these circles are gone: remove them from the list", &gone);
}

#[test]
fn imports_are_read_as_they_are_written() {
    let text = "use super::{a, b::{self, C as D}};\npub use crate::x::Y;\nlet z = crate::q::r();\n";
    let paths: Vec<String> =
        use_paths(text, false).iter().chain(&inline_paths(text)).map(|path| path.join("::")).collect();
    assert_eq!(paths, ["super::a", "super::b", "super::b::C", "crate::x::Y", "crate::q::r"]);
}

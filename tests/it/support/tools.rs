//! Programs for some tests only. Without the program a test is skipped with a message.

use std::path::{Path, PathBuf};

/// Where packages put servers, besides the folders on PATH.
const USUAL_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin"];

/// The folder for programs that `scripts/setup test` unpacks.
pub fn tools_folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools")
}

/// The path of the program; `None` if the program is missing, which ends the test.
pub fn find_or_skip(name: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        skip(name);
    }
    found
}

/// Reports a test that ends because a program is missing.
pub fn skip(name: &str) {
    eprintln!("skipped: {name} is not installed; scripts/setup test gets it where the system offers it");
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = USUAL_FOLDERS.iter().map(PathBuf::from);
    let folders = std::env::split_paths(&path).chain(usual).chain([tools_folder().join("bin")]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

//! Finds the PostgreSQL programs of this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::LocalError;

/// The oldest supported PostgreSQL.
const OLDEST_VERSION: u32 = 15;

/// Where packages put the programs. `*` stands for a version, also within a name.
const USUAL_FOLDERS: [&str; 10] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/usr/local/pgsql/bin",
    "/usr/local/bin",
    "/usr/bin",
];

/// Package managers, the command with which each installs PostgreSQL, and whether the command needs root.
const INSTALLERS: [(&str, &str, bool); 4] = [
    ("apt-get", "apt-get install -y postgresql", true),
    ("dnf", "dnf install -y postgresql-server", true),
    ("apk", "apk add postgresql postgresql-client", true),
    ("brew", "brew install postgresql@17", false),
];

/// A folder with the programs of one PostgreSQL version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PostgresBinaries {
    folder: PathBuf,
    version: u32,
}

impl PostgresBinaries {
    /// The programs on PATH if new enough, or else the newest in the usual folders.
    ///
    /// # Errors
    /// `NoBinaries`, with the command that installs them.
    pub fn find() -> Result<Self, LocalError> {
        Self::find_all().into_iter().next().ok_or_else(|| LocalError::NoBinaries { hint: install_hint() })
    }

    /// The programs that fit this data folder: the version that made the folder, or any version for a new folder.
    ///
    /// # Errors
    /// `OtherVersion` if that version is missing, `NoBinaries` if all are.
    pub fn find_for(data_folder: &Path) -> Result<Self, LocalError> {
        let made_by = std::fs::read_to_string(data_folder.join("PG_VERSION")).ok();
        let Some(made_by) = made_by.and_then(|text| text.trim().parse().ok()) else { return Self::find() };
        let other = || LocalError::OtherVersion { folder: data_folder.to_owned(), made_by };
        Self::find_all().into_iter().find(|found| found.version == made_by).ok_or_else(other)
    }

    /// The path of a program, such as `psql`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The major version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// All new enough versions, the best choice first.
    fn find_all() -> Vec<Self> {
        let mut usual: Vec<Self> =
            USUAL_FOLDERS.iter().flat_map(|pattern| matching_folders(pattern)).filter_map(binaries_in).collect();
        usual.sort_by_key(|found| std::cmp::Reverse(found.version));
        // PATH may hold links to single programs; the folder behind the link has all.
        let on_path = shell_output("command -v initdb")
            .and_then(|found| binaries_in(Path::new(&found).canonicalize().ok()?.parent()?));
        on_path.into_iter().chain(usual).filter(|found| found.version >= OLDEST_VERSION).collect()
    }
}

/// The programs in this folder, if `initdb` and `postgres` are there.
fn binaries_in(folder: impl AsRef<Path>) -> Option<PostgresBinaries> {
    let folder = folder.as_ref().to_owned();
    if !folder.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    let version = major_version(&String::from_utf8_lossy(&output.stdout))?;
    Some(PostgresBinaries { folder, version })
}

/// The major version in a text like `postgres (PostgreSQL) 15.18 (Debian 15.18-1)`.
fn major_version(text: &str) -> Option<u32> {
    let number = text.split_once("(PostgreSQL) ")?.1;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The folders that match a pattern with at most one `*`.
fn matching_folders(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![PathBuf::from(pattern)] };
    let Some((parent, prefix)) = before.rsplit_once('/') else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let fits = |name: &str| name.starts_with(prefix);
    let entries = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(fits));
    entries.map(|entry| entry.path().join(after.trim_start_matches('/'))).collect()
}

fn install_hint() -> String {
    let here = INSTALLERS.iter().find(|(manager, ..)| shell_output(&format!("command -v {manager}")).is_some());
    match here {
        Some((_, command, as_root)) => {
            let sudo = if *as_root && !super::account::is_root() { "sudo " } else { "" };
            format!("install it with: {sudo}{command}")
        }
        None => "install it from https://www.postgresql.org/download/".to_owned(),
    }
}

/// The output of a shell command; `None` if the command fails or prints nothing.
pub(super) fn shell_output(command: &str) -> Option<String> {
    let output = Command::new("sh").args(["-c", command]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_program_says() {
        for (text, version) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 18beta1\n", Some(18)),
            ("postgres (PostgreSQL) 9.6.24\n", Some(9)),
            ("something else", None),
            ("", None),
        ] {
            assert_eq!(major_version(text), version, "{text}");
        }
    }

    #[test]
    fn a_star_stands_for_a_version() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["pg-15/bin", "pg-16/bin", "other/bin"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let mut found = matching_folders(&format!("{}/pg-*/bin", folder.path().display()));
        found.sort();
        assert_eq!(found, [folder.path().join("pg-15/bin"), folder.path().join("pg-16/bin")]);
        assert_eq!(matching_folders("/no/such/*/bin"), Vec::<PathBuf>::new());
        assert_eq!(matching_folders("/usr/bin"), [PathBuf::from("/usr/bin")]);
    }
}

//! Processes of this machine: whether a process runs, its parent, and signals.
//!
//! The shell's `kill` sends the signals, as the system call would need `unsafe` or another crate.

use std::path::Path;
use std::process::{Command, Stdio};

/// A process, running or ended without the parent's notice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ServerProcess {
    pub(super) pid: u32,
    pub(super) parent: u32,
    pub(super) zombie: bool,
    /// The command line, its parts separated by blanks.
    pub(super) command: String,
}

impl ServerProcess {
    /// True if this is the first process of the server of this data folder.
    pub(super) fn is_server_of(&self, data_folder: &Path) -> bool {
        let program = self.command.split(' ').next().unwrap_or_default();
        let is_postgres = program.rsplit('/').next() == Some("postgres");
        let folder = data_folder.to_string_lossy();
        let works_there = || std::fs::read_link(format!("/proc/{}/cwd", self.pid)).is_ok_and(|cwd| cwd == data_folder);
        !self.zombie && is_postgres && (self.command.contains(&format!(" -D {folder} ")) || works_there())
    }
}

/// All visible processes: from /proc if the system has it, or else from `ps`.
pub(super) fn list_processes() -> Vec<ServerProcess> {
    let Ok(entries) = std::fs::read_dir("/proc/self").and_then(|_| std::fs::read_dir("/proc")) else {
        return from_ps();
    };
    // A process may end during the read.
    entries.flatten().filter_map(|entry| from_proc(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// The process with this id.
pub(super) fn find_process(pid: u32) -> Option<ServerProcess> {
    list_processes().into_iter().find(|process| process.pid == pid)
}

/// The living children of a process.
pub(super) fn child_pids(parent: u32) -> Vec<u32> {
    list_processes()
        .into_iter()
        .filter(|process| process.parent == parent && !process.zombie)
        .map(|process| process.pid)
        .collect()
}

/// True if one of these processes is alive.
pub(super) fn any_alive(pids: &[u32]) -> bool {
    list_processes().iter().any(|process| pids.contains(&process.pid) && !process.zombie)
}

/// Sends a signal such as `"INT"`. Processes that have ended are left out.
pub(super) fn send_signal(name: &str, pids: &[u32]) {
    let mut command = Command::new("sh");
    // One `kill` for each process: `kill` may give up at the first missing process.
    command.args(["-c", "for pid do kill -s \"$0\" \"$pid\"; done", name]);
    command.args(pids.iter().map(u32::to_string)).stdin(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = command.status() {
        log::warn!("could not send {name} to {pids:?}: {error}");
    }
}

fn from_proc(pid: u32) -> Option<ServerProcess> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let (parent, zombie) = parse_stat(&stat)?;
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    Some(ServerProcess { pid, parent, zombie, command })
}

/// Parent and zombie state, from a line like `42 (a name) S 1 …`; the name may hold any character.
fn parse_stat(stat: &str) -> Option<(u32, bool)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    Some((fields.next()?.parse().ok()?, zombie))
}

fn from_ps() -> Vec<ServerProcess> {
    let Ok(output) = Command::new("ps").args(["-A", "-ww", "-o", "pid=,ppid=,stat=,args="]).output() else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout).lines().filter_map(parse_ps).collect()
}

fn parse_ps(line: &str) -> Option<ServerProcess> {
    let mut fields = line.split_whitespace();
    let (pid, parent) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let zombie = fields.next()?.starts_with('Z');
    let command = fields.map(|part| format!("{part} ")).collect();
    Some(ServerProcess { pid, parent, zombie, command })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_sources_are_read() {
        assert_eq!(parse_stat("42 (a) b (c) S 7 42 0"), Some((7, false)));
        assert_eq!(parse_stat("42 (sh) Z 7 42 0"), Some((7, true)));
        assert_eq!(parse_stat(""), None);
        let found = parse_ps("  42     7 Ss   /opt/bin/postgres -D /a/b -c port=1").unwrap();
        assert_eq!((found.pid, found.parent, found.zombie), (42, 7, false));
        assert!(found.is_server_of(Path::new("/a/b")));
        assert!(!found.is_server_of(Path::new("/a")));
    }

    #[test]
    fn a_child_is_found_and_gets_signals() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(child_pids(std::process::id()).contains(&child.id()));
        assert!(any_alive(&[child.id()]));
        send_signal("KILL", &[child.id()]);
        child.wait().unwrap();
        assert_eq!(find_process(child.id()), None);
    }
}

//! The process's memory, processor time, threads and open files, from `/proc` on Linux.

use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Ticks of `/proc/self/stat` in a second: always 100 for programs, whatever the kernel's own clock rate is.
const TICKS: u64 = 100;

/// The resources that the process has used; empty where the system does not say.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ProcessUsage {
    /// Processor time of all threads.
    pub cpu: Option<Duration>,
    /// Memory in use.
    pub resident_bytes: Option<u64>,
    /// Address space.
    pub virtual_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open files and connections.
    pub open_files: Option<u64>,
    /// Files and connections that may be open.
    pub max_files: Option<u64>,
}

static STARTED: OnceLock<Duration> = OnceLock::new();

/// The start of the process since 1970; precisely, the time of the first call.
pub fn mark_start() -> Duration {
    *STARTED.get_or_init(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The resources that the process has used so far.
pub async fn process_usage() -> ProcessUsage {
    tokio::task::spawn_blocking(read_usage).await.unwrap_or_default()
}

fn read_usage() -> ProcessUsage {
    let read = |name| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let (stat, status, limits) = (read("stat"), read("status"), read("limits"));
    ProcessUsage {
        cpu: parse_cpu_time(&stat),
        resident_bytes: parse_kib(&status, "VmRSS:"),
        virtual_bytes: parse_kib(&status, "VmSize:"),
        threads: parse_field(&status, "Threads:"),
        open_files: count_open_files(),
        max_files: parse_field(&limits, "Max open files"),
    }
}

/// Linux 6.2 and newer say the number as the size of the folder. Otherwise the entries are counted.
fn count_open_files() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    match fs::metadata(FOLDER).ok()?.len() {
        0 => u64::try_from(fs::read_dir(FOLDER).ok()?.count()).ok(),
        number => Some(number),
    }
}

/// Fields 14 and 15 are the time in the program and in the kernel; the name before may hold anything but ends with `)`.
fn parse_cpu_time(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * (1000 / TICKS)))
}

/// The first number of the line that begins with this name; `None` for words such as `unlimited`.
fn parse_field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn parse_kib(status: &str, name: &str) -> Option<u64> {
    parse_field(status, name)?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_read() {
        let stat = "12 (a )b) S 1 12 12 0 -1 4194560 9 0 0 0 150 25 0 0 20 0 8 0 1 2 3";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_millis(1750)));
        let status = "Name:\tx\nVmSize:\t    4096 kB\nVmRSS:\t    2048 kB\nThreads:\t8\n";
        assert_eq!((parse_kib(status, "VmRSS:"), parse_kib(status, "VmSize:")), (Some(2 << 20), Some(4 << 20)));
        assert_eq!(parse_field(status, "Threads:"), Some(8));
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(parse_field(limits, "Max open files"), Some(1024));
        assert_eq!(parse_field("Max open files            unlimited            unlimited", "Max open files"), None);
        assert_eq!((parse_cpu_time(""), parse_kib("", "VmRSS:")), (None, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_opened_file_counts() {
        let before = read_usage();
        assert!(before.threads.is_some_and(|threads| threads > 0), "{before:?}");
        assert!(before.resident_bytes.is_some() && before.virtual_bytes >= before.resident_bytes, "{before:?}");
        let files: Vec<_> = (0..50).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        // Other tests open and close files of their own meanwhile.
        assert!(count_open_files().unwrap() >= 50, "{}", files.len());
    }
}

//! The process's memory, processor time and open files, from `/proc` on Linux.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Ticks of `/proc/self/stat` in a second: always 100 for programs, whatever the kernel's own clock rate is.
const TICKS: u64 = 100;

/// The resources that the process has used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessUsage {
    /// The start of the process since 1970; precisely, the first call of [`mark_start`].
    pub started: Duration,
    /// Processor time of all threads.
    pub cpu: Option<Duration>,
    /// Memory in use.
    pub resident_bytes: Option<u64>,
}

static STARTED: OnceLock<Duration> = OnceLock::new();

/// The start time of the process: the time of the first call.
pub fn mark_start() -> Duration {
    *STARTED.get_or_init(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The resources that the process has used so far.
pub async fn process_usage() -> ProcessUsage {
    let (stat, status) =
        tokio::join!(tokio::fs::read_to_string("/proc/self/stat"), tokio::fs::read_to_string("/proc/self/status"));
    ProcessUsage {
        started: mark_start(),
        cpu: stat.ok().and_then(|text| parse_cpu_time(&text)),
        resident_bytes: status.ok().and_then(|text| parse_resident_bytes(&text)),
    }
}

/// Fields 14 and 15 are the time in the program and in the kernel; the name before may hold anything but ends with `)`.
fn parse_cpu_time(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * (1000 / TICKS)))
}

fn parse_resident_bytes(status: &str) -> Option<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?;
    Some(kib.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_read() {
        let stat = "12 (a )b) S 1 12 12 0 -1 4194560 9 0 0 0 150 25 0 0 20 0 8 0 1 2 3";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_millis(1750)));
        assert_eq!(parse_resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t8\n"), Some(2 << 20));
        assert_eq!((parse_cpu_time(""), parse_resident_bytes("")), (None, None));
    }
}

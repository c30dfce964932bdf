//! What the system knows of processes: the CPU that they have used, and the memory.

use std::fs;
use std::ops::Sub;

use crate::Result;

/// Clock ticks a second in /proc; Linux shows 100 to programs whatever the kernel's own clock is.
const TICKS: f64 = 100.0;

/// Seconds of CPU, used so far or between two looks.
#[derive(Clone, Copy, Default, Debug)]
pub struct Cpu {
    /// The service's.
    pub api: f64,
    /// All PostgreSQL processes', also of those that have ended.
    pub postgres: f64,
    /// The load generators', once they have ended.
    pub client: f64,
}

impl Cpu {
    /// So far. `api` is the service's process, if there is one; `postgres` are the first processes of the servers.
    pub fn now(api: Option<u32>, postgres: &[u32]) -> Result<Self> {
        let me = std::process::id();
        let mut cpu = Self { client: stat(me)?.children, ..Self::default() };
        if let Some(api) = api {
            cpu.api = stat(api)?.own;
        }
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A process that ended meanwhile is among its parent's children.
            let Ok(found) = stat(pid) else { continue };
            if postgres.contains(&pid) {
                cpu.postgres += found.own + found.children;
            } else if postgres.contains(&found.parent) {
                cpu.postgres += found.own;
            }
        }
        Ok(cpu)
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        let between = |now: f64, then: f64| (now - then).max(0.0);
        Self {
            api: between(self.api, earlier.api),
            postgres: between(self.postgres, earlier.postgres),
            client: between(self.client, earlier.client),
        }
    }
}

struct Stat {
    parent: u32,
    own: f64,
    children: f64,
}

fn stat(pid: u32) -> Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in brackets, may hold anything; the numbers follow it.
    let (_, numbers) = text.rsplit_once(") ").ok_or("no numbers in stat")?;
    let numbers: Vec<&str> = numbers.split(' ').collect();
    let number = |field: usize| -> Result<f64> {
        // Fields are counted from 1 (proc(5)), and the third is the first after the name.
        Ok(numbers.get(field - 3).ok_or("stat is short")?.parse()?)
    };
    Ok(Stat {
        parent: number(4)? as u32,
        own: (number(14)? + number(15)?) / TICKS,
        children: (number(16)? + number(17)?) / TICKS,
    })
}

/// The most memory that a process has had at once, in MiB.
pub fn peak_memory(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

/// Seconds of CPU that this process has used itself.
pub fn own_cpu() -> Result<f64> {
    Ok(stat(std::process::id())?.own)
}

/// Seconds of CPU that another process has used itself.
pub fn cpu_of(pid: u32) -> Result<f64> {
    Ok(stat(pid)?.own)
}

/// Ticks of all processors so far: those with nothing to do, and all.
pub fn ticks() -> (f64, f64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let numbers = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    // user nice system idle iowait irq softirq steal; what follows is counted in these already (proc(5)).
    let ticks: Vec<f64> = numbers.take(8).filter_map(|number| number.parse().ok()).collect();
    (ticks.iter().skip(3).take(2).sum(), ticks.iter().sum())
}

/// How busy the machine is, from outside too: the mean number of runnable processes of the last minute.
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

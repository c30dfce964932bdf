//! Addresses that open connections without a request, so that the log can name each address once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limits::CallerKey;

/// How long connections are counted together.
const WINDOW: Duration = Duration::from_secs(60);
/// From so many silent connections in a window on an address is named.
const MANY: u32 = 100;
/// Counted addresses in a window, and named addresses.
const COUNTED: usize = 1024;
const NAMED: usize = 5;

/// The silent connections of this minute, by address.
#[derive(Default)]
pub(super) struct SilentAddresses {
    addresses: HashMap<CallerKey, Silent>,
    since: Option<Instant>,
}

struct Silent {
    address: IpAddr,
    count: u32,
    /// The count at the report before.
    last_count: u32,
    named: bool,
}

impl SilentAddresses {
    pub(super) fn count(&mut self, key: CallerKey, address: IpAddr) {
        if self.addresses.len() < COUNTED || self.addresses.contains_key(&key) {
            let silent = self.addresses.entry(key).or_insert(Silent { address, count: 0, last_count: 0, named: false });
            silent.count = silent.count.saturating_add(1);
        }
    }

    /// The addresses to name now, with counts: each once in a window, when the count rests or the window ends.
    pub(super) fn report(&mut self, now: Instant) -> Vec<(IpAddr, u32)> {
        let since = *self.since.get_or_insert(now);
        let is_over = now.duration_since(since) >= WINDOW;
        let mut named = self.addresses.values().filter(|silent| silent.named).count();
        let mut report = Vec::new();
        for silent in self.addresses.values_mut() {
            let rests = silent.last_count == silent.count;
            if silent.count >= MANY && !silent.named && (rests || is_over) && named < NAMED {
                silent.named = true;
                named += 1;
                report.push((silent.address, silent.count));
            }
            silent.last_count = silent.count;
        }
        if is_over {
            self.addresses.clear();
            self.since = Some(now);
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(silent: &mut SilentAddresses, address: &str, times: u32) {
        let address: IpAddr = address.parse().unwrap();
        (0..times).for_each(|_| silent.count(CallerKey::address(address), address));
    }

    #[test]
    fn an_address_is_named_once_with_its_whole_count() {
        let (mut silent, start) = (SilentAddresses::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        note(&mut silent, "198.51.100.7", 99);
        note(&mut silent, "198.51.100.8", 500);
        assert_eq!(silent.report(at(0)), [], "it still grows");
        note(&mut silent, "198.51.100.8", 400);
        assert_eq!(silent.report(at(1)), []);
        assert_eq!(silent.report(at(2)), [("198.51.100.8".parse().unwrap(), 900)]);
        assert_eq!(silent.report(at(3)), [], "once");
        assert_eq!(silent.report(at(61)), []);
        note(&mut silent, "198.51.100.8", 100);
        assert_eq!(silent.report(at(121)), [("198.51.100.8".parse().unwrap(), 100)], "a new minute");
    }

    #[test]
    fn memory_and_log_are_bounded() {
        let (mut silent, now) = (SilentAddresses::default(), Instant::now());
        for host in 0..2000_u32 {
            note(&mut silent, &format!("10.0.{}.{}", host / 256, host % 256), MANY);
        }
        assert_eq!(silent.addresses.len(), COUNTED);
        silent.report(now);
        assert_eq!(silent.report(now).len(), NAMED);
        assert_eq!(silent.report(now), []);
    }
}

//! Three processes are replaced one after the other under 2,000 requests a second: how many fail. None may.

use std::time::Duration;

use crate::support::balancer::{Probe, replace_all_under_load};

/// Requests a second.
const RATE: u64 = 2000;
/// As the manifests have it, and with faster probes. The drain is longer than the balancer needs to notice.
const AS_SHIPPED: (Probe, &str) = (Probe { period: Duration::from_secs(2), failures: 2 }, "10");
const QUICK: (Probe, &str) = (Probe { period: Duration::from_millis(500), failures: 2 }, "4");

/// One quick round, or several of the times that are shipped; true if no request failed.
pub async fn run(program: &str, short: bool) -> bool {
    let (rounds, (probe, drain)) = if short { (1, QUICK) } else { (2, AS_SHIPPED) };
    println!("rolling restarts, {RATE} requests/s, probes every {:?}, SHARDRIVE_DRAIN_DELAY_S={drain}", probe.period);
    let rolled = replace_all_under_load(program, RATE, rounds, probe, drain).await;
    println!("{rolled}");
    let failed: u64 = rolled.failed.values().sum();
    println!("{} failed requests: {failed}", if failed == 0 { "ok    " } else { "FAILED" });
    rolled.failed.iter().for_each(|(what, count)| println!("         {count:>8}  {what}"));
    if failed > 0 {
        rolled.warnings.iter().take(10).for_each(|line| println!("         {line}"));
    }
    failed == 0
}

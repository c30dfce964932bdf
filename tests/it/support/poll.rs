//! Waits for conditions: the only place in the tests that sleeps.

use std::fmt::Debug;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(10);
/// The interval grows up to this: a look at a server costs much of the processor, and a long wait needs no sharp end.
const LONGEST_INTERVAL: Duration = Duration::from_millis(150);

/// Long enough for a slow machine under load; a passing test never waits so long.
pub const LIMIT: Duration = Duration::from_secs(150);

/// Repeats `look` until it returns `Ok`, and returns the value. A failure's message shows the last `Err`.
pub async fn until<T, E: Debug>(what: &str, mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    let until = Instant::now() + LIMIT;
    let mut interval = INTERVAL;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(status) if Instant::now() > until => panic!("waited {LIMIT:?} in vain for {what}; last: {status:?}"),
            Err(_) => {
                tokio::time::sleep(interval).await;
                interval = (interval * 5 / 4).min(LONGEST_INTERVAL);
            }
        }
    }
}

/// Waits until `condition` is true.
pub async fn until_true(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    until(what, async || if condition().await { Ok(()) } else { Err(false) }).await;
}

/// The delay of a slow network.
pub async fn delay(time: Duration) {
    tokio::time::sleep(time).await;
}

/// A short pause for a client between a failure and the next try.
pub async fn short_pause() {
    tokio::time::sleep(INTERVAL).await;
}

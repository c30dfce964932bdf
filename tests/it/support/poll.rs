//! Waiting for conditions: the only place of the tests that sleeps.

use std::fmt::Debug;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(10);

/// Long enough for a slow machine under load; a test that passes never waits for it.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Waits until `look` gives `Ok`, and gives what is in it. What the last look found is in the failure's message.
pub async fn until<T, E: Debug>(what: &str, mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    let until = Instant::now() + LIMIT;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(status) if Instant::now() > until => panic!("waited {LIMIT:?} in vain for {what}; last: {status:?}"),
            Err(_) => tokio::time::sleep(INTERVAL).await,
        }
    }
}

/// Waits until `condition` is true.
pub async fn until_true(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    until(what, async || if condition().await { Ok(()) } else { Err(false) }).await;
}

/// What a slow network does to something on its way.
pub async fn delay(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Lets others go first: between a failure and the next try of a client, who would otherwise try without a pause.
pub async fn breathe() {
    tokio::time::sleep(INTERVAL).await;
}

//! Clients that keep a time of their own. A test waits for conditions, by `poll`.

use std::time::Duration;

/// Between two bytes of a client that is too slow.
pub async fn between_bytes() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// Between two requests of a client that is refused and asks on.
pub async fn between_refusals() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}

//! Slow and insistent clients. A test waits for conditions through `poll`.

use std::time::Duration;

/// The pause between two bytes of a slow client.
pub async fn between_bytes() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// The pause between two requests of a client that repeats after refusals.
pub async fn between_refusals() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}

/// The pause between two requests of a load. A load that runs flat out takes the processor from all tests beside it,
/// and shows nothing more.
pub async fn between_requests() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

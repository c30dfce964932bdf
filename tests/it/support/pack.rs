//! Packing bodies, as clients do.

use async_compression::tokio::bufread::{GzipEncoder, ZstdEncoder};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Packs by the `Content-Encoding` of this name.
pub async fn pack(encoding: &str, plain: &[u8]) -> Vec<u8> {
    match encoding {
        "gzip" => read(GzipEncoder::new(plain)).await,
        "zstd" => read(ZstdEncoder::new(plain)).await,
        _ => plain.to_vec(),
    }
}

async fn read(mut packed: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    packed.read_to_end(&mut bytes).await.unwrap();
    bytes
}

//! The bytes of a body, unpacked, with a bound on the growth.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use tokio::io::{AsyncRead, BufReader, ReadBuf};

use super::fault::BodyFault;

/// The bytes read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Listings pack to about a tenth, test data to a hundredth. A body that packs better is an attack.
const MAX_RATIO: u64 = 400;
/// Up to this size the ratio is not checked.
const FREE_BYTES: u64 = 16 * 1024 * 1024;
/// zstd needs memory for its window: at most 8 MiB, as every level of the command-line tool below `--ultra` does.
const ZSTD_WINDOW_LOG: u32 = 23;

/// How a body is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyEncoding {
    /// Not packed.
    Identity,
    /// gzip (RFC 1952).
    Gzip,
    /// zstd (RFC 8878).
    Zstd,
}

impl BodyEncoding {
    /// The encoding with this name in HTTP's `Content-Encoding`; `None` if not supported.
    #[must_use]
    pub fn from_header(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The encoding of a file, by the ending of the file's name.
    #[must_use]
    pub fn from_file_name(name: &str) -> Self {
        match name.rsplit_once('.').map(|(_, end)| end) {
            Some("gz" | "gzip") => Self::Gzip,
            Some("zst" | "zstd") => Self::Zstd,
            _ => Self::Identity,
        }
    }
}

/// A reader of a body.
pub struct BodyReader<R> {
    unpacked: UnpackedStream<R>,
    packed_bytes: Arc<AtomicU64>,
    unpacked_bytes: u64,
    chunk: Vec<u8>,
}

/// An enum rather than a box, so that a body may change threads wherever its source may.
enum UnpackedStream<R> {
    Identity(BufReader<CountedStream<R>>),
    Gzip(GzipDecoder<BufReader<CountedStream<R>>>),
    Zstd(ZstdDecoder<BufReader<CountedStream<R>>>),
}

impl<R: AsyncRead + Unpin> UnpackedStream<R> {
    fn poll_read(&mut self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut into = ReadBuf::new(into);
        let read = match self {
            Self::Identity(reader) => Pin::new(reader).poll_read(context, &mut into),
            Self::Gzip(reader) => Pin::new(reader).poll_read(context, &mut into),
            Self::Zstd(reader) => Pin::new(reader).poll_read(context, &mut into),
        };
        read.map_ok(|()| into.filled().len())
    }

    /// Fills `into` with the available bytes; waits only for the first ones. Zero bytes are the end.
    fn poll_fill(&mut self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut filled = 0;
        // Decoders give a few kilobytes at a time; a full chunk needs fewer rounds.
        while let Some(free) = into.get_mut(filled..).filter(|free| !free.is_empty()) {
            match self.poll_read(context, free)? {
                Poll::Pending if filled == 0 => return Poll::Pending,
                Poll::Pending | Poll::Ready(0) => break,
                Poll::Ready(read) => filled += read,
            }
        }
        Poll::Ready(Ok(filled))
    }
}

impl<R: AsyncRead + Unpin> BodyReader<R> {
    /// Reads the body `packed` with this encoding.
    pub fn new(packed: R, encoding: BodyEncoding) -> Self {
        let packed_bytes = Arc::new(AtomicU64::new(0));
        let counted = BufReader::new(CountedStream { inner: packed, count: Arc::clone(&packed_bytes) });
        let unpacked = match encoding {
            BodyEncoding::Identity => UnpackedStream::Identity(counted),
            BodyEncoding::Gzip => {
                let mut decoder = GzipDecoder::new(counted);
                decoder.multiple_members(true);
                UnpackedStream::Gzip(decoder)
            }
            BodyEncoding::Zstd => {
                let window = DParameter::window_log_max(ZSTD_WINDOW_LOG);
                let mut decoder = ZstdDecoder::with_params(counted, &[window]);
                decoder.multiple_members(true);
                UnpackedStream::Zstd(decoder)
            }
        };
        Self { unpacked, packed_bytes, unpacked_bytes: 0, chunk: vec![0; CHUNK_BYTES] }
    }

    /// The next available bytes; empty at the end.
    ///
    /// # Errors
    /// `Truncated` if the body or its packing ends in the middle, `Malformed` if it cannot be unpacked, `Bomb`.
    pub async fn next_chunk(&mut self) -> Result<&[u8], BodyFault> {
        let (unpacked, chunk) = (&mut self.unpacked, &mut self.chunk);
        let filled = poll_fn(|context| unpacked.poll_fill(context, chunk)).await.map_err(|error| fault_of(&error))?;
        self.unpacked_bytes += u64::try_from(filled).unwrap_or_default();
        let packed = self.packed_bytes.load(Ordering::Relaxed);
        if self.unpacked_bytes > FREE_BYTES && self.unpacked_bytes / packed.max(1) > MAX_RATIO {
            return Err(BodyFault::Bomb(MAX_RATIO));
        }
        Ok(self.chunk.get(..filled).unwrap_or_default())
    }

    /// Bytes read from the packed side.
    #[must_use]
    pub fn packed_bytes(&self) -> u64 {
        self.packed_bytes.load(Ordering::Relaxed)
    }
}

fn fault_of(error: &io::Error) -> BodyFault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => BodyFault::Truncated("its last bytes are missing".to_owned()),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            BodyFault::Truncated("the client went away".to_owned())
        }
        _ => BodyFault::Malformed(error.to_string()),
    }
}

/// Counts the bytes that are read through this stream.
struct CountedStream<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: AsyncRead + Unpin> AsyncRead for CountedStream<R> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let done = Pin::new(&mut self.inner).poll_read(context, into);
        let read = into.filled().len().saturating_sub(before);
        self.count.fetch_add(u64::try_from(read).unwrap_or_default(), Ordering::Relaxed);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_compression::tokio::bufread::{GzipEncoder, ZstdEncoder};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn pack(plain: &[u8], encoding: BodyEncoding) -> Vec<u8> {
        let mut packed = Vec::new();
        match encoding {
            BodyEncoding::Identity => packed.extend_from_slice(plain),
            BodyEncoding::Gzip => _ = GzipEncoder::new(plain).read_to_end(&mut packed).await.unwrap(),
            BodyEncoding::Zstd => _ = ZstdEncoder::new(plain).read_to_end(&mut packed).await.unwrap(),
        }
        packed
    }

    async fn unpack(packed: &[u8], encoding: BodyEncoding) -> Result<Vec<u8>, BodyFault> {
        let mut body = BodyReader::new(packed, encoding);
        let mut plain = Vec::new();
        loop {
            match body.next_chunk().await? {
                [] => return Ok(plain),
                chunk => plain.extend_from_slice(chunk),
            }
        }
    }

    #[tokio::test]
    async fn each_encoding_round_trips_and_notices_an_early_end() {
        let plain: Vec<u8> = (0u32..100_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for encoding in [BodyEncoding::Identity, BodyEncoding::Gzip, BodyEncoding::Zstd] {
            let packed = pack(&plain, encoding).await;
            assert_eq!(unpack(&packed, encoding).await.unwrap(), plain, "{encoding:?}");
            if encoding != BodyEncoding::Identity {
                for cut in [packed.len() - 1, packed.len() / 2, 20] {
                    let fault = unpack(&packed[..cut], encoding).await.unwrap_err();
                    assert!(matches!(fault, BodyFault::Truncated(_)), "{encoding:?} cut at {cut}: {fault:?}");
                }
                let fault = unpack(b"this is not packed at all", encoding).await.unwrap_err();
                assert!(matches!(fault, BodyFault::Malformed(_)), "{encoding:?}: {fault:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_has_come_is_given_without_a_wait_for_more() {
        for encoding in [BodyEncoding::Identity, BodyEncoding::Gzip, BodyEncoding::Zstd] {
            let (mut client, server) = tokio::io::duplex(1024);
            let mut body = BodyReader::new(server, encoding);
            let mut got = Vec::new();
            for line in [&b"one\n"[..], b"two\n"] {
                client.write_all(&pack(line, encoding).await).await.unwrap();
                while !got.ends_with(line) {
                    got.extend_from_slice(body.next_chunk().await.unwrap());
                }
            }
            drop(client);
            assert_eq!(body.next_chunk().await.unwrap(), b"", "{encoding:?}");
            assert_eq!(got, b"one\ntwo\n", "{encoding:?}");
        }
    }

    #[tokio::test]
    async fn two_members_are_one_body() {
        let mut packed = pack(b"one\n", BodyEncoding::Gzip).await;
        packed.extend(pack(b"two\n", BodyEncoding::Gzip).await);
        assert_eq!(unpack(&packed, BodyEncoding::Gzip).await.unwrap(), b"one\ntwo\n");
    }

    #[tokio::test]
    async fn a_bomb_is_refused() {
        let zeros = vec![b'\n'; 64 * 1024 * 1024];
        for encoding in [BodyEncoding::Gzip, BodyEncoding::Zstd] {
            let packed = pack(&zeros, encoding).await;
            assert_eq!(unpack(&packed, encoding).await, Err(BodyFault::Bomb(MAX_RATIO)), "{encoding:?}");
        }
    }
}

//! One HTTP/1.1 connection that is kept open, for load that must cost little: a request is sent and its answer read by
//! the thread that asks, without a runtime. What measures is not an optimised build.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use memchr::memmem;
use serde_json::Value;

use crate::Result;

/// Longer than the service lets any request take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to the service.
pub struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    /// Connects to `http://host:port`.
    pub fn open(base: &str) -> Result<Self> {
        let stream = TcpStream::connect(base.trim_start_matches("http://"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, answer: Vec::with_capacity(1 << 14) })
    }

    /// Sends a request of [`get`] or [`post`]; gives the status and the body. After an error the connection is of no
    /// use.
    pub fn ask(&mut self, request: &[u8]) -> Result<(u16, &[u8])> {
        self.stream.write_all(request)?;
        self.answer.clear();
        let head = loop {
            self.read_more()?;
            if let Some(end) = memmem::find(&self.answer, b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = String::from_utf8_lossy(self.answer.get(..head).unwrap_or_default()).to_ascii_lowercase();
        let status = text.get(9..12).and_then(|status| status.parse().ok()).ok_or("no status")?;
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.ok_or("an answer of no known length")?.trim().parse()?;
        while self.answer.len() < head + length {
            self.read_more()?;
        }
        Ok((status, self.answer.get(head..).unwrap_or_default()))
    }

    /// The JSON of an answer that is a success.
    pub fn json(&mut self, request: &[u8]) -> Result<Value> {
        let (status, body) = self.ask(request)?;
        if !(200..300).contains(&status) {
            return Err(format!("{status}: {}", String::from_utf8_lossy(body)).into());
        }
        Ok(serde_json::from_slice(body)?)
    }

    fn read_more(&mut self) -> Result<()> {
        let mut part = [0; 1 << 13];
        match self.stream.read(&mut part)? {
            0 => Err("the service closed the connection".into()),
            count => {
                self.answer.extend_from_slice(part.get(..count).unwrap_or_default());
                Ok(())
            }
        }
    }
}

/// A `GET`.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").into_bytes()
}

/// A `POST` of JSON.
pub fn post(path: &str, body: &str) -> Vec<u8> {
    change("POST", path, body)
}

/// A change by another method, with JSON.
pub fn change(method: &str, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

//! A plain connection that speaks RESP: collects commands, sends them together, and reads the answers in order.
//!
//! All threads share the driver's own connection, and a task of its own drives it: each command wakes that task, and
//! the task wakes the caller. A lane sends its commands itself, and knows only the few shapes of their answers.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use redis::ConnectionAddr;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::server_info::ServerInfo;
use super::settings::CacheUrl;

/// The buffers keep no more than this from one use to the next.
const KEEP: usize = 1 << 20;
/// For how much a new input buffer has room. Values that are still in use keep the memory that they were read into.
const READ: usize = 64 << 10;
/// No answer that we ask for is longer.
const LONGEST: usize = 512 << 20;

/// An answer.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum RespAnswer {
    /// Bytes.
    Bulk(Bytes),
    /// There is nothing.
    Nothing,
    /// The command is done.
    Done,
    /// The server refused; its word for why.
    Refused(String),
}

/// The transport of the bytes.
enum ServerStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl ServerStream {
    async fn connect(url: &CacheUrl) -> io::Result<Self> {
        let (host, port) = match url.info().addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => (host.as_str(), *port),
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let Some(config) = url.tls() else { return Ok(Self::Plain(stream)) };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
        Ok(Self::Tls(Box::new(stream)))
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes).await,
            Self::Tls(stream) => stream.write(bytes).await,
        }
    }

    /// Sends the bytes that TLS has taken and not sent yet.
    async fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()), // TCP keeps nothing
            Self::Tls(stream) => stream.flush().await,
        }
    }

    async fn read(&mut self, input: &mut BytesMut) -> io::Result<usize> {
        if input.capacity() - input.len() < READ / 4 {
            input.reserve(READ);
        }
        match self {
            Self::Plain(stream) => stream.read_buf(input).await,
            Self::Tls(stream) => stream.read_buf(input).await,
        }
    }
}

/// A connection, with output to be sent and input to be read.
pub(super) struct RespConnection {
    stream: ServerStream,
    output: Vec<u8>,
    sent: usize,
    /// True while all output was written and may not have been sent.
    is_unsent: bool,
    input: BytesMut,
}

impl RespConnection {
    /// A new connection, whose server's host name is looked up anew; also gives the server that answers.
    pub(super) async fn open(url: &CacheUrl) -> io::Result<(Self, Arc<str>)> {
        let info = url.info();
        let stream = ServerStream::connect(url).await?;
        let mut wire = Self { stream, output: Vec::new(), sent: 0, is_unsent: false, input: BytesMut::new() };
        let settings = info.redis_settings();
        if let Some(password) = settings.password() {
            match settings.username() {
                Some(user) => wire.ask(&["AUTH", user, password]).await?,
                None => wire.ask(&["AUTH", password]).await?,
            };
        }
        if settings.db() != 0 {
            wire.ask(&["SELECT", &settings.db().to_string()]).await?;
        }
        let RespAnswer::Bulk(text) = wire.ask(&["INFO"]).await? else { return Err(io::ErrorKind::InvalidData.into()) };
        let server = ServerInfo::parse(&String::from_utf8_lossy(&text)).check().map_err(io::Error::other)?;
        Ok((wire, server))
    }

    async fn ask(&mut self, words: &[&str]) -> io::Result<RespAnswer> {
        put_head(&mut self.output, words.len());
        words.iter().for_each(|word| put_bulk(&mut self.output, word.as_bytes()));
        loop {
            match self.next()? {
                Some(RespAnswer::Refused(code)) => return Err(io::Error::other(code)),
                Some(answer) => return Ok(answer),
                None => self.advance().await?,
            }
        }
    }

    /// Where commands are put to be sent.
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Sends some of the output, or reads some of the input. Cancel safe.
    pub(super) async fn advance(&mut self) -> io::Result<()> {
        match self.output.get(self.sent..) {
            Some(rest) if !rest.is_empty() => {
                self.sent += self.stream.write(rest).await?;
                if self.sent == self.output.len() {
                    self.output.clear();
                    self.output.shrink_to(KEEP);
                    self.sent = 0;
                    self.is_unsent = matches!(self.stream, ServerStream::Tls(_));
                }
                Ok(())
            }
            _ if self.is_unsent => {
                self.stream.flush().await?;
                self.is_unsent = false;
                Ok(())
            }
            _ if self.stream.read(&mut self.input).await? == 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The next answer, if all of it has come.
    pub(super) fn next(&mut self) -> io::Result<Option<RespAnswer>> {
        let answer = take_answer(&mut self.input)?;
        if self.input.is_empty() && self.input.capacity() > KEEP {
            self.input = BytesMut::new();
        }
        Ok(answer)
    }
}

/// Takes the first answer out of the input, if all of it has come. The answer's bytes stay where they are.
fn take_answer(input: &mut BytesMut) -> io::Result<Option<RespAnswer>> {
    let Some(end) = memchr::memchr(b'\n', input) else { return Ok(None) };
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    let line = input.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or_else(broken)?;
    let (kind, text) = line.split_first().ok_or_else(broken)?;
    let after = end + 1;
    let answer = match kind {
        b'$' if text == b"-1" => RespAnswer::Nothing,
        b'$' => {
            let length = std::str::from_utf8(text).ok().and_then(|text| text.parse::<usize>().ok());
            let length = length.filter(|length| *length <= LONGEST).ok_or_else(broken)?;
            // The two bytes that follow are the end of its line.
            if input.len() < after + length + 2 {
                return Ok(None);
            }
            input.advance(after);
            let value = input.split_to(length).freeze();
            input.advance(2);
            return Ok(Some(RespAnswer::Bulk(value)));
        }
        b'+' | b':' => RespAnswer::Done,
        b'-' => {
            // The first word is the code; the other words may hold what was sent.
            let code = text.split(|byte| *byte == b' ').next().unwrap_or_default();
            RespAnswer::Refused(String::from_utf8_lossy(code).into_owned())
        }
        _ => return Err(broken()),
    };
    input.advance(after);
    Ok(Some(answer))
}

/// Begins a command of so many words.
pub(super) fn put_head(output: &mut Vec<u8>, words: usize) {
    output.push(b'*');
    put_number(output, words);
    output.extend_from_slice(b"\r\n");
}

/// Adds a word to a command.
pub(super) fn put_bulk(output: &mut Vec<u8>, word: &[u8]) {
    output.push(b'$');
    put_number(output, word.len());
    output.extend_from_slice(b"\r\n");
    output.extend_from_slice(word);
    output.extend_from_slice(b"\r\n");
}

fn put_number(output: &mut Vec<u8>, mut number: usize) {
    let start = output.len();
    loop {
        output.push(b'0' + u8::try_from(number % 10).unwrap_or_default());
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = output.get_mut(start..) {
        digits.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_written_as_the_protocol_says() {
        let mut output = Vec::new();
        put_head(&mut output, 12);
        put_bulk(&mut output, b"");
        put_bulk(&mut output, &[b'x'; 100]);
        assert!(output.starts_with(b"*12\r\n$0\r\n\r\n$100\r\nxx"));
        assert!(output.ends_with(b"x\r\n"));
    }

    #[test]
    fn answers_are_read_once_they_are_whole() {
        for (text, answer) in [
            (&b"$5\r\na\r\nbc\r\n"[..], RespAnswer::Bulk("a\r\nbc".into())),
            (b"$0\r\n\r\n", RespAnswer::Bulk(Bytes::new())),
            (b"$-1\r\n", RespAnswer::Nothing),
            (b"+OK\r\n", RespAnswer::Done),
            (b":1\r\n", RespAnswer::Done),
            (b"-OOM command not allowed\r\n", RespAnswer::Refused("OOM".to_owned())),
        ] {
            for cut in 0..text.len() {
                let mut part = BytesMut::from(&text[..cut]);
                assert_eq!(take_answer(&mut part).unwrap(), None);
                assert_eq!(part, text[..cut]);
            }
            let mut more = BytesMut::from(&*[text, b"$1\r\n"].concat());
            assert_eq!(take_answer(&mut more).unwrap(), Some(answer));
            assert_eq!(more, b"$1\r\n"[..]);
        }
        for nonsense in ["*1\r\n", "\r\n", "\n", "$x\r\n", "$-2\r\n", "$99999999999\r\n"] {
            assert!(take_answer(&mut nonsense.into()).is_err(), "{nonsense:?}");
        }
    }
}

//! Request bodies: encoding, size and time limits, and JSON objects.

use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{FromRequest, HttpRequest};
use futures_util::StreamExt;
use futures_util::future::ready;
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::media_type::content_type;
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::payload::{BodyEncoding, BodyFault, BodyReader, JsonFault, plain_text, read_json};
use crate::records::MAX_DOCUMENT_BYTES;

/// The longest JSON body, both packed and unpacked.
pub(super) const MAX_BODY: usize = 64 * 1024;
/// How long a JSON body may take to come in.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest body with a document, both packed and unpacked: the document and the text around.
pub(in crate::http) const MAX_DOCUMENT_BODY: usize = MAX_DOCUMENT_BYTES + MAX_BODY;

/// Bodies longer than [`MAX_BODY`] in memory at the same time, with the values read from the bodies.
const LARGE_BODIES: usize = 16;
/// How long a large body waits for a permit.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(5);

static PERMITS: Semaphore = Semaphore::const_new(LARGE_BODIES);

/// A JSON body of at most `LIMIT` bytes, unpacked and whole.
pub(in crate::http) struct JsonBody<const LIMIT: usize = MAX_BODY> {
    bytes: Bytes,
    /// Held until the request is answered.
    _permit: LargeBodyPermit,
}

/// A large body's right to be in memory; small ones need none.
#[derive(Default)]
struct LargeBodyPermit(Option<SemaphorePermit<'static>>);

impl LargeBodyPermit {
    /// To be called before a body grows to so many bytes.
    async fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        if bytes > MAX_BODY && self.0.is_none() {
            let permit = tokio::time::timeout(PERMIT_TIMEOUT, PERMITS.acquire()).await;
            let overloaded =
                || Problem::new(ProblemCode::TooManyLargeBodies, "too many large bodies are coming in; try again");
            self.0 = Some(permit.ok().and_then(Result::ok).ok_or_else(overloaded)?);
        }
        Ok(())
    }
}

impl<const LIMIT: usize> FromRequest for JsonBody<LIMIT> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let checked = check_json_type(request.headers()).and_then(|()| encoding(request.headers()));
        let encoding = match checked {
            Ok(encoding) => encoding,
            Err(problem) => return Box::pin(ready(Err(problem))),
        };
        let payload = payload.take();
        Box::pin(async move {
            let mut permit = LargeBodyPermit::default();
            let packed = read_whole(payload, LIMIT, &mut permit).await?;
            let bytes = match encoding {
                BodyEncoding::Identity => packed,
                BodyEncoding::Gzip | BodyEncoding::Zstd => unpack(&packed, encoding, LIMIT, &mut permit).await?,
            };
            Ok(Self { bytes, _permit: permit })
        })
    }
}

impl<const LIMIT: usize> JsonBody<LIMIT> {
    /// The body's bytes, which may be any JSON value or none.
    pub(in crate::http) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, without a copy.
    pub(in crate::http) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Reads the body as a JSON object. The result may borrow from the body.
    pub(in crate::http) fn parse<'de, T: Deserialize<'de>>(&'de self) -> Result<T, Problem> {
        // serde would take an array for a struct, field by field.
        let text = plain_text(&self.bytes)?;
        match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => read_json(text).map_err(Problem::from),
            Some(_) => Err(Problem::new(ProblemCode::InvalidBody, "the body must be a JSON object")),
            None => Err(Problem::new(ProblemCode::InvalidBody, "the body is empty; it must be a JSON object")),
        }
    }
}

impl From<JsonFault> for Problem {
    fn from(fault: JsonFault) -> Self {
        match fault {
            JsonFault::Syntax(reason) => {
                Self::new(ProblemCode::InvalidBody, format!("the body is no JSON object: {reason}"))
            }
            JsonFault::Field(fault) => fault.into(),
        }
    }
}

/// `application/json`, a type with the ending `+json`, or no type.
fn check_json_type(headers: &HeaderMap) -> Result<(), Problem> {
    if !headers.contains_key(header::CONTENT_TYPE) {
        return Ok(());
    }
    let media_type = content_type(headers);
    if media_type == "application/json" || media_type.ends_with("+json") {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::UnsupportedMediaType, "send the body with Content-Type: application/json")
        .field("Content-Type"))
}

/// How the body is packed.
pub(in crate::http) fn encoding(headers: &HeaderMap) -> Result<BodyEncoding, Problem> {
    let name = headers.get(header::CONTENT_ENCODING).map_or(Ok(""), |value| value.to_str());
    name.ok().and_then(BodyEncoding::from_header).ok_or_else(|| {
        Problem::new(ProblemCode::UnsupportedEncoding, "send the body plain, or packed by gzip or zstd")
            .field("Content-Encoding")
    })
}

fn too_large(limit: usize) -> Problem {
    Problem::new(ProblemCode::BodyTooLarge, format!("the body must not be longer than {limit} bytes"))
}

/// The whole body, still packed. A body in one piece, as most are, is not copied.
async fn read_whole(mut payload: Payload, limit: usize, permit: &mut LargeBodyPermit) -> Result<Bytes, Problem> {
    let collecting = async {
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk =
                chunk.map_err(|_| Problem::new(ProblemCode::IncompleteBody, "the body broke off before its end"))?;
            let length = first.len().max(all.len()) + chunk.len();
            if length > limit {
                return Err(too_large(limit));
            }
            permit.take(length).await?;
            if first.is_empty() && all.is_empty() {
                first = chunk;
            } else {
                if all.is_empty() {
                    all.extend_from_slice(&std::mem::take(&mut first));
                }
                all.extend_from_slice(&chunk);
            }
        }
        Ok(if all.is_empty() { first } else { all.freeze() })
    };
    tokio::time::timeout(BODY_TIMEOUT, collecting).await.unwrap_or_else(|_| {
        let seconds = BODY_TIMEOUT.as_secs();
        Err(Problem::new(ProblemCode::BodyTimeout, format!("the body must be here within {seconds} seconds")))
    })
}

async fn unpack(
    packed: &[u8],
    encoding: BodyEncoding,
    limit: usize,
    permit: &mut LargeBodyPermit,
) -> Result<Bytes, Problem> {
    let mut body = BodyReader::new(packed, encoding);
    let mut unpacked = BytesMut::new();
    loop {
        match body.next_chunk().await? {
            [] => return Ok(unpacked.freeze()),
            chunk if unpacked.len() + chunk.len() > limit => return Err(too_large(limit)),
            chunk => {
                permit.take(unpacked.len() + chunk.len()).await?;
                unpacked.extend_from_slice(chunk);
            }
        }
    }
}

impl From<BodyFault> for Problem {
    fn from(fault: BodyFault) -> Self {
        let code = match fault {
            BodyFault::Truncated(_) => ProblemCode::IncompleteBody,
            BodyFault::Malformed(_) => ProblemCode::InvalidBody,
            BodyFault::Bomb(_) => ProblemCode::BodyTooLarge,
        };
        Self::new(code, fault.to_string())
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::files::{FileInput, PatchInput};

    fn body_of(text: &'static [u8]) -> JsonBody {
        JsonBody { bytes: Bytes::from_static(text), _permit: LargeBodyPermit::default() }
    }

    #[test]
    fn a_wrong_body_names_its_field() {
        for (body, code, field) in [
            ("", ProblemCode::InvalidBody, None),
            ("[1,\"a\"]", ProblemCode::InvalidBody, None),
            ("{", ProblemCode::InvalidBody, None),
            ("{\"user_id\":1,\"file_name\":\"a\"} x", ProblemCode::InvalidBody, None),
            ("{\"file_name\":\"a\"}", ProblemCode::InvalidField, Some("user_id")),
            ("{\"user_id\":1}", ProblemCode::InvalidField, Some("file_name")),
            ("{\"user_id\":\"01\",\"file_name\":\"a\"}", ProblemCode::InvalidField, Some("user_id")),
            ("{\"user_id\":1.5,\"file_name\":\"a\"}", ProblemCode::InvalidField, Some("user_id")),
            ("{\"user_id\":9223372036854775808,\"file_name\":\"a\"}", ProblemCode::InvalidField, Some("user_id")),
            ("{\"user_id\":1,\"file_name\":\"a\",\"nmae\":1}", ProblemCode::InvalidField, Some("nmae")),
            ("{\"user_id\":1,\"user_id\":1,\"file_name\":\"a\"}", ProblemCode::InvalidField, Some("user_id")),
            ("{\"user_id\":1,\"file_name\":\"a\",\"path\":7}", ProblemCode::InvalidField, Some("path")),
            ("{\"user_id\":1,\"file_name\":\"a\",\"file_id\":\"7\"}", ProblemCode::InvalidField, Some("file_id")),
        ] {
            let problem = body_of(body.as_bytes()).parse::<FileInput<'_>>().unwrap_err();
            assert_eq!((problem.code(), problem.field_name()), (code, field), "{body}");
        }
        let cut = body_of(b"{\"user_id\":1,\"file_name\":\"a\xff\"}");
        let problem = cut.parse::<FileInput<'_>>().unwrap_err();
        assert_eq!((problem.code(), problem.field_name()), (ProblemCode::InvalidBody, None));
        let patch = body_of(b"{\"file_id\":\"x\"}");
        assert_eq!(patch.parse::<PatchInput<'_>>().unwrap_err().field_name(), Some("file_id"));
    }

    #[actix_web::test]
    async fn bodies_are_unpacked_within_their_limit() {
        use async_compression::tokio::bufread::{GzipEncoder, ZstdEncoder};
        use tokio::io::{AsyncRead, AsyncReadExt};
        async fn packed(mut encoder: impl AsyncRead + Unpin) -> Vec<u8> {
            let mut bytes = Vec::new();
            encoder.read_to_end(&mut bytes).await.unwrap();
            bytes
        }
        async fn extract(encoding: &'static str, body: Vec<u8>) -> Result<Bytes, ProblemCode> {
            let request = TestRequest::post().insert_header(("Content-Encoding", encoding)).set_payload(body);
            let (request, mut payload) = request.to_http_parts();
            JsonBody::<MAX_BODY>::from_request(&request, &mut payload)
                .await
                .map(|body| body.bytes)
                .map_err(|problem| problem.code())
        }
        let small = b"{\"user_id\":1}";
        let bomb = vec![b' '; 100_000_000];
        let gzip = packed(GzipEncoder::new(&small[..])).await;
        assert_eq!(extract("gzip", gzip.clone()).await.unwrap(), &small[..]);
        assert_eq!(extract("gzip", gzip[..gzip.len() - 6].to_vec()).await, Err(ProblemCode::IncompleteBody));
        assert_eq!(extract("zstd", gzip.clone()).await, Err(ProblemCode::InvalidBody));
        assert_eq!(extract("br", gzip).await, Err(ProblemCode::UnsupportedEncoding));
        assert_eq!(extract("zstd", packed(ZstdEncoder::new(&small[..])).await).await.unwrap(), &small[..]);
        assert_eq!(extract("zstd", packed(ZstdEncoder::new(&bomb[..])).await).await, Err(ProblemCode::BodyTooLarge));
        assert_eq!(
            extract("gzip", packed(GzipEncoder::new(&bomb[..5_000_000])).await).await,
            Err(ProblemCode::BodyTooLarge)
        );
        assert_eq!(extract("identity", vec![b' '; MAX_BODY + 1]).await, Err(ProblemCode::BodyTooLarge));
    }

    #[test]
    fn only_json_is_taken() {
        let check = |kind: &str| {
            let request = TestRequest::post().insert_header(("Content-Type", kind)).to_http_request();
            check_json_type(request.headers()).is_ok()
        };
        assert!(check("application/json"));
        assert!(check("Application/JSON; charset=utf-8"));
        assert!(check("application/merge-patch+json"));
        assert!(!check("text/plain"));
        assert!(!check("application/x-www-form-urlencoded"));
        assert!(check_json_type(&HeaderMap::new()).is_ok());
    }
}

//! JSON answers, written straight into the bytes of the response.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use serde::{Serialize, Serializer};

use super::problem::Problem;
use super::problem_code::ProblemCode;
use crate::payload::JsonLines;

pub(in crate::http) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(in crate::http) const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// An answer with this body, of about `capacity` bytes.
pub(in crate::http) fn json(
    status: StatusCode,
    body: &impl Serialize,
    capacity: usize,
) -> Result<HttpResponse, Problem> {
    let mut bytes = Vec::with_capacity(capacity);
    serde_json::to_writer(&mut bytes, body).map_err(unwritten)?;
    Ok(HttpResponse::build(status).insert_header((CONTENT_TYPE, JSON)).body(bytes))
}

/// The last member of an answer: an array of values that [`with_written_values`] puts in.
pub(in crate::http) struct WrittenValues;

impl Serialize for WrittenValues {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq([(); 0])
    }
}

/// `200` with this body, whose last member is [`WrittenValues`], and these values in the member.
pub(in crate::http) fn with_written_values(body: &impl Serialize, values: &JsonLines) -> Result<HttpResponse, Problem> {
    const END: &[u8] = b"]}";
    let mut bytes = Vec::with_capacity(256 + values.as_bytes().len());
    serde_json::to_writer(&mut bytes, body).map_err(unwritten)?;
    bytes.truncate(bytes.len().saturating_sub(END.len()));
    values.append_to_array(&mut bytes);
    bytes.extend_from_slice(END);
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, JSON)).body(bytes))
}

/// `200` with written JSON.
pub(in crate::http) fn of_json(body: Result<Vec<u8>, serde_json::Error>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, JSON)).body(body.map_err(unwritten)?))
}

fn unwritten(error: serde_json::Error) -> Problem {
    Problem::new(ProblemCode::Internal, "the answer could not be written").cause(error)
}

/// `200` with this body.
pub(in crate::http) fn ok(body: &impl Serialize) -> Result<HttpResponse, Problem> {
    json(StatusCode::OK, body, 512)
}

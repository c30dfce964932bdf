//! The streamed body of a bulk load, and the right to run the load.

use std::io;

use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::http::header::{HeaderValue, RETRY_AFTER};
use actix_web::web::{Data, Payload};
use futures_util::StreamExt;
use tokio::io::AsyncRead;
use tokio::sync::SemaphorePermit;
use tokio_util::io::StreamReader;

use super::body::encoding;
use super::upload_pace::UploadMeter;
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::http::state::AppState;
use crate::limits::LoadPermit;
use crate::payload::BodyReader;

/// The right to run a bulk load: one of the caller's and one of the process's.
pub(in crate::http) struct LoadPlace<'a> {
    _own: LoadPermit,
    _permit: SemaphorePermit<'a>,
}

impl<'a> LoadPlace<'a> {
    /// # Errors
    /// 429 at the caller's limit of loads, 503 at the limit of the process.
    pub(in crate::http) fn take(state: &'a Data<AppState>, meter: &UploadMeter) -> Result<Self, Problem> {
        let own = state.loads.begin(meter.caller()).ok_or_else(|| {
            Problem::new(
                ProblemCode::TooManyOwnLoads,
                "you run as many bulk loads as one caller may; wait for one to end",
            )
            .header(RETRY_AFTER, HeaderValue::from_static("1"))
        })?;
        let permit = state.bulk_permits.try_acquire().map_err(|_| {
            Problem::new(ProblemCode::TooManyLoads, "as many bulk loads as this process takes are running; try again")
        })?;
        Ok(Self { _own: own, _permit: permit })
    }
}

/// Waits for the first bytes of a body, takes the load's place and unpacks the body.
///
/// # Errors
/// 415 for an unknown encoding, 408 if nothing comes, and [`LoadPlace::take`]'s.
pub(in crate::http) async fn open_body<'a>(
    state: &'a Data<AppState>,
    meter: &mut UploadMeter,
    request: &HttpRequest,
    body: Payload,
) -> Result<(LoadPlace<'a>, BodyReader<impl AsyncRead + Unpin + use<>>), Problem> {
    let encoding = encoding(request.headers())?;
    let body = meter.wait_for_first(body).await?;
    let place = LoadPlace::take(state, meter)?;
    let bytes = StreamReader::new(body.map(|chunk| chunk.map_err(io_error)));
    Ok((place, BodyReader::new(bytes, encoding)))
}

/// The body's errors in the form that decoders pass on.
fn io_error(error: PayloadError) -> io::Error {
    match error {
        PayloadError::Incomplete(_) => io::ErrorKind::UnexpectedEof.into(),
        PayloadError::Io(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

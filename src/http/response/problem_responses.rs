//! The problems of groups of routes, for the OpenAPI document.

use utoipa::IntoResponses;

use crate::http::response::problem::ProblemBody;

/// Problems of every route that reads the request.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is only read by its derive")]
pub(in crate::http) enum RequestProblems {
    /// The path, the query or the body is wrong; `detail` says how to mend the request.
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(ProblemBody<'static>),
    /// Something went wrong on our side.
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(ProblemBody<'static>),
}

/// Problems of every route with a JSON body.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is only read by its derive")]
pub(in crate::http) enum BodyProblems {
    /// The body came too slowly.
    #[response(status = 408, content_type = "application/problem+json")]
    Slow(ProblemBody<'static>),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemBody<'static>),
    /// The body's type or encoding is not taken here.
    #[response(status = 415, content_type = "application/problem+json")]
    Unsupported(ProblemBody<'static>),
}

/// Problems of every route for a file.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is only read by its derive")]
pub(in crate::http) enum FileProblems {
    /// There is no such file.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemBody<'static>),
}

/// Problems of every route for a drive's tree.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is only read by its derive")]
pub(in crate::http) enum DriveProblems {
    /// There is no such folder or path, or it is in the trash.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemBody<'static>),
    /// The name is taken, a file stands where a folder is needed, or a folder would be in itself.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(ProblemBody<'static>),
    /// The folder is not in the state asked for.
    #[response(status = 412, content_type = "application/problem+json")]
    Changed(ProblemBody<'static>),
}

/// Problems of every route for a document.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is only read by its derive")]
pub(in crate::http) enum RecordProblems {
    /// There is no such document or collection.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemBody<'static>),
}

/// Problems of every route that needs a shard.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is only read by its derive")]
pub(in crate::http) enum ShardProblems {
    /// The shard is away or has too much to do, or the user is being moved; try again after `Retry-After` seconds.
    #[response(status = 503, content_type = "application/problem+json", headers(("Retry-After" = u32)))]
    Unavailable(ProblemBody<'static>),
    /// The shard did not answer in time.
    #[response(status = 504, content_type = "application/problem+json", headers(("Retry-After" = u32)))]
    Timeout(ProblemBody<'static>),
    /// The disk of the shard's server is full: reads go on, writes need space.
    #[response(status = 507, content_type = "application/problem+json", headers(("Retry-After" = u32)))]
    StorageFull(ProblemBody<'static>),
}

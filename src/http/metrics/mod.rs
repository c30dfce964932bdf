//! `GET /metrics`, with counts and samples.

pub(super) mod exposition;
pub(super) mod request_counts;
pub(super) mod sampler;

//! `GET /metrics`, and the counts and samples that it shows.

pub(super) mod exposition;
pub(super) mod request_counts;
pub(super) mod sampler;

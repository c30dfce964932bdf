//! Answers of handlers: JSON, and problems (RFC 9457) with codes.

pub(super) mod answer;
mod error_problems;
pub(super) mod problem;
pub(super) mod problem_code;
pub(super) mod problem_counts;
pub(super) mod problem_responses;

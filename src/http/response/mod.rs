//! What handlers answer: JSON, and problems (RFC 9457) with their codes.

pub(super) mod answer;
pub(super) mod problem;
pub(super) mod problem_code;
pub(super) mod problem_counts;
pub(super) mod problem_responses;

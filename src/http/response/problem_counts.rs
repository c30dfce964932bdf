//! Counts of answered problems, by code.

use crate::http::response::problem_code::ProblemCode;
use crate::telemetry::metrics::Counter;

pub(in crate::http) static PROBLEMS: [Counter; ProblemCode::ALL.len()] =
    [const { Counter::new() }; ProblemCode::ALL.len()];

pub(super) fn count_problem(code: ProblemCode) {
    let found = ProblemCode::ALL.iter().zip(&PROBLEMS).find(|(known, _)| **known == code);
    if let Some((_, counter)) = found {
        counter.add(1);
    }
}

/// How often the service answered with each problem.
pub(in crate::http) fn problems() -> impl Iterator<Item = (&'static str, u64)> {
    ProblemCode::ALL.iter().map(|code| code.as_str()).zip(PROBLEMS.iter().map(Counter::get))
}

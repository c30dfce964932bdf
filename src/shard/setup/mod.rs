//! Before the first request: the checks of a start, and the migrations.

pub(super) mod migrate;
pub(super) mod start_checks;

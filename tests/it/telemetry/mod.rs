//! Metrics, traces, and what operators are given to use them.

pub mod metrics;
mod observability;
mod traces;

//! Metrics: what there is, the cells that the modules count in, and the text that a Prometheus server reads.
//!
//! The modules keep their own cells (a few atomic numbers each); whoever is asked for `/metrics` reads them and whatever
//! else the modules know, and writes it by the names of [`table`].

mod cells;
pub mod table;
mod text;

pub use cells::{BULK_ROWS, BulkRows, Counter, Gauge, Histogram, TIMES, TRACE_SPANS, TraceSpans};
pub use table::{Metric, MetricKind};
pub use text::{CONTENT_TYPE, Exposition, MetricFamily};

//! Metrics: the table, the cells that the modules count in, and the text for a Prometheus server.
//!
//! Each module keeps its own cells (a few atomic numbers). The handler of `/metrics` reads the cells and the modules'
//! other state, and writes the text by the names of [`table`].

mod cells;
mod histogram;
pub mod table;
mod text;

pub use cells::{BULK_ROWS, BulkRows, Counter, Gauge, TRACE_SPANS, TraceSpans};
pub use histogram::{Histogram, TIMES};
pub use table::{Metric, MetricKind};
pub use text::{Exposition, MetricFamily, TextFormat};

//! Exports spans to a collector: OTLP over HTTP, by a thread and a queue of its own.
//!
//! A full queue drops spans. A silent collector blocks only the export thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter as Otlp, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};
use tokio::sync::oneshot;

use super::collector_client::{CollectorClient, LastFault};
use super::metrics::TRACE_SPANS;
use super::traces::TRACER;
use crate::outbound::{CaCertificates, with_causes};

/// How long the collector may take for one batch of spans.
pub(super) const EXPORT_LIMIT: Duration = Duration::from_secs(3);
/// How long a stop waits for the last spans to leave.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Where traces go, and how many.
#[derive(Clone, Debug)]
pub struct TraceOptions {
    /// The collector, as in `http://localhost:4318`; `None`: there are no traces.
    pub endpoint: Option<String>,
    /// The CA certificates for the collector; `None`: the machine's own.
    pub ca_certificates: Option<CaCertificates>,
    /// The service's name in the traces.
    pub service_name: String,
    /// The share of traced requests, from 0 to 1, among requests whose caller did not decide.
    pub ratio: f64,
}

/// The traces of this process, until the export is shut down.
#[derive(Debug)]
pub struct TraceExport(Option<SdkTracerProvider>);

impl TraceExport {
    /// Starts tracing, if the settings name a collector. The collector may start later.
    ///
    /// # Errors
    /// If no client for the collector can be made.
    pub fn start(options: &TraceOptions) -> Result<Self, String> {
        let Some(endpoint) = &options.endpoint else { return Ok(Self(None)) };
        let client = CollectorClient::start(options.ca_certificates.clone())?;
        let last_fault = client.last_fault();
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_timeout(EXPORT_LIMIT)
            .with_http_client(client)
            .build()
            .map_err(|error| with_causes(&error))?;
        let resource = Resource::builder().with_service_name(options.service_name.clone()).build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(CountingExporter { exporter, last_fault, is_failing: AtomicBool::new(false) })
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(options.ratio))))
            .with_resource(resource)
            .build();
        // The first tracer stays: a process has one.
        let _ = TRACER.set(provider.tracer("shardrive"));
        Ok(Self(Some(provider)))
    }

    /// Sends the last spans, for two seconds at most.
    pub async fn shut_down(self) {
        let Some(provider) = self.0 else { return };
        let (done, ended) = oneshot::channel();
        // A separate thread: the end of the process waits for the runtime's threads, but not for this one.
        let thread = std::thread::Builder::new().name("last-spans".to_owned()).spawn(move || {
            let _ = done.send(provider.shutdown_with_timeout(STOP_LIMIT));
        });
        match thread {
            Ok(_) => match tokio::time::timeout(STOP_LIMIT, ended).await {
                Ok(Ok(Ok(()))) => {}
                _ => log::warn!("the last spans may not have reached the collector"),
            },
            Err(error) => log::warn!("the last spans could not be sent: {error}"),
        }
    }
}

/// Counts exported and failed spans, and logs when the collector begins and ceases to refuse.
#[derive(Debug)]
struct CountingExporter {
    exporter: Otlp,
    last_fault: LastFault,
    is_failing: AtomicBool,
}

impl SpanExporter for CountingExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let result = self.exporter.export(batch).await;
        let failed = result.is_err();
        let counter = if failed { &TRACE_SPANS.failed } else { &TRACE_SPANS.exported };
        counter.add(spans);
        match (self.is_failing.swap(failed, Ordering::Relaxed), &result) {
            (false, Err(error)) => match self.last_fault.take_cause() {
                Some(cause) => log::warn!("the collector takes no spans: {error}: {cause}"),
                None => log::warn!("the collector takes no spans: {error}"),
            },
            (true, Ok(())) => log::info!("the collector takes spans again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

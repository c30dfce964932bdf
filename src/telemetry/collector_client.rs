//! The HTTP client for spans. The client keeps the cause of the last fault, which the exporter's own errors
//! leave out.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};

use super::export::EXPORT_LIMIT;
use crate::outbound::{CaCertificates, with_causes};

/// The cause of the last fault, until taken.
#[derive(Clone, Default, Debug)]
pub(super) struct LastFault(Arc<Mutex<Option<String>>>);

impl LastFault {
    pub(super) fn take_cause(&self) -> Option<String> {
        self.0.lock().ok()?.take()
    }

    fn store_cause(&self, cause: String) {
        if let Ok(mut place) = self.0.lock() {
            *place = Some(cause);
        }
    }
}

/// A client of the collector.
#[derive(Debug)]
pub(super) struct CollectorClient {
    client: reqwest::blocking::Client,
    last_fault: LastFault,
}

impl CollectorClient {
    /// A client with trust in these CA certificates, or else the machine's own.
    ///
    /// # Errors
    /// Why there can be none.
    pub(super) fn start(ca_certificates: Option<CaCertificates>) -> Result<Self, String> {
        // A blocking client brings a runtime, and must not be created within another runtime.
        let build = move || {
            let ca_certificates = ca_certificates.unwrap_or_else(CaCertificates::of_system);
            ca_certificates.blocking_client_builder().timeout(EXPORT_LIMIT).build()
        };
        let made = thread::Builder::new().spawn(build).map_err(|error| with_causes(&error))?.join();
        let client = made.map_err(|_| "the thread that makes the client ended".to_owned())?;
        Ok(Self { client: client.map_err(|error| with_causes(&error))?, last_fault: LastFault::default() })
    }

    pub(super) fn last_fault(&self) -> LastFault {
        self.last_fault.clone()
    }
}

/// The future's type, as the trait's macro writes it.
type Sending<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for CollectorClient {
    fn send_bytes<'client, 'sending>(&'client self, request: Request<Bytes>) -> Sending<'sending>
    where
        'client: 'sending,
        Self: 'sending,
    {
        Box::pin(async move {
            let sent = self.client.send_bytes(request).await;
            if let Err(error) = &sent {
                self.last_fault.store_cause(with_causes(&**error));
            }
            sent
        })
    }
}

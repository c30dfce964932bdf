//! HTTP clients to other services: the trusted CA certificates, and the text of a failed call.
//!
//! A client can always be built: plain HTTP needs no certificate, and the machine may have none.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// The CA certificates that a client trusts.
#[derive(Clone)]
pub struct CaCertificates(Arc<RootCertStore>);

impl CaCertificates {
    /// The machine's own CA certificates; empty on a machine without any.
    #[must_use]
    pub fn of_system() -> Self {
        let mut roots = RootCertStore::empty();
        // An unreadable certificate is left out: no server can be trusted by it.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self(Arc::new(roots))
    }

    /// The CA certificates in a PEM text, and no others.
    ///
    /// # Errors
    /// The fault of the text.
    pub fn of_pem(pem: &[u8]) -> Result<Self, &'static str> {
        const REASON: &str = "must hold certificates in PEM form";
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(|_| REASON)?).map_err(|_| REASON)?;
        }
        if roots.is_empty() { Err(REASON) } else { Ok(Self(Arc::new(roots))) }
    }

    /// True if the list has no certificate.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The TLS settings of a client that trusts these certificates.
    #[must_use]
    pub fn tls_config(&self) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        #[expect(clippy::expect_used, reason = "ring has what the default versions of TLS need")]
        let builder = builder.expect("ring does TLS 1.2 and 1.3");
        builder.with_root_certificates(Arc::clone(&self.0)).with_no_client_auth()
    }

    /// A builder of an HTTP client that trusts these certificates.
    pub fn client_builder(&self) -> reqwest::ClientBuilder {
        reqwest::Client::builder().tls_backend_preconfigured(self.tls_config())
    }

    /// A builder of a client for a thread without a runtime.
    pub fn blocking_client_builder(&self) -> reqwest::blocking::ClientBuilder {
        reqwest::blocking::Client::builder().tls_backend_preconfigured(self.tls_config())
    }
}

impl fmt::Debug for CaCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaCertificates({})", self.0.len())
    }
}

/// An error with all its causes, which an HTTP client's own error text leaves out.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some wrappers repeat the text of their cause.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Why a service gave no answer, without its URL.
#[must_use]
pub fn no_answer(error: reqwest::Error) -> String {
    let error = error.without_url();
    if is_refused(&error) {
        return "no answer: nothing listens there; does the service run?".to_owned();
    }
    format!("no answer: {}", with_causes(&error))
}

/// True if the system says that nothing listens at the address.
fn is_refused(error: &(dyn Error + 'static)) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) || error.source().is_some_and(is_refused)
}

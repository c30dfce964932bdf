//! HTTP clients of our own: which authorities they trust, and what is said of a call that failed.
//!
//! A client can always be built: one for plain HTTP needs no certificate, and the machine may have none.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// The authorities by whose certificates a server is known.
#[derive(Clone)]
pub struct TrustedAuthorities(Arc<RootCertStore>);

impl TrustedAuthorities {
    /// Those that the machine trusts; none where it has no CA certificates.
    #[must_use]
    pub fn of_machine() -> Self {
        let mut roots = RootCertStore::empty();
        // A certificate that cannot be read is one that nobody can be trusted by.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self(Arc::new(roots))
    }

    /// Those of a text in PEM form, and no others.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn of_pem(pem: &[u8]) -> Result<Self, &'static str> {
        const REASON: &str = "must hold certificates in PEM form";
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(|_| REASON)?).map_err(|_| REASON)?;
        }
        if roots.is_empty() { Err(REASON) } else { Ok(Self(Arc::new(roots))) }
    }

    /// True if no server can be known by them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How a client speaks TLS that trusts them.
    #[must_use]
    pub fn client_config(&self) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        #[expect(clippy::expect_used, reason = "ring has what the default versions of TLS need")]
        let builder = builder.expect("ring does TLS 1.2 and 1.3");
        builder.with_root_certificates(Arc::clone(&self.0)).with_no_client_auth()
    }

    /// An HTTP client that trusts them, to be completed.
    pub fn client(&self) -> reqwest::ClientBuilder {
        reqwest::Client::builder().tls_backend_preconfigured(self.client_config())
    }

    /// The same for a thread without a runtime.
    pub fn blocking_client(&self) -> reqwest::blocking::ClientBuilder {
        reqwest::blocking::Client::builder().tls_backend_preconfigured(self.client_config())
    }
}

impl fmt::Debug for TrustedAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustedAuthorities({})", self.0.len())
    }
}

/// An error with all its causes, which the text of an HTTP client's own errors leaves out.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some wrappers repeat what they hold.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

//! TLS on the service's own address: the certificate from two files, which are read again after a change.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// No certificate file is longer.
const MAX_FILE: usize = 1 << 20;

/// Where the certificate is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// The certificate chain in PEM form, the service's certificate first.
    pub certificate: PathBuf,
    /// The private key in PEM form.
    pub key: PathBuf,
}

/// The contents of both files.
#[derive(PartialEq, Eq)]
struct CertificateFiles {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl TlsFiles {
    /// # Errors
    /// Which file is wrong, and how. Nothing of the key.
    fn read(&self) -> Result<CertificateFiles, String> {
        let read = |name: &str, path: &PathBuf| {
            let wrong = |reason: &dyn fmt::Display| format!("{name}: {}: {reason}", path.display());
            let bytes = std::fs::read(path).map_err(|error| wrong(&error))?;
            if bytes.len() <= MAX_FILE { Ok(bytes) } else { Err(wrong(&"is too long for a certificate")) }
        };
        Ok(CertificateFiles {
            certificate: read("SHARDRIVE_TLS_CERT_FILE", &self.certificate)?,
            key: read("SHARDRIVE_TLS_KEY_FILE", &self.key)?,
        })
    }
}

impl CertificateFiles {
    fn certified(&self) -> Result<CertifiedKey, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or("SHARDRIVE_TLS_CERT_FILE: holds no certificate in PEM form")?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| "SHARDRIVE_TLS_KEY_FILE: holds no private key in PEM form")?;
        CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| format!("SHARDRIVE_TLS_CERT_FILE and SHARDRIVE_TLS_KEY_FILE do not go together: {error}"))
    }
}

/// The certificate in force.
pub struct TlsCertificate {
    files: TlsFiles,
    current: ArcSwap<CertifiedKey>,
    /// The contents at the last check.
    last_read: std::sync::Mutex<Result<CertificateFiles, String>>,
}

impl fmt::Debug for TlsCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl TlsCertificate {
    /// Reads the files.
    ///
    /// # Errors
    /// The fault.
    pub fn load(files: TlsFiles) -> Result<Arc<Self>, String> {
        let contents = files.read()?;
        let current = ArcSwap::from_pointee(contents.certified()?);
        Ok(Arc::new(Self { files, current, last_read: std::sync::Mutex::new(Ok(contents)) }))
    }

    /// The settings of the listener: TLS 1.2 and 1.3, by ring.
    ///
    /// # Errors
    /// Never, as long as ring does TLS 1.2 and 1.3.
    pub(super) fn server_config(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let resolver: Arc<Self> = Arc::clone(self);
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        Ok(builder.with_safe_default_protocol_versions()?.with_no_client_auth().with_cert_resolver(resolver))
    }

    /// Puts new files in force, until `stop` is cancelled. Wrong files change nothing, and are logged once.
    pub async fn follow_files(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(CHECK_INTERVAL)).await.is_some() {
            let this = Arc::clone(&self);
            // Files may lie on a slow disk.
            let _ = tokio::task::spawn_blocking(move || this.reload_if_changed()).await;
        }
    }

    fn reload_if_changed(&self) {
        let found = self.files.read();
        let mut last_read = self.last_read.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *last_read == found {
            return;
        }
        match found.as_ref().map_err(String::clone).and_then(CertificateFiles::certified) {
            Ok(certified) => {
                self.current.store(Arc::new(certified));
                log::info!("new connections get the new certificate of {}", self.files.certificate.display());
            }
            Err(reason) => log::warn!("the certificate stays as it is: {reason}"),
        }
        *last_read = found;
    }
}

impl ResolvesServerCert for TlsCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

//! A test's own CA, and certificates signed by this CA.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// A CA that only the test trusts.
pub struct TestCa {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
    folder: TempDir,
}

/// A certificate and its key, in PEM form.
pub struct Certificate {
    pub certificate: String,
    pub key: String,
}

impl TestCa {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem, folder: tempfile::tempdir().unwrap() }
    }

    /// A certificate for these names and addresses.
    pub fn issue_certificate(&self, names: &[&str]) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Certificate { certificate, key: key.serialize_pem() }
    }

    /// Writes a file; returns the file's path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The CA's own certificate as a file.
    pub fn ca_file(&self) -> String {
        self.write("authority.pem", &self.pem)
    }
}

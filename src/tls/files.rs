//! Certificates and keys in PEM files.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys, RootCertStore};

use super::TlsError;

/// A file with certificates is a few KiB; all authorities of the world are a quarter of a MiB.
const FILE_LEN_MAX: u64 = 4 << 20;

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |error: std::io::Error| TlsError::new(path, format!("it cannot be read: {error}"));
    let len = std::fs::metadata(path).map_err(failed)?.len();
    if len > FILE_LEN_MAX {
        return Err(TlsError::new(path, format!("it has {len} bytes, more than any file with certificates")));
    }
    std::fs::read(path).map_err(failed)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|error| TlsError::new(path, format!("it is not PEM: {error}")))?;
    match all.is_empty() {
        true => Err(TlsError::new(path, "there is no \"BEGIN CERTIFICATE\" in it; it must be PEM")),
        false => Ok(all),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let is_locked = text.windows(9).any(|window| window == b"ENCRYPTED");
        let problem = match error {
            _ if is_locked => {
                "the key has a password; write it without one: openssl pkey -in … -out …".to_owned()
            }
            pem::Error::NoItemsFound => "there is no private key in it; it must be PEM".to_owned(),
            error => format!("it is not PEM: {error}"),
        };
        TlsError::new(path, problem)
    })
}

/// A certificate with its chain and its key, which belong together.
pub(super) fn certified_key(
    cert: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(cert)?;
    let private = private_key(key)?;
    let certified = CertifiedKey::from_der(chain, private, provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::new(key, format!("it is not the key of the certificate in {}", cert.display()))
        }
        Error::InvalidCertificate(problem) => {
            TlsError::new(cert, format!("its certificate is not valid: {problem:?}"))
        }
        error => TlsError::new(key, format!("it holds no key of a kind that is known: {error}")),
    })?;
    Ok(Arc::new(certified))
}

/// The authorities of a file.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates(path)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| {
            TlsError::new(path, format!("certificate {} is not that of an authority: {error}", index + 1))
        })?;
    }
    Ok(roots)
}

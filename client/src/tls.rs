//! Whom a client trusts, and how it shows who it is: certificates of a `rialtos://` connection.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::address::Address;
use crate::error::{Error, Result};

/// See the module. Nothing of it matters to a connection that is not encrypted.
#[derive(Clone, Default)]
pub(crate) struct TlsOptions {
    /// Authorities that are trusted in place of the system's.
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<Identity>,
    server_name: Option<String>,
    /// Log in by the certificate instead of a password.
    pub(crate) is_login: bool,
    /// Made of all that with the first connection.
    config: OnceLock<Arc<ClientConfig>>,
}

/// A certificate of the client's own, with what leads to its authority.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Identity { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("authorities", &self.authorities.len())
            .field("has_identity", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

impl TlsOptions {
    pub(crate) fn trust(&mut self, pem: &[u8]) -> Result<()> {
        self.authorities.extend(certificates("authorities", pem)?);
        self.config = OnceLock::new();
        Ok(())
    }

    pub(crate) fn identify(&mut self, certificate: &[u8], key: &[u8]) -> Result<()> {
        let chain = certificates("client certificate", certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| unusable(format!("the client's key cannot be read: {error}; it must be PEM")))?;
        self.identity = Some(Identity { chain, key });
        self.config = OnceLock::new();
        Ok(())
    }

    pub(crate) fn set_server_name(&mut self, name: String) {
        self.server_name = Some(name);
    }

    /// The name that the broker's certificate must be for.
    pub(crate) fn server_name(&self, address: &Address) -> Result<ServerName<'static>> {
        let name = self.server_name.as_ref().unwrap_or(&address.host);
        ServerName::try_from(name.clone())
            .map_err(|_| unusable(format!("{name:?} is no name that a certificate can be for")))
    }

    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>> {
        match self.config.get() {
            Some(config) => Ok(config.clone()),
            None => {
                let made = self.make()?;
                Ok(self.config.get_or_init(|| made).clone())
            }
        }
    }

    fn make(&self) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        if self.authorities.is_empty() {
            // Some of a system's files may be of no use; that is for the verifier to say, if none is left.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        for authority in &self.authorities {
            let refused = |error| unusable(format!("one of the authorities is none: {error}"));
            roots.add(authority.clone()).map_err(refused)?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|_| {
                unusable(
                    "this system knows no authorities; name the broker's with ClientBuilder::trust".into(),
                )
            })?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.to_string()))?
            .with_webpki_verifier(verifier);
        let config = match self.identity.clone() {
            None => builder.with_no_client_auth(),
            Some(Identity { chain, key }) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unusable(format!("the client's certificate and key: {error}")))?,
        };
        Ok(Arc::new(config))
    }
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let all: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => {
            Err(unusable(format!("there is no certificate in the {what}; write PEM")))
        }
        Ok(all) => Ok(all),
        Err(error) => Err(unusable(format!("the {what} cannot be read: {error}; write PEM"))),
    }
}

fn unusable(problem: String) -> Error {
    Error::InvalidTls { problem }
}

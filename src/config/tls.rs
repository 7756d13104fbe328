//! `[tls]`: encryption of connections. `broker.toml` tells the same to operators.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::words::words;
use super::{ListenAddress, units};

/// `[tls]`: encryption of connections. It is on when a certificate is named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// Addresses that speak TLS and nothing else. Those of `server.listen` speak both once there is a certificate.
    #[serde(deserialize_with = "units::list")]
    pub listen: Vec<ListenAddress>,
    /// The broker's certificate and what leads to its authority, as PEM. Empty: no TLS.
    pub cert: PathBuf,
    /// The private key of the certificate, as PEM.
    pub key: PathBuf,
    /// Authorities whose client certificates are accepted, as PEM. Empty: none.
    pub client_ca: PathBuf,
    /// Whether clients show a certificate.
    pub verify: ClientVerify,
    /// What of a client's certificate is its user name, for SASL EXTERNAL.
    pub login_from: ClientName,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// How often the files are looked at for changes. Zero: only when SIGHUP comes.
    #[serde(with = "units::duration")]
    pub reload_interval: Duration,
    /// Certificates for other names of this broker.
    pub sni: Vec<CertificateSettings>,
}

/// `[[tls.sni]]`: a certificate for names by which clients ask for the broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateSettings {
    /// The names; `*.example.org` stands for any one word in front.
    pub names: Vec<String>,
    /// As [`TlsSettings::cert`].
    pub cert: PathBuf,
    /// As [`TlsSettings::key`].
    pub key: PathBuf,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddress::new("127.0.0.1", 5671)],
            cert: PathBuf::new(),
            key: PathBuf::new(),
            client_ca: PathBuf::new(),
            verify: ClientVerify::default(),
            login_from: ClientName::default(),
            min_version: TlsVersion::default(),
            reload_interval: Duration::from_secs(5),
            sni: Vec::new(),
        }
    }
}

impl TlsSettings {
    /// Whether the broker speaks TLS.
    pub fn is_on(&self) -> bool {
        !self.cert.as_os_str().is_empty()
    }

    /// The authorities of clients, if there are any.
    pub fn client_ca(&self) -> Option<&Path> {
        (!self.client_ca.as_os_str().is_empty()).then_some(&*self.client_ca)
    }
}

words! {
    /// Whether clients show a certificate.
    ClientVerify, "whether clients show a certificate" {
        /// They are not asked for one.
        #[default]
        None = "none",
        /// Who shows one must have a good one.
        Optional = "optional",
        /// Nobody gets in without a good one.
        Required = "required",
    }
}

words! {
    /// What of a client's certificate is its user name, as RabbitMQ's `ssl_cert_login_from`.
    ClientName, "a part of a certificate" {
        /// The common name of its subject.
        #[default]
        CommonName = "common_name",
        /// Its whole subject, as in RFC 4514: `CN=ann,O=Example`.
        DistinguishedName = "distinguished_name",
        /// The first of its alternative names that is a DNS name.
        SanDns = "san_dns",
        /// The first of its alternative names that is an email address.
        SanEmail = "san_email",
        /// The first of its alternative names that is a URI.
        SanUri = "san_uri",
    }
}

words! {
    /// A version of TLS.
    TlsVersion, "a version of TLS" {
        /// TLS 1.2, RFC 5246.
        #[default]
        V1_2 = "1.2",
        /// TLS 1.3, RFC 8446.
        V1_3 = "1.3",
    }
}

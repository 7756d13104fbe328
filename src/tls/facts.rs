//! What can be said of the broker's own certificates.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::TlsError;

/// How long before its end a certificate is worth a warning.
const WARNED_BEFORE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A certificate of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The file it comes from.
    pub path: PathBuf,
    /// The names that it is for, or its common name if it has none.
    pub names: Vec<String>,
    /// From when it holds.
    pub not_before: SystemTime,
    /// Until when.
    pub not_after: SystemTime,
}

impl CertificateFacts {
    /// The facts of the first certificate of a chain.
    pub(super) fn of(path: &Path, der: &[u8]) -> Result<Self, TlsError> {
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|error| TlsError::new(path, format!("its certificate cannot be read: {error}")))?;
        let mut names: Vec<String> = match certificate.subject_alternative_name() {
            Ok(Some(names)) => names.value.general_names.iter().filter_map(shown).collect(),
            _ => Vec::new(),
        };
        if names.is_empty() {
            let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
            names.extend(common.map(str::to_owned));
        }
        let validity = certificate.validity();
        Ok(CertificateFacts {
            path: path.to_owned(),
            names,
            not_before: time(validity.not_before.timestamp()),
            not_after: time(validity.not_after.timestamp()),
        })
    }

    /// Says in the log what it is, louder if it is no good.
    pub(super) fn tell(&self, now: SystemTime) {
        let (path, names) = (self.path.display(), self.names.join(", "));
        let until = humantime::format_rfc3339_seconds(self.not_after);
        if now > self.not_after {
            tracing::error!(
                "TLS certificate {path} for {names:?} has expired at {until}: clients will refuse it"
            );
        } else if now < self.not_before {
            let from = humantime::format_rfc3339_seconds(self.not_before);
            tracing::error!(
                "TLS certificate {path} for {names:?} is not valid before {from}: clients will refuse it"
            );
        } else if now + WARNED_BEFORE > self.not_after {
            tracing::warn!("TLS certificate {path} for {names:?} expires soon, at {until}");
        } else {
            tracing::info!("TLS certificate {path} for {names:?}, good until {until}");
        }
    }
}

/// A moment of a certificate; what lies before 1970 is 1970.
pub(super) fn time(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn shown(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            Some((*name).to_owned())
        }
        GeneralName::IPAddress(octets) => match **octets {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(a, b, c, d).to_string()),
            _ => <[u8; 16]>::try_from(*octets).ok().map(|ip| std::net::Ipv6Addr::from(ip).to_string()),
        },
        _ => None,
    }
}

//! Why a handshake failed, in words for the one who reads the broker's log.

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// What went wrong, and on which side to mend it.
pub fn explain(error: &Error) -> String {
    let words = match error {
        Error::InvalidCertificate(problem) => return certificate(problem),
        Error::NoCertificatesPresented => {
            "the client showed no certificate, and tls.verify = \"required\" wants one; give it one of an authority \
             in tls.client_ca"
        }
        Error::AlertReceived(alert) => return received(*alert),
        Error::PeerIncompatible(PeerIncompatible::SupportedVersionsExtensionRequired) => {
            "the client speaks only versions older than TLS 1.3, and tls.min_version = \"1.3\""
        }
        Error::PeerIncompatible(problem) => {
            return format!("the client and the broker have nothing in common to speak ({problem:?})");
        }
        Error::InvalidMessage(_) => "what came is not TLS",
        Error::PeerSentOversizedRecord => "a record was longer than TLS allows",
        error => return error.to_string(),
    };
    words.to_owned()
}

#[allow(clippy::wildcard_enum_match_arm)] // the library's list grows
fn certificate(problem: &CertificateError) -> String {
    let words = match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the client's certificate has expired; it needs a new one"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the client's certificate is not valid yet; look at its dates and at this machine's clock"
        }
        CertificateError::UnknownIssuer => {
            "the client's certificate is from an authority that is not in tls.client_ca"
        }
        CertificateError::Revoked => "the client's certificate has been revoked",
        CertificateError::BadSignature => {
            "the client's certificate is not signed by the authority of that name in tls.client_ca; was it made anew?"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the client's certificate is not for clients: it has no extended key usage clientAuth"
        }
        other => return format!("the client's certificate is no good: {other}"),
    };
    words.to_owned()
}

/// The client has refused us.
fn received(alert: AlertDescription) -> String {
    let words = match alert {
        AlertDescription::UnknownCA => {
            "the client does not trust the authority of the broker's certificate; give it the authority's certificate, \
             and put what leads there behind the broker's own in tls.cert"
        }
        AlertDescription::CertificateExpired => "the client says that the broker's certificate has expired",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "the client does not accept the broker's certificate; often it is for another name than the one that the \
             client connects to"
        }
        AlertDescription::ProtocolVersion => "the client speaks other versions of TLS",
        AlertDescription::HandshakeFailure => "the client and the broker have no cipher in common",
        alert => return format!("the client refused: {alert:?}"),
    };
    words.to_owned()
}

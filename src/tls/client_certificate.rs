//! Who a client's certificate names.

use tokio_rustls::rustls::{ProtocolVersion, ServerConnection};
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

use super::facts::time;
use crate::config::ClientName;
use crate::model::{PeerCertificate, TlsFacts};

/// What a handshake that is done has brought.
pub(super) fn tls_facts(connection: &ServerConnection, login_from: ClientName) -> TlsFacts {
    let protocol = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "tlsv1.2",
        _ => "tlsv1.3",
    };
    let suite = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
    let peer = connection.peer_certificates().and_then(<[_]>::first);
    TlsFacts {
        server_name: connection.server_name().map(str::to_owned),
        peer: peer.and_then(|der| peer_certificate(der, login_from)),
        ..TlsFacts::of_suite(protocol, &suite.unwrap_or_default())
    }
}

/// None: it cannot be read, though it could be verified; it then names nobody.
fn peer_certificate(der: &[u8], login_from: ClientName) -> Option<PeerCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let moment = |seconds| humantime::format_rfc3339_seconds(time(seconds)).to_string();
    let validity = certificate.validity();
    Some(PeerCertificate {
        subject: distinguished_name(certificate.subject()),
        issuer: distinguished_name(certificate.issuer()),
        validity: format!(
            "{} - {}",
            moment(validity.not_before.timestamp()),
            moment(validity.not_after.timestamp())
        ),
        login_name: login_name(&certificate, login_from),
    })
}

fn login_name(certificate: &X509Certificate<'_>, login_from: ClientName) -> Option<String> {
    let name = match login_from {
        ClientName::DistinguishedName => distinguished_name(certificate.subject()),
        // Of several, RabbitMQ takes all, with commas between.
        ClientName::CommonName => {
            let names = certificate.subject().iter_common_name();
            names.map(|name| name.as_str().ok()).collect::<Option<Vec<_>>>()?.join(",")
        }
        ClientName::SanDns | ClientName::SanEmail | ClientName::SanUri => {
            let names = certificate.subject_alternative_name().ok()??;
            let wanted = |name: &GeneralName<'_>| match (login_from, name) {
                (ClientName::SanDns, GeneralName::DNSName(name))
                | (ClientName::SanEmail, GeneralName::RFC822Name(name))
                | (ClientName::SanUri, GeneralName::URI(name)) => Some((*name).to_owned()),
                _ => None,
            };
            names.value.general_names.iter().find_map(wanted)?
        }
    };
    (!name.is_empty()).then_some(name)
}

/// RFC 4514: the last part first, commas between.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().collect();
    let parts = parts.into_iter().rev().map(|part| {
        let attributes = part.iter().map(|attribute| {
            let oid = attribute.attr_type();
            let kind = oid2abbrev(oid, oid_registry()).map_or_else(|_| oid.to_id_string(), str::to_owned);
            format!("{kind}={}", escaped(attribute.as_str().unwrap_or("?")))
        });
        attributes.collect::<Vec<_>>().join("+")
    });
    parts.collect::<Vec<_>>().join(",")
}

/// RFC 4514, section 2.4: what would be taken for a separator has a backslash.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, c) in value.chars().enumerate() {
        let is_special = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (index == 0 && matches!(c, '#' | ' '))
            || (index == last && c == ' ');
        if is_special {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::dev::{Authority, Leaf};
    use super::*;

    fn named(leaf: Leaf<'_>, login_from: ClientName) -> (String, Option<String>) {
        let authority = Authority::new("Test CA").unwrap();
        let pem = authority.issue(leaf).unwrap().certificate;
        let der = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap().1.contents;
        let facts = peer_certificate(&der, login_from).unwrap();
        assert_eq!(facts.issuer, "CN=Test CA,O=Rialto development");
        (facts.subject, facts.login_name)
    }

    fn leaf() -> Leaf<'static> {
        Leaf { common_name: "ann", names: &["ann.example.org", "127.0.0.1"], days: 1, is_client: true }
    }

    #[test]
    fn a_setting_says_what_of_a_certificate_is_the_user_name() {
        let login = |from| named(leaf(), from).1;
        assert_eq!(login(ClientName::CommonName).as_deref(), Some("ann"));
        assert_eq!(login(ClientName::DistinguishedName).as_deref(), Some("CN=ann,O=Rialto development"));
        assert_eq!(login(ClientName::SanDns).as_deref(), Some("ann.example.org"));
        assert_eq!(login(ClientName::SanEmail), None);
    }

    #[test]
    fn a_name_cannot_pass_for_two() {
        let (subject, login) =
            named(Leaf { common_name: "ann,O=admins", ..leaf() }, ClientName::DistinguishedName);
        assert_eq!(subject, "CN=ann\\,O=admins,O=Rialto development");
        assert_eq!(login, Some(subject));
    }
}

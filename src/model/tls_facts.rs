//! What is known of a connection's encryption, for lists and for logins by certificate.

/// What two peers agreed on, and who the other is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `tlsv1.2` or `tlsv1.3`, as RabbitMQ's `ssl_protocol`.
    pub protocol: &'static str,
    /// How keys were agreed on, as RabbitMQ's `ssl_key_exchange`: `ecdhe_rsa`, or `any` with TLS 1.3.
    pub key_exchange: String,
    /// The cipher, as RabbitMQ's `ssl_cipher`: `aes_256_gcm`.
    pub cipher: String,
    /// The hash, as RabbitMQ's `ssl_hash`: `sha384`.
    pub hash: String,
    /// What the client asked for, if it said so.
    pub server_name: Option<String>,
    /// The client's certificate; it has been verified.
    pub peer: Option<PeerCertificate>,
}

/// Who a certificate names. Texts are as their authority wrote them: escape them before they are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Its subject in the form of RFC 4514: `CN=ann,O=Example`.
    pub subject: String,
    /// Who vouches for it, in the same form.
    pub issuer: String,
    /// From when until when it holds: `2026-01-01T00:00:00Z - 2027-01-01T00:00:00Z`.
    pub validity: String,
    /// The user name that `tls.login_from` picks; none if it has no such part.
    pub login_name: Option<String>,
}

impl TlsFacts {
    /// Takes a cipher suite's name apart: `TLS13_AES_256_GCM_SHA384`, `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`.
    pub fn of_suite(protocol: &'static str, suite: &str) -> TlsFacts {
        let suite = suite.to_ascii_lowercase();
        let rest = suite.split_once('_').map_or(suite.as_str(), |(_, rest)| rest);
        let (key_exchange, rest) = rest.split_once("_with_").unwrap_or(("any", rest));
        let (cipher, hash) = rest.rsplit_once('_').unwrap_or((rest, ""));
        TlsFacts {
            protocol,
            key_exchange: key_exchange.to_owned(),
            cipher: cipher.to_owned(),
            hash: hash.to_owned(),
            server_name: None,
            peer: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_taken_apart_as_rabbitmq_shows_them() {
        let parts = |suite| {
            let facts = TlsFacts::of_suite("tlsv1.3", suite);
            (facts.key_exchange, facts.cipher, facts.hash)
        };
        let three = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(parts("TLS13_AES_256_GCM_SHA384"), three("any", "aes_256_gcm", "sha384"));
        assert_eq!(
            parts("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
            three("ecdhe_rsa", "aes_128_gcm", "sha256")
        );
        assert_eq!(parts("TLS13_CHACHA20_POLY1305_SHA256"), three("any", "chacha20_poly1305", "sha256"));
    }
}

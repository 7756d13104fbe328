//! Which certificate a client is shown: the one for the name it asked for, or the broker's first.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// See the module. A name that is not known gets the first certificate: clients that connect by address or through a
/// balancer ask for none or for another, and decide themselves what they trust.
#[derive(Debug)]
pub(super) struct ServerNames {
    first: Arc<CertifiedKey>,
    /// By name in small letters; `*.example.org` is there as `.example.org`.
    others: HashMap<String, Arc<CertifiedKey>>,
}

impl ServerNames {
    pub(super) fn new(first: Arc<CertifiedKey>) -> Self {
        ServerNames { first, others: HashMap::new() }
    }

    /// Shows a certificate to those who ask for this name.
    pub(super) fn add(&mut self, name: &str, certificate: Arc<CertifiedKey>) {
        let name = name.trim().to_ascii_lowercase();
        let name = name.strip_prefix('*').unwrap_or(&name).to_owned();
        self.others.insert(name, certificate);
    }

    fn find(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        let Some(name) = name else { return &self.first };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let exact = self.others.get(&name);
        // A star stands for one word, as in certificates (RFC 6125, section 6.4.3).
        let starred = || name.find('.').and_then(|dot| self.others.get(&name[dot..]));
        exact.or_else(starred).unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for ServerNames {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.find(hello.server_name()).clone())
    }
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::crypto::ring::default_provider;

    use super::super::dev::{Authority, Leaf};
    use super::super::files::certified_key;
    use super::*;

    #[test]
    fn a_star_stands_for_one_word_and_the_first_for_all_that_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("Test CA").unwrap();
        let leaf = Leaf { common_name: "mq", names: &["mq"], days: 1, is_client: false };
        authority.issue(leaf).unwrap().write(folder.path(), "mq").unwrap();
        let key = || {
            certified_key(&folder.path().join("mq.pem"), &folder.path().join("mq.key"), &default_provider())
                .unwrap()
        };
        let (first, exact, starred) = (key(), key(), key());
        let mut names = ServerNames::new(first.clone());
        names.add("MQ.example.org", exact.clone());
        names.add("*.example.org", starred.clone());
        for (asked, shown) in [
            (Some("mq.example.org"), &exact),
            (Some("other.EXAMPLE.org."), &starred),
            (Some("a.b.example.org"), &first),
            (Some("example.org"), &first),
            (Some("mq"), &first),
            (None, &first),
        ] {
            assert!(Arc::ptr_eq(names.find(asked), shown), "{asked:?}");
        }
    }
}

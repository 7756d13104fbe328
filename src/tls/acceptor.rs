//! What new connections begin with: the certificates of the moment.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::RwLock;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{Error, ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::client_certificate::tls_facts;
use super::server_names::ServerNames;
use super::{CertificateFacts, TlsError, files};
use crate::config::{ClientVerify, TlsSettings, TlsVersion};
use crate::model::TlsFacts;

/// See the module. Shared by all listeners.
pub struct Acceptor {
    settings: TlsSettings,
    /// Taken once for each connection.
    current: RwLock<Current>,
    /// The files as they were when they were last looked at.
    seen: RwLock<Vec<FileStamp>>,
}

/// What was read from the files.
struct Current {
    config: Arc<ServerConfig>,
    /// The same without client certificates, for the HTTP API.
    without_clients: Arc<ServerConfig>,
    certificates: Vec<CertificateFacts>,
}

/// Tells two states of a file apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileStamp {
    path: PathBuf,
    /// When it was written and how long it is; none: it is not there.
    state: Option<(SystemTime, u64)>,
}

impl Acceptor {
    /// Reads what the settings name. None: they name no certificate, and there is no TLS. Waits for the disk.
    ///
    /// # Errors
    /// A file cannot be read or is of no use.
    pub fn load(settings: &TlsSettings) -> Result<Option<Arc<Acceptor>>, TlsError> {
        if !settings.is_on() {
            return Ok(None);
        }
        let seen = stamps(settings);
        let current = read(settings)?;
        current.tell();
        let (current, seen) = (RwLock::new(current), RwLock::new(seen));
        Ok(Some(Arc::new(Acceptor { settings: settings.clone(), current, seen })))
    }

    /// The server's side of a new connection.
    ///
    /// # Errors
    /// Randomness cannot be had.
    pub fn accept(&self) -> Result<ServerConnection, Error> {
        ServerConnection::new(self.current.read().config.clone())
    }

    /// What holds for servers of other protocols, such as the HTTP API: the same certificates, and no wish for those of
    /// clients. Ask for it for each connection, so that new files count.
    pub fn without_client_certificates(&self) -> Arc<ServerConfig> {
        self.current.read().without_clients.clone()
    }

    /// What a handshake that is done has brought.
    pub fn facts(&self, connection: &ServerConnection) -> TlsFacts {
        tls_facts(connection, self.settings.login_from)
    }

    /// The broker's certificates, the first of all first.
    pub fn certificates(&self) -> Vec<CertificateFacts> {
        self.current.read().certificates.clone()
    }

    /// The settings it was made of.
    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }

    /// Reads the files anew if they have changed since the last time, or in any case. True: they are in use from now
    /// on. Connections that have begun keep what they have. Waits for the disk.
    ///
    /// # Errors
    /// They are of no use; what was in use stays so, and it is tried again when they change.
    pub fn reload(&self, in_any_case: bool) -> Result<bool, TlsError> {
        // Before they are read: what changes meanwhile is read again the next time.
        let now = stamps(&self.settings);
        if std::mem::replace(&mut *self.seen.write(), now.clone()) == now && !in_any_case {
            return Ok(false);
        }
        let current = read(&self.settings)?;
        current.tell();
        *self.current.write() = current;
        Ok(true)
    }
}

impl Current {
    fn tell(&self) {
        let now = SystemTime::now();
        self.certificates.iter().for_each(|certificate| certificate.tell(now));
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("cert", &self.settings.cert).finish_non_exhaustive()
    }
}

/// What can be negotiated in a new connection.
fn versions(least: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static NEW_AND_OLD: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match least {
        TlsVersion::V1_2 => &NEW_AND_OLD,
        TlsVersion::V1_3 => &NEW_AND_OLD[..1],
    }
}

fn read(settings: &TlsSettings) -> Result<Current, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let mut certificates = Vec::new();
    let mut certified = |cert: &Path, key: &Path| -> Result<Arc<CertifiedKey>, TlsError> {
        let certified = files::certified_key(cert, key, &provider)?;
        let first = certified.cert.first().map(|der| CertificateFacts::of(cert, der));
        certificates.extend(first.transpose()?);
        Ok(certified)
    };
    let mut names = ServerNames::new(certified(&settings.cert, &settings.key)?);
    for sni in &settings.sni {
        let certificate = certified(&sni.cert, &sni.key)?;
        sni.names.iter().for_each(|name| names.add(name, certificate.clone()));
    }
    let names = Arc::new(names);
    let builder = || {
        let builder = ServerConfig::builder_with_provider(provider.clone());
        builder
            .with_protocol_versions(versions(settings.min_version))
            .map_err(|error| TlsError::new(&settings.cert, error))
    };
    let without_clients = builder()?.with_no_client_auth().with_cert_resolver(names.clone());
    let config = match client_verifier(settings, &provider)? {
        None => without_clients.clone(),
        Some(verifier) => builder()?.with_client_cert_verifier(verifier).with_cert_resolver(names),
    };
    let (config, without_clients) = (Arc::new(config), Arc::new(without_clients));
    Ok(Current { config, without_clients, certificates })
}

fn client_verifier(
    settings: &TlsSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn tokio_rustls::rustls::server::danger::ClientCertVerifier>>, TlsError> {
    let Some(path) = settings.client_ca() else { return Ok(None) };
    // Read even if nobody is asked for a certificate: a file of no use is told now rather than later.
    let roots = Arc::new(files::authorities(path)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
    let builder = match settings.verify {
        ClientVerify::None => return Ok(None),
        ClientVerify::Optional => builder.allow_unauthenticated(),
        ClientVerify::Required => builder,
    };
    builder.build().map(Some).map_err(|error| TlsError::new(path, error))
}

fn stamps(settings: &TlsSettings) -> Vec<FileStamp> {
    let sni = settings.sni.iter().flat_map(|sni| [&sni.cert, &sni.key]);
    let named = [&settings.cert, &settings.key, &settings.client_ca].into_iter().chain(sni);
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok();
        let state = metadata.map(|data| (data.modified().unwrap_or(SystemTime::UNIX_EPOCH), data.len()));
        FileStamp { path: path.clone(), state }
    };
    named.map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::super::dev::{self, Leaf};
    use super::*;

    struct Files {
        folder: tempfile::TempDir,
        authority: dev::Authority,
    }

    impl Files {
        fn new() -> Self {
            Files { folder: tempfile::tempdir().unwrap(), authority: dev::Authority::new("Test CA").unwrap() }
        }

        fn issue(&self, file: &str, name: &str) {
            let leaf = Leaf { common_name: name, names: &[name], days: 30, is_client: false };
            self.authority.issue(leaf).unwrap().write(self.folder.path(), file).unwrap();
        }

        fn settings(&self) -> TlsSettings {
            let path = |name: &str| self.folder.path().join(name);
            TlsSettings { cert: path("server.pem"), key: path("server.key"), ..TlsSettings::default() }
        }
    }

    #[test]
    fn without_a_certificate_there_is_no_tls() {
        assert!(Acceptor::load(&TlsSettings::default()).unwrap().is_none());
    }

    #[test]
    fn files_that_do_not_fit_leave_the_last_good_ones_in_use() {
        let files = Files::new();
        files.issue("server", "first.example");
        let acceptor = Acceptor::load(&files.settings()).unwrap().unwrap();
        let names = || acceptor.certificates()[0].names.clone();
        assert!(!acceptor.reload(false).unwrap());

        // The certificate has come and its key has not yet.
        files.issue("next", "second.example");
        std::fs::copy(files.folder.path().join("next.pem"), &files.settings().cert).unwrap();
        let error = acceptor.reload(true).unwrap_err();
        assert!(error.problem.contains("not the key of the certificate"), "{error}");
        assert_eq!(names(), ["first.example"]);

        std::fs::copy(files.folder.path().join("next.key"), &files.settings().key).unwrap();
        assert!(acceptor.reload(true).unwrap());
        assert_eq!(names(), ["second.example"]);
    }

    #[test]
    fn files_of_no_use_are_told_with_what_is_wrong() {
        let files = Files::new();
        files.issue("server", "mq");
        let write = |name: &str, text: &str| std::fs::write(files.folder.path().join(name), text).unwrap();
        write("empty.pem", "");
        write(
            "locked.key",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        );
        write("bad.pem", "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n");
        write("fake.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        for (cert, key, client_ca, at, problem) in [
            ("missing.pem", "server.key", "", "missing.pem", "cannot be read"),
            ("empty.pem", "server.key", "", "empty.pem", "BEGIN CERTIFICATE"),
            ("bad.pem", "server.key", "", "bad.pem", "not PEM"),
            ("fake.pem", "server.key", "", "fake.pem", "not valid"),
            ("server.pem", "server.pem", "", "server.pem", "no private key"),
            ("server.pem", "locked.key", "", "locked.key", "password"),
            ("server.pem", "server.key", "server.key", "server.key", "BEGIN CERTIFICATE"),
            ("server.pem", "server.key", "fake.pem", "fake.pem", "not that of an authority"),
        ] {
            let path = |name: &str| match name {
                "" => PathBuf::new(),
                name => files.folder.path().join(name),
            };
            let settings = TlsSettings {
                cert: path(cert),
                key: path(key),
                client_ca: path(client_ca),
                ..TlsSettings::default()
            };
            let error = Acceptor::load(&settings).unwrap_err();
            assert!(error.path.ends_with(at) && error.problem.contains(problem), "{cert} {key}: {error}");
        }
    }
}

//! A folder with certificates, and brokers that use them.

use std::path::PathBuf;
use std::sync::Arc;

use rialto::broker::Broker;
use rialto::config::{ClientVerify, TlsSettings};
use rialto::server::{Embedded, ServerOptions};
use rialto::tls::Acceptor;
use rialto::tls::dev::{Authority, Leaf};
use rialto_client::{Client, ClientBuilder, Error};

use crate::support::soon;

/// See the module.
pub(crate) struct Certificates {
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Certificates {
    /// An authority, and a broker's certificate for `localhost`.
    pub(crate) fn new() -> Self {
        Self::of_authority("Test CA")
    }

    /// Those of somebody else.
    pub(crate) fn of_strangers() -> Self {
        Self::of_authority("Strangers CA")
    }

    fn of_authority(name: &str) -> Self {
        let made = Certificates {
            folder: tempfile::tempdir().expect("a folder"),
            authority: Authority::new(name).expect("randomness"),
        };
        std::fs::write(made.path("ca.pem"), made.authority.certificate()).expect("a file");
        made.issue("server", "localhost", 30);
        made
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("a file that was made")
    }

    /// Makes a broker's certificate for a name, or makes it anew. 0 days: it has expired.
    pub(crate) fn issue(&self, file: &str, name: &str, days: u32) {
        self.make(file, Leaf { common_name: name, names: &[name], days, is_client: false });
    }

    /// Makes a client's certificate.
    pub(crate) fn issue_client(&self, user: &str, days: u32) {
        self.make(user, Leaf { common_name: user, names: &[], days, is_client: true });
    }

    fn make(&self, file: &str, leaf: Leaf<'_>) {
        let issued = self.authority.issue(leaf).expect("names that a certificate can carry");
        issued.write(self.folder.path(), file).expect("files");
    }

    pub(crate) fn settings(&self, verify: ClientVerify) -> TlsSettings {
        TlsSettings {
            listen: Vec::new(),
            cert: self.path("server.pem"),
            key: self.path("server.key"),
            client_ca: self.path("ca.pem"),
            verify,
            ..TlsSettings::default()
        }
    }

    /// A broker that speaks TLS and plain on one address, and what it begins connections with.
    pub(crate) async fn broker(&self, settings: &TlsSettings) -> (Embedded, Arc<Acceptor>) {
        let acceptor =
            Acceptor::load(settings).expect("files that are of use").expect("a certificate is named");
        let options = ServerOptions { tls: Some(acceptor.clone()), ..ServerOptions::default() };
        let broker = Embedded::start_with(Broker::in_memory().build(), options).await.expect("a free port");
        (broker, acceptor)
    }

    /// A client that trusts the authority.
    pub(crate) fn client(&self, broker: &Embedded) -> ClientBuilder {
        let url = format!("rialtos://guest:guest@localhost:{}", broker.address().port());
        let builder = ClientBuilder::new(&url).expect("an address");
        builder.trust(&self.read("ca.pem")).expect("an authority")
    }
}

/// Connects, or says why not.
pub(crate) async fn connect(builder: ClientBuilder) -> Result<Client, Error> {
    soon("a connection or an error", builder.connect()).await
}

//! Logins by certificate (SASL EXTERNAL), over both protocols.

use std::sync::Arc;

use bytes::Bytes;
use rialto::access::{Credentials, Permission, Tags, User};
use rialto::config::{ClientName, ClientVerify, TlsSettings};
use rialto::model::VhostName;
use rialto::server::Embedded;
use rialto_client::{Client, Error};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::amqp::{self, Method};
use crate::certificates::{Certificates, connect};

/// A broker that asks for certificates, and has the user `ann`, who has no password.
async fn start(certificates: &Certificates) -> Embedded {
    let settings =
        TlsSettings { login_from: ClientName::CommonName, ..certificates.settings(ClientVerify::Optional) };
    let (broker, _) = certificates.broker(&settings).await;
    let access = broker.broker().access();
    access.put_user(User::new("ann", Credentials::none(), Tags::default()));
    access.put_permission(Permission::full("ann", VhostName::new("/").expect("short")));
    certificates.issue_client("ann", 1);
    // Nobody here is called that.
    certificates.issue_client("eve", 1);
    broker
}

async fn over_native(
    certificates: &Certificates,
    broker: &Embedded,
    user: Option<&str>,
) -> Result<Client, Error> {
    let mut builder = certificates.client(broker);
    if let Some(user) = user {
        let (certificate, key) =
            (certificates.read(&format!("{user}.pem")), certificates.read(&format!("{user}.key")));
        builder = builder.identity(&certificate, &key).expect("a certificate and its key");
    }
    connect(builder.login_by_certificate()).await
}

/// The way into TLS for a client that knows nothing of it: what comes to this address goes to the broker, encrypted.
async fn tunnel(certificates: &Certificates, broker: &Embedded, user: Option<&str>) -> std::net::SocketAddr {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&certificates.read("ca.pem")).expect("an authority"))
        .expect("an authority");
    let config = ClientConfig::builder().with_root_certificates(roots);
    let config = match user {
        None => config.with_no_client_auth(),
        Some(user) => {
            let pem = certificates.read(&format!("{user}.pem"));
            let chain: Vec<_> =
                CertificateDer::pem_slice_iter(&pem).map(|der| der.expect("a certificate")).collect();
            let key =
                PrivateKeyDer::from_pem_slice(&certificates.read(&format!("{user}.key"))).expect("a key");
            config.with_client_auth_cert(chain, key).expect("a certificate and its key")
        }
    };
    let connector = TlsConnector::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (address, to) = (listener.local_addr().expect("it is bound"), broker.address());
    tokio::spawn(async move {
        let (mut plain, _) = listener.accept().await.expect("a client");
        let socket = TcpStream::connect(to).await.expect("the broker listens");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut encrypted = connector.connect(name, socket).await.expect("a handshake");
        // Whoever ends it, and how, is for the client to see.
        let _ = tokio::io::copy_bidirectional(&mut plain, &mut encrypted).await;
    });
    address
}

async fn over_amqp(
    certificates: &Certificates,
    broker: &Embedded,
    user: Option<&str>,
    claimed: &'static [u8],
) -> Result<(), (u16, String)> {
    let address = tunnel(certificates, broker, user).await;
    let logging_in = tokio::task::spawn_blocking(move || {
        let response = Bytes::from_static(claimed);
        let options = amqp::Options { mechanism: "EXTERNAL", response, ..amqp::Options::default() };
        let mut client = amqp::Client::log_in(address, &options)
            .map_err(|closed| closed.map_or((0, String::new()), |closed| (closed.code, closed.text)))?;
        client.open_channel(1);
        let declared = client.call(1, amqp::methods::declare_queue("of-a-certificate").into());
        assert!(matches!(declared, Ok(Method::QueueDeclareOk(_))), "{declared:?}");
        Ok(())
    });
    logging_in.await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_the_login_of_whom_it_names() {
    let certificates = Certificates::new();
    let broker = start(&certificates).await;
    let _native = over_native(&certificates, &broker, Some("ann")).await.expect("let in");
    let [info] = &broker.broker().connections()[..] else { panic!("one connection") };
    assert_eq!((info.user.as_str(), info.mechanism.as_str()), ("ann", "EXTERNAL"));
    over_amqp(&certificates, &broker, Some("ann"), b"").await.expect("let in");
    over_amqp(&certificates, &broker, Some("ann"), b"guest").await.expect("whatever it claims");
    let queue = broker.broker().vhost("/").expect("a vhost").any_queue("of-a-certificate");
    assert!(queue.is_some(), "AMQP clients work with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_nobody_and_none_let_nobody_in() {
    let certificates = Certificates::new();
    let broker = start(&certificates).await;
    let refused = over_native(&certificates, &broker, Some("eve")).await.expect_err("nobody");
    assert!(matches!(&refused, Error::LoginRefused { code: 403, .. }), "{refused:?}");
    // The mechanism is one only for who has shown a certificate.
    let refused = over_native(&certificates, &broker, None).await.expect_err("without a certificate");
    assert!(matches!(&refused, Error::LoginRefused { code: 540, .. }), "{refused:?}");
    // Not even by claiming to be somebody.
    for claimed in [&b""[..], b"ann"] {
        let (code, text) = over_amqp(&certificates, &broker, Some("eve"), claimed).await.expect_err("nobody");
        assert_eq!(code, 403);
        assert!(text.contains("mechanism EXTERNAL") && !text.contains("eve"), "{text}");
        let (code, text) =
            over_amqp(&certificates, &broker, None, claimed).await.expect_err("no certificate");
        assert_eq!(code, 503, "{text}");
    }
    // The user is gone, the certificate is not.
    broker.broker().delete_user("ann").expect("she was there");
    let (code, _) = over_amqp(&certificates, &broker, Some("ann"), b"").await.expect_err("she was deleted");
    assert_eq!(code, 403);
    assert_eq!(broker.broker().connection_count(), 0);
}

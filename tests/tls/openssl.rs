//! What openssl's own client finds.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use rialto::config::{ClientVerify, TlsSettings, TlsVersion};

use crate::certificates::Certificates;

/// What `openssl s_client` prints when it has said `first`, and what came back. None: there is no openssl here.
fn s_client(certificates: &Certificates, port: u16, options: &[&str], first: &[u8]) -> Option<String> {
    let ca = certificates.path("ca.pem");
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &format!("localhost:{port}"), "-servername", "localhost"])
        .args(["-verify_return_error", "-verify_hostname", "localhost", "-CAfile"])
        .arg(ca)
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut said = child.stdin.take().expect("a pipe");
    said.write_all(first).and_then(|()| said.flush()).expect("openssl reads");
    // It ends when the broker hangs up, which is what it does with a protocol that it does not know.
    let output = child.wait_with_output().expect("openssl ends");
    drop(said);
    let text = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&text).into_owned())
}

async fn asked(
    settings: &TlsSettings,
    certificates: &Certificates,
    options: &'static [&str],
) -> Option<String> {
    let (broker, _) = certificates.broker(settings).await;
    let port = broker.address().port();
    tokio::task::block_in_place(|| s_client(certificates, port, options, b"GET / HTTP/1.1\r\n\r\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_verifies_the_broker_and_speaks_both_versions() {
    let certificates = Certificates::new();
    let settings = certificates.settings(ClientVerify::None);
    for (option, version) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let options: &'static [&str] = if option == "-tls1_3" { &["-tls1_3"] } else { &["-tls1_2"] };
        let Some(told) = asked(&settings, &certificates, options).await else { return };
        assert!(told.contains("Verify return code: 0 (ok)") || told.contains("Verification: OK"), "{told}");
        assert!(told.contains(version), "{told}");
        // Behind the encryption it is the same port: who speaks HTTP is told so, and the end is in good order.
        assert!(told.contains("HTTP/1.1 400") && told.contains("not HTTP"), "{told}");
        assert!(!told.contains("unexpected eof"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_are_too_old_are_refused() {
    let certificates = Certificates::new();
    let settings = TlsSettings { min_version: TlsVersion::V1_3, ..certificates.settings(ClientVerify::None) };
    let Some(told) = asked(&settings, &certificates, &["-tls1_2"]).await else { return };
    assert!(told.contains("alert protocol version") || told.contains("handshake failure"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_of_nonsense_is_answered_with_an_alert() {
    let certificates = Certificates::new();
    let (broker, _) = certificates.broker(&certificates.settings(ClientVerify::None)).await;
    let address = broker.address();
    let answer = tokio::task::spawn_blocking(move || {
        let mut socket = std::net::TcpStream::connect(address).expect("a connection");
        // A record of a handshake with a length that no record may have.
        socket.write_all(&[0x16, 0x03, 0x01, 0xff, 0xff, 1, 2, 3, 4]).expect("room");
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        answer
    });
    let answer = answer.await.expect("no panic");
    assert_eq!(answer.first(), Some(&0x15), "an alert: {answer:?}");
}

//! The HTTP API by TLS: its own addresses, the broker's certificates, and `rialto`'s commands over it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rialto::config::{ClientVerify, ListenAddress, Settings, TlsSettings};
use rialto::server::Addresses;
use tokio_util::sync::CancellationToken;

use crate::certificates::Certificates;

/// A broker whose HTTP API speaks TLS and nothing else. It stops when this is dropped.
struct Broker {
    api: SocketAddr,
    stop: CancellationToken,
    serving: Option<JoinHandle<()>>,
}

impl Broker {
    fn start(tls: TlsSettings) -> Self {
        let mut settings = Settings { tls, ..Settings::default() };
        let anywhere = || vec![ListenAddress::new("127.0.0.1", 0)];
        settings.store.in_memory = true;
        settings.server.listen = anywhere();
        settings.management.listen = Vec::new();
        settings.management.tls_listen = anywhere();
        settings.metrics.listen = Vec::new();
        let stop = CancellationToken::new();
        let (tell, told) = mpsc::channel();
        let serving = thread::spawn({
            let stop = stop.clone();
            move || {
                let runtime = tokio::runtime::Runtime::new().expect("a runtime");
                let ready = |addresses: &Addresses| tell.send(addresses.clone()).expect("it is awaited");
                runtime.block_on(rialto::server::serve(&settings, stop, ready)).expect("it serves");
            }
        });
        let addresses = told.recv().expect("it serves");
        assert!(addresses.management.is_empty());
        Broker { api: addresses.management_tls[0], stop, serving: Some(serving) }
    }

    /// A command of `rialto` that trusts this authority.
    fn ask(&self, ca: &Path, command: &[&str]) -> Output {
        let mut rialto = Command::new(env!("CARGO_BIN_EXE_rialto"));
        rialto.args(command).arg("--tls-ca").arg(ca);
        rialto.args(["--api", &format!("https://guest:guest@localhost:{}", self.api.port())]);
        rialto.output().expect("it runs")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop.cancel();
        let ended = self.serving.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the broker did not end in good order");
        }
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[test]
fn commands_speak_with_a_broker_whose_authority_they_trust_and_with_no_other() {
    let (certificates, strangers) = (Certificates::new(), Certificates::of_strangers());
    // What holds for clients of messages, who need a certificate here, is not asked of those who log in with a password.
    let broker = Broker::start(certificates.settings(ClientVerify::Required));
    let ca = certificates.path("ca.pem");
    for command in [&["vhost", "add", "shop"][..], &["vhost", "set", "shop", "--protect"]] {
        let done = broker.ask(&ca, command);
        assert!(done.status.success(), "{}", told(&done));
    }
    let refused = broker.ask(&ca, &["vhost", "delete", "shop", "--yes"]);
    assert!(!refused.status.success() && told(&refused).contains("protected"), "{}", told(&refused));
    let overview = broker.ask(&ca, &["status", "--json"]);
    assert!(told(&overview).contains(r#""protocol":"https""#), "{}", told(&overview));

    let refused = broker.ask(&strangers.path("ca.pem"), &["vhost", "list"]);
    assert_eq!(refused.status.code(), Some(4), "{}", told(&refused));
    assert!(told(&refused).contains("certificate"), "{}", told(&refused));
}

#[test]
fn without_tls_nothing_is_said() {
    use std::io::{Read, Write};
    let certificates = Certificates::new();
    let broker = Broker::start(certificates.settings(ClientVerify::None));
    let mut socket = std::net::TcpStream::connect(broker.api).expect("it listens");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    socket.write_all(b"GET /api/overview HTTP/1.1\r\nhost: x\r\n\r\n").expect("it reads");
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn new_certificates_are_taken_up() {
    let (certificates, strangers) = (Certificates::new(), Certificates::of_strangers());
    let reload_interval = Duration::from_millis(20);
    let broker = Broker::start(TlsSettings { reload_interval, ..certificates.settings(ClientVerify::None) });
    let (old, new) = (certificates.path("ca.pem"), strangers.path("ca.pem"));
    assert!(broker.ask(&old, &["vhost", "list"]).status.success());
    for file in ["server.key", "server.pem"] {
        std::fs::copy(strangers.path(file), certificates.path(file)).expect("a file");
    }
    while !broker.ask(&new, &["vhost", "list"]).status.success() {}
    assert!(!broker.ask(&old, &["vhost", "list"]).status.success());
}

//! A broker with its HTTP API, in this process and in memory, and a client that says what it was answered.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rialto::config::{ListenAddress, Settings};
use rialto::server::Addresses;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// How long a test waits for an answer before it says that it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running broker. It stops when this is dropped.
pub(crate) struct Broker {
    addresses: Addresses,
    stop: CancellationToken,
    serving: Option<JoinHandle<()>>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Broker {
    pub(crate) fn start() -> Broker {
        Broker::with(|_| {})
    }

    /// With other settings. Ports are chosen by the system.
    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Broker {
        let mut settings = Settings::default();
        settings.store.in_memory = true;
        change(&mut settings);
        settings.server.listen = vec![ListenAddress::new("127.0.0.1", 0)];
        settings.management.listen = vec![ListenAddress::new("127.0.0.1", 0)];
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
        Broker { addresses, stop, serving: Some(serving) }
    }

    /// Where the HTTP API answers.
    pub(crate) fn http(&self) -> SocketAddr {
        self.addresses.management[0]
    }

    /// Where messages go.
    pub(crate) fn messages(&self) -> SocketAddr {
        self.addresses.messages[0]
    }

    /// Asks as `guest`.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        self.ask_as(Some(("guest", "guest")), method, path, &[], body)
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, "");
        assert_eq!(answer.status, 200, "GET {path}: {answer:?}");
        answer.json()
    }

    pub(crate) fn ask_as(
        &self,
        login: Option<(&str, &str)>,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut head =
            format!("{method} /api{path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.http());
        if let Some((user, password)) = login {
            let login = STANDARD.encode(format!("{user}:{password}"));
            head.push_str(&format!("authorization: Basic {login}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        self.raw(format!("{head}\r\n{body}").as_bytes())
    }

    /// Sends bytes as they are and reads until the other side closes.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Answer {
        let mut socket = TcpStream::connect(self.http()).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // The answer may come, and the connection end, before all is sent: what counts is the answer.
        let _ = socket.write_all(bytes);
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        Answer::read(&answer)
    }
}

impl Answer {
    fn read(bytes: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Answer { status, headers: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The reason of a refusal, which each must have.
    pub(crate) fn reason(&self) -> String {
        let json = self.json();
        assert!(json["error"].is_string(), "{self:?}");
        json["reason"].as_str().unwrap_or_else(|| panic!("a reason: {self:?}")).to_owned()
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

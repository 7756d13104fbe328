//! Scrapes of the real binary: on the port of their own, and at the HTTP API for those who may.

#![cfg(unix)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

struct Broker {
    process: Child,
    messages: String,
    management: String,
    metrics: String,
    folder: tempfile::TempDir,
}

impl Broker {
    fn start() -> Broker {
        let folder = tempfile::tempdir().unwrap();
        let mut process = command(&folder)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("RIALTO_MANAGEMENT__LISTEN", "127.0.0.1:0")
            .env("RIALTO_METRICS__LISTEN", "127.0.0.1:0")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut told = HashMap::new();
        let words =
            ["serving on rialto://", "the HTTP API answers on http://", "scrapes are answered on http://"];
        while told.len() < words.len() {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "the broker ended before it served");
            for word in words {
                if let Some((_, address)) = line.split_once(word) {
                    told.insert(word, address.trim().split('/').next().unwrap().to_owned());
                }
            }
        }
        // Somebody must read on, or the log would fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let [messages, management, metrics] = words.map(|word| told.remove(word).unwrap());
        Broker { process, messages, management, metrics, folder }
    }

    fn run(&self, arguments: &[&str]) {
        let url = format!("rialto://{}/", self.messages);
        let output = command(&self.folder).args(arguments).env("RIALTO_URL", url).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The number of a line, on the port of scrapes.
    fn figure(&self, path: &str, line: &str) -> f64 {
        let (code, text) = get(&self.metrics, path, "");
        assert_eq!(code, 200, "{text}");
        let found = text.lines().find_map(|other| other.strip_prefix(line)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("{path} has no line {line}:\n{text}")).parse().unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(folder: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rialto"));
    command.current_dir(folder.path()).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RIALTO_") {
            command.env_remove(name);
        }
    }
    command
}

/// The status and the body of an answer.
fn get(address: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    if code == 200 {
        assert!(head.to_ascii_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    }
    (code, body.to_owned())
}

#[test]
fn what_commands_do_is_counted() {
    let broker = Broker::start();
    broker.run(&["declare", "queue", "tasks"]);
    for _ in 0..3 {
        broker.run(&["publish", "", "--key", "tasks", "--persistent", "hello"]);
    }
    broker.run(&["consume", "tasks", "--ack", "--count", "2"]);
    let figure = |line: &str| broker.figure("/metrics", line);
    assert_eq!(figure("rabbitmq_global_messages_received_total{protocol=\"rialto\"}"), 3.0);
    assert_eq!(figure("rabbitmq_global_messages_confirmed_total{protocol=\"rialto\"}"), 3.0);
    let acked = |by: &str| {
        format!("rabbitmq_global_messages_acknowledged_total{{protocol=\"{by}\",queue_type=\"rialto\"}}")
    };
    assert_eq!((figure(&acked("rialto")), figure(&acked("amqp091"))), (2.0, 0.0));
    assert_eq!(figure("rabbitmq_queue_messages"), 1.0);
    assert_eq!(figure("rabbitmq_connections_opened_total"), 5.0);
    assert_eq!(figure("rialto_message_ack_seconds_count"), 2.0);
    assert!(figure("rialto_journal_sync_seconds_count") > 0.0 && figure("rialto_journal_bytes") > 0.0);
    assert_eq!(figure("rialto_journal_stopped"), 0.0);
    assert!(figure("rabbitmq_disk_space_available_bytes") > 0.0);
    assert!(figure("rabbitmq_process_resident_memory_bytes") > 1e6);
    let of_queue =
        |name: &str| broker.figure("/metrics/per-object", &format!("{name}{{vhost=\"/\",queue=\"tasks\"}}"));
    assert_eq!(of_queue("rabbitmq_queue_messages_ready"), 1.0);
    assert_eq!(of_queue("rabbitmq_queue_messages_acked_total"), 2.0);
    let line = "rabbitmq_detailed_queue_consumers{vhost=\"/\",queue=\"tasks\"}";
    assert_eq!(broker.figure("/metrics/detailed?family=queue_consumer_count&vhost=%2F", line), 0.0);
}

#[test]
fn scrapes_need_no_password_on_their_own_port_and_one_at_the_http_api() {
    let broker = Broker::start();
    assert_eq!(get(&broker.metrics, "/metrics", "").0, 200);
    assert_eq!(get(&broker.metrics, "/api/queues", "").0, 404, "nothing else is there");
    assert_eq!(get(&broker.management, "/metrics", "").0, 401);
    // guest:guest
    let guest = "Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n";
    let (code, text) = get(&broker.management, "/metrics/per-object", guest);
    assert!(code == 200 && text.contains("rabbitmq_identity_info"));
    let (code, text) = get(&broker.metrics, "/metrics/detailed?family=qeues", "");
    assert!(code == 400 && text.contains("queue_coarse_metrics"), "{text}");
}

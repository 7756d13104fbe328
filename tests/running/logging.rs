//! Levels at run time, the audit trail, traces.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use crate::broker::{Broker, stderr};

#[test]
fn levels_change_while_the_broker_runs() {
    let broker = Broker::start();
    assert_eq!(broker.run(&["log", "level"]), "info\n");
    broker.run(&["list", "queues"]);
    assert!(!broker.log().contains("connection accepted"));

    assert_eq!(broker.run(&["log", "level", "debug", "--room", "server"]), "info\nserver: debug\n");
    broker.run(&["list", "queues"]);
    broker.logs("connection accepted");

    assert_eq!(broker.run(&["log", "level", "--room", "server", "--reset"]), "info\n");
    assert_eq!(broker.run(&["log", "level", "off"]), "off\n");
    let before = broker.log();
    broker.run(&["list", "queues"]);
    assert_eq!(broker.run(&["log", "level", "warn"]), "warn\n");
    let after = broker.log();
    assert!(!after[before.len()..].contains("logged in"), "{after}");
}

#[test]
fn a_level_or_room_that_is_not_there_is_refused_with_those_that_are() {
    let broker = Broker::start();
    assert!(broker.refused(&["log", "level", "loud"], 2).contains("debug"));
    assert!(broker.refused(&["log", "level", "debug", "--room", "sesion"], 2).contains("session"));
}

#[test]
fn acts_are_audited_with_who_what_and_from_where() {
    let broker = Broker::with_settings("[log]\naudit_file = \"audit.log\"");
    broker.run(&["log", "level", "error"]);
    broker.run(&["log", "level", "off", "--room", "queue"]);
    let text = std::fs::read_to_string(broker.path("audit.log")).unwrap();
    let act: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(act["user"], "guest", "{text}");
    assert_eq!(act["act"], "set log level", "{text}");
    assert_eq!(act["object"], "queue off", "{text}");
    assert_eq!(act["result"], "done", "{text}");
    assert!(act["from"].as_str().unwrap().starts_with("127.0.0.1:"), "{text}");
    assert!(act["at"].as_str().unwrap().ends_with('Z'), "{text}");
    // In the log, too, although its level is higher than that of the event.
    broker.logs("queue off");
}

#[test]
fn an_audit_file_that_cannot_be_written_ends_the_start_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_rialto"))
        .args(["serve", "--in-memory"])
        .current_dir(folder.path())
        .env("RIALTO_LOG__AUDIT_FILE", "missing/audit.log")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let told = stderr(&output);
    assert!(told.contains("missing/audit.log") && told.contains("where: log.audit_file"), "{told}");
}

#[test]
fn connections_are_traced_to_a_collector() {
    // A collector that takes whatever comes, and hands it on.
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = collector.local_addr().unwrap();
    let (sender, bodies) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in collector.incoming() {
            let (mut stream, mut read) = (stream.unwrap(), Vec::new());
            stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut chunk = [0; 4096];
            while let Ok(len @ 1..) = stream.read(&mut chunk) {
                read.extend_from_slice(&chunk[..len]);
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            if sender.send(read).is_err() {
                return;
            }
        }
    });
    let broker = Broker::with_settings(&format!("[tracing]\notlp_endpoint = \"http://{address}\""));
    broker.run(&["declare", "queue", "tasks"]);
    broker.stop();
    let body = bodies.recv_timeout(Duration::from_secs(60)).expect("traces at the collector");
    let text = String::from_utf8_lossy(&body);
    assert!(text.starts_with("POST /v1/traces"), "{text}");
    for word in ["connection", "service.name", "rialto", "network.peer.port", "guest"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

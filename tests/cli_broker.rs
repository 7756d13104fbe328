//! The commands against a broker, both the real binary: what a newcomer types, and what scripts rely on.

#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};

/// A broker process on a free port.
struct Broker {
    process: Child,
    url: String,
    folder: tempfile::TempDir,
}

impl Broker {
    fn start() -> Self {
        Self::with_settings("")
    }

    fn with_settings(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("broker.toml"), settings).unwrap();
        let (process, url) = Self::serve(folder.path());
        Self { process, url, folder }
    }

    /// Serves again what is in the folder, on another port.
    fn restart(&mut self) {
        (self.process, self.url) = Self::serve(self.folder.path());
    }

    fn serve(folder: &Path) -> (Child, String) {
        let mut process =
            binary(folder).args(["serve", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        let url = loop {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the broker ended before it served");
            if let Some((_, url)) = line.split_once("serving on ") {
                break format!("{}/", url.trim());
            }
        };
        // Somebody must read on, or the broker's log would fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        (process, url)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binary(self.folder.path());
        command.args(arguments).env("RIALTO_URL", &self.url).stdin(Stdio::null());
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must do all it was asked for.
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert_eq!(code(&output), Some(0), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn publish_lines(&self, lines: impl Iterator<Item = String>, arguments: &[&str]) -> Output {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let text: String = lines.map(|line| line + "\n").collect();
        write_all(child.stdin.take().unwrap(), text.as_bytes());
        child.wait_with_output().unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn binary(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rialto"));
    command.current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RIALTO_") {
            command.env_remove(name);
        }
    }
    command.env("RIALTO_MANAGEMENT__LISTEN", "none");
    command.env("RIALTO_METRICS__LISTEN", "none");
    command
}

fn write_all(mut to: ChildStdin, bytes: &[u8]) {
    to.write_all(bytes).unwrap();
}

fn signal(process: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &process.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_is_published_is_consumed() {
    let broker = Broker::start();
    broker.run(&["declare", "exchange", "events", "--kind", "topic"]);
    broker.run(&["declare", "queue", "tasks"]);
    broker.run(&["bind", "events", "tasks", "--key", "order.*"]);
    broker.run(&["publish", "events", "--key", "order.new", "hello"]);
    broker.run(&["publish", "", "--key", "tasks", "straight in"]);
    assert_eq!(broker.run(&["consume", "tasks", "--ack", "--count", "2"]), "hello\nstraight in\n");
}

#[test]
fn lines_come_out_in_order_and_none_is_lost() {
    let broker = Broker::start();
    broker.run(&["declare", "exchange", "events", "--kind", "topic"]);
    broker.run(&["declare", "queue", "tasks"]);
    broker.run(&["bind", "events", "tasks", "--key", "#"]);
    let count = 50_000;
    let wanted: String = (1..=count).map(|n| format!("line {n}\n")).collect();
    let consumer = broker
        .command(&["consume", "tasks", "--ack", "--count", &count.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = (1..=count).map(|n| format!("line {n}"));
    let published = broker.publish_lines(lines, &["publish", "events", "--key", "a.b", "--stdin"]);
    assert_eq!(code(&published), Some(0), "{}", stderr(&published));
    assert!(
        stderr(&published).contains("published 50,000 messages: 50,000 confirmed"),
        "{}",
        stderr(&published)
    );
    let consumed = consumer.wait_with_output().unwrap();
    assert_eq!(code(&consumed), Some(0));
    assert!(String::from_utf8(consumed.stdout).unwrap() == wanted, "other lines came out");
}

#[test]
fn a_count_takes_no_more_and_leaves_the_rest_untouched() {
    let broker = Broker::start();
    broker.run(&["declare", "queue", "tasks"]);
    let lines = (1..=20).map(|n| n.to_string());
    broker.publish_lines(lines, &["publish", "", "--key", "tasks", "--stdin"]);
    assert_eq!(broker.run(&["consume", "tasks", "--ack", "--count", "3", "--prefetch", "2"]), "1\n2\n3\n");
    let next = broker.run(&["consume", "tasks", "--ack", "--count", "1", "--json"]);
    let next: serde_json::Value = serde_json::from_str(&next).unwrap();
    assert_eq!((&next["body"], &next["redelivered"]), (&"4".into(), &false.into()));
}

#[test]
fn without_ack_messages_are_only_looked_at() {
    let broker = Broker::start();
    broker.run(&["declare", "queue", "tasks"]);
    broker.publish_lines((1..=5).map(|n| n.to_string()), &["publish", "", "--key", "tasks", "--stdin"]);
    assert_eq!(broker.run(&["consume", "tasks", "--count", "3"]), "1\n2\n3\n");
    assert_eq!(broker.run(&["consume", "tasks", "--ack", "--count", "5"]), "1\n2\n3\n4\n5\n");
}

#[test]
fn json_shows_properties_and_bodies_that_are_no_text() {
    let broker = Broker::start();
    broker.run(&["declare", "queue", "tasks", "--max-priority", "9"]);
    let flags = [
        "--priority",
        "4",
        "--persistent",
        "--header",
        "retries=3",
        "--expiration",
        "1h",
        "--reply-to",
        "answers",
    ];
    broker.run(&[&["publish", "", "--key", "tasks", "text"][..], &flags].concat());
    let mut publish = broker
        .command(&["publish", "", "--key", "tasks", "--stdin"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    write_all(publish.stdin.take().unwrap(), b"\xff\xfe");
    assert!(publish.wait().unwrap().success());
    let lines = broker.run(&["consume", "tasks", "--ack", "--count", "2", "--json"]);
    let rows: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = serde_json::json!({
        "headers": {"retries": 3}, "delivery_mode": 2, "priority": 4, "expiration": "3600000", "reply_to": "answers"
    });
    assert_eq!((&rows[0]["properties"], &rows[0]["body"]), (&expected, &"text".into()));
    assert_eq!((&rows[1]["body_base64"], rows[1].get("body")), (&"//4=".into(), None));
}

#[test]
fn a_message_that_reaches_no_queue_fails_only_when_it_is_mandatory() {
    let broker = Broker::start();
    let output = broker.output(&["publish", "", "--key", "nowhere", "hello"]);
    assert_eq!(code(&output), Some(0));
    assert!(stderr(&output).contains("1 reached no queue"), "{}", stderr(&output));
    let output = broker.output(&["publish", "", "--key", "nowhere", "hello", "--mandatory"]);
    assert_eq!(code(&output), Some(6));
}

#[test]
fn a_message_that_is_too_large_is_told_and_the_others_go() {
    let broker = Broker::start();
    broker.run(&["declare", "queue", "tasks"]);
    let large = "x".repeat(17 * 1024 * 1024);
    let lines = ["first".to_owned(), large, "last".to_owned()].into_iter();
    let output = broker.publish_lines(lines, &["publish", "", "--key", "tasks", "--stdin"]);
    assert_eq!(code(&output), Some(6));
    assert!(stderr(&output).contains("message 2:"), "{}", stderr(&output));
    assert_eq!(broker.run(&["consume", "tasks", "--ack", "--count", "2"]), "first\nlast\n");
}

#[test]
fn what_the_broker_refuses_ends_with_5_and_advice() {
    let broker = Broker::start();
    broker.run(&["declare", "queue", "tasks"]);
    for (arguments, advice) in [
        (&["declare", "queue", "tasks", "--ttl", "1s"][..], "delete it first"),
        (&["declare", "queue", "other", "--passive"], "rialto list queues"),
        (&["declare", "exchange", "other", "--passive"], "rialto list exchanges"),
        (&["consume", "other"], "rialto list queues"),
        (&["purge", "other"], "rialto list queues"),
        (&["bind", "other", "tasks"], "rialto list"),
    ] {
        let output = broker.output(arguments);
        assert_eq!(code(&output), Some(5), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("where: 127.0.0.1:"), "{}", stderr(&output));
        assert!(stderr(&output).contains(advice), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn a_refusal_for_another_reason_gets_no_advice_to_declare_anew() {
    let broker = Broker::start();
    broker.run(&["declare", "queue", "tasks"]);
    broker.run(&["publish", "", "--key", "tasks", "x"]);
    for arguments in [
        &["delete", "queue", "tasks", "--if-empty"][..],
        &["declare", "queue", "q", "--arg", "x-max-priority=high"],
    ] {
        let output = broker.output(arguments);
        assert_eq!(code(&output), Some(5), "{arguments:?}");
        assert!(!stderr(&output).contains("what to do"), "{}", stderr(&output));
    }
}

#[test]
fn a_wrong_password_ends_with_4() {
    let broker = Broker::start();
    let url = broker.url.replace("rialto://", "rialto://guest:wrong@");
    let output = broker.output(&["list", "queues", "--url", &url]);
    assert_eq!(code(&output), Some(4));
    assert!(stderr(&output).contains("check user, password and vhost"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("wrong"), "{}", stderr(&output));
}

#[test]
fn lists_are_tables_for_people_and_json_for_scripts() {
    let broker = Broker::start();
    broker.run(&["declare", "queue", "tasks", "--max-priority", "5"]);
    broker.run(&["declare", "exchange", "events", "--kind", "fanout"]);
    broker.run(&["bind", "events", "tasks"]);
    let table = broker.run(&["list", "queues"]);
    assert!(table.lines().next().unwrap().starts_with("name "), "{table}");
    assert!(table.lines().nth(1).unwrap().starts_with("tasks "), "{table}");
    // Beside other windows a terminal has some eighty columns.
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let row: serde_json::Value = serde_json::from_str(&broker.run(&["list", "queues", "--json"])).unwrap();
    assert_eq!((&row["name"], &row["arguments"]["x-max-priority"]), (&"tasks".into(), &5.into()));
    for (what, word) in [("exchanges", "events"), ("bindings", "events"), ("connections", "rialto-cli")] {
        assert!(broker.run(&["list", what]).contains(word), "{what}");
    }
    let none = broker.output(&["list", "consumers"]);
    assert_eq!((code(&none), none.stdout.as_slice()), (Some(0), &b""[..]));
    assert!(stderr(&none).contains("no consumers"), "{}", stderr(&none));
}

#[test]
fn what_was_bound_and_declared_can_be_undone() {
    let broker = Broker::start();
    broker.run(&["declare", "exchange", "events", "--kind", "direct"]);
    broker.run(&["declare", "queue", "tasks"]);
    let bound = broker.output(&["bind", "events", "tasks", "--key", "a", "--key", "b"]);
    for key in ["a", "b"] {
        let told = format!("queue \"tasks\" is bound to exchange \"events\" with key {key:?}\n");
        assert!(stderr(&bound).contains(&told), "{}", stderr(&bound));
    }
    broker.run(&["unbind", "events", "tasks", "--key", "a"]);
    assert_eq!(code(&broker.output(&["publish", "events", "--key", "a", "x", "--mandatory"])), Some(6));
    broker.run(&["publish", "events", "--key", "b", "x", "--mandatory"]);
    let purged = broker.output(&["purge", "tasks"]);
    assert!(stderr(&purged).contains("1 message removed"), "{}", stderr(&purged));
    broker.run(&["delete", "queue", "tasks", "--if-empty"]);
    broker.run(&["delete", "exchange", "events", "--if-unused"]);
    assert!(!broker.run(&["list", "exchanges"]).contains("events"));
}

#[test]
fn a_consumer_ends_cleanly_on_a_signal_and_keeps_what_it_printed() {
    let broker = Broker::start();
    broker.run(&["declare", "queue", "tasks"]);
    broker.publish_lines((1..=2).map(|n| n.to_string()), &["publish", "", "--key", "tasks", "--stdin"]);
    for (name, line) in [("INT", "1\n2\n"), ("TERM", "3\n")] {
        let mut consumer =
            broker.command(&["consume", "tasks", "--ack"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut printed = vec![0; line.len()];
        consumer.stdout.as_mut().unwrap().read_exact(&mut printed).unwrap();
        assert_eq!(printed, line.as_bytes());
        signal(&consumer, name);
        assert_eq!(consumer.wait().unwrap().code(), Some(0), "{name}");
        broker.run(&["publish", "", "--key", "tasks", "3"]);
    }
    assert_eq!(broker.run(&["consume", "tasks", "--ack", "--count", "1"]), "3\n");
}

#[test]
fn a_consumer_ends_when_its_reader_does_though_no_message_comes() {
    let broker = Broker::start();
    broker.run(&["declare", "queue", "tasks"]);
    broker.run(&["publish", "", "--key", "tasks", "only one"]);
    let mut consumer = broker.command(&["consume", "tasks", "--ack"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(consumer.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "only one\n");
    drop(reader);
    assert_eq!(consumer.wait().unwrap().code(), Some(0));
}

#[test]
fn a_count_that_a_signal_cuts_short_ends_with_130() {
    let broker = Broker::start();
    broker.run(&["declare", "queue", "tasks"]);
    broker.run(&["publish", "", "--key", "tasks", "1"]);
    let mut consumer = broker
        .command(&["consume", "tasks", "--ack", "--count", "2"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = [0; 2];
    consumer.stdout.as_mut().unwrap().read_exact(&mut printed).unwrap();
    signal(&consumer, "INT");
    assert_eq!(consumer.wait().unwrap().code(), Some(130));
}

#[test]
fn a_publisher_that_is_held_back_ends_on_a_signal() {
    // In memory, for a queue on disk takes as much as the disk.
    let settings = "[memory]\nqueue_budget = \"1 MiB\"\n[store]\nin_memory = true\n";
    let broker = Broker::with_settings(settings);
    broker.run(&["declare", "queue", "tasks"]);
    let mut publisher = broker
        .command(&["publish", "", "--key", "tasks", "--stdin"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Far more than the queue and the publisher may hold; written until nobody reads any more.
    let mut stdin = publisher.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let lines = "x\n".repeat(10_000);
        while stdin.write_all(lines.as_bytes()).is_ok() {}
    });
    let mut told = BufReader::new(publisher.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("holds publishers back") {
        line.clear();
        assert!(told.read_line(&mut line).unwrap() > 0);
    }
    signal(&publisher, "INT");
    assert_eq!(publisher.wait().unwrap().code(), Some(130));
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    // What the broker took is confirmed; the rest, if any, is told to be unknown.
    assert!(rest.contains("published "), "{rest}");
    writer.join().unwrap();
}

#[test]
fn a_publisher_that_loses_its_broker_tells_how_far_it_came() {
    let mut broker = Broker::start();
    broker.run(&["declare", "queue", "tasks"]);
    let mut publisher = broker
        .command(&["publish", "", "--key", "tasks", "--stdin", "--window", "1"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = publisher.stdin.take().unwrap();
    stdin.write_all(b"1\n2\n3\n").unwrap();
    // With that window, the third is only sent when the second is confirmed.
    while !broker.run(&["list", "queues", "--json"]).contains("\"messages\":3") {}
    signal(&broker.process, "KILL");
    broker.process.wait().unwrap();
    stdin.write_all(b"4\n").unwrap();
    drop(stdin);
    let output = publisher.wait_with_output().unwrap();
    let told = stderr(&output);
    assert_eq!(code(&output), Some(4), "{told}");
    let confirmed = ["2 messages: 2 confirmed", "3 messages: 3 confirmed"];
    assert!(confirmed.iter().any(|count| told.contains(count)), "{told}");
    assert!(told.contains("1 message had no outcome yet"), "{told}");
}

#[test]
fn a_broker_ends_with_0_on_ctrl_c_and_on_sigterm() {
    for name in ["INT", "TERM"] {
        let mut broker = Broker::start();
        broker.run(&["declare", "queue", "tasks"]);
        signal(&broker.process, name);
        assert_eq!(broker.process.wait().unwrap().code(), Some(0), "{name}");
    }
}

#[test]
fn a_broker_whose_log_nobody_reads_any_more_ends_on_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = binary(folder.path())
        .args(["serve", "--in-memory", "--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("in memory only") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the broker ended before it served");
    }
    drop(log);
    signal(&process, "TERM");
    assert_eq!(process.wait().unwrap().code(), Some(0));
}

#[test]
fn an_address_that_is_taken_is_told_with_where_and_what_to_do() {
    let broker = Broker::start();
    let address = broker.url.trim_start_matches("rialto://").trim_end_matches('/');
    // In memory, for the data folder is taken too, and that would be told first.
    let output = broker.output(&["serve", "--in-memory", "--listen", address]);
    assert_eq!(code(&output), Some(1));
    assert!(stderr(&output).contains(&format!("where: {address} (server.listen)")), "{}", stderr(&output));
    assert!(stderr(&output).contains("--listen"), "{}", stderr(&output));
    for (setting, variable) in
        [("management.listen", "RIALTO_MANAGEMENT__LISTEN"), ("metrics.listen", "RIALTO_METRICS__LISTEN")]
    {
        let mut command = broker.command(&["serve", "--in-memory", "--listen", "127.0.0.1:0"]);
        let output = command.env(variable, address).output().unwrap();
        let told = stderr(&output);
        assert_eq!(code(&output), Some(1), "{told}");
        assert!(told.contains(&format!("cannot listen on {address}")), "{told}");
        assert!(told.contains(&format!("where: {address} ({setting})")), "{told}");
        assert!(told.contains(variable) && !told.contains("--listen"), "{told}");
    }
}

#[test]
fn a_file_that_the_settings_name_and_that_is_not_there_ends_the_start_with_3() {
    for (settings, place) in [
        ("[tls]\ncert = \"no.pem\"\nkey = \"no.key\"\n", "where: [tls]"),
        ("[management]\nload_definitions = \"no.json\"\n", "where: management.load_definitions"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("broker.toml"), settings).unwrap();
        let mut command = binary(folder.path());
        let output = command.args(["serve", "--in-memory", "--listen", "127.0.0.1:0"]).output().unwrap();
        assert_eq!(code(&output), Some(3), "{}", stderr(&output));
        assert!(stderr(&output).contains(place), "{}", stderr(&output));
    }
}

#[test]
fn a_data_folder_that_is_taken_is_told() {
    let broker = Broker::start();
    let output = broker.output(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(code(&output), Some(1));
    assert!(stderr(&output).contains("rialto-data"), "{}", stderr(&output));
}

#[test]
fn what_was_durable_is_there_after_a_kill() {
    let mut broker = Broker::start();
    broker.run(&["declare", "queue", "tasks"]);
    broker.run(&["publish", "", "--key", "tasks", "--persistent", "kept"]);
    signal(&broker.process, "KILL");
    broker.process.wait().unwrap();
    broker.restart();
    assert_eq!(broker.run(&["consume", "tasks", "--ack", "--count", "1"]), "kept\n");
}

#[test]
fn logs_can_be_json_or_silent() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = binary(folder.path())
        .args(["serve", "--in-memory", "--listen", "127.0.0.1:0"])
        .env("RIALTO_LOG__FORMAT", "json")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["level"], "INFO");
    process.kill().unwrap();
    process.wait().unwrap();
}

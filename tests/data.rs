//! Data folders from outside, with the real binary: check, stats, backup, restore.

#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A folder with a data folder in it, and maybe a broker on that.
struct Place {
    folder: tempfile::TempDir,
}

/// A broker that serves. Killed when it is dropped.
struct Broker {
    process: Child,
    url: String,
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Broker {
    /// Ends it in good order.
    fn stop(mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success() && self.process.wait().unwrap().success());
    }
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `rialto` in this folder, whose settings name the data folder `data`.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rialto"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("RIALTO_") {
                command.env_remove(name);
            }
        }
        command.env("RIALTO_MANAGEMENT__LISTEN", "none");
        command.env("RIALTO_METRICS__LISTEN", "none");
        command.env("RIALTO_STORE__DATA_DIR", "data").env("RIALTO_STORE__FREE_SPACE_MIN", "0");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command prints that must do all it was asked for.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(code(&output), Some(0), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn serve(&self, data: &str) -> Broker {
        let mut process = self
            .command(&["serve", "--listen", "127.0.0.1:0", "--data-dir", data])
            .env("RIALTO_STORE__SEGMENT_SIZE", "1 MiB")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let (mut line, mut all) = (String::new(), String::new());
        let url = loop {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the broker ended before it served:\n{all}");
            all.push_str(&line);
            if let Some((_, url)) = line.split_once("serving on ") {
                break format!("{}/", url.trim());
            }
        };
        // Somebody must read on, or the broker's log would fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Broker { process, url }
    }

    /// Publishes numbers, one a message, with something that makes it long behind them.
    fn publish(&self, broker: &Broker, queue: &str, numbers: std::ops::Range<u32>) {
        let filling = "x".repeat(500);
        let lines: String = numbers.map(|number| format!("{number} {filling}\n")).collect();
        let mut child = self
            .command(&["publish", "", "--key", queue, "--persistent", "--stdin", "--url", &broker.url])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// The numbers in a queue, which is empty afterwards.
    fn take(&self, broker: &Broker, queue: &str, count: usize) -> Vec<u32> {
        let count = count.to_string();
        let text = self.done(&["consume", queue, "--ack", "--count", &count, "--url", &broker.url]);
        text.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
    }

    fn json(&self, arguments: &[&str]) -> (Value, Option<i32>) {
        let output = self.run(arguments);
        let json = serde_json::from_slice(&output.stdout);
        (json.unwrap_or_else(|error| panic!("{error}: {}", stderr(&output))), code(&output))
    }

    /// A broker with 5000 messages of half a kilobyte in the queue `tasks`.
    fn filled(&self) -> Broker {
        let broker = self.serve("data");
        self.done(&["declare", "queue", "tasks", "--url", &broker.url]);
        self.publish(&broker, "tasks", 0..5000);
        broker
    }

    /// The segments of a data folder.
    fn segments(&self, data: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path(data)).unwrap().map(|entry| entry.unwrap().path());
        let mut segments: Vec<_> =
            entries.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
        segments.sort();
        segments
    }
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Flips a bit of a file.
fn flip(path: &Path, offset: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

#[test]
fn a_folder_that_is_whole_is_told_so_beside_its_broker_and_without() {
    let place = Place::new();
    let broker = place.filled();
    for _ in 0..2 {
        let told = place.done(&["data", "check"]);
        assert!(told.contains("5,000 messages") && told.ends_with("all is well\n"), "{told}");
    }
    broker.stop();
    let told = place.done(&["data", "check"]);
    assert!(told.contains("5,000 messages") && told.contains("the catalog: 1 queue"), "{told}");
    let (found, code) = place.json(&["data", "check", "data", "--json"]);
    assert_eq!((&found["is_well"], code), (&true.into(), Some(0)));
    assert_eq!((&found["messages"], &found["catalog"]["queues"]), (&5000.into(), &1.into()));
}

#[test]
fn one_flipped_bit_is_named_by_segment_offset_and_messages() {
    let place = Place::new();
    place.filled().stop();
    let segment = place.segments("data").remove(1);
    let name = segment.file_name().unwrap().to_str().unwrap().to_owned();
    flip(&segment, 500_000);
    let output = place.run(&["data", "check"]);
    let told = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(code(&output), Some(7), "{told}");
    let damaged: Vec<_> = told.lines().filter(|line| line.starts_with("damaged: ")).collect();
    assert!(matches!(damaged[..], [line] if line.contains(&name) && line.contains("messages ")), "{told}");

    let (found, code) = place.json(&["data", "check", "--json"]);
    let damage = &found["damage"][0];
    assert_eq!((code, &damage["file"]), (Some(7), &name.as_str().into()));
    let (offset, bytes) = (damage["offset"].as_u64().unwrap(), damage["bytes"].as_u64().unwrap());
    assert!((offset..offset + bytes).contains(&500_000), "{damage}");
    assert!(damage["first_message"].is_u64() && damage["is_loss"] == true, "{damage}");
}

#[test]
fn what_is_in_the_queues_is_counted_beside_a_broker() {
    let place = Place::new();
    let broker = place.filled();
    place.done(&["declare", "queue", "other", "--url", &broker.url]);
    assert_eq!(place.take(&broker, "tasks", 2000).len(), 2000);
    broker.stop();
    let broker = place.serve("data");
    let (stats, _) = place.json(&["data", "stats", "--json"]);
    let queue = &stats["queues"][0];
    assert_eq!(
        (&queue["vhost"], &queue["name"], &queue["messages"]),
        (&"/".into(), &"tasks".into(), &3000.into())
    );
    assert!(stats["reclaimable_bytes"].as_u64() > Some(0), "{stats}");
    let table = place.done(&["data", "stats"]);
    assert!(table.contains("tasks") && table.contains("3000"), "{table}");
    let table = place.done(&["data", "stats", "--segments"]);
    assert_eq!(table.lines().count(), 1 + stats["segments"].as_array().unwrap().len(), "{table}");
    drop(broker);
}

#[test]
fn a_backup_of_a_broker_at_work_has_what_was_confirmed_before() {
    let place = Place::new();
    let broker = place.filled();
    std::thread::scope(|threads| {
        threads.spawn(|| place.publish(&broker, "tasks", 5000..20_000));
        place.done(&["backup", "backup"]);
    });
    let restored = place.run(&["data", "restore", "backup", "--to", "restored"]);
    assert_eq!(code(&restored), Some(0), "{}", stderr(&restored));
    let other = place.serve("restored");
    let (stats, _) = place.json(&["data", "stats", "restored", "--json"]);
    let there = stats["queues"][0]["messages"].as_u64().unwrap() as usize;
    assert!((5000..=20_000).contains(&there), "{there}");
    let taken = place.take(&other, "tasks", there);
    assert!(taken.iter().copied().eq(0..there as u32), "in order, and none is missing");
    // The first one goes on with all it has.
    assert_eq!(place.take(&broker, "tasks", 20_000).len(), 20_000);
}

#[test]
fn what_a_backup_shares_with_the_broker_stays_when_the_broker_deletes_it() {
    let place = Place::new();
    let broker = place.filled();
    place.done(&["backup", "backup"]);
    place.done(&["purge", "tasks", "--url", &broker.url]);
    broker.stop();
    place.serve("data").stop();
    let told = place.done(&["data", "check", "backup"]);
    assert!(told.contains("5,000 messages"), "{told}");
}

#[test]
fn without_a_broker_there_is_no_backup() {
    let place = Place::new();
    let output = place.run(&["backup", "backup"]);
    assert_eq!(code(&output), Some(4), "{}", stderr(&output));
    place.filled();
    // Its socket is left over.
    let output = place.run(&["backup", "backup"]);
    assert_eq!(code(&output), Some(4), "{}", stderr(&output));
    assert!(stderr(&output).contains("--data-dir") && !place.path("backup").exists());
}

#[test]
fn a_backup_into_a_folder_that_is_not_empty_is_refused() {
    let place = Place::new();
    let _broker = place.filled();
    place.done(&["backup", "backup"]);
    let output = place.run(&["backup", "backup"]);
    assert_eq!(code(&output), Some(5));
    assert!(stderr(&output).contains("is not empty"), "{}", stderr(&output));
    let output = place.run(&["data", "restore", "backup", "--to", "data"]);
    assert_eq!(code(&output), Some(2), "{}", stderr(&output));
    assert!(place.done(&["data", "check"]).contains("5,000 messages"));
}

#[test]
fn a_damaged_or_unfinished_backup_is_not_restored() {
    let place = Place::new();
    place.filled();
    let broker = place.serve("data");
    place.done(&["backup", "backup"]);
    drop(broker);
    std::fs::write(place.path("backup/unfinished"), "").unwrap();
    let output = place.run(&["data", "restore", "backup", "--to", "restored"]);
    assert_eq!(code(&output), Some(7), "{}", stderr(&output));
    std::fs::remove_file(place.path("backup/unfinished")).unwrap();
    flip(&place.segments("backup")[0], 300_000);
    let output = place.run(&["data", "restore", "backup", "--to", "restored"]);
    assert_eq!(code(&output), Some(7), "{}", stderr(&output));
    assert!(stderr(&output).contains("journal-"), "{}", stderr(&output));
    assert!(!place.path("restored").exists());
}

#[test]
fn no_broker_starts_from_a_folder_that_was_not_finished() {
    let place = Place::new();
    place.filled().stop();
    std::fs::write(place.path("data/unfinished"), "").unwrap();
    let output = place.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(code(&output), Some(1));
    assert!(stderr(&output).contains("incomplete"), "{}", stderr(&output));
}

#[test]
fn a_folder_that_holds_something_else_is_no_data_folder() {
    let place = Place::new();
    for command in ["check", "stats"] {
        let output = place.run(&["data", command, "nowhere"]);
        assert_eq!(code(&output), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains("nowhere"), "{}", stderr(&output));
        std::fs::create_dir_all(place.path("photos")).unwrap();
        std::fs::write(place.path("photos/cat.jpeg"), "miaow").unwrap();
        let output = place.run(&["data", command, "photos"]);
        assert_eq!(code(&output), Some(1), "{}", stderr(&output));
    }
    let output = place.run(&["data", "restore", "photos", "--to", "restored"]);
    assert_eq!(code(&output), Some(2), "{}", stderr(&output));
}

#[test]
fn the_control_socket_is_the_owners_alone_and_answers_nonsense_with_an_error() {
    let place = Place::new();
    let broker = place.serve("data");
    let socket = place.path("data/control.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    for request in ["", "{", "{\"shutdown\": true}", "{\"backup\": \"here\"}", &"x".repeat(100_000)] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        // It may have heard enough before all is said.
        let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.write_all(b"\n"));
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        let known = answer.is_empty() && request.len() > 1000;
        assert!(known || answer.starts_with("{\"error\":"), "{request:.20}: {answer}");
    }
    broker.stop();
    assert!(!socket.exists());
}

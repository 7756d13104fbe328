//! The real binary on one folder, started and ended again and again.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};

/// Lines of the broker's log that are shown when something went wrong.
const LOG_TAIL: usize = 40;

/// The latest lines of the log, over all restarts.
pub(crate) type LogTail = Arc<Mutex<VecDeque<String>>>;

/// A broker that serves. It is killed when this is dropped.
pub(crate) struct Broker {
    process: Child,
    address: SocketAddr,
}

impl Broker {
    /// Starts it and waits until it serves.
    pub(crate) fn start(data: &Path, log: &LogTail) -> Broker {
        let (process, mut lines) = spawn(data);
        let address = loop {
            let line = next(&mut lines, log).unwrap_or_else(|| {
                panic!("the broker ended before it served:\n{}", tail(log));
            });
            if let Some((_, address)) = line.split_once("serving on rialto://") {
                break address.trim().parse().expect("the broker tells its address");
            }
        };
        let log = log.clone();
        // Somebody must read on, or the log would fill the pipe. It ends with the broker.
        std::thread::spawn(move || while next(&mut lines, &log).is_some() {});
        Broker { process, address }
    }

    /// Starts it and kills it when it has said so many lines, or before, should it serve.
    pub(crate) fn kill_while_it_starts(data: &Path, log: &LogTail, lines_before: usize) {
        let (mut process, mut lines) = spawn(data);
        for _ in 0..lines_before {
            match next(&mut lines, log) {
                Some(line) if !line.contains("serving on") => {}
                _ => break,
            }
        }
        end(&mut process);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("rialto://{}/", self.address)
    }

    /// SIGKILL: no last word, no last write.
    pub(crate) fn kill(mut self) {
        end(&mut self.process);
    }

    /// SIGTERM, and waits for the end in good order.
    pub(crate) fn stop(mut self) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().expect("there is a kill command");
        assert!(sent.success());
        let status = self.process.wait().expect("a child of ours");
        assert!(status.success(), "the broker did not stop in good order: {status}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// What the log has said last.
pub(crate) fn tail(log: &LogTail) -> String {
    let lines = log.lock().expect("nobody panics with it");
    lines.iter().map(|line| format!("  {line}\n")).collect()
}

fn end(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}

fn spawn(data: &Path) -> (Child, Lines<BufReader<ChildStderr>>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rialto"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RIALTO_")) {
        command.env_remove(name);
    }
    let mut process = command
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data)
        .current_dir(data.parent().expect("a folder in a folder"))
        // Small, so that segments end, die and are compacted, and queues leave memory, under this little load too.
        .env("RIALTO_MANAGEMENT__LISTEN", "none")
        .env("RIALTO_METRICS__LISTEN", "none")
        .env("RIALTO_STORE__SEGMENT_SIZE", "1 MiB")
        .env("RIALTO_STORE__FREE_SPACE_MIN", "0")
        .env("RIALTO_MEMORY__QUEUE_BODIES", "128 KiB")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built with this test");
    let lines = BufReader::new(process.stderr.take().expect("it is piped")).lines();
    (process, lines)
}

fn next(lines: &mut Lines<BufReader<ChildStderr>>, log: &LogTail) -> Option<String> {
    let line = lines.next()?.ok()?;
    let mut tail = log.lock().expect("nobody panics with it");
    if tail.len() == LOG_TAIL {
        tail.pop_front();
    }
    tail.push_back(line.clone());
    Some(line)
}

//! Child processes that a measurement starts and ends: brokers and relays, each with an account of its own.
//!
//! Invariants: a process that was started here is ended here, also when the measurement fails or is interrupted.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::error::{BenchError, BenchResult, Doing};
use super::leftovers::{Guard, Leftover};

/// How long a process may take until it says where it listens.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Lines of a process that has failed which are shown.
const LAST_WORDS: usize = 5;

/// Every address that a process says begins so: measurements stay on this machine.
const LOOPBACK: &str = "127.0.0.1:";

/// A running child process that listens somewhere.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    address: String,
    /// Ends the child, also when nothing is dropped. Taken before the child is reaped: its number is its own until then.
    guard: Option<Guard>,
}

impl Process {
    /// Starts a program and waits until it prints where it listens.
    pub(super) fn start(program: &Path, arguments: &[&str]) -> BenchResult<Process> {
        let mut command = command(program)?;
        command.args(arguments);
        Process::spawn(command, START_TIMEOUT)
    }

    /// Starts Rialto, which must keep off the ports that a broker of this machine has.
    pub(super) fn start_rialto(program: &Path, arguments: &[&str]) -> BenchResult<Process> {
        let mut command = command(program)?;
        command
            .args(arguments)
            .env("RIALTO_MANAGEMENT__LISTEN", "none")
            .env("RIALTO_METRICS__LISTEN", "none");
        Process::spawn(command, START_TIMEOUT)
    }

    /// Starts a command and waits until it prints where it listens, unless it prints nothing for `patience`.
    pub(super) fn spawn(mut command: Command, patience: Duration) -> BenchResult<Process> {
        let named = Path::new(command.get_program()).display().to_string();
        let mut child = command
            // Open as long as the measurement lives; a relay ends when it closes.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .doing(|| format!("cannot start {named}"))?;
        let guard = Guard::new(Leftover::Process(child.id()));
        let (sender, lines) = mpsc::channel();
        follow(child.stdout.take(), sender.clone());
        follow(child.stderr.take(), sender);
        let mut process = Process { child, address: String::new(), guard: Some(guard) };
        let mut words: Vec<String> = Vec::new();
        loop {
            let line = match lines.recv_timeout(patience) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(BenchError::Process(format!("{named} does not say where it listens")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let last = words[words.len().saturating_sub(LAST_WORDS)..].join("\n");
                    return Err(BenchError::Process(format!("{named} has ended at once:\n{last}")));
                }
            };
            if let Some(address) = address_in(&line) {
                process.address = address;
                return Ok(process);
            }
            words.push(line);
        }
    }

    /// Host and port.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.guard.take());
        // What matters is that it is gone, and reaped.
        let _ = self.child.wait();
    }
}

/// A command without arguments, for [`Process::spawn`].
pub(super) fn command(program: &Path) -> BenchResult<Command> {
    // A path is relative to this folder, not to the child's; a bare name is looked for as a shell does.
    let path = match program.components().count() {
        1 => program.to_owned(),
        _ => std::path::absolute(program).doing(|| format!("cannot find {}", program.display()))?,
    };
    let mut command = Command::new(path);
    // Where no broker.toml lies about: the settings of a measurement are those that it was given.
    command.current_dir("/");
    Ok(command)
}

/// Reads lines for as long as there are some, so that the process never blocks on a full pipe.
fn follow(stream: Option<impl Read + Send + 'static>, lines: Sender<String>) {
    let stream = stream.expect("the child was spawned with piped output");
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            // Nobody listens any more once the address is known.
            let _ = lines.send(line);
        }
    });
}

/// The first address with a port in a line of output.
fn address_in(line: &str) -> Option<String> {
    let at = line.find(LOOPBACK)?;
    let port: String = line[at + LOOPBACK.len()..].chars().take_while(char::is_ascii_digit).collect();
    let port: u16 = port.parse().ok().filter(|&port| port != 0)?;
    Some(format!("{LOOPBACK}{port}"))
}

#[cfg(test)]
mod tests {
    use super::super::leftovers::is_held;
    use super::*;

    #[test]
    fn the_address_is_found_in_any_line_of_a_log() {
        assert_eq!(
            address_in("INFO listening address=127.0.0.1:4321 tls=false").as_deref(),
            Some("127.0.0.1:4321")
        );
        let nats = "[7] 2026/01/01 00:00:00.0 [INF] Listening for client connections on 127.0.0.1:39211";
        assert_eq!(address_in(nats).as_deref(), Some("127.0.0.1:39211"));
        assert_eq!(address_in("asked for 127.0.0.1:0"), None);
        assert_eq!(address_in("starting"), None);
    }

    #[test]
    fn a_process_that_ends_at_once_is_quoted() {
        let error =
            Process::start(Path::new("/bin/sh"), &["-c", "echo no such thing >&2; exit 1"]).unwrap_err();
        assert!(error.to_string().contains("no such thing"), "{error}");
    }

    #[test]
    fn a_process_is_gone_when_it_is_dropped() {
        let script = "echo on 127.0.0.1:1234; exec cat";
        let process = Process::start(Path::new("/bin/sh"), &["-c", script]).unwrap();
        let pid = process.pid();
        assert_eq!(process.address(), "127.0.0.1:1234");
        assert!(is_held(&Leftover::Process(pid)));
        drop(process);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        assert!(!is_held(&Leftover::Process(pid)));
    }
}

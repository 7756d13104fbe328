//! A broker process with its HTTP API, and the `rialto` command beside it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a test waits for what must happen before it says that it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker process on ports that the system chose.
pub(crate) struct Broker {
    process: Child,
    /// Where AMQP and Rialto's own protocol are spoken: host and port.
    pub(crate) messages: String,
    /// Where the HTTP API is.
    pub(crate) api: String,
    /// Its working folder.
    pub(crate) folder: tempfile::TempDir,
    log: Arc<Mutex<String>>,
}

impl Broker {
    pub(crate) fn start() -> Self {
        Self::with_settings("")
    }

    /// With these settings, which must let it log where it serves.
    pub(crate) fn with_settings(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("broker.toml"), settings).unwrap();
        let mut process = binary(folder.path())
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("RIALTO_MANAGEMENT__LISTEN", "127.0.0.1:0")
            .env("RIALTO_METRICS__LISTEN", "none")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let (mut messages, mut api) = (None, None);
        while messages.is_none() || api.is_none() {
            let mut line = String::new();
            let read = lines.read_line(&mut line).unwrap();
            assert!(read > 0, "the broker ended before it served: {}", log.lock().unwrap());
            // JSON lines have the text in quotes.
            let word = |mark: &str| {
                let (_, rest) = line.split_once(mark)?;
                Some(rest.split(['"', '/', ' ', '\n']).next()?.to_owned())
            };
            messages = messages.or_else(|| word("serving on rialto://"));
            api = api.or_else(|| word("the HTTP API answers on http://"));
            log.lock().unwrap().push_str(&line);
        }
        // Somebody must read on, or the broker's log would fill the pipe.
        std::thread::spawn({
            let log = log.clone();
            move || {
                let mut line = String::new();
                while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                    log.lock().unwrap().push_str(&line);
                    line.clear();
                }
            }
        });
        let (messages, api) = (messages.unwrap(), format!("http://{}", api.unwrap()));
        Self { process, messages, api, folder, log }
    }

    /// All that it has logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until a text is in the log.
    pub(crate) fn logs(&self, text: &str) {
        let begun = Instant::now();
        while !self.log().contains(text) {
            assert!(begun.elapsed() < PATIENCE, "{text:?} is not in the log:\n{}", self.log());
            // The pace of looking, not a guess at how long it takes.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command, as the broker's default user unless the arguments say otherwise.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binary(self.folder.path());
        let url = format!("rialto://guest:guest@{}/", self.messages);
        command.args(arguments).env("RIALTO_URL", url).env("RIALTO_API", &self.api).stdin(Stdio::null());
        command
    }

    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must do all it was asked for; what it wrote to stdout.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert_eq!(code(&output), Some(0), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    }

    /// Runs a command that must be refused; what it said.
    pub(crate) fn refused(&self, arguments: &[&str], expected: i32) -> String {
        let output = self.output(arguments);
        assert_eq!(code(&output), Some(expected), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
        stderr(&output)
    }

    /// Runs a command with something on stdin.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// The rows that a list gives with `--json`.
    pub(crate) fn rows(&self, arguments: &[&str]) -> Vec<serde_json::Value> {
        let text = self.run(&[arguments, &["--json"]].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Sends bytes as they are, and reads until the broker has no more to say for now.
    pub(crate) fn speak(&self, to: &str, bytes: &[u8]) {
        use std::io::Read;
        let mut stream = TcpStream::connect(to.trim_start_matches("http://")).unwrap();
        stream.write_all(bytes).unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }

    /// Ends it in good order; all that it has logged.
    pub(crate) fn stop(mut self) -> String {
        let killed = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert!(self.process.wait().unwrap().success(), "{}", self.log());
        self.logs("stopped");
        self.log()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn binary(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rialto"));
    command.current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RIALTO_") {
            command.env_remove(name);
        }
    }
    command
}

pub(crate) fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

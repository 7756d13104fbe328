//! The broker's process and what it takes: time to start, memory, disk.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rialto_client::{Client, Reconnect};

/// A broker that serves.
pub(crate) struct Broker {
    process: Child,
    url: String,
    data: PathBuf,
    /// From when it was started until it served.
    pub(crate) start_took: Duration,
}

impl Broker {
    /// Starts it on a folder, with settings as variables.
    pub(crate) fn start(data: &Path, settings: &[(&str, &str)]) -> Broker {
        fs::create_dir_all(data).expect("a folder that can be written");
        let began = Instant::now();
        let mut process = Command::new(env!("CARGO_BIN_EXE_rialto"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .env("RIALTO_MANAGEMENT__LISTEN", "none")
            .env("RIALTO_METRICS__LISTEN", "none")
            .envs(settings.iter().copied())
            .current_dir("/")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built with this bench");
        let mut log = BufReader::new(process.stderr.take().expect("it is piped"));
        let mut line = String::new();
        let url = loop {
            line.clear();
            let read = log.read_line(&mut line).expect("the log is text");
            assert!(read > 0, "the broker ended before it served");
            if let Some((_, url)) = line.split_once("serving on ") {
                break format!("{}/", url.trim());
            }
        };
        let start_took = began.elapsed();
        // Somebody must read on, or the log would fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Broker { process, url, data: data.to_owned(), start_took }
    }

    /// A client that gives up when the broker is gone.
    pub(crate) async fn client(&self) -> Client {
        let builder = Client::builder(&self.url).expect("a good address").reconnect(Reconnect::never());
        builder.connect().await.expect("the broker serves")
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("a child of ours");
    }

    /// SIGTERM, and how long it takes to end.
    pub(crate) fn stop(mut self) -> Duration {
        let began = Instant::now();
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().expect("there is a kill command");
        assert!(sent.success());
        let status = self.process.wait().expect("a child of ours");
        assert!(status.success(), "the broker did not stop in good order: {status}");
        began.elapsed()
    }

    /// Resident memory now and at most, in MiB.
    pub(crate) fn memory_mib(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells");
            let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
            kib >> 10
        };
        (mib("VmRSS:"), mib("VmHWM:"))
    }

    /// Bytes that it has had written to disks so far.
    pub(crate) fn written(&self) -> u64 {
        let io = fs::read_to_string(format!("/proc/{}/io", self.process.id())).expect("it runs");
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:")).expect("the kernel tells");
        line.trim().parse().expect("a number")
    }

    /// What its folder takes on disk: bytes, and segments.
    pub(crate) fn disk(&self) -> (u64, usize) {
        let entries = fs::read_dir(&self.data).expect("its folder is there");
        let mut sum = (0, 0);
        for entry in entries {
            let entry = entry.expect("a readable folder");
            // Segments come and go.
            let Ok(metadata) = entry.metadata() else { continue };
            sum.0 += metadata.blocks() * 512;
            sum.1 += usize::from(entry.path().extension().is_some_and(|end| end == "seg"));
        }
        sum
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1 << 20) as f64
}

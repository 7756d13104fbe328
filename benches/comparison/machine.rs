//! Where it is measured, and who is there to be measured.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::scenarios::Peer;

/// A machine and what is installed on it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The processor, as it calls itself.
    pub(crate) processor: String,
    /// How many programs run at a time.
    pub(crate) cores: usize,
    /// Memory in GiB.
    pub(crate) memory_gib: f64,
    /// The operating system's release.
    pub(crate) kernel: String,
    /// Our own version, with the commit.
    pub(crate) rialto: String,
    /// The versions of peers that are here.
    rabbitmq: Option<String>,
    nats: Option<String>,
}

const FILE: &str = "machine.json";

impl Machine {
    /// The one this runs on.
    pub(crate) fn here() -> Machine {
        let value = |file: &str, key: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory_kib = value("/proc/meminfo", "MemTotal")
            .and_then(|text| text.trim_end_matches(" kB").parse::<f64>().ok())
            .unwrap_or_default();
        let commit = said("git", &["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short=10", "HEAD"]);
        let version = env!("CARGO_PKG_VERSION");
        Machine {
            processor: value("/proc/cpuinfo", "model name")
                .unwrap_or_else(|| "an unknown processor".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: (memory_kib / f64::from(1 << 20)).round(),
            kernel: said("uname", &["-sr"]).unwrap_or_else(|| "an unknown system".to_owned()),
            rialto: commit.map_or_else(|| version.to_owned(), |commit| format!("{version} ({commit})")),
            rabbitmq: is_installed("rabbitmq-server").then(|| {
                said("dpkg-query", &["-W", "-f", "${Version}", "rabbitmq-server"]).unwrap_or_default()
            }),
            nats: said("nats-server", &["--version"]).map(|text| text.replace("nats-server: ", "")),
        }
    }

    /// Whether a peer can be measured here.
    pub(crate) fn has(&self, peer: Peer) -> bool {
        match peer {
            Peer::RabbitMq => self.rabbitmq.is_some(),
            Peer::Nats | Peer::JetStream | Peer::JetStreamUnsynced => self.nats.is_some(),
            Peer::Limit | Peer::Disk => true,
        }
    }

    /// The peers with their versions.
    pub(crate) fn peers(&self) -> String {
        let named = [("RabbitMQ", &self.rabbitmq), ("NATS server", &self.nats)];
        let there =
            named.into_iter().filter_map(|(name, version)| Some(format!("{name} {}", version.as_ref()?)));
        there.collect::<Vec<_>>().join(", ")
    }

    /// Kept with what was measured.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Failure> {
        Ok(fs::write(folder.join(FILE), serde_json::to_string_pretty(self)? + "\n")?)
    }

    /// The one that a folder's measurements come from.
    pub(crate) fn read(folder: &Path) -> Option<Machine> {
        serde_json::from_str(&fs::read_to_string(folder.join(FILE)).ok()?).ok()
    }
}

/// In the path, or where Debian puts what only an administrator should run.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/lib/rabbitmq/bin".into()]);
    folders.into_iter().any(|folder| folder.join(program).exists())
}

/// What a program prints, if it is there and succeeds.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

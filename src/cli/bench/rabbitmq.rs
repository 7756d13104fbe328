//! A RabbitMQ node of a measurement's own: ports that were free, a folder that goes with it, no plugins.
//!
//! Invariants: it listens on loopback; neither its settings nor its data are those of a RabbitMQ that is installed
//! here; it, its `epmd` and its folder are gone when it is dropped. Not here: what is spoken with it (`amqp`).

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::error::{BenchResult, Doing};
use super::leftovers::{Guard, Leftover};
use super::listener::listener_on;
use super::process::{self, Process};
use super::scratch::scratch_folder;

/// How long the node may say nothing while it starts: some seconds on a machine that is busy.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What packages install beside a `rabbitmq-server` that insists on a user and on settings of its own.
const PACKAGED: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// The one in the path, for all else.
const IN_PATH: &str = "rabbitmq-server";

/// Its virtual machine.
const VIRTUAL_MACHINE: &str = "beam.smp";

/// The daemon by which Erlang nodes find one another; the node starts it and leaves it.
const PORT_MAPPER: &str = "epmd";

/// A node that is running. Ends in the order of these fields.
#[derive(Debug)]
pub(super) struct RabbitMq {
    process: Process,
    /// The virtual machine, where the child is only a script before it.
    _node: Guard,
    _port_mapper: Guard,
    _folder: Guard,
    pid: u32,
}

impl RabbitMq {
    /// Starts a node and waits until it listens; `program` is the usual one if none is named.
    pub(super) fn start(program: Option<&Path>) -> BenchResult<RabbitMq> {
        // Only this user can read it: the node's secret will lie there.
        let (path, folder) = scratch_folder()?;
        let settings = path.join("rabbitmq.conf");
        // The node asks for the file that it was told.
        fs::write(&settings, "").doing(|| format!("cannot write {}", settings.display()))?;
        let [port, distribution_port, mapper_port] = free_ports()?;
        let node = Guard::new(Leftover::Listener { port, name: VIRTUAL_MACHINE });
        let port_mapper = Guard::new(Leftover::Listener { port: mapper_port, name: PORT_MAPPER });
        let mut command = process::command(program.unwrap_or(usual_program()))?;
        configure(&mut command, &path, port, distribution_port, mapper_port);
        let process = Process::spawn(command, START_TIMEOUT)?;
        let pid = listener_on(port).unwrap_or(process.pid());
        Ok(RabbitMq { process, _node: node, _port_mapper: port_mapper, _folder: folder, pid })
    }

    /// Host and port.
    pub(super) fn address(&self) -> &str {
        self.process.address()
    }

    /// The process that does the work.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }
}

fn usual_program() -> &'static Path {
    let packaged = Path::new(PACKAGED);
    if packaged.exists() { packaged } else { Path::new(IN_PATH) }
}

fn configure(command: &mut Command, folder: &Path, port: u16, distribution_port: u16, mapper_port: u16) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("RABBITMQ_") || text.starts_with("ERL_") {
            command.env_remove(&name);
        }
    }
    let ports = [
        ("RABBITMQ_NODE_PORT", port),
        ("RABBITMQ_DIST_PORT", distribution_port),
        ("ERL_EPMD_PORT", mapper_port),
    ];
    command.envs(ports.map(|(name, port)| (name, port.to_string())));
    // Files that are not there stand for settings that are left as they are, and for no plugins.
    let places = [
        ("HOME", ""),
        ("RABBITMQ_MNESIA_BASE", "data"),
        ("RABBITMQ_LOG_BASE", "log"),
        ("RABBITMQ_CONF_ENV_FILE", "environment"),
        ("RABBITMQ_CONFIG_FILE", "rabbitmq"),
        ("RABBITMQ_CONFIG_FILES", "conf.d"),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", "advanced.config"),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
    ];
    command.envs(places.map(|(name, place)| (name, folder.join(place))));
    command
        .env("RABBITMQ_NODENAME", format!("rialto-bench-{port}@localhost"))
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        // To standard output, where the address is read.
        .env("RABBITMQ_LOGS", "-")
        // Its script becomes the virtual machine instead of waiting for it, so that the child is what works.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .env_remove("NOTIFY_SOCKET")
        .current_dir(folder);
}

/// Ports that nobody listens on. Someone may take them before the node does; then it says so.
fn free_ports() -> BenchResult<[u16; 3]> {
    let bind = || TcpListener::bind("127.0.0.1:0").doing(|| "cannot find a free port".to_owned());
    let port = |listener: &TcpListener| {
        listener.local_addr().map(|address| address.port()).doing(|| "cannot find a free port".to_owned())
    };
    // All are open at once, so that they differ.
    let [first, second, third] = [bind()?, bind()?, bind()?];
    Ok([port(&first)?, port(&second)?, port(&third)?])
}

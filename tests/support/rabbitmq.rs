//! A real RabbitMQ with its management plugin, where one is installed.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

/// What packages install beside a script that insists on a user of its own.
const SCRIPTS: [&str; 2] =
    ["/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server"];

/// How long a node may take to come up, on a machine that has much else to do.
const BOOT: Duration = Duration::from_secs(180);

/// A node of our own, in a folder that goes with it.
pub(crate) struct Node {
    child: Child,
    /// Where AMQP is spoken.
    pub(crate) address: SocketAddr,
    api: String,
    /// Holds the node's files until it has ended.
    _folder: TempDir,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(group) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn script() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&path).map(|folder| folder.join("rabbitmq-server"));
    SCRIPTS.iter().map(PathBuf::from).chain(in_path).find(|script| script.exists())
}

impl Node {
    /// Starts one and waits until it speaks AMQP and its HTTP API answers. None: no RabbitMQ is installed.
    pub(crate) fn start() -> Option<Node> {
        let script = script()?;
        let folder = TempDir::new().unwrap();
        let at = folder.path();
        let (port, distribution, http) = (free_port(), free_port(), free_port());
        let config = format!("management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {http}\n");
        fs::write(at.join("rabbitmq.conf"), config).unwrap();
        // Without the last two it refuses the parameters that they understand.
        let plugins = "[rabbitmq_management,rabbitmq_shovel,rabbitmq_federation].\n";
        fs::write(at.join("plugins"), plugins).unwrap();
        let child = Command::new(script)
            .env("HOME", at)
            .env("RABBITMQ_NODENAME", format!("rialto{port}@localhost"))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", port.to_string())
            .env("RABBITMQ_DIST_PORT", distribution.to_string())
            .env("RABBITMQ_MNESIA_BASE", at.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", at.join("log"))
            .env("RABBITMQ_CONFIG_FILE", at.join("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", at.join("plugins"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 2")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // The script starts the node as its child: both are ended as a group.
            .process_group(0)
            .spawn()
            .unwrap();
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let api = format!("http://{}/api", local(http));
        let mut node = Node { child, address: local(port), api, _folder: folder };
        let deadline = Instant::now() + BOOT;
        // It listens for AMQP last of all.
        while node.call("GET", "overview", "").is_none() || TcpStream::connect(node.address).is_err() {
            assert!(Instant::now() < deadline, "RabbitMQ does not come up");
            assert!(matches!(node.child.try_wait(), Ok(None)), "RabbitMQ has ended while it came up");
            // Another process, which tells nobody that it is ready: to ask is all there is.
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(node)
    }

    /// Status and text of an answer of its HTTP API; none if there is none.
    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/{path}", self.api))
            .header("authorization", format!("Basic {}", STANDARD.encode("guest:guest")))
            .header("content-type", "application/json")
            .body(body.to_owned())
            .unwrap();
        let mut response = agent.run(request).ok()?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(64 << 20).read_to_string().unwrap_or_default();
        Some((status, text))
    }
}

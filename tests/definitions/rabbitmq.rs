//! The way back: a real RabbitMQ takes what was exported here. Where none is installed there is nothing to ask.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;

use super::{EXPORT, SECTIONS, World, rows};

/// What packages install beside a script that insists on a user of its own.
const SCRIPT: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// How long a node may take to come up, on a machine that has much else to do.
const BOOT: Duration = Duration::from_secs(180);

/// A node of our own, in a folder that goes with it.
struct Node {
    child: Child,
    api: String,
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

impl Node {
    fn start() -> Option<Node> {
        if !Path::new(SCRIPT).exists() {
            return None;
        }
        let folder = TempDir::new().unwrap();
        let at = folder.path();
        let (port, distribution, http) = (free_port(), free_port(), free_port());
        let config = format!("management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {http}\n");
        fs::write(at.join("rabbitmq.conf"), config).unwrap();
        // Without the last two it refuses the parameters that they understand.
        let plugins = "[rabbitmq_management,rabbitmq_shovel,rabbitmq_federation].\n";
        fs::write(at.join("plugins"), plugins).unwrap();
        let child = Command::new(SCRIPT)
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
        let api = format!("http://{}/api", SocketAddr::from((Ipv4Addr::LOCALHOST, http)));
        let mut node = Node { child, api, _folder: folder };
        let deadline = Instant::now() + BOOT;
        while node.call("GET", "overview", "").is_none() {
            assert!(Instant::now() < deadline, "RabbitMQ does not come up");
            assert!(matches!(node.child.try_wait(), Ok(None)), "RabbitMQ has ended while it came up");
            // Another process, which tells nobody that it is ready: to ask is all there is.
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(node)
    }

    /// Status and text of an answer; none if there is none.
    fn call(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
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

#[tokio::test]
async fn a_rabbitmq_takes_what_is_exported_and_says_the_same() {
    let Some(node) = Node::start() else { return };
    let world = World::new();
    assert_eq!(world.import(EXPORT).await.0, 200);
    let exported = world.get("definitions").await;
    let (status, text) = node.call("POST", "definitions", &exported.to_string()).unwrap();
    assert_eq!((status, text.as_str()), (204, ""));
    let (_, text) = node.call("GET", "definitions", "").unwrap();
    let there: Value = serde_json::from_str(&text).unwrap();
    for section in SECTIONS.into_iter().filter(|section| !["global_parameters", "users"].contains(section)) {
        let (is, was) = (rows(&there, section), rows(&exported, section));
        let differs = was.iter().find(|row| !is.contains(row));
        assert_eq!(differs, None, "{section} lost it");
    }
    let hashes = |document: &Value| {
        let users = document["users"].as_array().unwrap().iter();
        let mut hashes: Vec<_> =
            users.map(|user| (user["name"].to_string(), user["password_hash"].to_string())).collect();
        hashes.sort();
        hashes
    };
    assert_eq!(hashes(&there), hashes(&exported), "whoever had a password has it still");
}

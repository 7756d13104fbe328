//! A RabbitMQ of our own, in a folder that goes with it, where one is installed.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long an Erlang node may take to come up.
const BOOT: Duration = Duration::from_secs(120);
/// Where packages put the script that starts the server in the foreground, as whoever calls it.
const SCRIPTS: [&str; 2] =
    ["/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server"];
/// A second vhost, to compare the oracle with itself.
pub(crate) const TWIN: &str = "twin";

/// The broker that we compare with.
pub(crate) struct Oracle {
    pub(crate) address: SocketAddr,
    node: Option<Node>,
}

/// A process of our own.
struct Node {
    child: Child,
    /// Holds the node's files until it has ended.
    _folder: TempDir,
}

impl Oracle {
    /// The one that `RIALTO_ORACLE=host:port` names, or one that is started here; none if none is installed.
    pub(crate) fn find() -> Option<Oracle> {
        if let Ok(named) = env::var("RIALTO_ORACLE") {
            let address = named.to_socket_addrs().ok().and_then(|mut all| all.next());
            let address = address.unwrap_or_else(|| panic!("RIALTO_ORACLE={named} is no host:port"));
            return Some(Oracle { address, node: None });
        }
        Some(Self::start(&script()?))
    }

    /// Whether it was made for this test, with [`TWIN`].
    pub(crate) fn is_own(&self) -> bool {
        self.node.is_some()
    }

    fn start(script: &Path) -> Oracle {
        let folder = TempDir::new().expect("a temporary folder");
        let at = folder.path();
        let (port, distribution) = (free_port(), free_port());
        let definitions = format!(
            r#"{{"vhosts": [{{"name": "/"}}, {{"name": "{TWIN}"}}],
                "users": [{{"name": "guest", "password": "guest", "tags": "administrator"}}],
                "permissions": [{}, {}]}}"#,
            permission("/"),
            permission(TWIN)
        );
        let config = format!(
            "load_definitions = {}\nlog.console.level = warning\n",
            at.join("definitions.json").display()
        );
        for (name, text) in
            [("definitions.json", &definitions), ("rabbitmq.conf", &config), ("plugins", &"[].\n".to_owned())]
        {
            fs::write(at.join(name), text).expect("a file in the temporary folder");
        }
        let child = Command::new(script)
            .env("HOME", at)
            .env("RABBITMQ_NODENAME", format!("rialto{port}@localhost"))
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
            .expect("rabbitmq-server can be started");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut oracle = Oracle { address, node: Some(Node { child, _folder: folder }) };
        oracle.await_boot();
        oracle
    }

    fn await_boot(&mut self) {
        let node = self.node.as_mut().expect("the node was started just now");
        let deadline = Instant::now() + BOOT;
        while TcpStream::connect(self.address).is_err() {
            assert!(Instant::now() < deadline, "RabbitMQ does not come up");
            assert!(matches!(node.child.try_wait(), Ok(None)), "RabbitMQ has ended while it came up");
            // Another process, which tells nobody that it is ready: the port is all there is to look at.
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(group) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

fn permission(vhost: &str) -> String {
    format!(r#"{{"user": "guest", "vhost": "{vhost}", "configure": ".*", "write": ".*", "read": ".*"}}"#)
}

fn script() -> Option<PathBuf> {
    let known = SCRIPTS.iter().map(PathBuf::from).find(|script| script.exists());
    let path = env::var_os("PATH").unwrap_or_default();
    known.or_else(|| {
        env::split_paths(&path).map(|folder| folder.join("rabbitmq-server")).find(|file| file.exists())
    })
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

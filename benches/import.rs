//! Moving over from RabbitMQ: how long an import of its definitions takes, and whether everybody gets in afterwards.
//!
//! `cargo bench --bench import -- [count] [generated]`: so many queues, exchanges, bindings, policies and users (1,000 unless
//! told). Where a RabbitMQ is installed they are given to it first, and what it exports is what is imported; `generated`
//! leaves it out. The broker is a process of its own with a data folder on the disk that the build is on. Then each user
//! logs in over AMQP with the password that it had.

#[path = "../tests/support/amqp/mod.rs"]
mod amqp;
#[path = "../tests/support/rabbitmq.rs"]
mod rabbitmq;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The aim: a thousand of each in less than this, in seconds.
const AIM: f64 = 5.0;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let count = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(1000);
    let generated = definitions(count).to_string();
    let asked = arguments.iter().all(|argument| argument != "generated").then(|| of_rabbitmq(&generated));
    let (source, definitions) = match asked.flatten() {
        Some(exported) => ("exported by RabbitMQ", exported),
        None => ("generated in RabbitMQ's form", generated),
    };
    let broker = Broker::start();
    println!("{count} of each, {source}: {} KiB", definitions.len() >> 10);
    let (items, took) = broker.import(&definitions);
    println!("imported  {items:>6} items in {took:.3} s (the aim: {AIM} s)");
    let (items, took) = broker.import(&definitions);
    println!("once more {items:>6} items in {took:.3} s");
    let began = Instant::now();
    for number in 0..count {
        broker.log_in(&user(number), &password(number)).expect("a user of the import logs in as before");
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "logged in {count:>6} users in {took:.3} s, one after the other, each on a connection of its own"
    );
    assert!(broker.log_in(&user(0), &password(1)).is_err(), "another's password lets nobody in");
    assert!(took_effect(&broker, count), "each queue has its policy");
}

fn user(number: usize) -> String {
    format!("user.{number:05}")
}

fn password(number: usize) -> String {
    format!("password of {}", user(number))
}

/// As RabbitMQ exports them.
fn definitions(count: usize) -> Value {
    let all = |row: &dyn Fn(usize) -> Value| (0..count).map(row).collect::<Vec<_>>();
    let salted = |number: usize| {
        let salt = (number as u32 * 7919).to_be_bytes();
        let digest = Sha256::new().chain_update(salt).chain_update(password(number)).finalize();
        STANDARD.encode([&salt[..], &digest].concat())
    };
    let everything =
        |user: &str| json!({"user": user, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"});
    let mut permissions = all(&|number| everything(&user(number)));
    permissions.push(everything("guest"));
    json!({
        "rabbit_version": "3.10.8",
        "rabbitmq_version": "3.10.8",
        "product_name": "RabbitMQ",
        "product_version": "3.10.8",
        "vhosts": [{"name": "/"}],
        "users": all(&|number| json!({"name": user(number), "password_hash": salted(number),
            "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ["management"], "limits": {}})),
        "permissions": permissions,
        "topic_permissions": [],
        "parameters": [],
        "global_parameters": [],
        "policies": all(&|number| json!({"vhost": "/", "name": format!("policy.{number:05}"),
            "pattern": format!("^queue\\.{number:05}$"), "apply-to": "queues", "priority": number % 10,
            "definition": {"max-length": 1000 + number, "dead-letter-exchange": ""}})),
        "queues": all(&|number| json!({"vhost": "/", "name": format!("queue.{number:05}"), "durable": true,
            "auto_delete": false, "arguments": {"x-message-ttl": 3_600_000}})),
        "exchanges": all(&|number| json!({"vhost": "/", "name": format!("exchange.{number:05}"), "type": "topic",
            "durable": true, "auto_delete": false, "internal": false, "arguments": {}})),
        "bindings": all(&|number| json!({"vhost": "/", "source": format!("exchange.{number:05}"),
            "destination": format!("queue.{number:05}"), "destination_type": "queue",
            "routing_key": format!("key.{number}.#"), "arguments": {}})),
    })
}

/// What a real RabbitMQ makes of definitions. None: there is none here.
fn of_rabbitmq(definitions: &str) -> Option<String> {
    let node = rabbitmq::Node::start()?;
    let began = Instant::now();
    let (status, text) = node.call("POST", "definitions", definitions).expect("RabbitMQ answers");
    assert_eq!(status, 204, "{text}");
    println!("RabbitMQ itself took them in {:.3} s", began.elapsed().as_secs_f64());
    let (status, text) = node.call("GET", "definitions", "").expect("RabbitMQ answers");
    assert_eq!(status, 200, "{text}");
    Some(text)
}

/// Whether each queue has the policy that is for it, and only that.
fn took_effect(broker: &Broker, count: usize) -> bool {
    let (_, text) = broker.call("GET", "queues?columns=name,policy", "");
    let queues: Vec<Value> = serde_json::from_str(&text).expect("the API answers JSON");
    let number = |text: &Value| text.as_str().and_then(|text| text.rsplit('.').next()).map(str::to_owned);
    queues.len() == count && queues.iter().all(|queue| number(&queue["name"]) == number(&queue["policy"]))
}

/// A broker in a process of its own.
struct Broker {
    process: Child,
    address: SocketAddr,
    api: String,
    _data: tempfile::TempDir,
}

impl Broker {
    fn start() -> Broker {
        let data = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("room for a folder");
        let mut process = Command::new(env!("CARGO_BIN_EXE_rialto"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data.path().join("data"))
            .env("RIALTO_MANAGEMENT__LISTEN", "127.0.0.1:0")
            .env("RIALTO_METRICS__LISTEN", "none")
            .current_dir("/")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built with this bench");
        let mut log = BufReader::new(process.stderr.take().expect("it is piped"));
        let (mut address, mut api, mut line) = (None, None, String::new());
        while address.is_none() || api.is_none() {
            line.clear();
            let read = log.read_line(&mut line).expect("the log is text");
            assert!(read > 0, "the broker ended before it served");
            if let Some((_, found)) = line.split_once("serving on rialto://") {
                address = found.trim().parse().ok();
            }
            if let Some((_, found)) = line.split_once("answers on ") {
                api = Some(found.trim().to_owned());
            }
        }
        // Somebody must read on, or the log would fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Broker { process, address: address.expect("just found"), api: api.expect("just found"), _data: data }
    }

    fn call(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.api))
            .header("authorization", format!("Basic {}", STANDARD.encode("guest:guest")))
            .header("content-type", "application/json")
            .body(body.to_owned())
            .expect("a path without odd characters");
        let mut answer = agent.run(request).expect("the HTTP API answers");
        let text = answer.body_mut().with_config().limit(256 << 20).read_to_string().expect("a whole answer");
        (answer.status().as_u16(), text)
    }

    /// How many items were imported, and the seconds from the first byte that is sent to the answer: then they are safe.
    fn import(&self, definitions: &str) -> (u64, f64) {
        let began = Instant::now();
        let (status, text) = self.call("POST", "definitions", definitions);
        let took = began.elapsed().as_secs_f64();
        assert_eq!(status, 200, "{text}");
        let answer: Value = serde_json::from_str(&text).expect("the API answers JSON");
        (answer["items"].as_u64().expect("a number"), took)
    }

    fn log_in(&self, user: &str, password: &str) -> Result<(), String> {
        let response = format!("\0{user}\0{password}").into_bytes().into();
        let options = amqp::Options { response, ..amqp::Options::default() };
        amqp::Client::log_in(self.address, &options).map(drop).map_err(|closed| format!("{user}: {closed:?}"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

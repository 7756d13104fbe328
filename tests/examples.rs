//! Every example runs, exits with 0, and leaves nothing behind in a broker that it was given.
//!
//! `cargo test` builds the examples; `cargo test --test examples` alone does not.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rialto::broker::Broker;
use rialto::server::Embedded;
use tokio::process::Command;

/// Each example and something that it prints at its end.
const EXAMPLES: [(&str, &str); 7] = [
    ("work_queue", "60 tasks are done"),
    ("fanout", "copies to 100 queues"),
    ("topic_routing", "money wanted"),
    ("priorities", "received another postcard"),
    ("retry_with_dead_letter", "x-death-reason-text: no such customer"),
    ("request_reply", "nobody computes cubes"),
    ("publisher_confirms", "message 1 of the batch"),
];

/// Only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(120);

async fn run(example: &str, arguments: &[&str]) -> String {
    let mut path = PathBuf::from(env!("CARGO_BIN_EXE_rialto"));
    path.set_file_name("examples");
    path.push(example);
    let mut command = Command::new(&path);
    command.args(arguments).env_remove("RIALTO_URL").stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => panic!("{}: {error}; run `cargo build --examples` first", path.display()),
        Err(_) => panic!("{example} hangs"),
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{example}: {}\n{said}{complained}", output.status);
    said
}

#[tokio::test]
async fn every_example_runs_with_a_broker_of_its_own() {
    for (example, expected) in EXAMPLES {
        let said = run(example, &[]).await;
        assert!(said.contains(expected), "{example} said:\n{said}");
        assert!(said.starts_with("started a broker"), "{example} said:\n{said}");
    }
}

#[tokio::test]
async fn every_example_runs_against_a_broker_that_is_up_and_cleans_up() {
    let broker = Embedded::start(Broker::in_memory().build()).await.unwrap();
    let vhost = broker.broker().vhost("/").unwrap();
    for (example, expected) in EXAMPLES {
        let said = run(example, &[&broker.url()]).await;
        assert!(said.contains(expected), "{example} said:\n{said}");
        assert!(vhost.queues().is_empty(), "{example} left {:?}", vhost.queues());
        let exchanges = vhost.list(rialto::broker::Listed::Exchanges, "", 100).unwrap().rows;
        assert!(
            !exchanges.iter().any(|row| row.to_string().contains("example.")),
            "{example} left an exchange"
        );
    }
}

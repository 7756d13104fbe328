//! A start with definitions: whose they are, and what a file with errors does.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::json;

use super::broker::{Broker, binary, code, stderr};

fn settings(definitions: &Path) -> String {
    format!("[management]\nload_definitions = {:?}\n", definitions.display().to_string())
}

#[test]
fn the_users_of_a_broker_that_starts_with_definitions_are_those_of_the_definitions() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("definitions.json");
    let definitions = json!({
        "users": [{"name": "ops", "password": "secret", "tags": "administrator"}],
        "permissions": [{"user": "ops", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
        "queues": [{"vhost": "/", "name": "orders", "durable": true, "auto_delete": false, "arguments": {}}],
    });
    fs::write(&file, definitions.to_string()).unwrap();
    let broker = Broker::with_settings(&settings(&file));
    let told = broker.refused(&["queue", "list"], 4);
    assert!(told.contains("guest"), "{told}");
    let as_ops = |arguments: &[&str]| {
        let mut command = broker.command(arguments);
        let url = format!("rialto://ops:secret@{}/", broker.messages);
        command.env("RIALTO_URL", url).env("RIALTO_API", broker.api.replace("//", "//ops:secret@"));
        command.output().unwrap()
    };
    let listed = as_ops(&["queue", "list", "--columns", "name"]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "name\norders\n", "{}", stderr(&listed));
    assert_eq!(code(&as_ops(&["publish", "", "--key", "orders", "m"])), Some(0));
}

#[test]
fn a_broker_does_not_start_with_definitions_that_have_errors_and_lists_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("definitions.json");
    let definitions = json!({
        "vhosts": [{"name": "shop"}],
        "queues": [{"vhost": "shop", "name": "q", "durable": "perhaps"}, {"vhost": "nowhere", "name": "q"}],
        "policies": [{"vhost": "shop", "name": "p", "pattern": "(", "definition": {"max-length": 1}}],
    });
    fs::write(&file, definitions.to_string()).unwrap();
    fs::write(folder.path().join("broker.toml"), settings(&file)).unwrap();
    let serve = || {
        let mut command = binary(folder.path());
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("RIALTO_MANAGEMENT__LISTEN", "127.0.0.1:0")
            .env("RIALTO_METRICS__LISTEN", "none")
            .stdin(Stdio::null());
        command
    };
    let ended = serve().output().unwrap();
    let told = stderr(&ended);
    assert_eq!(code(&ended), Some(3), "{told}");
    let places = ["queues[0].durable", "queues[1]", "policies[0].pattern"];
    for what in places.into_iter().chain(["management.load_definitions", "nothing was taken over"]) {
        assert!(told.contains(what), "{what}: {told}");
    }
    fs::remove_file(&file).unwrap();
    let ended = serve().output().unwrap();
    let told = stderr(&ended);
    assert!(code(&ended) == Some(3) && told.contains("definitions.json"), "{told}");
}

//! No secret is ever logged: at the chattiest level, whatever is done with passwords, and whatever goes wrong.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::broker::{Broker, stderr};

/// Passwords that are good for nothing but to be looked for.
const OF_THE_FILE: &str = "secretOfTheFile";
const OF_ANN: &str = "secretOfAnn";
const CHANGED: &str = "secretOfAnnLater";
const WRONG: &str = "secretThatIsWrong";
const IMPORTED: &str = "secretOfImport";

/// A broker that logs all it can, and a user of its file.
fn broker() -> Broker {
    Broker::with_settings(&format!(
        "[log]\nlevel = \"trace\"\naudit_file = \"audit.log\"\n\
         [auth.users.root]\npassword = \"{OF_THE_FILE}\"\n"
    ))
}

/// Runs a command as that user; what it said.
fn run(broker: &Broker, arguments: &[&str], expected: i32) -> String {
    let mut command = broker.command(arguments);
    let output = command.env("RIALTO_USER", "root").env("RIALTO_PASSWORD", OF_THE_FILE).output().unwrap();
    assert_eq!(output.status.code(), Some(expected), "{arguments:?}: {}", stderr(&output));
    stderr(&output)
}

/// Looks for every secret in all that was written.
fn assert_silent(broker: Broker, told: &str) {
    let audit = std::fs::read_to_string(broker.path("audit.log")).unwrap();
    let log = broker.stop();
    assert!(
        log.contains("logged in") || log.contains("act="),
        "the log tells of logins, or of administrators:\n{log}"
    );
    for secret in [OF_THE_FILE, OF_ANN, CHANGED, IMPORTED, WRONG] {
        let encoded = ["", "root:", "ann:", "nobody:", "\0root\0"]
            .map(|user| STANDARD.encode(format!("{user}{secret}")));
        for text in encoded.iter().map(String::as_str).chain([secret]) {
            for (what, place) in
                [("log", log.as_str()), ("audit file", &audit), ("command's own words", told)]
            {
                let line = place.lines().find(|line| line.contains(text));
                assert!(line.is_none(), "the {what} has a secret: {line:?}");
            }
        }
    }
}

#[test]
fn no_password_is_logged_whoever_logs_in() {
    let broker = broker();
    let mut told = run(&broker, &["log", "level"], 0);
    for (user, password, expected) in [("root", OF_THE_FILE, 0), ("root", WRONG, 4), ("nobody", WRONG, 4)] {
        let url = format!("rialto://{user}:{password}@{}/", broker.messages);
        let native = broker.command(&["list", "queues"]).env("RIALTO_URL", url).output().unwrap();
        let mut http = broker.command(&["queue", "list"]);
        let http = http.env("RIALTO_USER", user).env("RIALTO_PASSWORD", password).output().unwrap();
        for output in [native, http] {
            told.push_str(&stderr(&output));
            assert_eq!(output.status.code(), Some(expected), "{user}: {}", stderr(&output));
        }
    }
    // Requests that are none.
    let basic = STANDARD.encode(format!("root:{OF_THE_FILE}"));
    let broken = format!("{{\"password\": \"{OF_ANN}\", oops}}");
    for request in [
        format!(
            "PUT /api/queues/%2F/q HTTP/1.1\r\nhost: h\r\nauthorization: Basic {basic}\r\ncontent-length: {}\r\n\r\n{broken}",
            broken.len()
        ),
        format!("BROKEN {WRONG}\r\nauthorization: Basic {basic}\r\n\r\n"),
    ] {
        broker.speak(&broker.api, request.as_bytes());
    }
    // connection.start-ok with an empty table of properties, PLAIN, and a locale (AMQP 0-9-1, section 1.4.2.2).
    for password in [OF_THE_FILE, WRONG] {
        let response = format!("\0root\0{password}");
        let mut method = vec![0, 10, 0, 11, 0, 0, 0, 0, 5];
        method.extend(b"PLAIN");
        method.extend((response.len() as u32).to_be_bytes());
        method.extend(response.as_bytes());
        method.push(5);
        method.extend(b"en_US");
        let mut amqp = b"AMQP\x00\x00\x09\x01\x01\x00\x00".to_vec();
        amqp.extend((method.len() as u32).to_be_bytes());
        amqp.extend(&method);
        amqp.push(0xCE);
        broker.speak(&broker.messages, &amqp);
    }
    assert_silent(broker, &told);
}

#[test]
fn no_password_is_logged_whatever_is_done_with_users() {
    let broker = broker();
    let file = |name: &str, text: &str| {
        std::fs::write(broker.path(name), text).unwrap();
        name.to_owned()
    };
    let definitions =
        |tags: &str| format!(r#"{{"users": [{{"name": "bob", "password": "{IMPORTED}", "tags": {tags}}}]}}"#);
    let steps: [(&[&str], i32); 8] = [
        (&["user", "add", "ann", "--tags", "management", "--password-from", &file("ann", OF_ANN)], 0),
        (&["user", "set", "ann", "--password-from", &file("later", CHANGED)], 0),
        (&["permission", "set", "ann"], 0),
        (&["user", "show", "ann"], 0),
        (&["import", &file("definitions.json", &definitions("\"\""))], 0),
        (&["import", &file("broken.json", &definitions("5"))], 5),
        (&["export", "-o", "exported.json"], 0),
        (&["user", "delete", "ann"], 0),
    ];
    let told: String = steps.iter().map(|(arguments, expected)| run(&broker, arguments, *expected)).collect();
    let audit = std::fs::read_to_string(broker.path("audit.log")).unwrap();
    assert!(audit.contains("ann"), "the audit trail tells of users: {audit}");
    assert_silent(broker, &told);
}

#[test]
fn a_generated_password_is_shown_once_and_lets_its_user_in() {
    let broker = Broker::start();
    let password = broker.run(&["user", "add", "shop", "--tags", "management", "--generate"]);
    let password = password.trim();
    assert_eq!(password.len(), 24);
    broker.run(&["permission", "set", "shop"]);
    let url = format!("rialto://shop:{password}@{}/", broker.messages);
    let output = broker.command(&["list", "queues"]).env("RIALTO_URL", url).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!broker.stop().contains(password));
}

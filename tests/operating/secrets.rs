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

#[test]
fn no_password_is_logged_whatever_is_done_with_it() {
    let settings = format!(
        "[log]\nlevel = \"trace\"\naudit_file = \"audit.log\"\n\
         [auth.users.root]\npassword = \"{OF_THE_FILE}\"\n"
    );
    let broker = Broker::with_settings(&settings);
    let root = |arguments: &[&str]| {
        let mut command = broker.command(arguments);
        command.env("RIALTO_API", &broker.api).env("RIALTO_USER", "root").env("RIALTO_PASSWORD", OF_THE_FILE);
        command
    };
    let file = |name: &str, password: &str| {
        std::fs::write(broker.path(name), password).unwrap();
        name.to_owned()
    };
    let told = std::cell::RefCell::new(String::new());
    let run = |arguments: &[&str], expected: i32| {
        let output = root(arguments).output().unwrap();
        told.borrow_mut().push_str(&stderr(&output));
        assert_eq!(output.status.code(), Some(expected), "{arguments:?}: {}", stderr(&output));
    };

    // Users come, change and go.
    run(&["user", "add", "ann", "--tags", "management", "--password-from", &file("ann", OF_ANN)], 0);
    run(&["user", "set", "ann", "--password-from", &file("later", CHANGED)], 0);
    run(&["permission", "set", "ann"], 0);
    run(&["user", "show", "ann"], 0);
    let definitions = format!(r#"{{"users": [{{"name": "bob", "password": "{IMPORTED}", "tags": ""}}]}}"#);
    run(&["import", &file("definitions.json", &definitions)], 0);
    let broken = format!(r#"{{"users": [{{"name": "eve", "password": "{IMPORTED}", "tags": 5}}]}}"#);
    run(&["import", &file("broken.json", &broken)], 5);

    // Logins that succeed and those that do not, over both protocols and HTTP.
    for (user, password, expected) in
        [("root", OF_THE_FILE, 0), ("ann", CHANGED, 0), ("ann", WRONG, 4), ("nobody", WRONG, 4)]
    {
        let url = format!("rialto://{user}:{password}@{}/", broker.messages);
        let output = broker.command(&["list", "queues"]).env("RIALTO_URL", url).output().unwrap();
        told.borrow_mut().push_str(&stderr(&output));
        assert_eq!(output.status.code(), Some(expected), "{user}: {}", stderr(&output));
        let mut command = broker.command(&["queue", "list"]);
        let output = command.env("RIALTO_USER", user).env("RIALTO_PASSWORD", password).output().unwrap();
        told.borrow_mut().push_str(&stderr(&output));
        assert_eq!(output.status.code(), Some(expected), "{user}: {}", stderr(&output));
    }
    // Frames and requests that are none.
    let basic = STANDARD.encode(format!("root:{OF_THE_FILE}"));
    let requests = [
        format!(
            "PUT /api/users/x HTTP/1.1\r\nhost: h\r\nauthorization: Basic {basic}\r\ncontent-length: 30\r\n\r\n{{\"password\": \"{OF_ANN}\", oops}}"
        ),
        format!("BROKEN {WRONG}\r\nauthorization: Basic {basic}\r\n\r\n"),
    ];
    for request in &requests {
        broker.speak(&broker.api, request.as_bytes());
    }
    let mut amqp = b"AMQP\x00\x00\x09\x01".to_vec();
    let response = format!("\0root\0{WRONG}");
    // connection.start-ok with an empty table of properties, PLAIN, and a locale (AMQP 0-9-1, section 1.4.2.2).
    let mut method = vec![0, 10, 0, 11, 0, 0, 0, 0, 5];
    method.extend(b"PLAIN");
    method.extend((response.len() as u32).to_be_bytes());
    method.extend(response.as_bytes());
    method.extend([5]);
    method.extend(b"en_US");
    amqp.extend([1, 0, 0]);
    amqp.extend((method.len() as u32).to_be_bytes());
    amqp.extend(&method);
    amqp.push(0xCE);
    broker.speak(&broker.messages, &amqp);

    run(&["user", "delete", "ann"], 0);
    let told = told.take();
    let audit = std::fs::read_to_string(broker.path("audit.log")).unwrap();
    let log = broker.stop();
    assert!(log.contains("login"), "the log tells of logins");
    assert!(audit.contains("ann"), "the audit trail tells of users: {audit}");
    for secret in [OF_THE_FILE, OF_ANN, CHANGED, IMPORTED, WRONG] {
        let encoded = [
            secret.to_owned(),
            STANDARD.encode(secret),
            STANDARD.encode(format!("root:{secret}")),
            STANDARD.encode(format!("ann:{secret}")),
        ];
        for text in encoded {
            for (what, place) in [("log", &log), ("audit file", &audit), ("command's own words", &told)] {
                let line = place.lines().find(|line| line.contains(&text));
                assert!(line.is_none(), "the {what} has a secret: {line:?}");
            }
        }
    }
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

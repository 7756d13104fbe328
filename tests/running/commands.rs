//! What an operator types, from the first user to the last dead letter.

use serde_json::Value;

use crate::broker::{Broker, code, stderr, stdout};

/// A broker with an exchange, two queues and some messages.
fn shop() -> Broker {
    let broker = Broker::start();
    broker.run(&["declare", "exchange", "events", "--kind", "topic"]);
    broker.run(&["declare", "queue", "tasks", "--dead-letter-exchange", "", "--dead-letter-key", "failed"]);
    broker.run(&["declare", "queue", "failed"]);
    broker.run(&["bind", "events", "tasks", "--key", "order.new"]);
    let lines = "one\ntwo\nthree\n";
    let output = broker.run_with(&["publish", "events", "--key", "order.new", "--stdin"], lines);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    broker
}

fn names(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["name"].as_str().unwrap()).collect()
}

#[test]
fn queues_are_listed_filtered_ordered_and_shown() {
    let broker = shop();
    let table = broker.run(&["queue", "list"]);
    let header = table.lines().next().unwrap();
    for word in ["vhost", "name", "ready", "unacked"] {
        assert!(header.contains(word), "{table}");
    }
    assert_eq!(
        names(&broker.rows(&["queue", "list", "--sort", "messages", "--reverse"])),
        ["tasks", "failed"]
    );
    assert_eq!(names(&broker.rows(&["queue", "list", "--name", "^fail"])), ["failed"]);
    assert_eq!(broker.rows(&["queue", "list", "--limit", "1"]).len(), 1);
    let columns = broker.run(&["queue", "list", "--columns", "name,messages", "--name", "tasks"]);
    assert_eq!(columns, "name   total\ntasks      3\n");
    let shown = broker.run(&["queue", "show", "tasks"]);
    assert!(shown.contains("messages") && shown.contains("durable"), "{shown}");
    let missing = broker.refused(&["queue", "show", "tusks"], 5);
    assert!(missing.contains("there is no queue \"tusks\" in vhost \"/\""), "{missing}");
    assert!(broker.refused(&["queue", "list", "--vhost", "nowhere"], 5).contains("no vhost \"nowhere\""));
}

#[test]
fn exchanges_bindings_connections_channels_and_consumers_are_listed() {
    let broker = shop();
    assert!(names(&broker.rows(&["exchange", "list"])).contains(&"events"));
    assert!(broker.run(&["exchange", "show", "events"]).contains("order.new"));
    assert!(broker.run(&["binding", "list", "--source", "events"]).contains("tasks"));
    assert!(broker.run(&["binding", "list", "--queue", "tasks"]).contains("order.new"));
    // The default exchange has no name, and is one.
    assert!(broker.run(&["exchange", "show", ""]).contains("direct"));
    assert!(broker.run(&["binding", "list", "--source", ""]).contains("tasks"));
    for list in ["connection", "channel", "consumer"] {
        broker.run(&[list, "list"]);
    }
    broker.refused(&["connection", "show", "nobody"], 5);
    broker.refused(&["exchange", "show", "nothing"], 5);
}

#[test]
fn status_and_health_tell_how_it_is() {
    let broker = shop();
    let status = broker.run(&["status"]);
    assert!(status.contains("queues") && status.contains("2"), "{status}");
    let output = broker.output(&["health"]);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    for check in ["ready", "alarms", "vhosts"] {
        assert!(stderr(&output).contains(&format!("{check}: ok")), "{}", stderr(&output));
    }
    let port = broker.messages.rsplit(':').next().unwrap();
    broker.run(&["health", "--port", port]);
    broker.refused(&["health", "--port", "1"], 1);
}

#[test]
fn users_are_added_changed_shown_and_deleted() {
    let broker = Broker::start();
    let add = |name: &str, password: &str| {
        broker.run_with(&["user", "add", name, "--tags", "monitoring", "--password-from", "-"], password)
    };
    assert_eq!(code(&add("ann", "wonder\n")), Some(0));
    let again = add("ann", "other\n");
    assert_eq!(code(&again), Some(5), "{}", stderr(&again));
    assert!(stderr(&again).contains("is there already") && stderr(&again).contains("rialto user set"));

    broker.run(&["permission", "set", "ann", "--write", "^$"]);
    let permissions = broker.rows(&["permission", "list", "--user", "ann"]);
    assert_eq!(permissions[0]["write"], "^$");
    assert_eq!(permissions[0]["configure"], ".*");
    broker.run(&["topic-permission", "set", "ann", "amq.topic", "--read", "^ann"]);
    assert!(broker.run(&["user", "show", "ann"]).contains("amq.topic"));

    // New tags do not take the password away.
    broker.run(&["user", "set", "ann", "--tags", "management"]);
    let url = format!("rialto://ann:wonder@{}/", broker.messages);
    let output = broker.command(&["list", "queues"]).env("RIALTO_URL", &url).output().unwrap();
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    let mut command = broker.command(&["user", "list"]);
    let output = command.env("RIALTO_USER", "ann").env("RIALTO_PASSWORD", "wonder").output().unwrap();
    assert_eq!(code(&output), Some(5), "a user with the tag management sees no users: {}", stdout(&output));
    assert!(stderr(&output).contains("\"ann\" may not do this"), "{}", stderr(&output));

    broker.run(&["user", "set", "ann", "--limit", "max-connections=0"]);
    let output = broker.command(&["list", "queues"]).env("RIALTO_URL", &url).output().unwrap();
    assert_ne!(code(&output), Some(0));
    broker.run(&["user", "set", "ann", "--limit", "max-connections=none"]);
    let output = broker.command(&["list", "queues"]).env("RIALTO_URL", &url).output().unwrap();
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));

    broker.run(&["topic-permission", "clear", "ann"]);
    broker.run(&["permission", "clear", "ann"]);
    broker.run(&["user", "delete", "ann"]);
    assert!(broker.refused(&["user", "show", "ann"], 5).contains("there is no user \"ann\""));
    assert!(broker.refused(&["permission", "set", "ann"], 5).contains("there is no user \"ann\""));
    let nowhere = broker.refused(&["topic-permission", "set", "guest", "x", "--vhost", "nowhere"], 5);
    assert!(nowhere.contains("there is no vhost \"nowhere\""), "{nowhere}");
}

#[test]
fn whoever_takes_one_port_for_the_other_is_told_so() {
    let broker = Broker::start();
    let url = broker.api.replace("http://", "rialto://guest:guest@");
    let told = broker.refused(&["list", "queues", "--url", &url], 4);
    assert!(told.contains("an HTTP server answers there") && !told.contains("report"), "{told}");
    let api = format!("http://{}", broker.messages);
    let told = broker.refused(&["status", "--api", &api], 5);
    assert!(told.contains("This port speaks AMQP 0-9-1 and the Rialto protocol, not HTTP."), "{told}");
    assert!(broker.refused(&["health", "--api", &api], 5).contains("not HTTP"));
}

#[test]
fn what_the_settings_file_says_is_changed_there_and_every_refusal_says_so() {
    let settings = "[auth.users.boss]\npassword = \"secret\"\ntags = [\"administrator\"]\n\
        [auth.users.boss.permissions.\"/\"]\nconfigure = \".*\"\nwrite = \".*\"\nread = \".*\"\n\
        [[policies]]\nname = \"short\"\npattern = \"^s\"\ndefinition = { max-length = 5 }\n";
    let broker = Broker::with_settings(settings);
    let run = |arguments: &[&str]| {
        let mut command = broker.command(arguments);
        command.env("RIALTO_USER", "boss").env("RIALTO_PASSWORD", "secret").output().unwrap()
    };
    let refused: [&[&str]; 6] = [
        &["user", "set", "boss", "--tags", ""],
        &["user", "set", "boss", "--limit", "max-channels=1"],
        &["user", "delete", "boss"],
        &["permission", "set", "boss", "--write", "^$"],
        &["policy", "add", "short", "^t", "max-length=6"],
        &["policy", "rm", "short"],
    ];
    for arguments in refused {
        let output = run(arguments);
        let told = stderr(&output);
        assert_eq!(code(&output), Some(5), "{arguments:?}: {told}");
        assert!(told.contains("settings file: change") && told.contains("start the broker again"), "{told}");
    }
    let there = run(&["user", "add", "boss", "--generate"]);
    assert!(stderr(&there).contains("change it there"), "{}", stderr(&there));
    let listed = stdout(&run(&["user", "list"]));
    assert!(listed.contains("settings-file"), "{listed}");
    // An import passes them over, and says so.
    let definitions = broker.path("definitions.json");
    let text = r#"{"users": [{"name": "boss", "tags": "", "password_hash": ""}],
        "permissions": [{"user": "boss", "vhost": "/", "configure": "", "write": "", "read": ""}],
        "policies": [{"vhost": "/", "name": "short", "pattern": "", "definition": {"max-length": 6}}]}"#;
    std::fs::write(&definitions, text).unwrap();
    let imported = run(&["import", definitions.to_str().unwrap()]);
    let told = stderr(&imported);
    assert_eq!((code(&imported), told.matches("settings file").count()), (Some(0), 3), "{told}");
    assert!(stdout(&run(&["policy", "show", "short"])).contains("max-length=5"));
}

#[test]
fn words_of_other_tools_are_understood() {
    let broker = Broker::start();
    broker.run(&["vhost", "create", "shop"]);
    broker.run(&["permission", "add", "guest", "--vhost", "shop"]);
    broker.run(&["permission", "delete", "guest", "--vhost", "shop"]);
    broker.run(&["policy", "add", "p", "^x", "max-length=2", "--vhost", "shop"]);
    assert!(broker.run(&["policy", "show", "p", "--vhost", "shop"]).contains("max-length=2"));
    let one: serde_json::Value =
        serde_json::from_str(&broker.run(&["policy", "show", "p", "--vhost", "shop", "--json"])).unwrap();
    assert_eq!(one["pattern"], "^x");
    broker.run(&["policy", "clear", "p", "--vhost", "shop"]);
    assert!(broker.refused(&["policy", "show", "p", "--vhost", "shop"], 5).contains("there is no policy"));
    broker.run(&["queue", "create", "q"]);
    broker.run(&["queue", "rm", "q"]);
    broker.run(&["vhost", "remove", "shop", "--yes"]);
    for noun in ["user", "vhost", "queue", "exchange", "connection", "channel", "policy", "job"] {
        let help = broker.run(&[noun, "show", "--help"]);
        assert!(
            help.contains("Show one ") && help.contains("Examples:") && help.contains("--json"),
            "{help}"
        );
    }
}

#[test]
fn vhosts_are_added_limited_and_deleted() {
    let broker = Broker::start();
    broker.run(&["vhost", "add", "shop", "--description", "of the shop", "--limit", "max-queues=1"]);
    broker.refused(&["vhost", "add", "shop"], 5);
    broker.run(&["permission", "set", "guest", "--vhost", "shop"]);
    let url = format!("rialto://guest:guest@{}/shop", broker.messages);
    let declare =
        |name: &str| broker.command(&["declare", "queue", name]).env("RIALTO_URL", &url).output().unwrap();
    assert_eq!(code(&declare("a")), Some(0));
    assert_eq!(code(&declare("b")), Some(5));
    let shown = broker.run(&["vhost", "show", "shop"]);
    assert!(shown.contains("of the shop") && shown.contains("max-queues=1"), "{shown}");
    broker.run(&["vhost", "set", "shop", "--limit", "max-queues=none", "--tags", "eu"]);
    assert_eq!(code(&declare("b")), Some(0));
    assert!(broker.run(&["vhost", "show", "shop"]).contains("of the shop"), "what was not changed stays");
    broker.run(&["vhost", "delete", "shop", "--yes"]);
    assert!(!broker.run(&["vhost", "list"]).contains("shop"));
}

#[test]
fn a_vhost_is_protected_by_a_bare_flag_until_it_is_taken_away() {
    let broker = Broker::start();
    broker.run(&["vhost", "add", "--protect", "shop"]);
    let refused = broker.refused(&["vhost", "delete", "shop", "--yes"], 5);
    assert!(refused.contains("protected from deletion"), "{refused}");
    broker.run(&["vhost", "set", "shop", "--description", "what is not said stays"]);
    broker.refused(&["vhost", "delete", "shop", "--yes"], 5);
    broker.run(&["vhost", "set", "shop", "--protect=false"]);
    broker.run(&["vhost", "set", "--protect=true", "shop"]);
    broker.refused(&["vhost", "delete", "shop", "--yes"], 5);
    broker.run(&["vhost", "set", "shop", "--protect=false"]);
    broker.run(&["vhost", "delete", "shop", "--yes"]);
}

#[test]
fn policies_hold_at_once() {
    let broker = shop();
    broker.run(&[
        "policy",
        "set",
        "short",
        "^tasks$",
        "max-length=2",
        "--apply-to",
        "queues",
        "--priority",
        "3",
    ]);
    assert_eq!(broker.rows(&["queue", "list", "--name", "^tasks$"])[0]["messages"], 2);
    let policies = broker.rows(&["policy", "list"]);
    assert_eq!((&policies[0]["priority"], &policies[0]["apply-to"]), (&3.into(), &"queues".into()));
    let wrong = broker.refused(&["policy", "set", "p", "(", "max-length=2"], 5);
    assert!(wrong.contains("regular expression"), "{wrong}");
    broker.run(&["operator-policy", "set", "limits", ".*", "max-length=1", "--apply-to", "queues"]);
    assert_eq!(broker.rows(&["queue", "list", "--name", "^tasks$"])[0]["messages"], 1);
    broker.run(&["operator-policy", "delete", "limits"]);
    broker.run(&["policy", "delete", "short"]);
    broker.refused(&["policy", "delete", "short"], 5);
}

#[test]
fn parameters_are_kept() {
    let broker = Broker::start();
    broker.run(&["parameter", "set", "--global", "cluster_name", "shop"]);
    assert!(broker.run(&["parameter", "list", "--global"]).contains("shop"));
    broker.run(&["parameter", "delete", "--global", "cluster_name"]);
}

#[test]
fn what_one_broker_exports_another_imports() {
    let (old, new) = (shop(), Broker::start());
    old.run(&["policy", "set", "short", "^tmp", "max-length=2"]);
    let definitions = old.run(&["export"]);
    let output = new.run_with(&["import", "-"], &definitions);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("2 queues"), "{}", stderr(&output));
    assert_eq!(new.run(&["queue", "list", "--columns", "name"]), "name\nfailed\ntasks\n");
    let again = new.run_with(&["import", "-", "--json"], &definitions);
    let answer: serde_json::Value = serde_json::from_str(&stdout(&again)).unwrap();
    assert!(answer["items"].as_u64() > Some(2) && answer["notices"].is_array(), "{answer}");
    assert!(new.run(&["binding", "list", "--queue", "tasks"]).contains("order.new"));
    assert!(new.run(&["policy", "list"]).contains("short"));

    let file = old.path("definitions.json");
    old.run(&["export", "-o", file.to_str().unwrap()]);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "there are hashes of passwords in it");
}

#[test]
fn an_import_with_errors_lists_them_all_and_changes_nothing() {
    let broker = Broker::start();
    let definitions = r#"{"vhosts": [{"name": "new"}], "queues": [
        {"vhost": "new", "name": "q", "durable": true, "arguments": {"x-max-length": "many"}},
        {"vhost": "nowhere", "name": "q", "durable": true, "arguments": {}}
    ]}"#;
    let output = broker.run_with(&["import", "-"], definitions);
    assert_eq!(code(&output), Some(5), "{}", stderr(&output));
    let told = stderr(&output);
    assert!(told.contains("x-max-length") && told.contains("nowhere"), "{told}");
    assert!(told.contains("nothing was changed"), "{told}");
    assert!(!broker.run(&["vhost", "list"]).contains("new"));
    let output = broker.run_with(&["import", "-"], "{ no json");
    assert_eq!(code(&output), Some(2), "{}", stderr(&output));
}

#[test]
fn messages_are_looked_at_without_being_touched() {
    let broker = shop();
    let table = broker.run(&["peek", "tasks"]);
    for word in ["one", "two", "three", "order.new", "events"] {
        assert!(table.contains(word), "{table}");
    }
    let found = broker.rows(&["peek", "tasks", "--contains", "wo"]);
    assert_eq!((found.len(), &found[0]["payload"]), (1, &"two".into()));
    assert_eq!(found[0]["redelivered"], false);
    assert_eq!(broker.rows(&["peek", "tasks", "--limit", "2"]).len(), 2);
    assert!(broker.rows(&["peek", "tasks", "--older-than", "1h"]).is_empty());
    assert!(broker.run(&["peek", "tasks", "--full", "--limit", "1"]).contains("routing key"));
    let ids: Vec<String> = broker.rows(&["peek", "tasks"]).iter().map(|row| row["id"].to_string()).collect();
    broker.run(&["message", "delete", "tasks", &ids[0]]);
    broker.run(&["message", "move", "tasks", &ids[1], "--to-queue", "failed"]);
    broker.refused(&["message", "delete", "tasks", &ids[0]], 6);
    assert_eq!(broker.run(&["consume", "tasks", "--ack", "--count", "1"]), "three\n");
    assert_eq!(broker.run(&["consume", "failed", "--ack", "--count", "1"]), "two\n");
}

#[test]
fn a_paused_queue_delivers_nothing_until_it_goes_on() {
    let broker = shop();
    broker.run(&["queue", "pause", "tasks"]);
    assert!(broker.run(&["queue", "show", "tasks"]).contains("paused"));
    broker.run(&["queue", "resume", "tasks"]);
    assert_eq!(broker.run(&["consume", "tasks", "--ack", "--count", "1"]), "one\n");
}

#[test]
fn a_misspelt_key_is_told_the_binding_that_it_nearly_matched() {
    let broker = shop();
    let told = broker.run(&["explain", "events", "--key", "order.new"]);
    assert!(told.contains("routed to 'tasks'"), "{told}");
    let output = broker.output(&["explain", "events", "--key", "order.mew"]);
    assert_eq!(code(&output), Some(6));
    let told = stdout(&output);
    assert!(told.contains("nearly 'order.new'") && told.contains("unroutable"), "{told}");
    assert!(broker.refused(&["explain", "evnts", "--key", "k"], 5).contains("evnts"));
}

#[test]
fn dead_letters_go_back_to_where_they_came_from() {
    let broker = shop();
    broker.run(&["policy", "set", "short", "^tasks$", "message-ttl=0"]);
    let dead = || broker.rows(&["queue", "list", "--name", "^failed$"])[0]["messages"].clone();
    assert_eq!(dead(), 3);
    broker.run(&["policy", "delete", "short"]);
    let output = broker.output(&["redrive", "failed", "--dry-run"]);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("3 messages would go back"), "{}", stderr(&output));
    assert_eq!(dead(), 3);
    let output = broker.output(&["redrive", "failed", "--died-in", "tasks"]);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("3 messages went back"), "{}", stderr(&output));
    assert_eq!(dead(), 0);
    assert_eq!(broker.run(&["consume", "tasks", "--ack", "--count", "3"]), "one\ntwo\nthree\n");
    assert!(broker.run(&["job", "list"]).contains("redrive"));
}

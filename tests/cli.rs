//! The real binary: help, exit codes, and errors that say what, where and what to do. What needs a broker is
//! tested beside the broker.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// `rialto` in an empty folder and without variables of ours.
fn rialto(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rialto"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RIALTO_") {
            command.env_remove(name);
        }
    }
    command.env("RIALTO_MANAGEMENT__LISTEN", "none");
    command.env("RIALTO_METRICS__LISTEN", "none");
    command
}

fn run(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    rialto(folder.path(), arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn help_goes_to_stdout_and_teaches() {
    let output = run(&["--help"]);
    assert_eq!(code(&output), Some(0));
    let help = stdout(&output);
    for word in [
        "serve",
        "declare",
        "bind",
        "publish",
        "consume",
        "list",
        "status",
        "health",
        "queue",
        "user",
        "permission",
        "policy",
        "import",
        "export",
        "peek",
        "redrive",
        "explain",
        "backup",
        "data",
        "bench",
        "completions",
        "Exit codes",
        "Examples",
    ] {
        assert!(help.contains(word), "{word} is missing:\n{help}");
    }
    assert!(stderr(&output).is_empty());
}

#[test]
fn every_command_has_help_with_examples() {
    for command in [
        &["serve"][..],
        &["declare", "queue"],
        &["declare", "exchange"],
        &["bind"],
        &["unbind"],
        &["delete", "queue"],
        &["delete", "exchange"],
        &["purge"],
        &["publish"],
        &["consume"],
        &["list"],
        &["backup"],
        &["data", "check"],
        &["data", "stats"],
        &["data", "restore"],
        &["bench", "throughput"],
        &["bench", "latency"],
        &["bench", "fanout"],
        &["bench", "limit"],
        &["bench", "plot"],
        &["bench", "backlog"],
        &["completions"],
    ] {
        let output = run(&[command, &["--help"]].concat());
        assert_eq!(code(&output), Some(0), "{command:?}");
        assert!(stdout(&output).contains("Example"), "{command:?}");
    }
}

#[test]
fn a_password_in_the_environment_is_not_shown_in_help() {
    let folder = tempfile::tempdir().unwrap();
    let output = rialto(folder.path(), &["consume", "--help"])
        .env("RIALTO_URL", "rialto://ann:wonder@localhost/")
        .output()
        .unwrap();
    assert!(!stdout(&output).contains("wonder"));
}

#[test]
fn a_wrong_command_line_ends_with_2_and_touches_nothing() {
    for (arguments, hint) in [
        (&["publsh"][..], "publish"),
        (&["consume", "tasks", "--cuont", "3"], "--count"),
        (&["consume"], "<QUEUE>"),
        (&["consume", "tasks", "--count", "0"], "--count"),
        (&["consume", "tasks", "--count", "many"], "--count"),
        (&["publish", "events"], "BODY"),
        (&["publish", "events", "body", "--stdin"], "--stdin"),
        (&["publish", "events", "body", "--header", "novalue"], "NAME=VALUE"),
        (&["publish", "events", "body", "--priority", "256"], "--priority"),
        (&["publish", "events", "body", "--expiration", "5"], "30s"),
        (&["declare", "exchange", "e", "--kind", "topc"], "topic"),
        (&["declare", "queue", "q", "--overflow", "explode"], "reject-publish"),
        (&["declare", "queue", "q", "--max-priority", "5", "--arg", "x-max-priority=6"], "given twice"),
        (&["declare", "queue", "q", "--dead-letter-key", "k"], "--dead-letter-exchange"),
        (&["list", "everything"], "queues"),
        (&["serve", "--listen", "here"], "host:port"),
        (&["serve", "--data-dir", "x", "--in-memory"], "--in-memory"),
        (&["serve", "--log-level", "loud"], "debug"),
        (&["bench", "throughput", "--size", "1"], "8 bytes"),
        (&["bench", "latency", "--rate", "0"], "--rate"),
        (&["backup"], "<DIR>"),
        (&["data", "restore", "backup"], "--to"),
        (&["data", "stats", "--segments", "--json"], "--segments"),
        (&["completions", "tcsh"], "bash"),
        (&["user", "add"], "<USER>"),
        (&["user", "set", "ann"], "--tags"),
        (&["user", "set", "ann", "--limit", "max=5"], "max-connections"),
        (&["vhost", "delete", "shop"], "--yes"),
        (&["policy", "set", "p", ".*"], "<DEFINITION>"),
        (&["policy", "set", "p", ".*", "max-length"], "KEY=VALUE"),
        (&["policy", "set", "p", ".*", "max-length=1", "--apply-to", "queue"], "classic_queues"),
        (&["message", "move", "q", "1"], "--to-queue"),
        (&["redrive", "q", "--rate", "0"], "--rate"),
        (&["peek", "q", "--older-than", "5"], "--older-than"),
        (&["parameter", "set", "name", "value"], "--global"),
        (&["log", "level", "loud"], "debug"),
        (&["queue", "list", "--reverse"], "--sort"),
        (&["import", "missing.json"], "missing.json"),
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(hint), "{arguments:?}: {}", stderr(&output));
        assert!(stdout(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_name_past_255_bytes_is_refused_before_anything_runs() {
    let name = "q".repeat(256);
    let output = run(&["declare", "queue", &name]);
    assert_eq!(code(&output), Some(2));
    assert!(stderr(&output).contains("255"));
}

#[test]
fn an_unknown_setting_ends_with_3_and_says_what_where_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.toml"), "[server]\nlisen = []\n").unwrap();
    let output = rialto(folder.path(), &["serve", "--config", "mine.toml"]).output().unwrap();
    assert_eq!(code(&output), Some(3));
    let expected = "\
error: unknown setting `server.lisen`
  where: mine.toml
  what to do: did you mean `server.listen`? The sample broker.toml lists every setting
";
    assert_eq!(stderr(&output), expected);
}

#[test]
fn broker_toml_of_the_working_directory_is_read_without_being_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broker.toml"), "[memory]\nbudget = \"lots\"\n").unwrap();
    for arguments in [&["serve"][..], &[]] {
        let output = rialto(folder.path(), arguments).output().unwrap();
        assert_eq!(code(&output), Some(3));
        assert!(stderr(&output).contains("where: broker.toml"), "{}", stderr(&output));
    }
}

#[test]
fn a_bad_variable_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = rialto(folder.path(), &["serve"]).env("RIALTO_PROTOCOL__HEARTBEAT", "30").output().unwrap();
    assert_eq!(code(&output), Some(3));
    assert!(stderr(&output).contains("the variable RIALTO_PROTOCOL__HEARTBEAT"), "{}", stderr(&output));
}

#[test]
fn a_settings_file_that_is_missing_ends_with_3() {
    let output = run(&["serve", "--config", "missing.toml"]);
    assert_eq!(code(&output), Some(3));
    assert!(stderr(&output).contains("where: missing.toml"), "{}", stderr(&output));
}

#[test]
fn an_address_that_cannot_be_used_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    for url in ["localhost", "amqp://localhost", "rialto://localhost:port/", "rialto://ann:wonder@h:0/"] {
        let flag = rialto(folder.path(), &["purge", "tasks", "--url", url]).output().unwrap();
        let variable = rialto(folder.path(), &["purge", "tasks"]).env("RIALTO_URL", url).output().unwrap();
        for output in [flag, variable] {
            assert_eq!(code(&output), Some(2), "{url}");
            let told = stderr(&output);
            assert!(told.contains("where: --url or RIALTO_URL"), "{told}");
            assert!(told.contains("what to do: for example rialto://"), "{told}");
            assert!(!told.contains("wonder"), "{told}");
        }
    }
}

#[test]
fn a_broker_that_is_not_there_ends_with_4_and_says_where_and_what_to_do() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("rialto://127.0.0.1:{port}/");
    for arguments in [
        &["declare", "queue", "q"][..],
        &["declare", "exchange", "e"],
        &["bind", "e", "q"],
        &["unbind", "e", "q"],
        &["delete", "queue", "q"],
        &["delete", "exchange", "e"],
        &["purge", "q"],
        &["publish", "e", "body"],
        &["publish", "e", "--stdin"],
        &["consume", "q"],
        &["list", "queues"],
    ] {
        let output = run(&[arguments, &["--url", &url]].concat());
        assert_eq!(code(&output), Some(4), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(&format!("where: 127.0.0.1:{port}")), "{}", stderr(&output));
        assert!(stderr(&output).contains("rialto serve"), "{}", stderr(&output));
    }
}

#[test]
fn an_api_that_is_not_there_ends_with_4_and_says_where_and_what_to_do() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://ann:wonder@127.0.0.1:{port}");
    for arguments in [&["queue", "list"][..], &["status"], &["health"], &["peek", "q"], &["redrive", "q"]] {
        let output = run(&[arguments, &["--api", &url]].concat());
        assert_eq!(code(&output), Some(4), "{arguments:?}: {}", stderr(&output));
        let told = stderr(&output);
        assert!(told.contains(&format!("where: http://127.0.0.1:{port}")), "{told}");
        assert!(told.contains("rialto serve") && !told.contains("wonder"), "{told}");
    }
}

#[test]
fn an_address_of_an_api_that_cannot_be_used_ends_with_2() {
    for url in ["localhost", "rialto://localhost", "http://ann:wonder@h:0/", "http://ann:wonder@"] {
        let output = run(&["queue", "list", "--api", url]);
        assert_eq!(code(&output), Some(2), "{url}: {}", stderr(&output));
        assert!(
            stderr(&output).contains("--api") && !stderr(&output).contains("wonder"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn without_a_password_and_without_a_terminal_it_says_how_to_give_one() {
    let output = run(&["queue", "list", "--as", "ann"]);
    assert_eq!(code(&output), Some(2));
    assert!(stderr(&output).contains("RIALTO_PASSWORD"), "{}", stderr(&output));
}

#[test]
fn completions_are_made_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = run(&["completions", shell]);
        assert_eq!(code(&output), Some(0), "{shell}");
        assert!(stdout(&output).contains("purge"), "{shell}");
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_closes_the_pipe_is_not_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = rialto(folder.path(), &["completions", "bash"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn nothing_is_coloured_where_no_terminal_is() {
    for output in [run(&["--help"]), run(&["publsh"]), run(&["serve", "--config", "missing.toml"])] {
        assert!(!stdout(&output).contains('\x1b') && !stderr(&output).contains('\x1b'));
    }
}

#[test]
fn a_name_that_is_empty_is_refused_with_its_argument() {
    // No broker: one that was asked would be the wrong thing already.
    for (arguments, name) in [
        (&["export", "--vhost", ""][..], "--vhost"),
        (&["import", "-", "--vhost", ""], "--vhost"),
        (&["user", "add", "", "--no-password"], "<USER>"),
        (&["user", "set", "", "--tags", ""], "<USER>"),
        (&["user", "show", ""], "<NAME>"),
        (&["user", "delete", ""], "<USER>"),
        (&["vhost", "add", ""], "<VHOST>"),
        (&["vhost", "show", ""], "<NAME>"),
        (&["vhost", "delete", "", "--yes"], "<VHOST>"),
        (&["queue", "show", ""], "<NAME>"),
        (&["queue", "list", "--vhost", ""], "--vhost"),
        (&["queue", "pause", ""], "<NAME>"),
        (&["queue", "unacked", ""], "<QUEUE>"),
        (&["exchange", "show", "", "--vhost", ""], "--vhost"),
        (&["binding", "list", "--queue", ""], "--queue"),
        (&["connection", "close", ""], "[CONNECTION]"),
        (&["connection", "close", "--user", ""], "--user"),
        (&["channel", "show", ""], "<NAME>"),
        (&["consumer", "list", "--vhost", ""], "--vhost"),
        (&["permission", "set", ""], "<USER>"),
        (&["permission", "list", "--user", ""], "--user"),
        (&["topic-permission", "clear", "ann", ""], "[EXCHANGE]"),
        (&["policy", "show", ""], "<NAME>"),
        (&["policy", "set", "", ".*", "max-length=1"], "<NAME>"),
        (&["operator-policy", "delete", ""], "<NAME>"),
        (&["parameter", "set", "", "1", "--global"], "<NAME>"),
        (&["parameter", "list", "--component", ""], "--component"),
        (&["peek", ""], "<QUEUE>"),
        (&["message", "delete", "", "1"], "<QUEUE>"),
        (&["message", "move", "q", "1", "--to-queue", ""], "--to-queue"),
        (&["redrive", ""], "<QUEUE>"),
        (&["job", "show", ""], "<NAME>"),
        (&["job", "cancel", ""], "<JOB>"),
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(name), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("is empty"), "{arguments:?}: {}", stderr(&output));
    }
}

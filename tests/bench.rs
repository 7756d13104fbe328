//! `rialto bench` as a user runs it: real processes, short rounds, every message accounted for.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const SHORT: [&str; 5] = ["--duration=100ms", "--warm-up=10ms", "--size=64", "--json", "--batch=20"];

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rialto")).arg("bench").args(arguments).output().expect("the binary runs")
}

/// With what makes it short, unless told otherwise.
fn report(arguments: &[&str]) -> Value {
    let option = |argument: &str| argument.split('=').next().map(str::to_owned);
    let short = SHORT.iter().filter(|short| arguments.iter().all(|given| option(given) != option(short)));
    report_of(&arguments.iter().chain(short).copied().collect::<Vec<_>>())
}

/// With nothing added to what is given.
fn report_of(arguments: &[&str]) -> Value {
    let output = bench(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).expect("--json prints one object")
}

/// A report of a run in which something was published: on a busy machine that can take longer than the shortest one.
fn report_of_something(arguments: &[&str]) -> Value {
    let durations = ["--duration=100ms", "--duration=1s", "--duration=10s"];
    let reports = durations.into_iter().map(|duration| report(&[arguments, &[duration]].concat()));
    let mut last = Value::Null;
    for report in reports {
        last = report;
        if count(&last["results"][0], 0, "published") > 0 {
            break;
        }
    }
    last
}

fn count(result: &Value, round: usize, what: &str) -> u64 {
    result["rounds"][round][what].as_u64().unwrap_or_else(|| panic!("{what} is counted: {result}"))
}

#[test]
fn every_message_published_is_received() {
    for arguments in [
        &["throughput", "--auto-ack", "--confirms=0"][..],
        &["throughput", "--confirms=100", "--prefetch=50", "--rounds=2"],
        &["throughput", "--publishers=2", "--consumers=3", "--queues=5", "--persistent"],
        &["throughput", "--publishers=2", "--consumers=3", "--queues=1", "--rate=10000"],
        &["limit", "--publishers=3", "--consumers=2"],
        &["limit", "--publishers=1", "--consumers=3"],
    ] {
        let report = report_of_something(arguments);
        let result = &report["results"][0];
        let (published, received) = (count(result, 0, "published"), count(result, 0, "received"));
        assert!(published > 0, "{arguments:?}");
        assert_eq!(published, received, "{arguments:?}");
        assert_eq!((&result["missing"], &result["surplus"]), (&0.into(), &0.into()), "{arguments:?}");
    }
}

#[test]
fn every_message_is_confirmed_where_confirms_are_wanted() {
    let report = report(&["throughput", "--confirms=100"]);
    let result = &report["results"][0];
    assert_eq!(count(result, 0, "confirmed"), count(result, 0, "published"));
}

#[test]
fn what_is_confirmed_after_how_long_is_told_beside_the_bare_disk() {
    for protocol in ["--protocol=native", "--protocol=amqp"] {
        let arguments = ["throughput", "--persistent", "--confirms=100", "--against=disk,disk=7", protocol];
        let report = report(&arguments);
        for result in report["results"].as_array().unwrap() {
            let (published, confirmed) = (count(result, 0, "published"), count(result, 0, "confirmed"));
            assert_eq!((published, count(result, 0, "received")), (confirmed, confirmed), "{result}");
            assert!(result["median"]["confirmed_after_us"]["p99"].as_f64() > Some(0.0), "{result}");
        }
        let disk = &report["results"];
        assert_eq!((count(&disk[1], 0, "published") % 100, count(&disk[2], 0, "published") % 7), (0, 0));
    }
}

#[test]
fn a_fan_out_counts_every_copy() {
    for arguments in [
        &["fanout", "--queues=7", "--auto-ack"][..],
        &["fanout", "--queues=7", "--consumers=2"],
        &["fanout", "--queues=7", "--persistent"],
        &["limit", "--copies=7", "--consumers=2"],
    ] {
        let report = report(arguments);
        let result = &report["results"][0];
        assert_eq!(count(result, 0, "received"), 7 * count(result, 0, "published"), "{arguments:?}");
    }
}

/// Every key matches one binding, so that what is published arrives once.
#[test]
fn a_topic_exchange_routes_every_message_by_one_of_many_bindings() {
    for arguments in [
        &["topic", "--bindings=1000", "--keys=300"][..],
        &["topic", "--bindings=50", "--keys=400", "--publishers=2", "--consumers=2", "--queues=3"],
        &["topic", "--bindings=1", "--keys=1", "--confirms=100", "--prefetch=50", "--persistent"],
    ] {
        for protocol in ["--protocol=native", "--protocol=amqp"] {
            let report = report_of_something(&[arguments, &[protocol]].concat());
            let result = &report["results"][0];
            assert!(count(result, 0, "published") > 0, "{arguments:?} {protocol}");
            assert_eq!(
                count(result, 0, "received"),
                count(result, 0, "published"),
                "{arguments:?} {protocol}"
            );
            let wanted = |name: &str| {
                arguments.iter().find_map(|argument| argument.strip_prefix(name)?.parse::<u64>().ok())
            };
            let scenario = &report["scenario"];
            assert_eq!(scenario["bindings"].as_u64(), wanted("--bindings="), "{scenario}");
            assert_eq!(scenario["keys"].as_u64(), wanted("--keys="), "{scenario}");
        }
    }
}

#[test]
fn topic_messages_can_be_published_without_anybody_to_receive_them() {
    for protocol in ["--protocol=native", "--protocol=amqp"] {
        let arguments =
            ["topic", "--bindings=100", "--keys=100", "--consumers=0", "--confirms=1000", protocol];
        let report = report_of_something(&arguments);
        let result = &report["results"][0];
        assert!(count(result, 0, "published") > 0, "{protocol}");
        assert_eq!(count(result, 0, "confirmed"), count(result, 0, "published"), "{protocol}");
        assert_eq!((count(result, 0, "received"), &result["missing"]), (0, &0.into()), "{protocol}");
    }
}

#[test]
fn latency_is_told_in_percentiles_beside_the_generators_own() {
    let report = report(&["latency", "--rate=2000", "--against=limit"]);
    for contender in [0, 1] {
        let median = &report["results"][contender]["median"];
        for figures in ["latency_us", "generator_lateness_us"] {
            for percentile in ["p50", "p90", "p99", "p99.9", "p99.99", "max"] {
                assert!(median[figures][percentile].is_number(), "{figures} {percentile}: {median}");
            }
        }
        assert!(median["latency_us"]["p50"].as_f64() > Some(0.0), "{median}");
    }
}

#[test]
fn contenders_take_turns_and_stand_in_one_report() {
    let arguments = ["throughput", "--confirms=100", "--against=limit", "--rounds=2"];
    let report = report(&arguments);
    let names: Vec<_> =
        report["results"].as_array().into_iter().flatten().map(|result| &result["contender"]).collect();
    assert_eq!(names, ["rialto", "limit"]);
    for result in report["results"].as_array().into_iter().flatten() {
        assert_eq!(result["rounds"].as_array().map(Vec::len), Some(2));
        assert!(result["median"]["broker_cpu_us_per_message"].is_number(), "each is a process of its own");
    }
}

#[test]
fn amqp_is_measured_alike() {
    for arguments in [
        &["throughput", "--auto-ack", "--confirms=0"][..],
        &["throughput", "--confirms=100", "--prefetch=50"],
        &["throughput", "--publishers=2", "--consumers=3", "--queues=5", "--persistent"],
        // Bodies of more than one frame.
        &["throughput", "--size=200KiB", "--batch=2", "--confirms=10", "--prefetch=8"],
        &["latency", "--rate=2000"],
        &["fanout", "--queues=7", "--consumers=2"],
    ] {
        let report = report_of_something(&[arguments, &["--protocol=amqp"]].concat());
        let result = &report["results"][0];
        assert_eq!(result["contender"], "rialto amqp");
        let (published, received) = (count(result, 0, "published"), count(result, 0, "received"));
        let copies = if arguments[0] == "fanout" { 7 } else { 1 };
        assert!(published > 0, "{arguments:?}");
        assert_eq!(received, copies * published, "{arguments:?}");
        assert_eq!((&result["missing"], &result["surplus"]), (&0.into(), &0.into()), "{arguments:?}");
        if report["scenario"]["confirms_window"] != 0 {
            assert_eq!(count(result, 0, "confirmed"), published, "{arguments:?}");
        }
    }
}

fn backlog(arguments: &[&str]) -> Value {
    let output = bench(&[&["backlog", "--messages=20000", "--size=64", "--json"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("--json prints one object")
}

#[test]
fn a_backlog_is_filled_and_comes_back_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("broker.toml");
    // Most of it must leave memory.
    fs::write(&config, "memory.queue_bodies = \"512 KiB\"\n").unwrap();
    let config = format!("--config={}", config.display());
    for arguments in [
        &["--persistent"][..],
        &["--protocol=amqp", "--auto-ack"],
        &["--publishers=20", "--batch=1", "--confirms=1", "--persistent"],
        &["--publishers=7", "--batch=3", "--queues=5", "--protocol=amqp"],
        &["--rounds=2", "--batch=500"],
    ] {
        let report = backlog(&[arguments, &[&config]].concat());
        assert_eq!(report["scenario"]["measurement"], "backlog");
        let median = &report["results"][0]["median"];
        for figure in ["fill_per_s", "drain_per_s", "drain_first_tenth_per_s", "drain_last_tenth_per_s"] {
            assert!(median[figure].as_f64() > Some(0.0), "{figure} of {arguments:?}: {median}");
        }
        for figure in ["held_bytes_per_message", "peak_bytes_per_message", "fill_cpu_us_per_message"] {
            assert!(median[figure].is_number(), "{figure} of {arguments:?}: {median}");
        }
    }
}

/// A held-back publisher is not read from, and must not keep its thread from the consumer that it waits for.
#[test]
fn a_publisher_that_is_held_back_at_every_turn_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("broker.toml");
    fs::write(&config, "memory.queue_budget = \"256 KiB\"\n").unwrap();
    let config = format!("--config={}", config.display());
    for protocol in ["--protocol=native", "--protocol=amqp"] {
        let arguments = ["throughput", "--auto-ack", "--confirms=0", "--size=1KiB", "--batch=63"];
        let report = report(&[&arguments[..], &[protocol, &config, "--duration=500ms"]].concat());
        let result = &report["results"][0];
        assert_eq!(count(result, 0, "received"), count(result, 0, "published"), "{protocol}");
    }
}

/// Needs Debian's `rabbitmq-server`; says so where it is not installed.
#[test]
fn rabbitmq_stands_beside_us_in_one_report() {
    if !["/usr/lib/rabbitmq/bin", "/usr/sbin"]
        .iter()
        .any(|folder| Path::new(folder).join("rabbitmq-server").exists())
    {
        return eprintln!("skipped: rabbitmq-server is not installed");
    }
    let scratch = tempfile::tempdir().unwrap();
    let run = |duration: &str| -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_rialto"))
            .args([
                "bench",
                "throughput",
                "--protocol=amqp",
                "--against=rabbitmq",
                "--confirms=100",
                duration,
            ])
            .args(&SHORT[1..])
            .env("TMPDIR", scratch.path())
            .output()
            .expect("the binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("--json prints one object")
    };
    let is_idle = |report: &Value| (0..2).any(|at| count(&report["results"][at], 0, "published") == 0);
    let mut report = run(SHORT[0]);
    if is_idle(&report) {
        // A busy machine.
        report = run("--duration=10s");
    }
    for (result, name) in report["results"].as_array().unwrap().iter().zip(["rialto amqp", "rabbitmq"]) {
        assert_eq!(result["contender"], name);
        let (published, received) = (count(result, 0, "published"), count(result, 0, "received"));
        assert!(published > 0, "{name}");
        assert_eq!((received, count(result, 0, "confirmed")), (published, published), "{name}");
        assert!(result["median"]["broker_cpu_us_per_message"].is_number(), "each is a process of its own");
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "its folder is gone");
}

/// Needs Debian's `nats-server`; says so where it is not installed.
#[test]
fn a_nats_server_is_measured_alike() {
    if Command::new("nats-server").arg("--version").output().is_err() {
        return eprintln!("skipped: nats-server is not installed");
    }
    for arguments in [
        &["throughput", "--protocol=nats", "--publishers=2", "--consumers=3", "--queues=2"][..],
        &["latency", "--protocol=nats", "--rate=2000"],
        &["topic", "--protocol=nats", "--bindings=500", "--keys=300", "--consumers=2"],
    ] {
        let report = report(arguments);
        let result = &report["results"][0];
        assert_eq!(result["contender"], "nats");
        assert_eq!(count(result, 0, "received"), count(result, 0, "published"), "{arguments:?}");
    }
    let report = report(&["fanout", "--protocol=nats", "--queues=5", "--consumers=2"]);
    let result = &report["results"][0];
    assert_eq!(count(result, 0, "received"), 5 * count(result, 0, "published"));
}

/// Needs Debian's `nats-server`; says so where it is not installed.
#[test]
fn jetstream_stands_beside_us_in_one_report() {
    if Command::new("nats-server").arg("--version").output().is_err() {
        return eprintln!("skipped: nats-server is not installed");
    }
    for arguments in [
        &["throughput", "--confirms=100", "--prefetch=50"][..],
        &["throughput", "--confirms=100", "--auto-ack"],
        &["throughput", "--confirms=100", "--publishers=2", "--consumers=2", "--queues=5"],
        // A deliver group, whose members acknowledge one by one.
        &["throughput", "--confirms=100", "--publishers=2", "--consumers=3", "--queues=2"],
        // Bodies that are larger than a read, and need flow control.
        &["throughput", "--size=900KiB", "--batch=1", "--confirms=8", "--prefetch=100"],
        &["throughput", "--confirms=100", "--persistent", "--against=jetstream-unsynced"],
        &["latency", "--rate=2000"],
        &["fanout", "--confirms=100", "--queues=7", "--consumers=2"],
        &["fanout", "--confirms=100", "--queues=7", "--auto-ack"],
    ] {
        let who = if arguments.contains(&"--persistent") { "jetstream-unsynced" } else { "jetstream" };
        let against = format!("--against={who}");
        let arguments = [arguments, &[&against]].concat();
        let mut report = report_of_something(&arguments);
        if count(&report["results"][1], 0, "published") == 0 {
            // A busy machine.
            report = self::report(&[&arguments[..], &["--duration=10s"]].concat());
        }
        let result = &report["results"][1];
        assert_eq!(result["contender"], who);
        let copies = if arguments[0] == "fanout" { 7 } else { 1 };
        let (published, received) = (count(result, 0, "published"), count(result, 0, "received"));
        assert!(published > 0, "{arguments:?}");
        assert_eq!(received, copies * published, "{arguments:?}");
        assert_eq!(count(result, 0, "confirmed"), published, "{arguments:?}");
        assert!(result["median"]["broker_cpu_us_per_message"].is_number(), "{arguments:?}");
    }
    let output = bench(&["throughput", "--against=jetstream", "--size=2MiB", "--duration=100ms"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("max_payload"), "{errors}");
}

/// Where the system cannot do it for an old server, that is said, not passed over.
#[test]
fn jetstream_syncs_before_it_confirms_or_is_not_measured() {
    if Command::new("nats-server").arg("--version").output().is_err() {
        return eprintln!("skipped: nats-server is not installed");
    }
    let scratch = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_rialto"))
        .args(["bench", "throughput", "--persistent", "--confirms=10", "--against=jetstream"])
        .args(SHORT.iter().filter(|option| !option.starts_with("--batch")))
        .env("TMPDIR", scratch.path())
        .output()
        .expect("the binary runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        let report: Value = serde_json::from_slice(&output.stdout).expect("--json prints one object");
        let result = &report["results"][1];
        assert_eq!(count(result, 0, "received"), count(result, 0, "confirmed"), "{result}");
    } else {
        assert!(errors.contains("does not sync before it confirms"), "{errors}");
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "its folder is gone");
}

#[test]
fn what_a_contender_cannot_do_is_refused_before_anything_runs() {
    for arguments in [
        &["throughput", "--protocol=nats", "--confirms=100"][..],
        &["throughput", "--against=limit", "--consumers=0"],
        &["latency", "--against=limit", "--publishers=2"],
        &["latency", "--against=disk"],
        &["fanout", "--against=disk"],
        &["throughput", "--prefetch=10", "--ack-every=11"],
        &["throughput", "--against=rabbit"],
        &["throughput", "--against=jetstream-unsynced"],
        &["throughput", "--against=rabbitmq=127.0.0.1:port"],
        &["throughput", "--protocol=amqp", "--prefetch=65536"],
        &["throughput", "--url=amqp://127.0.0.1:99999"],
        &["fanout", "--queues=2", "--consumers=3"],
        &["topic", "--queues=2", "--consumers=3"],
        &["topic", "--against=nats", "--consumers=0"],
        &["throughput", "--rate=1000", "--against=limit"],
        &["topic", "--against=disk"],
        &["topic", "--against=jetstream"],
        &["topic", "--bindings=0"],
        &["topic", "--keys=10000001"],
        &["backlog", "--against=limit"],
        &["backlog", "--against=jetstream"],
        &["backlog", "--messages=10", "--publishers=11"],
        &["backlog", "--protocol=nats"],
        &["throughput", "--url=http://127.0.0.1"],
    ] {
        let output = bench(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn what_json_says_can_be_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let (run, picture) = (folder.path().join("run.json"), folder.path().join("picture.svg"));
    fs::write(&run, report(&["latency", "--rate=500", "--auto-ack", "--confirms=0"]).to_string()).unwrap();
    let plot = |arguments: &[&str]| {
        let (run, picture) = (run.to_str().unwrap(), picture.to_str().unwrap());
        bench(&[&["plot", run, "--output", picture], arguments].concat())
    };
    for arguments in [&[][..], &["--figure=received_per_s"], &["--figure=received_per_s", "--over=queues"]] {
        let output = plot(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        let drawn = fs::read_to_string(&picture).unwrap();
        assert!(drawn.starts_with("<svg") && drawn.contains("rialto"), "{arguments:?}: {drawn}");
    }
    for wrong in ["--figure=speed", "--over=colour", "--contenders=rabbitmq"] {
        let output = plot(&["--figure=received_per_s", wrong][usize::from(wrong.starts_with("--figure"))..]);
        assert_eq!(output.status.code(), Some(2), "{wrong}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_broker_that_is_not_there_ends_with_4() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for scheme in ["rialto", "amqp"] {
        let output = bench(&["throughput", &format!("--url={scheme}://127.0.0.1:{port}")]);
        assert_eq!(output.status.code(), Some(4), "{scheme}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn idle_connections_are_told_with_their_memory_and_cpu() {
    for protocol in ["--protocol=native", "--protocol=amqp"] {
        let arguments = ["idle", "--connections=50", "--duration=100ms", "--settle=1ms", "--json", protocol];
        let report = report_of(&arguments);
        assert_eq!(
            (&report["scenario"]["measurement"], &report["scenario"]["connections"]),
            (&"idle".into(), &50.into())
        );
        let median = &report["results"][0]["median"];
        for figure in
            ["resident_kib_each", "anonymous_kib_each", "idle_cores", "opened_per_s", "open_cpu_us_each"]
        {
            assert!(median[figure].is_number(), "{figure}: {median}");
        }
        assert!(median["opened_per_s"].as_f64() > Some(0.0), "{median}");
    }
}

#[test]
fn clients_that_come_and_go_leave_nothing_behind_and_are_counted() {
    for protocol in ["--protocol=native", "--protocol=amqp"] {
        let arguments =
            ["churn", "--workers=2", "--duration=200ms", "--warm-up=1ms", "--rounds=2", "--json", protocol];
        let report = report_of(&arguments);
        assert_eq!(report["scenario"]["measurement"], "churn");
        let result = &report["results"][0];
        assert_eq!(result["rounds"].as_array().map(Vec::len), Some(2));
        assert!(result["median"]["cycles_per_s"].as_f64() > Some(0.0), "{result}");
    }
}

#[test]
fn what_is_no_broker_has_no_connections() {
    for arguments in [["idle", "--against=limit"], ["churn", "--against=disk"], ["churn", "--protocol=nats"]]
    {
        let output =
            bench(&[&arguments[..], &["--connections=1"][..usize::from(arguments[0] == "idle")]].concat());
        assert!(!output.status.success(), "{arguments:?}");
    }
}

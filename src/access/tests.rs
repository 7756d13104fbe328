//! Logins and permissions as they work together.

use super::*;

fn origin(address: &str) -> Origin {
    Origin::plain(address.parse().unwrap(), Protocol::Amqp)
}

fn here() -> Origin {
    origin("127.0.0.1:1000")
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000 + millis)
}

fn vhost(name: &str) -> VhostName {
    VhostName::new(name).unwrap()
}

/// Hashing costs next to nothing: the tests are not built to be fast.
fn options() -> AccessOptions {
    let cost = HashCost { memory_kib: 8, passes: 1, scram_rounds: 2 };
    AccessOptions { cost, ..AccessOptions::default() }
}

fn with_guest() -> Arc<Access> {
    let access = Access::new(options());
    access.put_guest(&[vhost("/")]);
    access
}

fn log_in(access: &Arc<Access>, mechanism: &str, response: &[u8], from: &Origin) -> Step {
    access.begin(mechanism, from, at(0)).unwrap().respond(response).run_in_place()
}

fn name(step: Step) -> String {
    match step {
        Step::Done(principal) => principal.name().to_owned(),
        other => panic!("{other:?}"),
    }
}

fn refusal(step: Step) -> Refusal {
    match step {
        Step::Refused(LoginError::Refused { reason, .. }, _) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn guest_logs_in_from_this_machine_only() {
    let access = with_guest();
    for from in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert_eq!(name(log_in(&access, "PLAIN", b"\0guest\0guest", &origin(from))), "guest");
    }
    let step = log_in(&access, "PLAIN", b"\0guest\0guest", &origin("10.0.0.1:1"));
    assert_eq!(refusal(step), Refusal::NotLoopback);
    let access = Access::new(AccessOptions { guest_loopback_only: false, ..options() });
    access.put_guest(&[]);
    assert_eq!(name(log_in(&access, "PLAIN", b"\0guest\0guest", &origin("10.0.0.1:1"))), "guest");
}

#[test]
fn wrong_and_malformed_logins_are_refused() {
    let access = with_guest();
    assert_eq!(refusal(log_in(&access, "PLAIN", b"\0guest\0wrong", &here())), Refusal::WrongPassword);
    assert_eq!(refusal(log_in(&access, "PLAIN", b"\0nobody\0guest", &here())), Refusal::UnknownUser);
    let malformed = log_in(&access, "PLAIN", b"guest", &here());
    assert!(matches!(malformed, Step::Refused(LoginError::Malformed { mechanism: "PLAIN", .. }, None)));
    let error = access.begin("CRAM-MD5", &here(), at(0)).unwrap_err();
    let text = "SASL mechanism 'CRAM-MD5' is not supported; use one of PLAIN AMQPLAIN SCRAM-SHA-256";
    assert_eq!(error.to_string(), text);
    assert!(access.begin("EXTERNAL", &here(), at(0)).is_err());
    assert_eq!(access.attempts(Protocol::Amqp), (0, 5));
}

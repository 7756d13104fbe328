//! Logins that are refused, and when that is told.

use super::*;
use crate::session::testing::{LOGIN_DELAY, login_broker};
use crate::store::ParameterRow;

/// Properties of a client that can be told.
fn listening() -> FieldTable {
    let told = FieldTable::new().with("authentication_failure_close", true);
    FieldTable::new().with("capabilities", told)
}

/// A client that has shown this password, if it takes long already checked.
fn shown(broker: &Broker, properties: FieldTable, password: &'static [u8]) -> End {
    let mut end = End::new(broker, SessionOptions::default());
    end.hear(&start_ok(properties, password));
    if let Some(work) = end.session.take_work() {
        end.session.handle_verified(work.run(), end.now);
    }
    end
}

#[test]
fn the_greeting_tells_what_the_cluster_is_called_now() {
    let broker = login_broker();
    let told = || match &End::new(&broker, SessionOptions::default()).methods()[..] {
        [Method::ConnectionStart(start)] => start.server_properties.get("cluster_name").cloned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(told(), Some("rialto@localhost".into()), "the default: as the node is");
    let row = |value: &str| ParameterRow {
        vhost: None,
        component: String::new(),
        name: "cluster_name".to_owned(),
        value: value.to_owned(),
    };
    broker.set_parameter(row("\"shop\"")).unwrap();
    assert_eq!(told(), Some("shop".into()));
    for no_name in ["7", "\"\"", "\"a\\nb\"", &format!("\"{}\"", "x".repeat(256))] {
        broker.set_parameter(row(no_name)).unwrap();
        assert_eq!(told(), Some("rialto@localhost".into()), "{no_name}");
    }
}

const REFUSED: &str = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.";

#[test]
fn a_refused_login_is_told_only_to_clients_that_can_hear_it() {
    let mut end = shown(&login_broker(), listening(), b"\0guest\0wrong");
    assert_eq!(closed(&end.methods()), (403, REFUSED));
    let mut end = shown(&login_broker(), FieldTable::new(), b"\0guest\0wrong");
    assert_eq!(end.said().len(), 1, "start, and then silence");
    assert!(!end.session.is_finished());
    end.moves(Duration::from_secs(3));
    assert!(end.session.is_finished());
}

#[test]
fn a_refusal_that_is_held_back_is_told_when_its_time_has_come_and_nothing_is_heard_until_then() {
    let broker = login_broker();
    let mut first = shown(&broker, listening(), b"\0guest\0wrong");
    assert_eq!(closed(&first.methods()).0, 403, "the first is free");
    // The second is wrong, and the third is not even looked at.
    for password in [&b"\0guest\0wrong"[..], b"\0guest\0guest"] {
        let mut end = shown(&broker, listening(), password);
        assert_eq!(end.said().len(), 1, "start");
        assert_eq!(end.session.next_deadline(), Some(START.plus(LOGIN_DELAY)));
        end.hear(&tune_ok(10));
        end.moves(LOGIN_DELAY - Duration::from_millis(1));
        assert_eq!(end.said(), []);
        end.moves(Duration::from_millis(1));
        assert_eq!(closed(&end.methods()), (403, REFUSED));
    }
    let mut other = shown(&broker, listening(), b"\0slow\0pass");
    assert!(matches!(other.methods()[..], [_, Method::ConnectionTune(_)]), "others do not wait for it");
}

#[test]
fn whoever_is_deleted_before_the_connection_is_open_is_not_let_in() {
    let broker = login_broker();
    let mut end = End::new(&broker, SessionOptions::default());
    end.hear(&start_ok(listening(), b"\0slow\0pass"));
    let work = end.session.take_work().expect("a hash takes long");
    broker.delete_user("slow").unwrap();
    end.session.handle_verified(work.run(), end.now);
    assert_eq!(closed(&end.methods()).0, 403, "while the password was checked");

    let broker = login_broker();
    let mut end = shown(&broker, listening(), b"\0slow\0pass");
    broker.delete_user("slow").unwrap();
    let credentials = crate::access::Credentials::plain("another");
    broker.put_user(crate::access::User::new("slow", credentials, Default::default())).unwrap();
    let vhost = crate::model::VhostName::new("/").unwrap();
    broker.set_permission(crate::access::Permission::full("slow", vhost)).unwrap();
    end.hear(&[tune_ok(10), open("/")].concat());
    let text = "NOT_ALLOWED - access to vhost '/' refused for user 'slow'";
    assert_eq!(closed(&end.methods()), (530, text), "and made again, while the client took its time");
    assert!(broker.connections().is_empty());
}

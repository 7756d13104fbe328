//! Logins that are refused, and when that is told.

use super::*;
use crate::session::testing::{LOGIN_DELAY, login_broker};

/// A client that has shown this password, if it takes long already checked.
fn shown(broker: &Broker, password: &'static [u8]) -> End {
    let mut end = End::new(broker);
    end.hear(&login_with(password));
    if let Some(work) = end.session.take_work() {
        end.session.handle_verified(work.run(), end.now);
    }
    end
}

fn login_with(password: &'static [u8]) -> Vec<u8> {
    let login = Login {
        mechanism: text("PLAIN"),
        response: Bytes::from_static(password),
        vhost: text("/"),
        frame_max: 0,
        heartbeat_ms: 0,
        properties: FieldTable::new(),
    };
    encoded(0, &Command::Login(login))
}

fn refused(end: &mut End) -> u16 {
    match &end.said()[..] {
        [Command::Close(closing)] => closing.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refusal_that_is_held_back_is_told_when_its_time_has_come_and_nothing_is_heard_until_then() {
    let broker = login_broker();
    assert_eq!(refused(&mut shown(&broker, b"\0guest\0wrong")), 403, "the first is free");
    // The second is wrong, and the third is not even looked at.
    for password in [&b"\0guest\0wrong"[..], b"\0guest\0guest"] {
        let mut end = shown(&broker, password);
        assert_eq!(end.session.next_deadline(), Some(START.plus(LOGIN_DELAY)));
        end.hear(&login(0));
        end.moves(LOGIN_DELAY - Duration::from_millis(1));
        assert_eq!(end.said(), []);
        end.moves(Duration::from_millis(1));
        assert_eq!(refused(&mut end), 403);
    }
    let mut other = shown(&broker, b"\0slow\0pass");
    assert!(matches!(other.said()[..], [Command::Welcome(_)]), "others do not wait for it");
}

#[test]
fn whoever_is_deleted_while_the_password_is_checked_is_not_let_in() {
    let broker = login_broker();
    let mut end = End::new(&broker);
    end.hear(&login_with(b"\0slow\0pass"));
    let work = end.session.take_work().expect("a hash takes long");
    broker.delete_user("slow").unwrap();
    end.session.handle_verified(work.run(), end.now);
    assert_eq!(refused(&mut end), 403);
    assert!(broker.connections().is_empty());
}

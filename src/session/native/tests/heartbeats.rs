//! Silence: heartbeats, and the time for a login.

use super::*;

#[test]
fn a_heartbeat_goes_out_when_nothing_else_does() {
    let mut end = End::open(&Broker::in_memory().build());
    let interval = Duration::from_secs(1);
    for _ in 0..5 {
        assert_eq!(end.session.next_deadline(), Some(end.now.plus(interval)));
        end.moves(interval - Duration::from_millis(1));
        assert_eq!(end.said(), []);
        end.moves(Duration::from_millis(1));
        assert_eq!(end.said(), [Command::Heartbeat]);
        end.hear(&encoded(0, &Command::Heartbeat));
    }
    end.moves(interval / 2);
    end.ask(declare("q"));
    assert_eq!(end.said().len(), 1);
    end.moves(interval / 2);
    assert_eq!(end.said(), [], "the answer was life enough");
}

#[test]
fn any_byte_is_life_and_two_silent_intervals_are_the_end() {
    let broker = Broker::in_memory().build();
    let mut end = End::open(&broker);
    for byte in encoded(0, &Command::Heartbeat) {
        end.moves(Duration::from_millis(1999));
        assert!(!end.session.is_finished());
        end.hear(&[byte]);
    }
    end.moves(Duration::from_millis(1999));
    assert!(!end.session.is_finished());
    end.moves(Duration::from_millis(1));
    assert!(end.session.is_finished());
    assert!(broker.connections().is_empty());
    assert_eq!(end.session.next_deadline(), None);
}

#[test]
fn without_heartbeats_time_means_nothing_once_logged_in() {
    let mut end = End::new(&Broker::in_memory().build());
    end.hear(&login(0));
    assert_eq!(end.session.next_deadline(), None);
    end.moves(Duration::from_secs(1_000_000));
    assert!(!end.session.is_finished());
}

#[test]
fn who_does_not_log_in_in_time_is_finished() {
    let mut end = End::new(&Broker::in_memory().build());
    let timeout = SessionOptions::default().handshake_timeout;
    assert_eq!(end.session.next_deadline(), Some(START.plus(timeout)));
    end.hear(&login(0)[..30]);
    end.moves(timeout - Duration::from_millis(1));
    assert!(!end.session.is_finished());
    end.moves(Duration::from_millis(1));
    assert!(end.session.is_finished());
}

//! How a connection ends in order: its own close, ours, an operator's, a shutdown.

use super::*;

#[test]
fn a_close_is_answered_and_ends_it() {
    let mut end = End::open(&Broker::in_memory().build());
    end.hear(&[close(), asked(5, declare("late"))].concat());
    assert_eq!(end.said(), [Command::CloseOk]);
    assert!(end.session.is_finished() && end.input.is_empty());
}

/// Has just closed because of an error.
fn closing_end(broker: &Broker) -> End {
    let mut end = End::open(broker);
    end.hear(&open_channel());
    assert!(matches!(end.said()[..], [Command::Close(Closing { code: 504, .. })]));
    assert!(!end.session.is_finished());
    assert!(broker.connections().is_empty(), "everything is given back at once");
    end
}

#[test]
fn a_close_of_ours_waits_for_its_answer_and_ignores_the_rest() {
    let broker = Broker::in_memory().build();
    let mut end = closing_end(&broker);
    end.hear(&asked(5, declare("late")));
    assert_eq!(end.said(), []);
    assert!(broker.vhost("/").unwrap().queues().is_empty());
    end.hear(&encoded(0, &Command::CloseOk));
    assert!(end.session.is_finished());
}

#[test]
fn when_both_close_both_answer() {
    let mut end = closing_end(&Broker::in_memory().build());
    end.hear(&close());
    assert_eq!(end.said(), [Command::CloseOk]);
    assert!(end.session.is_finished());
}

#[test]
fn a_close_of_ours_that_is_never_answered_ends_with_patience() {
    let mut end = closing_end(&Broker::in_memory().build());
    assert_eq!(end.session.next_deadline(), Some(end.now.plus(SessionOptions::CLOSE_TIMEOUT)));
    end.hear(&[0; 100]);
    end.moves(SessionOptions::CLOSE_TIMEOUT);
    assert_eq!(end.said(), []);
    assert!(end.session.is_finished());
}

#[test]
fn shutdown_says_why() {
    let broker = Broker::in_memory().build();
    let (mut end, mut early) = (End::open(&broker), End::new(&broker));
    end.session.handle_shutdown("going home", end.now);
    match &end.said()[..] {
        [Command::Close(closing)] => {
            assert_eq!((closing.code, &*closing.text), (320, "CONNECTION_FORCED - going home"));
        }
        other => panic!("{other:?}"),
    }
    early.session.handle_shutdown("going home", early.now);
    assert!(early.session.is_finished(), "who has not logged in is owed nothing");
}

#[test]
fn an_operators_close_takes_effect_wherever_it_is_found() {
    let broker = Broker::in_memory().build();
    // Each of these looks into the outbox on its way.
    type Act = fn(&mut End);
    let ways: [(&str, Act); 5] = [
        ("woken", |end| end.session.handle_outbox(end.now)),
        ("writing", |end| {
            end.session.poll_output(end.now);
        }),
        ("cancelling", |end| end.ask(Request::Cancel { consumer: 1 })),
        ("closing a channel", |end| end.hear(&encoded(1, &Command::CloseChannel { correlation: 9 }))),
        ("an error", |end| end.hear(&publish(7, "q", &[b"wrong"]))),
    ];
    for (way, act) in ways {
        let mut end = End::open(&broker);
        end.ask(declare("q"));
        end.ask(Request::Consume(consume("q", 1)));
        end.said();
        let reason = "an operator wants it".to_owned();
        assert!(end.outbox.notify(Notice::Close { reason }), "{way}");
        act(&mut end);
        // Whatever the handler said stands before it, and nothing behind it.
        match end.said().last() {
            Some(Command::Close(closing)) => assert_eq!(closing.code, 320, "{way}"),
            other => panic!("{way}: {other:?}"),
        }
    }
    assert!(broker.connections().is_empty());
}

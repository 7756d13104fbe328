//! What is settled and published in one read, in which order.

use super::*;

/// A queue that refuses what is more than one message, and an end that holds the only one it has, in confirm mode.
fn holding_the_only_one() -> End {
    let mut end = End::open(&broker());
    let full = FieldTable::new().with("x-max-length", 1).with("x-overflow", "reject-publish");
    end.asks(declare("q", full));
    end.hear(&plain("q", b"first"));
    end.asks(Method::ConfirmSelect(ConfirmSelect { no_wait: true }));
    end.asks(Method::BasicGet(BasicGet { queue: text("q"), ..Default::default() }));
    assert_eq!(end.said().len(), 1);
    end
}

fn nack(requeue: bool) -> Method {
    Method::BasicNack(BasicNack { delivery_tag: 1, multiple: false, requeue })
}

#[test]
fn what_goes_back_to_its_queue_takes_its_room_before_what_is_published_behind_it() {
    // A whole publish, and one whose content comes in two bodies.
    for body in [&b"second"[..], &[7; 5000]] {
        let mut end = holding_the_only_one();
        end.hear(&[encoded(1, nack(true)), plain("q", body)].concat());
        assert!(matches!(end.methods()[..], [Method::BasicNack(BasicNack { delivery_tag: 1, .. })]));
    }
}

#[test]
fn what_is_published_before_a_rejection_is_in_its_queue_before_it() {
    let mut end = holding_the_only_one();
    end.hear(&[plain("q", b"second"), encoded(1, nack(true)), plain("q", b"third")].concat());
    let said = end.methods();
    assert!(
        matches!(
            said[..],
            [
                Method::BasicAck(BasicAck { delivery_tag: 1, .. }),
                Method::BasicNack(BasicNack { delivery_tag: 2, .. })
            ]
        ),
        "{said:?}"
    );
}

#[test]
fn a_limit_of_the_channel_that_was_lifted_is_none_for_a_quorum_queue() {
    let mut end = End::open(&broker());
    end.asks(Method::QueueDeclare(QueueDeclare {
        queue: text("quorum"),
        durable: true,
        no_wait: true,
        arguments: FieldTable::new().with("x-queue-type", "quorum"),
        ..Default::default()
    }));
    let qos =
        |prefetch_count, global| Method::BasicQos(BasicQos { prefetch_count, global, ..Default::default() });
    end.asks(qos(10, true));
    end.asks(qos(5, false));
    end.asks(consume("quorum"));
    assert_eq!(end.methods().len(), 2, "two answers to qos, and no close");
    end.asks(qos(10, true));
    end.asks(Method::BasicConsume(BasicConsume { queue: text("quorum"), ..Default::default() }));
    let said = end.methods();
    assert!(matches!(&said[1..], [Method::ConnectionClose(close)] if close.reply_code == 540), "{said:?}");
}

#[test]
fn who_reads_slowly_is_not_taken_for_gone_while_it_is_not_heard() {
    let mut end = End::open(&broker());
    end.session.out.buffer().extend_from_slice(&vec![0; crate::session::UNREAD_ANSWERS_MAX + 100]);
    assert!(!end.session.wants_input(), "its heartbeats cannot arrive");
    for _ in 0..10 {
        end.session.poll_output(end.now).advance(10);
        end.moves(Duration::from_secs(20));
        assert!(!end.session.is_finished());
    }
    end.moves(Duration::from_secs(20));
    assert!(end.session.is_finished(), "it has read nothing for two intervals");
}

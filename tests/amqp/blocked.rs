//! `connection.blocked`: who is told, what, and what goes on meanwhile.

use rialto::broker::{FullQueue, Limits};
use rialto_protocol::amqp::{ConfirmSelect, Method, QueuePurge};
use rialto_protocol::types::Properties;

use crate::amqp::methods::*;
use crate::fixture::{Fixture, until};

const KIB: usize = 1 << 10;

fn send(client: &mut crate::amqp::Client, queue: &str, count: usize) {
    for _ in 0..count {
        client.send_content(1, publish("", queue), &Properties::default(), &[b'x'; 8 * KIB]);
    }
}

#[test]
fn who_fills_a_queue_is_told_its_name_and_still_heard_and_nobody_else_is_held_up() {
    let limits = Limits { queue_budget: 256 << 10, ..Limits::default() };
    let fixture = Fixture::limited(limits, |_| {});
    let (mut filling, mut other) = (fixture.on_channel(), fixture.on_channel());
    for queue in ["full", "flowing"] {
        other.call(1, Method::QueueDeclare(declare_queue(queue))).expect("a queue");
    }
    // Over the queue's budget, and within what may be sent ahead.
    send(&mut filling, "full", 40);
    let reason = filling.wait_for("connection.blocked", |event| match &event.method {
        Method::ConnectionBlocked(blocked) => Some(blocked.reason.to_string()),
        _ => None,
    });
    assert!(reason.starts_with("queue 'full' in vhost '/' is full"), "{reason}");
    let full = || fixture.broker().full_queues().into_iter().map(|FullQueue { name, .. }| name.to_string());
    assert_eq!(full().collect::<Vec<_>>(), ["full"]);

    // It may take and acknowledge.
    let got = filling.call(1, get("full", false)).expect("an answer");
    let Method::BasicGetOk(got) = got else { panic!("{got:?}") };
    filling.send(1, ack(got.delivery_tag, false));
    filling.sync(1).expect("the channel lives");

    // Somebody else publishes elsewhere, with confirms, many times as much.
    other.call(1, Method::ConfirmSelect(ConfirmSelect { no_wait: false })).expect("confirms");
    for tag in 1..=200 {
        send(&mut other, "flowing", 1);
        other.wait_for("a confirm", |event| match &event.method {
            Method::BasicAck(ack) if ack.delivery_tag >= tag => Some(()),
            Method::ConnectionBlocked(blocked) => panic!("held up: {}", blocked.reason),
            _ => None,
        });
        let got = other.call(1, get("flowing", true)).expect("an answer");
        assert!(matches!(got, Method::BasicGetOk(_)), "{got:?}");
    }

    other.call(1, Method::QueuePurge(QueuePurge { queue: short("full"), no_wait: false })).expect("a purge");
    filling.wait_for("connection.unblocked", |event| match &event.method {
        Method::ConnectionUnblocked(_) => Some(()),
        _ => None,
    });
    until("nothing to be full", || full().next().is_none());
    filling.close();
    other.close();
}

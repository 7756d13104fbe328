//! Clients that do not wait: for answers, or for the end of a channel.

use crate::amqp::methods::*;
use crate::amqp::*;
use crate::fixture::Fixture;

#[test]
fn a_whole_session_may_be_sent_at_once() {
    let fixture = Fixture::start();
    let mut client = fixture.client();
    client.put(1, &Method::ChannelOpen(ChannelOpen {}));
    client.put(1, &Method::ConfirmSelect(ConfirmSelect { no_wait: true }));
    client.put(1, &Method::QueueDeclare(declare_exclusive("early")));
    client.put(1, &Method::QueueBind(bind("early", "amq.fanout", "")));
    client.put_content(1, &publish("amq.fanout", ""), &Properties::default(), b"one");
    client.put_content(1, &publish("", "early"), &Properties::default(), b"two");
    client.put(1, &Method::BasicConsume(consume("early", "tag")));
    client.flush();
    for expected in ["ChannelOpenOk", "QueueDeclareOk", "QueueBindOk", "BasicConsumeOk"] {
        let answer = client.answer(1).unwrap_or_else(|closed| panic!("{expected}: {closed}"));
        assert!(format!("{answer:?}").starts_with(expected), "{answer:?} for {expected}");
    }
    let bodies: Vec<_> = client.deliveries(1, 2).into_iter().map(|(_, content)| content.body).collect();
    assert_eq!(bodies, [b"one", b"two"]);
    let mut confirmed = 0;
    while confirmed < 2 {
        confirmed = client.wait_for("confirms", |event| match event.method {
            Method::BasicAck(BasicAck { delivery_tag, multiple }) => {
                Some(if multiple { delivery_tag } else { confirmed + 1 })
            }
            _ => None,
        });
    }
    client.close();
    fixture.survives();
}

#[test]
fn deliveries_come_behind_consume_ok() {
    let fixture = Fixture::start();
    let mut client = fixture.on_channel();
    assert!(client.call(1, Method::QueueDeclare(declare_exclusive("full"))).is_ok());
    for _ in 0..10 {
        client.send_content(1, publish("", "full"), &Properties::default(), b"body");
    }
    client.send(1, Method::BasicConsume(consume("full", "tag")));
    let first = client.receive().expect("an answer").method;
    assert!(matches!(first, Method::BasicConsumeOk(_)), "{first:?}");
    let tags: Vec<_> = client.deliveries(1, 10).iter().map(|(deliver, _)| deliver.delivery_tag).collect();
    assert_eq!(tags, (1..=10).collect::<Vec<_>>());
    client.close();
    fixture.survives();
}

#[test]
fn what_comes_late_for_a_closed_channel_is_passed_over() {
    let fixture = Fixture::start();
    let mut client = fixture.on_channel();
    client.open_channel(2);
    assert!(client.call(1, Method::QueueDeclare(declare_exclusive("late"))).is_ok());
    for _ in 0..2 {
        client.send_content(1, publish("", "late"), &Properties::default(), b"body");
        assert!(matches!(client.call(1, get("late", false)), Ok(Method::BasicGetOk(_))));
    }
    // One error, and what was on its way behind it: acks, a publish with its content, a declare.
    client.put(1, &ack(9, false));
    client.put(1, &ack(1, false));
    client.put(1, &ack(77, true));
    client.put_content(1, &publish("missing", ""), &Properties::default(), b"never routed");
    client.put(1, &Method::QueueDeclare(declare_queue("never-declared")));
    client.flush();
    let closed = client.closed(1);
    assert_eq!((closed.code, closed.channel, closed.class, closed.method), (406, 1, 60, 80), "{closed}");
    // The rest was not carried out, the connection lives, the messages are back and the channel can be used again.
    client.open_channel(1);
    let passive = QueueDeclare { passive: true, ..declare_queue("never-declared") };
    assert_eq!(client.call(2, Method::QueueDeclare(passive)).expect_err("not declared").code, 404);
    let passive = QueueDeclare { passive: true, ..declare_queue("late") };
    let Ok(Method::QueueDeclareOk(late)) = client.call(1, Method::QueueDeclare(passive)) else {
        panic!("no queue")
    };
    assert_eq!(late.message_count, 2);
    client.close();
    fixture.survives();
}

#[test]
fn a_channel_may_be_opened_again_before_its_end_is_told() {
    // RabbitMQ may still be ending the old one, and then calls it opened twice.
    let fixture = Fixture::ours(|_| {});
    let mut client = fixture.on_channel();
    let close = ChannelClose { reply_code: 200, ..Default::default() };
    client.put(1, &Method::ChannelClose(close));
    client.put(1, &Method::ChannelOpen(ChannelOpen {}));
    client.put(1, &access_request());
    client.flush();
    for expected in ["ChannelCloseOk", "ChannelOpenOk", "AccessRequestOk"] {
        let answer = client.answer(1).unwrap_or_else(|closed| panic!("{expected}: {closed}"));
        assert!(format!("{answer:?}").starts_with(expected), "{answer:?} for {expected}");
    }
    client.close();
    fixture.survives();
}

#[test]
fn nothing_is_carried_out_behind_a_connection_error() {
    let fixture = Fixture::start();
    let mut client = fixture.on_channel();
    client.put(1, &Method::BasicRecover(BasicRecover { requeue: false }));
    client.put(1, &Method::QueueDeclare(declare_queue("behind")));
    client.flush();
    assert_eq!(client.closed(0).code, 540);
    let mut other = fixture.on_channel();
    let passive = QueueDeclare { passive: true, ..declare_queue("behind") };
    assert_eq!(other.call(1, Method::QueueDeclare(passive)).expect_err("not declared").code, 404);
    other.close();
    fixture.survives();
}

#[test]
fn nothing_is_said_where_no_answer_is_wanted() {
    let fixture = Fixture::start();
    let mut client = fixture.on_channel();
    client.put(1, &Method::QueueDeclare(QueueDeclare { no_wait: true, ..declare_exclusive("quiet") }));
    client.put(1, &Method::QueueBind(QueueBind { no_wait: true, ..bind("quiet", "amq.fanout", "") }));
    client.put(1, &Method::BasicConsume(BasicConsume { no_wait: true, ..consume("quiet", "tag") }));
    client.put(1, &Method::BasicCancel(BasicCancel { consumer_tag: short("tag"), no_wait: true }));
    client.put(1, &Method::QueuePurge(QueuePurge { queue: short("quiet"), no_wait: true }));
    client.put(1, &Method::ConfirmSelect(ConfirmSelect { no_wait: true }));
    client.put(
        1,
        &Method::QueueDelete(QueueDelete { queue: short("quiet"), no_wait: true, ..Default::default() }),
    );
    client.flush();
    assert_eq!(client.sync(1), Ok(()));
    assert_eq!(client.inbox(), []);
    client.close();
    fixture.survives();
}

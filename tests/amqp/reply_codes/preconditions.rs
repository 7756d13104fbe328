//! 406, which closes a channel: what could be, but not like this, or not now.

use crate::amqp::methods::*;
use crate::amqp::*;
use crate::fixture::Fixture;

use super::{case, check, exclusive, say_content};

#[test]
fn precondition_failed_closes_the_channel() {
    check(
        (406, 1),
        &[
            case(
                "another kind of queue",
                (50, 10),
                "inequivalent arg 'auto_delete' for queue 'taken'",
                |client| {
                    exclusive(client, "taken");
                    client.send(
                        1,
                        Method::QueueDeclare(QueueDeclare {
                            auto_delete: true,
                            ..declare_exclusive("taken")
                        }),
                    );
                },
            ),
            case(
                "another argument",
                (50, 10),
                "inequivalent arg 'x-message-ttl' for queue 'taken' in vhost '/': received the value '60000' of type 'signedint' but current is none",
                |client| {
                    exclusive(client, "taken");
                    declare_with(client, "taken", "x-message-ttl", 60_000);
                },
            ),
            case(
                "another type of exchange",
                (40, 10),
                "inequivalent arg 'type' for exchange 'amq.direct'",
                |client| {
                    let fanout =
                        ExchangeDeclare { durable: true, ..declare_exchange("amq.direct", "fanout") };
                    client.send(1, Method::ExchangeDeclare(fanout));
                },
            ),
            case("a negative time to live", (50, 10), "invalid arg 'x-message-ttl'", |client| {
                declare_with(client, "bad", "x-message-ttl", -1)
            }),
            case("a length that is text", (50, 10), "invalid arg 'x-max-length'", |client| {
                declare_with(client, "bad", "x-max-length", FieldValue::text("many"))
            }),
            case("a dead-letter key without an exchange", (50, 10), "x-dead-letter-routing-key", |client| {
                declare_with(client, "bad", "x-dead-letter-routing-key", FieldValue::text("key"))
            }),
            case("an unknown kind of queue", (50, 10), "x-queue-type", |client| {
                declare_with(client, "bad", "x-queue-type", FieldValue::text("bogus"))
            }),
            case("deleting what is in use", (50, 40), "in use", |client| {
                exclusive(client, "used");
                assert!(client.call(1, Method::BasicConsume(consume("used", ""))).is_ok());
                let delete = QueueDelete { queue: short("used"), if_unused: true, ..Default::default() };
                client.send(1, Method::QueueDelete(delete));
            }),
            case("deleting what is not empty", (50, 40), "not empty", |client| {
                exclusive(client, "full");
                say_content(client, publish("", "full"), Properties::default());
                let delete = QueueDelete { queue: short("full"), if_empty: true, ..Default::default() };
                client.send(1, Method::QueueDelete(delete));
            }),
            case("deleting an exchange in use", (40, 20), "in use", |client| {
                let exchange = ExchangeDeclare { auto_delete: true, ..declare_exchange("used-x", "direct") };
                assert!(client.call(1, Method::ExchangeDeclare(exchange)).is_ok());
                exclusive(client, "used");
                assert!(client.call(1, Method::QueueBind(bind("used", "used-x", ""))).is_ok());
                let delete = ExchangeDelete { exchange: short("used-x"), if_unused: true, no_wait: false };
                client.send(1, Method::ExchangeDelete(delete));
            }),
            case("acknowledging what was never delivered", (60, 80), "unknown delivery tag 7", |client| {
                client.send(1, ack(7, false))
            }),
            case(
                "acknowledging up to what was never delivered",
                (60, 80),
                "unknown delivery tag 7",
                |client| client.send(1, ack(7, true)),
            ),
            case("acknowledging twice", (60, 80), "unknown delivery tag 1", |client| {
                exclusive(client, "one");
                say_content(client, publish("", "one"), Properties::default());
                assert!(matches!(client.call(1, get("one", false)), Ok(Method::BasicGetOk(_))));
                client.send(1, ack(1, false));
                client.send(1, ack(1, false));
            }),
            case("acknowledging what needs none", (60, 80), "unknown delivery tag 1", |client| {
                exclusive(client, "one");
                say_content(client, publish("", "one"), Properties::default());
                assert!(matches!(client.call(1, get("one", true)), Ok(Method::BasicGetOk(_))));
                client.send(1, ack(1, false));
            }),
            case("rejecting what was never delivered", (60, 90), "unknown delivery tag 7", |client| {
                client.send(1, Method::BasicReject(BasicReject { delivery_tag: 7, requeue: true }))
            }),
            case("nacking what was never delivered", (60, 120), "unknown delivery tag 7", |client| {
                client.send(1, Method::BasicNack(BasicNack { delivery_tag: 7, ..Default::default() }))
            }),
            case("confirms in a transaction", (85, 10), "cannot switch from tx to confirm mode", |client| {
                assert!(client.call(1, Method::TxSelect(TxSelect {})).is_ok());
                client.send(1, Method::ConfirmSelect(ConfirmSelect { no_wait: false }));
            }),
            case(
                "a transaction with confirms",
                (90, 10),
                "cannot switch from confirm to tx mode",
                |client| {
                    assert!(client.call(1, Method::ConfirmSelect(ConfirmSelect { no_wait: false })).is_ok());
                    client.send(1, Method::TxSelect(TxSelect {}));
                },
            ),
            case("committing nothing", (90, 20), "channel is not transactional", |client| {
                client.send(1, Method::TxCommit(TxCommit {}))
            }),
            case("rolling back nothing", (90, 30), "channel is not transactional", |client| {
                client.send(1, Method::TxRollback(TxRollback {}))
            }),
            case("an expiration that is no number", (60, 40), "invalid expiration 'soon'", |client| {
                let properties = Properties { expiration: Some(short("soon")), ..Properties::default() };
                say_content(client, publish("", "nobody"), properties);
            }),
            case(
                "somebody else's name",
                (60, 40),
                "user_id property set to 'other' but authenticated user was 'guest'",
                |client| {
                    let properties = Properties { user_id: Some(short("other")), ..Properties::default() };
                    say_content(client, publish("", "nobody"), properties);
                },
            ),
            case("CC that is no list", (60, 40), "CC", |client| {
                let headers = Some(FieldTable::new().with("CC", FieldValue::text("other")));
                say_content(client, publish("", "nobody"), Properties { headers, ..Properties::default() });
            }),
            case(
                "a reply consumer that acknowledges",
                (60, 20),
                "reply consumer cannot acknowledge",
                |client| client.send(1, Method::BasicConsume(consume("amq.rabbitmq.reply-to", ""))),
            ),
            case("a second reply consumer", (60, 20), "reply consumer already set", |client| {
                let reply = BasicConsume { no_ack: true, ..consume("amq.rabbitmq.reply-to", "") };
                assert!(client.call(1, Method::BasicConsume(reply.clone())).is_ok());
                client.send(1, Method::BasicConsume(reply));
            }),
            case("a request without a reply consumer", (60, 40), "reply consumer does not exist", |client| {
                let reply_to = Some(short("amq.rabbitmq.reply-to"));
                say_content(client, publish("", "nobody"), Properties { reply_to, ..Properties::default() });
            }),
        ],
    );
}

#[test]
fn an_unknown_exchange_type_closes_the_channel() {
    let fixture = Fixture::start();
    if !fixture.is_ours() {
        return println!("RabbitMQ before 4 closes the connection with 503");
    }
    let mut client = fixture.on_channel();
    let closed =
        client.call(1, Method::ExchangeDeclare(declare_exchange("x", "bogus"))).expect_err("no such type");
    assert_eq!((closed.code, closed.channel, closed.class, closed.method), (406, 1, 40, 10), "{closed}");
    assert!(closed.text.contains("exchange type 'bogus'"), "{closed}");
    client.close();
    fixture.survives();
}

#[test]
fn a_message_over_the_limit_closes_the_channel() {
    let fixture = Fixture::ours(|session| session.message_size_max = 1000);
    let mut client = fixture.on_channel();
    client.send_content(1, publish("", "nobody"), &Properties::default(), &[0; 1000]);
    assert_eq!(client.sync(1), Ok(()));
    client.send_content(1, publish("", "nobody"), &Properties::default(), &[0; 1001]);
    let closed = client.closed(1);
    assert_eq!((closed.code, closed.channel, closed.class, closed.method), (406, 1, 60, 40), "{closed}");
    assert!(closed.text.contains("1001") && closed.text.contains("1000"), "{closed}");
    // The body that followed is passed over.
    client.open_channel(1);
    client.close();
    fixture.survives();
}

fn declare_with(client: &mut Client, queue: &str, argument: &str, value: impl Into<FieldValue>) {
    let arguments = FieldTable::new().with(argument, value);
    client.send(1, Method::QueueDeclare(QueueDeclare { arguments, ..declare_exclusive(queue) }));
}

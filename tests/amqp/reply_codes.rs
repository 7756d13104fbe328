//! Every reply code that can be provoked: the number, what it closes, whom it blames.
//!
//! Not provoked: 311 and 402, which RabbitMQ does not use any more (406 and 530 stand for them), 313 (`immediate`
//! is refused), 506 and 541, for which the broker would have to fail.

use crate::amqp::methods::*;
use crate::amqp::*;
use crate::fixture::Fixture;

/// What a peer does on its open channel 1, and how the broker closes that channel or the connection.
struct Case {
    what: &'static str,
    provoke: fn(&mut Client),
    code: u16,
    /// 0 is the connection.
    channel: u16,
    ids: (u16, u16),
    /// What the text must contain.
    text: &'static str,
}

const fn case(
    what: &'static str,
    (code, channel): (u16, u16),
    ids: (u16, u16),
    text: &'static str,
    provoke: fn(&mut Client),
) -> Case {
    Case { what, provoke, code, channel, ids, text }
}

/// Runs all of a table before it complains.
fn check(cases: &[Case]) {
    let fixture = Fixture::start();
    let mut wrong = Vec::new();
    for case in cases {
        let mut client = fixture.on_channel();
        (case.provoke)(&mut client);
        // If this is answered, nothing was refused.
        client.send(1, access_request());
        let Err(closed) = client.answer_to(1, |method| matches!(method, Method::AccessRequestOk(_))) else {
            wrong.push(format!("{}: nothing is closed", case.what));
            continue;
        };
        let is_right = (closed.code, closed.channel) == (case.code, case.channel)
            && (closed.class, closed.method) == case.ids
            && closed.text.contains(case.text);
        if !is_right {
            wrong.push(format!("{}: {closed}", case.what));
        }
        if closed.channel != 0 {
            // The connection goes on, and so can the channel.
            client.open_channel(1);
            client.close();
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    fixture.survives();
}

fn exclusive(client: &mut Client, queue: &str) {
    let declared = client.call(1, Method::QueueDeclare(declare_exclusive(queue)));
    assert!(declared.is_ok(), "{declared:?}");
}

fn say(client: &mut Client, method: Method) {
    client.send(1, method);
}

fn say_content(client: &mut Client, method: Method, properties: Properties) {
    client.send_content(1, method, &properties, b"body");
}

#[test]
fn access_refused_closes_the_channel() {
    check(&[
        case("declaring a reserved queue", (403, 1), (50, 10), "amq.", |client| {
            say(client, Method::QueueDeclare(declare_queue("amq.mine")));
        }),
        case("declaring a reserved exchange", (403, 1), (40, 10), "amq.", |client| {
            say(client, Method::ExchangeDeclare(declare_exchange("amq.mine", "direct")));
        }),
        case("declaring the default exchange", (403, 1), (40, 10), "default exchange", |client| {
            let durable = ExchangeDeclare { durable: true, ..declare_exchange("", "direct") };
            say(client, Method::ExchangeDeclare(durable));
        }),
        case("deleting a predeclared exchange", (403, 1), (40, 20), "amq.direct", |client| {
            say(
                client,
                Method::ExchangeDelete(ExchangeDelete {
                    exchange: short("amq.direct"),
                    ..Default::default()
                }),
            );
        }),
        case("deleting the default exchange", (403, 1), (40, 20), "default exchange", |client| {
            say(client, Method::ExchangeDelete(ExchangeDelete::default()));
        }),
        case("binding to the default exchange", (403, 1), (50, 20), "default exchange", |client| {
            exclusive(client, "refused-q");
            say(client, Method::QueueBind(bind("refused-q", "", "key")));
        }),
        case("unbinding from the default exchange", (403, 1), (50, 50), "default exchange", |client| {
            exclusive(client, "refused-q");
            let (queue, routing_key) = (short("refused-q"), short("refused-q"));
            say(client, Method::QueueUnbind(QueueUnbind { queue, routing_key, ..Default::default() }));
        }),
        case("binding exchanges to the default exchange", (403, 1), (40, 30), "default exchange", |client| {
            say(
                client,
                Method::ExchangeBind(ExchangeBind { destination: short("amq.fanout"), ..Default::default() }),
            );
        }),
        case("publishing to an internal exchange", (403, 1), (60, 40), "internal", |client| {
            let internal = ExchangeDeclare {
                internal: true,
                auto_delete: true,
                ..declare_exchange("refused-internal", "fanout")
            };
            assert!(client.call(1, Method::ExchangeDeclare(internal)).is_ok());
            exclusive(client, "refused-q");
            // So that it goes when the queue goes.
            assert!(client.call(1, Method::QueueBind(bind("refused-q", "refused-internal", ""))).is_ok());
            say_content(client, publish("refused-internal", ""), Properties::default());
        }),
        case("consuming beside an exclusive consumer", (403, 1), (60, 20), "exclusive", |client| {
            exclusive(client, "refused-q");
            let alone = BasicConsume { exclusive: true, ..consume("refused-q", "alone") };
            assert!(client.call(1, Method::BasicConsume(alone)).is_ok());
            say(client, Method::BasicConsume(consume("refused-q", "other")));
        }),
        case("consuming exclusively beside a consumer", (403, 1), (60, 20), "exclusive", |client| {
            exclusive(client, "refused-q");
            assert!(client.call(1, Method::BasicConsume(consume("refused-q", "other"))).is_ok());
            say(
                client,
                Method::BasicConsume(BasicConsume { exclusive: true, ..consume("refused-q", "alone") }),
            );
        }),
    ]);
}

#[test]
fn not_found_closes_the_channel() {
    check(&[
        case("a passive queue", (404, 1), (50, 10), "no queue 'missing' in vhost '/'", |client| {
            say(client, Method::QueueDeclare(QueueDeclare { passive: true, ..declare_queue("missing") }));
        }),
        case("a passive exchange", (404, 1), (40, 10), "no exchange 'missing' in vhost '/'", |client| {
            let passive = ExchangeDeclare { passive: true, ..declare_exchange("missing", "direct") };
            say(client, Method::ExchangeDeclare(passive));
        }),
        case("binding to a missing exchange", (404, 1), (50, 20), "no exchange 'missing'", |client| {
            exclusive(client, "there");
            say(client, Method::QueueBind(bind("there", "missing", "")));
        }),
        case("binding a missing queue", (404, 1), (50, 20), "no queue 'missing'", |client| {
            say(client, Method::QueueBind(bind("missing", "amq.direct", "")));
        }),
        case("binding a missing exchange", (404, 1), (40, 30), "no exchange 'missing'", |client| {
            let (destination, source) = (short("missing"), short("amq.direct"));
            say(client, Method::ExchangeBind(ExchangeBind { destination, source, ..Default::default() }));
        }),
        case("publishing to a missing exchange", (404, 1), (60, 40), "no exchange 'missing'", |client| {
            say_content(client, publish("missing", ""), Properties::default());
        }),
        case("getting from a missing queue", (404, 1), (60, 70), "no queue 'missing'", |client| {
            say(client, get("missing", true));
        }),
        case("consuming a missing queue", (404, 1), (60, 20), "no queue 'missing'", |client| {
            say(client, Method::BasicConsume(consume("missing", "")));
        }),
        case("purging a missing queue", (404, 1), (50, 30), "no queue 'missing'", |client| {
            say(client, Method::QueuePurge(QueuePurge { queue: short("missing"), no_wait: false }));
        }),
        case("no name, and no queue declared", (404, 1), (50, 20), "previously declared queue", |client| {
            say(client, Method::QueueBind(bind("", "amq.direct", "key")));
        }),
        case(
            "no name to consume, and no queue declared",
            (404, 1),
            (60, 20),
            "previously declared queue",
            |client| {
                say(client, Method::BasicConsume(consume("", "")));
            },
        ),
    ]);
}

#[test]
fn resource_locked_closes_the_channel() {
    let fixture = Fixture::start();
    let mut owner = fixture.on_channel();
    exclusive(&mut owner, "locked");
    let declare = |passive| Method::QueueDeclare(QueueDeclare { passive, ..declare_exclusive("locked") });
    for (method, ids) in [
        (declare(false), (50, 10)),
        (declare(true), (50, 10)),
        (Method::QueueBind(bind("locked", "amq.direct", "")), (50, 20)),
        (Method::QueuePurge(QueuePurge { queue: short("locked"), no_wait: false }), (50, 30)),
        (Method::QueueDelete(QueueDelete { queue: short("locked"), ..Default::default() }), (50, 40)),
        (Method::BasicConsume(consume("locked", "")), (60, 20)),
        (get("locked", true), (60, 70)),
    ] {
        let mut other = fixture.on_channel();
        let closed = other.call(1, method.clone()).expect_err("it is another's queue");
        assert_eq!((closed.code, closed.channel), (405, 1), "{method:?}: {closed}");
        assert_eq!((closed.class, closed.method), ids, "{closed}");
        assert!(
            closed.text.contains("cannot obtain exclusive access to locked queue 'locked' in vhost '/'"),
            "{closed}"
        );
        other.close();
    }
    owner.close();
    fixture.survives();
}

#[test]
fn precondition_failed_closes_the_channel() {
    check(&[
        case(
            "another kind of queue",
            (406, 1),
            (50, 10),
            "inequivalent arg 'auto_delete' for queue 'taken'",
            |client| {
                exclusive(client, "taken");
                say(
                    client,
                    Method::QueueDeclare(QueueDeclare { auto_delete: true, ..declare_exclusive("taken") }),
                );
            },
        ),
        case(
            "another argument",
            (406, 1),
            (50, 10),
            "inequivalent arg 'x-message-ttl' for queue 'taken' in vhost '/': received the value '60000' of type 'signedint' but current is none",
            |client| {
                exclusive(client, "taken");
                let arguments = FieldTable::new().with("x-message-ttl", 60_000);
                say(client, Method::QueueDeclare(QueueDeclare { arguments, ..declare_exclusive("taken") }));
            },
        ),
        case(
            "another type of exchange",
            (406, 1),
            (40, 10),
            "inequivalent arg 'type' for exchange 'amq.direct'",
            |client| {
                let fanout = ExchangeDeclare { durable: true, ..declare_exchange("amq.direct", "fanout") };
                say(client, Method::ExchangeDeclare(fanout));
            },
        ),
        case("a negative time to live", (406, 1), (50, 10), "invalid arg 'x-message-ttl'", |client| {
            let arguments = FieldTable::new().with("x-message-ttl", -1);
            say(client, Method::QueueDeclare(QueueDeclare { arguments, ..declare_exclusive("bad") }));
        }),
        case("a length that is text", (406, 1), (50, 10), "invalid arg 'x-max-length'", |client| {
            let arguments = FieldTable::new().with("x-max-length", FieldValue::text("many"));
            say(client, Method::QueueDeclare(QueueDeclare { arguments, ..declare_exclusive("bad") }));
        }),
        case(
            "a dead-letter key without an exchange",
            (406, 1),
            (50, 10),
            "x-dead-letter-routing-key",
            |client| {
                let arguments = FieldTable::new().with("x-dead-letter-routing-key", FieldValue::text("key"));
                say(client, Method::QueueDeclare(QueueDeclare { arguments, ..declare_exclusive("bad") }));
            },
        ),
        case("an unknown kind of queue", (406, 1), (50, 10), "x-queue-type", |client| {
            let arguments = FieldTable::new().with("x-queue-type", FieldValue::text("bogus"));
            say(client, Method::QueueDeclare(QueueDeclare { arguments, ..declare_exclusive("bad") }));
        }),
        case("deleting what is in use", (406, 1), (50, 40), "in use", |client| {
            exclusive(client, "used");
            assert!(client.call(1, Method::BasicConsume(consume("used", ""))).is_ok());
            let delete = QueueDelete { queue: short("used"), if_unused: true, ..Default::default() };
            say(client, Method::QueueDelete(delete));
        }),
        case("deleting what is not empty", (406, 1), (50, 40), "not empty", |client| {
            exclusive(client, "full");
            say_content(client, publish("", "full"), Properties::default());
            let delete = QueueDelete { queue: short("full"), if_empty: true, ..Default::default() };
            say(client, Method::QueueDelete(delete));
        }),
        case("deleting an exchange in use", (406, 1), (40, 20), "in use", |client| {
            let exchange = ExchangeDeclare { auto_delete: true, ..declare_exchange("used-x", "direct") };
            assert!(client.call(1, Method::ExchangeDeclare(exchange)).is_ok());
            exclusive(client, "used");
            assert!(client.call(1, Method::QueueBind(bind("used", "used-x", ""))).is_ok());
            let delete = ExchangeDelete { exchange: short("used-x"), if_unused: true, no_wait: false };
            say(client, Method::ExchangeDelete(delete));
        }),
        case(
            "acknowledging what was never delivered",
            (406, 1),
            (60, 80),
            "unknown delivery tag 7",
            |client| {
                say(client, ack(7, false));
            },
        ),
        case(
            "acknowledging up to what was never delivered",
            (406, 1),
            (60, 80),
            "unknown delivery tag 7",
            |client| {
                say(client, ack(7, true));
            },
        ),
        case("acknowledging twice", (406, 1), (60, 80), "unknown delivery tag 1", |client| {
            exclusive(client, "one");
            say_content(client, publish("", "one"), Properties::default());
            assert!(matches!(client.call(1, get("one", false)), Ok(Method::BasicGetOk(_))));
            say(client, ack(1, false));
            say(client, ack(1, false));
        }),
        case("acknowledging what needs none", (406, 1), (60, 80), "unknown delivery tag 1", |client| {
            exclusive(client, "one");
            say_content(client, publish("", "one"), Properties::default());
            assert!(matches!(client.call(1, get("one", true)), Ok(Method::BasicGetOk(_))));
            say(client, ack(1, false));
        }),
        case("rejecting what was never delivered", (406, 1), (60, 90), "unknown delivery tag 7", |client| {
            say(client, Method::BasicReject(BasicReject { delivery_tag: 7, requeue: true }));
        }),
        case("nacking what was never delivered", (406, 1), (60, 120), "unknown delivery tag 7", |client| {
            say(client, Method::BasicNack(BasicNack { delivery_tag: 7, ..Default::default() }));
        }),
        case(
            "confirms in a transaction",
            (406, 1),
            (85, 10),
            "cannot switch from tx to confirm mode",
            |client| {
                assert!(client.call(1, Method::TxSelect(TxSelect {})).is_ok());
                say(client, Method::ConfirmSelect(ConfirmSelect { no_wait: false }));
            },
        ),
        case(
            "a transaction with confirms",
            (406, 1),
            (90, 10),
            "cannot switch from confirm to tx mode",
            |client| {
                assert!(client.call(1, Method::ConfirmSelect(ConfirmSelect { no_wait: false })).is_ok());
                say(client, Method::TxSelect(TxSelect {}));
            },
        ),
        case("committing nothing", (406, 1), (90, 20), "channel is not transactional", |client| {
            say(client, Method::TxCommit(TxCommit {}));
        }),
        case("rolling back nothing", (406, 1), (90, 30), "channel is not transactional", |client| {
            say(client, Method::TxRollback(TxRollback {}));
        }),
        case("an expiration that is no number", (406, 1), (60, 40), "invalid expiration 'soon'", |client| {
            let properties = Properties { expiration: Some(short("soon")), ..Properties::default() };
            say_content(client, publish("", "nobody"), properties);
        }),
        case(
            "somebody else's name",
            (406, 1),
            (60, 40),
            "user_id property set to 'other' but authenticated user was 'guest'",
            |client| {
                let properties = Properties { user_id: Some(short("other")), ..Properties::default() };
                say_content(client, publish("", "nobody"), properties);
            },
        ),
        case("CC that is no list", (406, 1), (60, 40), "CC", |client| {
            let headers = Some(FieldTable::new().with("CC", FieldValue::text("other")));
            say_content(client, publish("", "nobody"), Properties { headers, ..Properties::default() });
        }),
        case(
            "a reply consumer that acknowledges",
            (406, 1),
            (60, 20),
            "reply consumer cannot acknowledge",
            |client| {
                say(client, Method::BasicConsume(consume("amq.rabbitmq.reply-to", "")));
            },
        ),
        case("a second reply consumer", (406, 1), (60, 20), "reply consumer already set", |client| {
            let reply = BasicConsume { no_ack: true, ..consume("amq.rabbitmq.reply-to", "") };
            assert!(client.call(1, Method::BasicConsume(reply.clone())).is_ok());
            say(client, Method::BasicConsume(reply));
        }),
        case(
            "a request without a reply consumer",
            (406, 1),
            (60, 40),
            "reply consumer does not exist",
            |client| {
                let reply_to = Some(short("amq.rabbitmq.reply-to"));
                say_content(client, publish("", "nobody"), Properties { reply_to, ..Properties::default() });
            },
        ),
    ]);
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

#[test]
fn frame_errors_close_the_connection() {
    check(&[
        case("a bad end octet", (501, 0), (0, 0), "FRAME_ERROR", |client| {
            let mut bytes = encoded(1, &access_request());
            *bytes.last_mut().expect("a frame") = 0;
            client.send_bytes(&bytes);
        }),
        case("an unknown type of frame", (501, 0), (0, 0), "FRAME_ERROR", |client| {
            client.send_bytes(&frame(4, 1, b""));
        }),
        case("a frame over the limit", (501, 0), (0, 0), "FRAME_ERROR", |client| {
            // RabbitMQ lets some bytes more pass.
            let payload = vec![0; client.frame_max as usize + 1];
            client.send_bytes(&frame(3, 1, &payload));
        }),
        case("a frame that announces too much", (501, 0), (0, 0), "FRAME_ERROR", |client| {
            client.send_bytes(&[1, 0, 1, 0xff, 0xff, 0xff, 0xff]);
        }),
    ]);
}

#[test]
fn syntax_errors_close_the_connection() {
    if !Fixture::would_be_ours() {
        return println!("RabbitMQ before 4 hangs up without a word");
    }
    check(&[
        case("a method cut short", (502, 0), (50, 10), "SYNTAX_ERROR", |client| {
            client.send_bytes(&raw_method(1, 50, 10, &[0, 0, 9, b'q']));
        }),
        case("an unknown type of field", (502, 0), (50, 10), "SYNTAX_ERROR", |client| {
            let fields = [&[0, 0, 1, b'q', 0][..], &[0, 0, 0, 3, 1, b'x', b'?']].concat();
            client.send_bytes(&raw_method(1, 50, 10, &fields));
        }),
        case("a table longer than its method", (502, 0), (50, 10), "SYNTAX_ERROR", |client| {
            let fields = [&[0, 0, 1, b'q', 0][..], &[0, 0, 0, 99, 1, b'x', b't', 1]].concat();
            client.send_bytes(&raw_method(1, 50, 10, &fields));
        }),
    ]);
}

#[test]
fn tables_of_absurd_depth_close_the_connection() {
    let fixture = Fixture::ours(|_| {});
    let mut value = vec![b'V'];
    for _ in 0..2000 {
        let mut table = 1u8.to_be_bytes().to_vec();
        table.push(b'x');
        table.extend(&value);
        value = [&[b'F'][..], &(table.len() as u32).to_be_bytes(), &table].concat();
    }
    let mut client = fixture.on_channel();
    client.send_bytes(&raw_method(1, 50, 10, &[&[0, 0, 1, b'q', 0][..], &value[1..]].concat()));
    let closed = client.closed(1);
    assert_eq!((closed.code, closed.channel), (502, 0), "{closed}");

    // The same as headers of a message.
    let mut client = fixture.on_channel();
    client.send(1, publish("", "nobody"));
    let header = [&[0, 60, 0, 0][..], &0u64.to_be_bytes(), &(1u16 << 13).to_be_bytes(), &value[1..]].concat();
    client.send_bytes(&frame(2, 1, &header));
    let closed = client.closed(1);
    assert_eq!((closed.code, closed.channel), (502, 0), "{closed}");
    fixture.survives();
}

#[test]
fn invalid_commands_close_the_connection() {
    if !Fixture::would_be_ours() {
        return println!("RabbitMQ before 4 hangs up without a word");
    }
    check(&[
        case("an unknown class", (503, 0), (99, 10), "COMMAND_INVALID", |client| {
            client.send_bytes(&raw_method(1, 99, 10, b""));
        }),
        case("an unknown method", (503, 0), (60, 99), "COMMAND_INVALID", |client| {
            client.send_bytes(&raw_method(1, 60, 99, b""));
        }),
        case("what only brokers say", (503, 0), (90, 11), "COMMAND_INVALID", |client| {
            say(client, Method::TxSelectOk(TxSelectOk {}));
        }),
    ]);
}

#[test]
fn channel_errors_close_the_connection() {
    check(&[
        case("a channel that is open already", (504, 0), (20, 10), "CHANNEL_ERROR", |client| {
            say(client, Method::ChannelOpen(ChannelOpen {}));
        }),
        case("a channel that was closed", (504, 0), (60, 10), "CHANNEL_ERROR", |client| {
            let close = ChannelClose { reply_code: 200, ..Default::default() };
            assert!(client.call(1, Method::ChannelClose(close)).is_ok());
            say(client, Method::BasicQos(BasicQos::default()));
        }),
        case("logging in again", (504, 0), (10, 11), "", |client| {
            client.start_ok(&Options::default());
        }),
        case("a method of channels on channel 0", (504, 0), (60, 10), "", |client| {
            client.send(0, Method::BasicQos(BasicQos::default()));
        }),
        case("opening channel 0", (504, 0), (20, 10), "", |client| {
            client.send(0, Method::ChannelOpen(ChannelOpen {}));
        }),
    ]);
}

#[test]
fn a_method_on_a_channel_that_is_not_open_closes_the_connection() {
    let fixture = Fixture::start();
    let mut client = fixture.on_channel();
    let closed = client.call(2, Method::BasicQos(BasicQos::default())).expect_err("not open");
    assert_eq!((closed.code, closed.channel, closed.class, closed.method), (504, 0, 60, 10), "{closed}");
    assert!(closed.text.starts_with("CHANNEL_ERROR"), "{closed}");
    fixture.survives();
}

#[test]
fn unexpected_frames_close_the_connection() {
    check(&[
        case(
            "a header without a method",
            (505, 0),
            (0, 0),
            "expected method frame, got non method frame instead",
            |client| {
                let header = [&[0, 60, 0, 0][..], &4u64.to_be_bytes(), &[0, 0]].concat();
                client.send_bytes(&frame(2, 1, &header));
            },
        ),
        case(
            "a body without a method",
            (505, 0),
            (0, 0),
            "expected method frame, got non method frame instead",
            |client| {
                client.send_bytes(&frame(3, 1, b"body"));
            },
        ),
        case(
            "a body without a header",
            (505, 0),
            (60, 40),
            "expected content header for class 60, got non content header frame instead",
            |client| {
                say(client, publish("", "nobody"));
                client.send_bytes(&frame(3, 1, b"body"));
            },
        ),
        case(
            "a method amid a content",
            (505, 0),
            (60, 40),
            "expected content header for class 60, got non content header frame instead",
            |client| {
                say(client, publish("", "nobody"));
                say(client, access_request());
            },
        ),
        case(
            "a method amid a body",
            (505, 0),
            (60, 40),
            "expected content body, got non content body frame instead",
            |client| {
                say(client, publish("", "nobody"));
                let header = [&[0, 60, 0, 0][..], &4u64.to_be_bytes(), &[0, 0]].concat();
                client.send_bytes(&frame(2, 1, &header));
                say(client, access_request());
            },
        ),
        case(
            "a header of another class",
            (505, 0),
            (60, 40),
            "expected content header for class 60, got one for class 50 instead",
            |client| {
                say(client, publish("", "nobody"));
                let header = [&[0, 50, 0, 0][..], &4u64.to_be_bytes(), &[0, 0]].concat();
                client.send_bytes(&frame(2, 1, &header));
            },
        ),
        case("a heartbeat on a channel", (505, 0), (0, 0), "UNEXPECTED_FRAME", |client| {
            client.send_bytes(&frame(8, 1, b""));
        }),
        case("a body on channel 0", (505, 0), (0, 0), "", |client| {
            client.send_bytes(&frame(3, 0, b"body"));
        }),
    ]);
}

#[test]
fn what_is_not_allowed_closes_the_connection() {
    check(&[case(
        "a consumer tag twice",
        (530, 0),
        (60, 20),
        "attempt to reuse consumer tag 'tag'",
        |client| {
            exclusive(client, "twice");
            assert!(client.call(1, Method::BasicConsume(consume("twice", "tag"))).is_ok());
            say(client, Method::BasicConsume(consume("twice", "tag")));
        },
    )]);
}

#[test]
fn what_is_not_implemented_closes_the_connection() {
    check(&[
        case("immediate", (540, 0), (60, 40), "immediate=true", |client| {
            let publish =
                BasicPublish { routing_key: short("nobody"), immediate: true, ..Default::default() };
            say_content(client, Method::BasicPublish(publish), Properties::default());
        }),
        case("a window in bytes", (540, 0), (60, 10), "prefetch_size!=0 (1)", |client| {
            say(client, Method::BasicQos(BasicQos { prefetch_size: 1, ..Default::default() }));
        }),
        case("recovering to the same consumer", (540, 0), (60, 110), "requeue=false", |client| {
            say(client, Method::BasicRecover(BasicRecover { requeue: false }));
        }),
        case("recovering to the same consumer, unanswered", (540, 0), (60, 100), "requeue=false", |client| {
            say(client, Method::BasicRecoverAsync(BasicRecoverAsync { requeue: false }));
        }),
        case("stopping the flow", (540, 0), (20, 20), "active=false", |client| {
            say(client, Method::ChannelFlow(ChannelFlow { active: false }));
        }),
    ]);
}

#[test]
fn a_mandatory_message_without_a_queue_is_returned_with_312() {
    let fixture = Fixture::start();
    let mut client = fixture.on_channel();
    assert!(client.call(1, Method::ConfirmSelect(ConfirmSelect { no_wait: false })).is_ok());
    let publish = BasicPublish { routing_key: short("nobody"), mandatory: true, ..Default::default() };
    let properties = Properties { message_id: Some(short("id")), ..Properties::default() };
    client.send_content(1, Method::BasicPublish(publish), &properties, b"body");
    let returned = client.receive().expect("the return");
    let Method::BasicReturn(BasicReturn { reply_code, reply_text, exchange, routing_key }) = returned.method
    else {
        panic!("the return comes first: {returned:?}")
    };
    assert_eq!((reply_code, &*reply_text, &*exchange, &*routing_key), (312, "NO_ROUTE", "", "nobody"));
    let content = returned.content.expect("with its content");
    assert_eq!((content.decoded(), &*content.body), (properties, &b"body"[..]));
    let confirmed = client.receive().expect("the confirm").method;
    assert_eq!(confirmed, Method::BasicAck(BasicAck { delivery_tag: 1, multiple: false }));
    client.close();
    fixture.survives();
}

#[test]
fn orderly_closes_are_answered() {
    let fixture = Fixture::start();
    let mut client = fixture.on_channel();
    let close = ChannelClose { reply_code: 200, ..Default::default() };
    let answer = client.call(1, Method::ChannelClose(close));
    assert!(matches!(answer, Ok(Method::ChannelCloseOk(_))), "{answer:?}");
    client.open_channel(1);
    client.close();
    fixture.survives();
}

#[test]
fn a_broker_that_stops_says_320() {
    let fixture = Fixture::ours(|_| {});
    let address = fixture.address();
    let mut client = Client::on_channel(address);
    let stopping = std::thread::spawn(move || fixture.stop());
    let closed = client.closed(0);
    assert_eq!((closed.code, closed.channel, closed.class, closed.method), (320, 0, 0, 0), "{closed}");
    assert!(closed.text.starts_with("CONNECTION_FORCED"), "{closed}");
    stopping.join().expect("the broker stops");
}

//! Codes that close a channel because of whose something is, or because it is not there: 403, 404, 405.

use crate::amqp::methods::*;
use crate::amqp::*;
use crate::fixture::Fixture;

use super::{case, check, exclusive, say_content};

#[test]
fn access_refused_closes_the_channel() {
    check(
        (403, 1),
        &[
            case("declaring a reserved queue", (50, 10), "amq.", |client| {
                client.send(1, Method::QueueDeclare(declare_queue("amq.mine")))
            }),
            case("declaring a reserved exchange", (40, 10), "amq.", |client| {
                client.send(1, Method::ExchangeDeclare(declare_exchange("amq.mine", "direct")))
            }),
            case("declaring the default exchange", (40, 10), "default exchange", |client| {
                let durable = ExchangeDeclare { durable: true, ..declare_exchange("", "direct") };
                client.send(1, Method::ExchangeDeclare(durable));
            }),
            case("deleting a predeclared exchange", (40, 20), "amq.direct", |client| {
                client.send(
                    1,
                    Method::ExchangeDelete(ExchangeDelete {
                        exchange: short("amq.direct"),
                        ..Default::default()
                    }),
                )
            }),
            case("deleting the default exchange", (40, 20), "default exchange", |client| {
                client.send(1, Method::ExchangeDelete(ExchangeDelete::default()))
            }),
            case("binding to the default exchange", (50, 20), "default exchange", |client| {
                exclusive(client, "refused-q");
                client.send(1, Method::QueueBind(bind("refused-q", "", "key")));
            }),
            case("unbinding from the default exchange", (50, 50), "default exchange", |client| {
                exclusive(client, "refused-q");
                let (queue, routing_key) = (short("refused-q"), short("refused-q"));
                client.send(1, Method::QueueUnbind(QueueUnbind { queue, routing_key, ..Default::default() }));
            }),
            case("binding exchanges to the default exchange", (40, 30), "default exchange", |client| {
                client.send(
                    1,
                    Method::ExchangeBind(ExchangeBind {
                        destination: short("amq.fanout"),
                        ..Default::default()
                    }),
                )
            }),
            case("publishing to an internal exchange", (60, 40), "internal", |client| {
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
            case("consuming beside an exclusive consumer", (60, 20), "exclusive", |client| {
                exclusive(client, "refused-q");
                let alone = BasicConsume { exclusive: true, ..consume("refused-q", "alone") };
                assert!(client.call(1, Method::BasicConsume(alone)).is_ok());
                client.send(1, Method::BasicConsume(consume("refused-q", "other")));
            }),
            case("consuming exclusively beside a consumer", (60, 20), "exclusive", |client| {
                exclusive(client, "refused-q");
                assert!(client.call(1, Method::BasicConsume(consume("refused-q", "other"))).is_ok());
                client.send(
                    1,
                    Method::BasicConsume(BasicConsume { exclusive: true, ..consume("refused-q", "alone") }),
                );
            }),
        ],
    );
}

#[test]
fn not_found_closes_the_channel() {
    check(
        (404, 1),
        &[
            case("a passive queue", (50, 10), "no queue 'missing' in vhost '/'", |client| {
                client
                    .send(1, Method::QueueDeclare(QueueDeclare { passive: true, ..declare_queue("missing") }))
            }),
            case("a passive exchange", (40, 10), "no exchange 'missing' in vhost '/'", |client| {
                let passive = ExchangeDeclare { passive: true, ..declare_exchange("missing", "direct") };
                client.send(1, Method::ExchangeDeclare(passive));
            }),
            case("binding to a missing exchange", (50, 20), "no exchange 'missing'", |client| {
                exclusive(client, "there");
                client.send(1, Method::QueueBind(bind("there", "missing", "")));
            }),
            case("binding a missing queue", (50, 20), "no queue 'missing'", |client| {
                client.send(1, Method::QueueBind(bind("missing", "amq.direct", "")))
            }),
            case("binding a missing exchange", (40, 30), "no exchange 'missing'", |client| {
                let (destination, source) = (short("missing"), short("amq.direct"));
                client.send(
                    1,
                    Method::ExchangeBind(ExchangeBind { destination, source, ..Default::default() }),
                );
            }),
            case("publishing to a missing exchange", (60, 40), "no exchange 'missing'", |client| {
                say_content(client, publish("missing", ""), Properties::default())
            }),
            case("getting from a missing queue", (60, 70), "no queue 'missing'", |client| {
                client.send(1, get("missing", true))
            }),
            case("consuming a missing queue", (60, 20), "no queue 'missing'", |client| {
                client.send(1, Method::BasicConsume(consume("missing", "")))
            }),
            case("purging a missing queue", (50, 30), "no queue 'missing'", |client| {
                client.send(1, Method::QueuePurge(QueuePurge { queue: short("missing"), no_wait: false }))
            }),
            case("no name, and no queue declared", (50, 20), "previously declared queue", |client| {
                client.send(1, Method::QueueBind(bind("", "amq.direct", "key")))
            }),
            case(
                "no name to consume, and no queue declared",
                (60, 20),
                "previously declared queue",
                |client| client.send(1, Method::BasicConsume(consume("", ""))),
            ),
        ],
    );
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

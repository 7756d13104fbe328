//! The matrix over AMQP.

use crate::amqp::methods::*;
use crate::amqp::*;
use crate::matrix::{Operation, check};
use crate::world::World;

fn method(operation: Operation) -> Method {
    let exchange_bind = || ExchangeBind {
        destination: short("x"),
        source: short("y"),
        routing_key: short("k"),
        ..Default::default()
    };
    let with = |name, value: &str| FieldTable::new().with(name, value);
    match operation {
        Operation::DeclareExchange => declare_exchange("new", "direct").into(),
        Operation::DeclareExchangeWithAlternate => ExchangeDeclare {
            arguments: with("alternate-exchange", "x"),
            ..declare_exchange("new", "direct")
        }
        .into(),
        Operation::DeclareExchangePassively => {
            ExchangeDeclare { passive: true, ..declare_exchange("x", "direct") }.into()
        }
        Operation::DeleteExchange => ExchangeDelete { exchange: short("x"), ..Default::default() }.into(),
        Operation::BindExchange => exchange_bind().into(),
        Operation::UnbindExchange => {
            let ExchangeBind { destination, source, routing_key, no_wait, arguments } = exchange_bind();
            ExchangeUnbind { destination, source, routing_key, no_wait, arguments }.into()
        }
        Operation::DeclareQueue => declare_queue("new").into(),
        Operation::DeclareQueueAgain => declare_queue("q").into(),
        Operation::DeclareQueueWithDeadLetters => {
            QueueDeclare { arguments: with("x-dead-letter-exchange", "x"), ..declare_queue("new") }.into()
        }
        Operation::DeclareQueuePassively => QueueDeclare { passive: true, ..declare_queue("q") }.into(),
        Operation::DeleteQueue => QueueDelete { queue: short("q"), ..Default::default() }.into(),
        Operation::PurgeQueue => QueuePurge { queue: short("q"), ..Default::default() }.into(),
        Operation::BindQueue => bind("r", "x", "k").into(),
        Operation::UnbindQueue => QueueUnbind {
            queue: short("q"),
            exchange: short("x"),
            routing_key: short("k"),
            arguments: FieldTable::new(),
        }
        .into(),
        Operation::Publish => publish("x", "k"),
        Operation::PublishToQueue => publish("", "q"),
        Operation::Consume => consume("q", "").into(),
        Operation::Get => get("q", true),
    }
}

/// Does it on a channel of its own.
fn act(client: &mut Client, operation: Operation) -> Result<(), (u16, String)> {
    client.open_channel(2);
    let method = method(operation);
    let id = method.id();
    let outcome = match operation {
        Operation::Publish | Operation::PublishToQueue => {
            client.send_content(2, method, &Properties::default(), b"hello");
            client.sync(2)
        }
        _ => client.call(2, method).map(drop),
    };
    match outcome {
        Ok(()) => {
            let closed = client.call(2, Method::ChannelClose(Default::default()));
            assert!(matches!(closed, Ok(Method::ChannelCloseOk(_))), "{closed:?}");
            Ok(())
        }
        Err(closed) => {
            assert_eq!((closed.channel, closed.class, closed.method), (2, id.class, id.method), "{closed}");
            Err((closed.code, closed.text))
        }
    }
}

#[test]
fn every_operation_needs_its_rights_and_no_others() {
    let world = World::start();
    let mut client = world.amqp();
    check(&world, |operation| act(&mut client, operation));
}

#[test]
fn a_queue_that_the_broker_names_is_allowed_by_that_name() {
    let world = World::start();
    let mut client = world.amqp();
    world.allow("amq\\.gen.*", "", "");
    let declared = client.call(1, declare_exclusive("").into());
    assert!(matches!(declared, Ok(Method::QueueDeclareOk(_))), "{declared:?}");
    world.allow("mine-.*", "", "");
    let refused = client.call(1, declare_exclusive("").into()).expect_err("another name");
    assert!(refused.code == 403 && refused.text.contains("queue 'amq.gen-"), "{refused}");
}

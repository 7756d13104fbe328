//! The matrix over the native protocol.

use rialto_protocol::native::{Binding, Outcome, Request};
use rialto_protocol::types::FieldTable;

use crate::matrix::{Operation, check};
use crate::support::peer::{Peer, consumer, name};
use crate::world::World;

fn declare_exchange(exchange: &str, passive: bool, arguments: FieldTable) -> Request {
    let (name, kind) = (name(exchange), name("direct"));
    let (durable, auto_delete, internal) = (false, false, false);
    Request::DeclareExchange { name, kind, passive, durable, auto_delete, internal, arguments }
}

fn declare_queue(queue: &str, passive: bool, arguments: FieldTable) -> Request {
    let (durable, exclusive, auto_delete) = (false, false, false);
    Request::DeclareQueue { name: name(queue), passive, durable, exclusive, auto_delete, arguments }
}

fn binding(source: &str, destination: &str) -> Binding {
    let (source, destination, routing_key) = (name(source), name(destination), name("k"));
    Binding { source, destination, routing_key, arguments: FieldTable::new() }
}

/// What asks for it; none is a publish.
fn request(operation: Operation, number: u32) -> Option<Request> {
    let (plain, with) = (FieldTable::new, |name, value: &str| FieldTable::new().with(name, value));
    Some(match operation {
        Operation::DeclareExchange => declare_exchange("new", false, plain()),
        Operation::DeclareExchangeWithAlternate => {
            declare_exchange("new", false, with("alternate-exchange", "x"))
        }
        Operation::DeclareExchangePassively => declare_exchange("x", true, plain()),
        Operation::DeleteExchange => Request::DeleteExchange { name: name("x"), if_unused: false },
        Operation::BindExchange => Request::BindExchange(binding("y", "x")),
        Operation::UnbindExchange => Request::UnbindExchange(binding("y", "x")),
        Operation::DeclareQueue => declare_queue("new", false, plain()),
        Operation::DeclareQueueAgain => declare_queue("q", false, plain()),
        Operation::DeclareQueueWithDeadLetters => {
            declare_queue("new", false, with("x-dead-letter-exchange", "x"))
        }
        Operation::DeclareQueuePassively => declare_queue("q", true, plain()),
        Operation::DeleteQueue => Request::DeleteQueue { name: name("q"), if_unused: false, if_empty: false },
        Operation::PurgeQueue => Request::PurgeQueue { name: name("q") },
        Operation::BindQueue => Request::BindQueue(binding("x", "r")),
        Operation::UnbindQueue => Request::UnbindQueue(binding("x", "q")),
        Operation::Consume => Request::Consume(consumer(number, "q", 0)),
        Operation::Get => Request::Get { queue: name("q"), auto_ack: true },
        Operation::Publish | Operation::PublishToQueue => return None,
    })
}

async fn act(peer: &mut Peer, operation: Operation, number: u32) -> Result<(), (u16, String)> {
    if let Some(request) = request(operation, number) {
        return peer.request(request).await.map(drop);
    }
    match operation {
        Operation::Publish => peer.publish("x", "k", &[b"hello"]).await,
        _ => peer.publish("", "q", &[b"hello"]).await,
    };
    match &peer.outcomes().await[..] {
        [range] if range.outcome == Outcome::Confirmed => Ok(()),
        [range] => match &range.outcome {
            Outcome::Rejected { code, reason } => Err((*code, format!("ACCESS_REFUSED - {reason}"))),
            other => panic!("{other:?}"),
        },
        others => panic!("one outcome for one message: {others:?}"),
    }
}

#[test]
fn every_operation_needs_its_rights_and_no_others() {
    let world = World::start();
    let mut peer = world.native();
    let mut number = 0;
    check(&world, |operation| {
        number += 1;
        world.runtime.block_on(act(&mut peer, operation, number))
    });
}

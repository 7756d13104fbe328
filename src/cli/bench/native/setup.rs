//! What a plan needs at the broker: queues, bindings, connections with their routes and consumers.

use rialto_client::Address;
use rialto_protocol::native::{Binding, Command, Consume, Request};
use rialto_protocol::types::{FieldTable, ShortStr};

use super::super::error::{BenchError, BenchResult};
use super::super::plan::{Acks, Plan};
use super::super::traffic::Ends;
use super::block::Block;
use super::connection::Connection;
use super::consumer::Consumer;
use super::publisher::Publisher;

/// Declares queues and connects publishers and consumers. No publishing has begun yet.
pub(in super::super) fn connect(address: &Address, plan: &Plan) -> BenchResult<Ends> {
    let names = Names::new();
    let mut control = Connection::open(address, "rialto bench control")?;
    declare(&mut control, plan, &names)?;
    let mut ends = Ends {
        publishers: Vec::new(),
        consumers: Vec::new(),
        clean_up: Box::new({
            let (names, plan) = (names.clone(), plan.clone());
            move || remove(&mut control, &plan, &names)
        }),
    };
    for number in 0..plan.consumers {
        ends.consumers.push(Box::new(consumer(address, plan, &names, number)?));
    }
    for number in 0..plan.publishers {
        ends.publishers.push(Box::new(publisher(address, plan, &names, number)?));
    }
    Ok(ends)
}

/// Names that no other measurement uses.
#[derive(Clone)]
struct Names(String);

impl Names {
    fn new() -> Self {
        Names(format!("rialto-bench.{}", std::process::id()))
    }

    fn exchange(&self) -> ShortStr {
        ShortStr::truncated(&self.0)
    }

    fn queue(&self, number: u32) -> ShortStr {
        ShortStr::truncated(format!("{}.{number}", self.0))
    }
}

fn declare(control: &mut Connection, plan: &Plan, names: &Names) -> BenchResult<()> {
    if plan.fanout {
        control.request(Request::DeclareExchange {
            name: names.exchange(),
            kind: ShortStr::truncated("fanout"),
            passive: false,
            durable: plan.persistent,
            auto_delete: false,
            internal: false,
            arguments: FieldTable::new(),
        })?;
    }
    for number in 0..plan.queues {
        control.request(Request::DeclareQueue {
            name: names.queue(number),
            passive: false,
            durable: plan.persistent,
            exclusive: false,
            auto_delete: false,
            arguments: FieldTable::new(),
        })?;
        if plan.fanout {
            control.request(Request::BindQueue(Binding {
                source: names.exchange(),
                destination: names.queue(number),
                routing_key: ShortStr::truncated(""),
                arguments: FieldTable::new(),
            }))?;
        }
    }
    Ok(())
}

fn remove(control: &mut Connection, plan: &Plan, names: &Names) -> BenchResult<()> {
    for number in 0..plan.queues {
        let name = names.queue(number);
        control.request(Request::DeleteQueue { name, if_unused: false, if_empty: false })?;
    }
    if plan.fanout {
        control.request(Request::DeleteExchange { name: names.exchange(), if_unused: false })?;
    }
    Ok(())
}

fn consumer(address: &Address, plan: &Plan, names: &Names, number: u32) -> BenchResult<Consumer> {
    let mut connection = Connection::open(address, &format!("rialto bench consumer {number}"))?;
    let (auto_ack, prefetch) = match plan.acks {
        Acks::Auto => (true, 0),
        Acks::Manual { prefetch, .. } => (false, prefetch),
    };
    let mut consumers = 0;
    for queue in plan.queues_of(number) {
        consumers += 1;
        connection.request(Request::Consume(Consume {
            queue: names.queue(queue),
            consumer: consumers,
            tag: ShortStr::truncated(""),
            auto_ack,
            exclusive: false,
            prefetch,
            credit: None,
            arguments: FieldTable::new(),
        }))?;
    }
    if plan.stamps {
        connection.expect_stamps();
    }
    Ok(Consumer::new(connection, plan.acks, consumers))
}

fn publisher(address: &Address, plan: &Plan, names: &Names, number: u32) -> BenchResult<Publisher> {
    let mut connection = Connection::open(address, &format!("rialto bench publisher {number}"))?;
    let block = Block::new(plan);
    if block.len(plan.batch) > connection.frame_max() as usize {
        let (max, batch) = (connection.frame_max(), plan.batch);
        return Err(BenchError::Options(format!(
            "{batch} such messages are longer than a frame ({max} bytes)"
        )));
    }
    let queues = plan.sent_to(number);
    let routes = queues.len() as u32;
    for (route, queue) in (1..).zip(queues) {
        let (exchange, routing_key) = match plan.fanout {
            true => (names.exchange(), ShortStr::truncated("")),
            false => (ShortStr::truncated(""), names.queue(queue)),
        };
        connection.send(&Command::DefineRoute { route, exchange, routing_key })?;
    }
    Ok(Publisher::new(connection, block, routes, number % routes + 1, plan.confirms))
}

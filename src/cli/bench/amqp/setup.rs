//! What a plan needs at the broker: queues, bindings, connections with their channels and consumers.

use rialto_client::Address;
use rialto_protocol::amqp::{
    BasicConsume, BasicQos, ConfirmSelect, ExchangeDeclare, ExchangeDelete, MethodId, QueueBind,
    QueueDeclare, QueueDelete,
};
use rialto_protocol::types::{FieldTable, ShortStr};

use super::super::error::BenchResult;
use super::super::plan::{Acks, Plan};
use super::super::traffic::Ends;
use super::block::Block;
use super::connection::Connection;
use super::consumer::Consumer;
use super::publisher::Publisher;

/// What a plan asks for that AMQP 0-9-1 does not have.
pub(in super::super) fn unsupported(plan: &Plan) -> Option<&'static str> {
    match plan.acks {
        Acks::Manual { prefetch, .. } if prefetch > u16::MAX.into() => {
            Some("prefetch above 65535: measure with less, or with 0 for no limit")
        }
        _ => None,
    }
}

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

/// Names that no other measurement uses, those of queues with one length.
#[derive(Clone)]
pub(super) struct Names(String);

impl Names {
    pub(super) fn new() -> Self {
        Names(format!("rialto-bench.{}", std::process::id()))
    }

    fn exchange(&self) -> ShortStr {
        ShortStr::truncated(&self.0)
    }

    fn queue(&self, number: u32) -> ShortStr {
        ShortStr::truncated(format!("{}.{number:05}", self.0))
    }

    /// Exchange and routing key by which a message comes to a queue, with a fan-out to all.
    pub(super) fn route(&self, plan: &Plan, queue: u32) -> (ShortStr, ShortStr) {
        match plan.fanout {
            true => (self.exchange(), ShortStr::default()),
            false => (ShortStr::default(), self.queue(queue)),
        }
    }
}

fn declare(control: &mut Connection, plan: &Plan, names: &Names) -> BenchResult<()> {
    if plan.fanout {
        let declare = ExchangeDeclare {
            exchange: names.exchange(),
            kind: ShortStr::truncated("fanout"),
            durable: plan.persistent,
            ..ExchangeDeclare::default()
        };
        control.request(declare, MethodId::EXCHANGE_DECLARE_OK)?;
    }
    for number in 0..plan.queues {
        let queue = names.queue(number);
        let declare =
            QueueDeclare { queue: queue.clone(), durable: plan.persistent, ..QueueDeclare::default() };
        control.request(declare, MethodId::QUEUE_DECLARE_OK)?;
        if plan.fanout {
            let bind = QueueBind { queue, exchange: names.exchange(), ..QueueBind::default() };
            control.request(bind, MethodId::QUEUE_BIND_OK)?;
        }
    }
    Ok(())
}

fn remove(control: &mut Connection, plan: &Plan, names: &Names) -> BenchResult<()> {
    for number in 0..plan.queues {
        let delete = QueueDelete { queue: names.queue(number), ..QueueDelete::default() };
        control.request(delete, MethodId::QUEUE_DELETE_OK)?;
    }
    if plan.fanout {
        let delete = ExchangeDelete { exchange: names.exchange(), ..ExchangeDelete::default() };
        control.request(delete, MethodId::EXCHANGE_DELETE_OK)?;
    }
    Ok(())
}

fn consumer(address: &Address, plan: &Plan, names: &Names, number: u32) -> BenchResult<Consumer> {
    let mut connection = Connection::open(address, &format!("rialto bench consumer {number}"))?;
    if plan.stamps {
        connection.expect_stamps();
    }
    if let Acks::Manual { prefetch, .. } = plan.acks {
        // Of each consumer that is started from now on.
        let prefetch_count = prefetch.try_into().expect("unsupported() was asked before");
        let qos = BasicQos { prefetch_size: 0, prefetch_count, global: false };
        connection.request(qos, MethodId::BASIC_QOS_OK)?;
    }
    for queue in plan.queues_of(number) {
        let consume = BasicConsume {
            queue: names.queue(queue),
            // Short, since every delivery carries it.
            consumer_tag: ShortStr::truncated(queue.to_string()),
            no_ack: plan.acks == Acks::Auto,
            arguments: FieldTable::new(),
            ..BasicConsume::default()
        };
        connection.request(consume, MethodId::BASIC_CONSUME_OK)?;
    }
    connection.begin_traffic()?;
    Ok(Consumer::new(connection, plan.acks))
}

fn publisher(address: &Address, plan: &Plan, names: &Names, number: u32) -> BenchResult<Publisher> {
    let mut connection = Connection::open(address, &format!("rialto bench publisher {number}"))?;
    if plan.confirms.is_some() {
        connection.request(ConfirmSelect { no_wait: false }, MethodId::CONFIRM_SELECT_OK)?;
    }
    let queues = plan.sent_to(number);
    let (exchange, first_key) = names.route(plan, queues.start);
    let block = Block::new(plan, &exchange, &first_key, connection.frame_max());
    let routing_keys = match plan.fanout {
        true => vec![first_key],
        false => queues.map(|queue| names.queue(queue)).collect(),
    };
    connection.begin_traffic()?;
    Ok(Publisher::new(connection, block, routing_keys, number, plan.confirms))
}

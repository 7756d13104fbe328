//! What a plan needs at the broker: queues, bindings, connections with their channels and consumers.

use bytes::BytesMut;
use rialto_client::Address;
use rialto_protocol::amqp::{
    BasicConsume, BasicQos, ConfirmSelect, ExchangeDeclare, ExchangeDelete, Method, MethodId, QueueBind,
    QueueDeclare, QueueDelete,
};
use rialto_protocol::types::{FieldTable, ShortStr};

use super::super::error::BenchResult;
use super::super::plan::{Acks, Plan};
use super::super::topic::{Dialect, Topic};
use super::super::traffic::Ends;
use super::block::Block;
use super::connection::{CHANNEL, Connection};
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

    /// Exchange and routing key by which a message comes to a queue, with a fan-out to all; with a topic exchange the key
    /// is one of many.
    pub(super) fn route(&self, plan: &Plan, queue: u32) -> (ShortStr, ShortStr) {
        match (plan.fanout, plan.topic) {
            (true, _) => (self.exchange(), ShortStr::default()),
            (false, Some(topic)) => (self.exchange(), ShortStr::truncated("x".repeat(topic.keys().len()))),
            (false, None) => (ShortStr::default(), self.queue(queue)),
        }
    }
}

fn declare(control: &mut Connection, plan: &Plan, names: &Names) -> BenchResult<()> {
    if let Some(kind) = plan.exchange_kind() {
        let declare = ExchangeDeclare {
            exchange: names.exchange(),
            kind: ShortStr::truncated(kind),
            durable: plan.persistent,
            ..ExchangeDeclare::default()
        };
        control.request(declare, MethodId::EXCHANGE_DECLARE_OK)?;
    }
    for number in 0..plan.queues {
        let queue = names.queue(number);
        let declare = QueueDeclare {
            queue: queue.clone(),
            durable: plan.persistent,
            arguments: plan.queue_arguments(),
            ..QueueDeclare::default()
        };
        control.request(declare, MethodId::QUEUE_DECLARE_OK)?;
        if plan.fanout {
            let bind = QueueBind { queue, exchange: names.exchange(), ..QueueBind::default() };
            control.request(bind, MethodId::QUEUE_BIND_OK)?;
        }
    }
    match plan.topic {
        Some(topic) => bind_all(control, plan, names, topic),
        None => Ok(()),
    }
}

/// Many without an answer, then something that has one and comes behind them.
fn bind_all(control: &mut Connection, plan: &Plan, names: &Names, topic: Topic) -> BenchResult<()> {
    control.be_patient()?;
    let all: Vec<u32> = (0..topic.bindings).collect();
    for some in all.chunks(Topic::BINDINGS_AT_A_TIME) {
        let mut out = BytesMut::new();
        for &binding in some {
            let bind = QueueBind {
                queue: names.queue(topic.queue(binding, plan)),
                exchange: names.exchange(),
                routing_key: ShortStr::truncated(topic.pattern(binding, Dialect::Amqp)),
                no_wait: true,
                ..QueueBind::default()
            };
            Method::from(bind).encode(CHANNEL, &mut out);
        }
        control.write(&out)?;
        let look = QueueDeclare { queue: names.queue(0), passive: true, ..QueueDeclare::default() };
        control.request(look, MethodId::QUEUE_DECLARE_OK)?;
    }
    Ok(())
}

fn remove(control: &mut Connection, plan: &Plan, names: &Names) -> BenchResult<()> {
    // First, since all its bindings go with it at once.
    if plan.exchange_kind().is_some() {
        let delete = ExchangeDelete { exchange: names.exchange(), ..ExchangeDelete::default() };
        control.request(delete, MethodId::EXCHANGE_DELETE_OK)?;
    }
    for number in 0..plan.queues {
        let delete = QueueDelete { queue: names.queue(number), ..QueueDelete::default() };
        control.request(delete, MethodId::QUEUE_DELETE_OK)?;
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
    let routing_keys = match plan.exchange_kind() {
        Some(_) => vec![first_key],
        None => queues.map(|queue| names.queue(queue)).collect(),
    };
    connection.begin_traffic()?;
    let publisher = Publisher::new(connection, block, routing_keys, number, plan.confirms);
    Ok(match plan.topic {
        Some(topic) => publisher.with_keys(topic.keys().begin_as(number, plan.publishers)),
        None => publisher,
    })
}

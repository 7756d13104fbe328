//! Delayed messages in number: what one costs while it waits, how late it goes on, how long a burst and a purge take.
//!
//! `cargo bench --bench delayed -- [messages] [seconds]`: so many messages of 100 bytes, due over so many seconds.
//! Lateness is measured where a connection would take the message out of its outbox to write it.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rialto::broker::{Broker, LocalConsumer, Outbox, Outgoing, PublishBatch, Turn};
use rialto::model::{
    ChannelId, ConnectionId, ConsumerTag, ExchangeName, ExchangeOptions, MessageRoute, QueueName,
    QueueOptions, RoutingKey,
};
use rialto::queue::ConsumerSpec;
use rialto::routing::Routed;
use rialto_protocol::types::{FieldTable, Properties, RawProperties};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BODY_LEN: usize = 100;
const BATCH: usize = 256;
/// Nothing is due before everything is published.
const LEAD: Duration = Duration::from_secs(10);
const ME: ConnectionId = ConnectionId(1);

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<u64>().ok());
    let messages = numbers.next().unwrap_or(1_000_000);
    let seconds = numbers.next().unwrap_or(60);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        println!("{messages} messages of {BODY_LEN} bytes");
        spread(messages, seconds).await;
        burst(messages).await;
        purge(messages);
    });
}

/// A broker with a delayed exchange that leads to one queue.
fn broker() -> (Broker, Turn) {
    let broker = Broker::in_memory().build();
    let vhost = broker.vhost("/").unwrap();
    let arguments = FieldTable::new().with("x-delayed-type", "direct");
    let options =
        ExchangeOptions::from_arguments("x-delayed-message", true, false, false, arguments).unwrap();
    vhost.declare_exchange(&exchange(), options).unwrap();
    let mut turn = Turn::new();
    turn.begin(broker.now());
    vhost.declare_queue(&QueueName::new("q").unwrap(), QueueOptions::default(), ME, &mut turn).unwrap();
    vhost.bind_queue(&exchange(), "q", RoutingKey::new("k").unwrap(), FieldTable::new(), ME).unwrap();
    (broker, turn)
}

fn exchange() -> ExchangeName {
    ExchangeName::new("later").unwrap()
}

/// Publishes messages, each due so many milliseconds from the beginning; the body says when, in microseconds.
fn publish(broker: &Broker, turn: &mut Turn, dues: impl Iterator<Item = u64>) {
    let vhost = broker.vhost("/").unwrap();
    let route = MessageRoute { exchange: exchange(), routing_key: RoutingKey::new("k").unwrap() };
    let (publisher, mut scratch) = (Arc::new(Outbox::new()), Routed::new());
    let mut batch = PublishBatch::default();
    let mut rejected = Vec::new();
    turn.begin(broker.now());
    let began = turn.now;
    let mut dues = dues.peekable();
    while let Some(due) = dues.next() {
        let delay = began.plus_millis(due).since(turn.now).as_millis() as u64;
        let headers = Some(FieldTable::new().with("x-delay", delay as i64));
        let properties = Properties { headers, ..Properties::default() }.encoded();
        let mut body = [0; BODY_LEN];
        body[..8].copy_from_slice(&(turn.now.as_micros() + delay * 1000).to_be_bytes());
        let raw = RawProperties::trusted(&properties);
        let resolved = vhost.resolve("later", "k", raw, ConnectionId(1), &mut scratch).unwrap();
        batch.push_content(&route, &resolved.targets, &properties, &body).unwrap();
        if batch.len() == BATCH || dues.peek().is_none() {
            broker.publish(&mut batch, &publisher, &mut rejected, turn);
            turn.finish(broker);
            turn.begin(broker.now());
        }
    }
    assert!(rejected.is_empty());
}

fn pending(broker: &Broker) -> u64 {
    broker.vhost("/").unwrap().passive_queue("amq.delayed.later", ME).unwrap().stats().ready
}

/// Takes all messages as a connection does, and tells how late each was.
fn consume(broker: &Broker, turn: &mut Turn, messages: u64) -> tokio::task::JoinHandle<Histogram<u64>> {
    let (broker, outbox) = (broker.clone(), Arc::new(Outbox::new()));
    let queue = broker.vhost("/").unwrap().queue("q", ME).unwrap();
    let spec = ConsumerSpec {
        id: broker.next_consumer_id(),
        tag: ConsumerTag::new("c").unwrap(),
        auto_ack: true,
        exclusive: false,
        priority: 0,
        prefetch: 0,
        credit: None,
        window: u64::MAX / 4,
        channel_window: None,
        timeout: None,
    };
    let local = LocalConsumer { channel: ChannelId(1), number: 1 };
    queue.consume(spec, local, &outbox, turn).unwrap().unwrap();
    tokio::spawn(async move {
        let mut late = Histogram::new(3).unwrap();
        let mut outgoing = Outgoing::default();
        while late.len() < messages {
            poll_fn(|cx| outbox.poll_woken(cx)).await;
            while outbox.take(&mut outgoing) {
                let now = broker.now().as_micros();
                for delivery in outgoing.deliveries.drain(..) {
                    let due = u64::from_be_bytes(delivery.message.body()[..8].try_into().unwrap());
                    assert!(now >= due, "{} microseconds early", due - now);
                    late.record(now - due).unwrap();
                }
                outgoing.runs.clear();
            }
        }
        late
    })
}

/// Runs the timers as the server does. The longest turn.
async fn run_timers(broker: &Broker) -> Duration {
    let mut turn = Turn::new();
    let mut longest = Duration::ZERO;
    while let Some(at) = broker.next_deadline() {
        tokio::time::sleep(at.since(broker.now())).await;
        loop {
            let began = Instant::now();
            let more = broker.run_some_timers(&mut turn);
            longest = longest.max(began.elapsed());
            if !more {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    longest
}

async fn spread(messages: u64, seconds: u64) {
    let (broker, mut turn) = broker();
    let before = resident();
    let began = Instant::now();
    // In no order, as applications ask for them.
    let first = LEAD.as_millis() as u64;
    let dues =
        (0..messages).map(|n| first + n.wrapping_mul(7_368_787) % messages * seconds * 1000 / messages);
    publish(&broker, &mut turn, dues);
    let took = began.elapsed();
    assert!(took < LEAD, "publishing took {took:?}: some were due already");
    let each = (resident() - before) as f64 / messages as f64;
    println!("publishing: {:.0} ns each", took.as_nanos() as f64 / messages as f64);
    println!("pending: {each:.0} bytes of RSS each");
    assert_eq!(pending(&broker), messages);
    let consumer = consume(&broker, &mut turn, messages);
    let timers = tokio::spawn({
        let broker = broker.clone();
        async move { run_timers(&broker).await }
    });
    let late = consumer.await.unwrap();
    let longest = timers.await.unwrap();
    println!("due over {seconds} s: {}; longest turn {longest:.1?}", percentiles(&late));
}

async fn burst(messages: u64) {
    let (broker, mut turn) = broker();
    publish(&broker, &mut turn, (0..messages).map(|_| LEAD.as_millis() as u64));
    let consumer = consume(&broker, &mut turn, messages);
    let timers = tokio::spawn({
        let broker = broker.clone();
        async move { run_timers(&broker).await }
    });
    let late = consumer.await.unwrap();
    let longest = timers.await.unwrap();
    println!("all due at once: {}; longest turn {longest:.1?}", percentiles(&late));
}

fn purge(messages: u64) {
    let (broker, mut turn) = broker();
    publish(&broker, &mut turn, (0..messages).map(|n| 1_000_000 + n % 1000));
    let began = Instant::now();
    let purged = broker.vhost("/").unwrap().purge_queue("amq.delayed.later", ME, &mut turn).unwrap();
    println!("purge of {purged}: {:.0?}", began.elapsed());
    assert_eq!((purged, pending(&broker)), (messages, 0));
}

fn percentiles(late: &Histogram<u64>) -> String {
    let at = |quantile| late.value_at_quantile(quantile) as f64 / 1000.0;
    let max = late.max() as f64 / 1000.0;
    format!("late by ms: p50 {:.1}, p99 {:.1}, p99.9 {:.1}, most {max:.1}", at(0.5), at(0.99), at(0.999))
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

//! One of the two brokers: carries out steps, waits until all consequences have arrived, and tells what was heard
//! in words that do not depend on the broker.
//!
//! Waiting: every step ends with a question on its channel; then each queue is asked for its counts twice (what
//! died in one queue has then arrived in the next), then each channel twice (deliveries stand behind the first
//! answer). Confirms and cancellations that are owed are awaited by name. No time passes without a question.

mod asking;
mod sending;
mod telling;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::amqp::methods::{access_request, short};
use super::amqp::*;
use super::generator::LINKS;
use super::operation::{Operation, Publication, QueueForm, Verdict};

/// Where queues are asked for that belong to no connection, and by which channel on any connection.
const CONTROL: usize = LINKS;
const PROBE: u16 = 100;
/// How long a broker may take for what it must do.
const SLOW: Duration = Duration::from_secs(10);
/// Longest part of a body that is shown; it holds the message's number.
const SHOWN: usize = 12;

/// Where a broker is.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) vhost: String,
}

/// What a step has brought, by stream: lines of one stream have an order, streams have none.
pub(crate) type Observation = BTreeMap<String, Vec<String>>;

/// A delivery that can be settled, known by its consumer and its place in the sequence of that.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unacked {
    pub(crate) key: (String, usize),
    pub(crate) tag: u64,
}

/// What is known of an open channel.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    /// Tags of consumers and their queues.
    pub(crate) consumers: BTreeMap<String, String>,
    pub(crate) unacked: Vec<Unacked>,
    /// What a transaction has settled but not committed.
    settled: Vec<Unacked>,
    /// Next publish's number and what is not confirmed; none if confirms are off.
    confirms: Option<(u64, BTreeSet<u64>)>,
    pub(crate) is_tx: bool,
    pub(crate) global_prefetch: u16,
    /// How many each consumer was sent.
    sequence: BTreeMap<String, usize>,
    no_ack: BTreeSet<String>,
}

struct Link {
    client: Client,
    channels: BTreeMap<u16, Channel>,
    has_probe: bool,
    /// Closed by the broker.
    is_closed: bool,
}

enum Heard {
    Event(usize, Event),
    Silent(usize, u16),
}

impl Heard {
    /// Whether this is the answer to the question that every channel is asked.
    fn answers(&self, link: usize, channel: u16) -> bool {
        matches!(self, Heard::Event(on, Event { channel: at, method: Method::AccessRequestOk(_), .. })
            if (*on, *at) == (link, channel))
    }
}

/// A step as this broker is to carry it out.
pub(crate) struct Order<'a> {
    pub(crate) number: usize,
    pub(crate) link: usize,
    pub(crate) channel: u16,
    pub(crate) operation: &'a Operation,
    /// The delivery tag to settle.
    pub(crate) tag: u64,
    pub(crate) multiple: bool,
}

/// A broker under comparison.
pub(crate) struct Side {
    pub(crate) endpoint: Endpoint,
    links: Vec<Link>,
    /// Queues that exist and the connection that owns them.
    queues: BTreeMap<String, Option<usize>>,
    counts: BTreeMap<String, (u32, u32)>,
    /// How each queue was declared last, also when it is gone.
    pub(crate) forms: BTreeMap<String, QueueForm>,
    made_queues: Vec<String>,
    made_tags: Vec<String>,
    heard: Vec<Heard>,
    /// Publishes confirmed in this step.
    confirmed: BTreeMap<(usize, u16), BTreeSet<(u64, &'static str)>>,
    /// States of queues after this step.
    states: BTreeMap<String, String>,
    /// Whether what this step gets or consumes is not to be acknowledged.
    is_no_ack: bool,
    /// The channel of this step.
    at: (usize, u16),
}

impl Side {
    pub(crate) fn connect(endpoint: &Endpoint) -> Side {
        let links = (0..=LINKS).map(|_| Link::connect(endpoint)).collect();
        Side {
            endpoint: endpoint.clone(),
            links,
            queues: BTreeMap::new(),
            counts: BTreeMap::new(),
            forms: BTreeMap::new(),
            made_queues: Vec::new(),
            made_tags: Vec::new(),
            heard: Vec::new(),
            confirmed: BTreeMap::new(),
            states: BTreeMap::new(),
            is_no_ack: false,
            at: (0, 0),
        }
    }

    /// What is known of a channel; none if it is closed.
    pub(crate) fn channel(&self, link: usize, channel: u16) -> Option<&Channel> {
        self.links[link].channels.get(&channel)
    }

    /// The open channels of a connection.
    pub(crate) fn open_channels(&self, link: usize) -> Vec<u16> {
        self.links[link].channels.keys().copied().collect()
    }

    /// Ready messages and consumers of a queue that exists.
    pub(crate) fn counts(&self, queue: &str) -> Option<(u32, u32)> {
        self.counts.get(queue).copied()
    }

    /// The queue of each consumer, by the stream of what it is sent.
    pub(crate) fn consumers(&self) -> BTreeMap<String, String> {
        let channels =
            self.links.iter().enumerate().flat_map(|(link, of)| {
                of.channels.iter().map(move |(number, channel)| (link, number, channel))
            });
        let streams = channels.flat_map(|(link, number, channel)| {
            let of_channel = channel.consumers.iter();
            of_channel.map(move |(tag, queue)| (format!("{link}.{number} to {tag}"), queue.clone()))
        });
        streams.collect()
    }

    /// Whether an exchange exists.
    pub(crate) fn has_exchange(&mut self, name: &str) -> bool {
        self.open_probe(CONTROL);
        let exchange = self.wire_name(name);
        let passive = ExchangeDeclare { exchange, passive: true, ..Default::default() };
        self.put(CONTROL, PROBE, Method::ExchangeDeclare(passive));
        self.links[CONTROL].client.flush();
        let exists = self.await_on(CONTROL, PROBE, |method| matches!(method, Method::ExchangeDeclareOk(_)));
        self.links[CONTROL].has_probe = exists;
        exists
    }

    /// Carries out a step and waits for its consequences.
    pub(crate) fn perform(&mut self, order: &Order<'_>) {
        self.heard.clear();
        self.confirmed.clear();
        self.states.clear();
        self.is_no_ack = match order.operation {
            Operation::Get { no_ack, .. } | Operation::Consume { no_ack, .. } => *no_ack,
            _ => false,
        };
        let (link, channel) = (order.link, order.channel);
        self.at = (link, channel);
        let was_open = self.links[link].channels.contains_key(&channel);
        if !was_open && !matches!(order.operation, Operation::UseClosed | Operation::CloseConnection) {
            self.put(link, channel, Method::ChannelOpen(ChannelOpen {}));
        }
        self.put_operation(order);
        match order.operation {
            Operation::CloseConnection => {
                self.links[link].client.flush();
                self.await_on(link, 0, |method| matches!(method, Method::ConnectionCloseOk(_)));
                self.reconnect(link);
            }
            // The close is the answer. A method behind it may be the one that RabbitMQ names in it.
            Operation::UseClosed => {
                self.links[link].client.flush();
                self.await_on(link, 0, |method| matches!(method, Method::ConnectionClose(_)));
            }
            Operation::CloseChannel => {
                self.links[link].client.flush();
                self.await_on(link, channel, |method| matches!(method, Method::ChannelCloseOk(_)));
                self.links[link].channels.remove(&channel);
            }
            operation => {
                // RabbitMQ's queues answer these themselves, maybe behind the answer to what follows.
                let is_awaited = match operation {
                    Operation::Consume { tag, no_wait, .. } => !no_wait || tag.is_empty(),
                    Operation::Cancel { no_wait, .. } => !no_wait,
                    // While it commits, RabbitMQ takes the next method that is to be answered for an error.
                    Operation::Commit => true,
                    _ => false,
                };
                if is_awaited {
                    self.links[link].client.flush();
                    let is_answer = |method: &Method| {
                        matches!(
                            method,
                            Method::BasicConsumeOk(_) | Method::BasicCancelOk(_) | Method::TxCommitOk(_)
                        )
                    };
                    if !self.await_on(link, channel, is_answer) {
                        return self.look_around(order.operation);
                    }
                }
                self.put(link, channel, access_request());
                self.links[link].client.flush();
                if self.await_on(link, channel, |method| matches!(method, Method::AccessRequestOk(_))) {
                    self.took_unanswered(link, channel, operation);
                }
            }
        }
        self.look_around(order.operation);
    }

    /// Waits for consequences once more: a step whose observations differ may only be late somewhere.
    pub(crate) fn look_again(&mut self) {
        self.probe_queues();
        self.ask_channels();
        self.await_debts();
    }

    fn look_around(&mut self, operation: &Operation) {
        let is_quiet = matches!(
            operation,
            Operation::DeclareExchange { .. }
                | Operation::DeleteExchange { .. }
                | Operation::Bind { .. }
                | Operation::Unbind { .. }
                | Operation::BindExchange { .. }
                | Operation::UnbindExchange { .. }
        );
        let was_closed = self.heard.iter().any(|heard| match heard {
            Heard::Event(_, event) => Closed::of(event).is_some(),
            Heard::Silent(..) => true,
        });
        if !is_quiet || was_closed {
            self.look_again();
        }
        for link in 0..LINKS {
            if self.links[link].is_closed {
                self.reconnect(link);
            }
        }
    }

    fn put(&mut self, link: usize, channel: u16, method: Method) {
        self.links[link].client.put(channel, &method);
    }

    fn reconnect(&mut self, link: usize) {
        self.links[link] = Link::connect(&self.endpoint);
    }

    /// The name on this broker's wire.
    fn wire_name(&self, name: &str) -> ShortStr {
        match name.strip_prefix('$').and_then(|index| index.parse::<usize>().ok()) {
            Some(index) => short(self.made_queues.get(index).map_or("no-such-queue", String::as_str)),
            None => short(name),
        }
    }

    /// Whether the broker has made up a queue's name of this number.
    pub(crate) fn has_made(&self, name: &str) -> bool {
        name.strip_prefix('$')
            .and_then(|index| index.parse().ok())
            .is_some_and(|index: usize| index < self.made_queues.len())
    }

    fn settle(&mut self, link: usize, channel: u16, tag: u64, multiple: bool) {
        let Some(channel) = self.links[link].channels.get_mut(&channel) else { return };
        let settles = |of: &Unacked| match multiple {
            true => tag == 0 || of.tag <= tag,
            false => of.tag == tag,
        };
        let (gone, kept) = channel.unacked.drain(..).partition::<Vec<_>, _>(settles);
        channel.unacked = kept;
        if channel.is_tx {
            channel.settled.extend(gone);
        }
    }

    /// Notes what an operation without an answer has changed, now that it was not refused.
    fn took_unanswered(&mut self, link: usize, number: u16, operation: &Operation) {
        match operation {
            Operation::DeclareQueue { queue, form, .. } if !queue.is_empty() && !queue.starts_with('$') => {
                let owner = form.exclusive.then_some(link);
                if !self.queues.contains_key(queue) {
                    self.queues.insert(queue.clone(), owner);
                    self.forms.insert(queue.clone(), form.clone());
                }
            }
            _ => {}
        }
        let Some(channel) = self.links[link].channels.get_mut(&number) else { return };
        match operation {
            Operation::SelectConfirms { .. } if channel.confirms.is_none() => {
                channel.confirms = Some((1, BTreeSet::new()));
            }
            Operation::SelectTx => channel.is_tx = true,
            Operation::Commit => channel.settled.clear(),
            Operation::Rollback => {
                channel.unacked.append(&mut channel.settled);
                channel.unacked.sort_by_key(|unacked| unacked.tag);
            }
            Operation::Qos { count, global: true, .. } => channel.global_prefetch = *count,
            Operation::Consume { queue, tag, .. } => {
                let tag = match tag.is_empty() {
                    true => format!("tag{}", self.made_tags.len() - 1),
                    false => tag.clone(),
                };
                channel.consumers.insert(tag, queue.clone());
            }
            Operation::Cancel { tag, .. } if !tag.is_empty() => {
                channel.consumers.remove(tag);
            }
            _ => {}
        }
    }

    /// Hears until `is_it` takes a method on this channel. False if the channel or the connection has closed.
    fn await_on(&mut self, link: usize, channel: u16, is_it: impl Fn(&Method) -> bool) -> bool {
        loop {
            if self.links[link].is_closed {
                return false;
            }
            let event = match self.links[link].client.next_within(SLOW) {
                Next::Event(event) => event,
                Next::End => {
                    self.links[link].is_closed = true;
                    self.links[link].channels.clear();
                    let gone =
                        Closed { channel: 0, code: 0, class: 0, method: 0, text: "hung up".to_owned() };
                    self.heard.push(Heard::Event(link, hung_up(gone)));
                    return false;
                }
                Next::Nothing => {
                    self.heard.push(Heard::Silent(link, channel));
                    self.links[link].is_closed = true;
                    return false;
                }
            };
            let was_it = event.channel == channel && is_it(&event.method);
            let is_close = matches!(event.method, Method::ChannelClose(_)) && event.channel == channel;
            self.hear(link, event);
            if was_it || is_close {
                return was_it;
            }
        }
    }

    fn hear(&mut self, link: usize, event: Event) {
        let number = event.channel;
        match &event.method {
            Method::ConnectionClose(_) => {
                self.links[link].is_closed = true;
                self.links[link].channels.clear();
            }
            Method::ChannelOpenOk(_) if number != PROBE => {
                self.links[link].channels.insert(number, Channel::default());
            }
            Method::ChannelClose(_) => {
                self.links[link].channels.remove(&number);
            }
            Method::QueueDeclareOk(declared)
                if declared.queue.starts_with("amq.gen")
                    && !self.made_queues.contains(&declared.queue.to_string()) =>
            {
                self.queues.insert(format!("${}", self.made_queues.len()), Some(link));
                self.made_queues.push(declared.queue.to_string());
            }
            Method::BasicConsumeOk(consuming) if consuming.consumer_tag.starts_with("amq.ctag") => {
                self.made_tags.push(consuming.consumer_tag.to_string());
            }
            _ => {}
        }
        let told_tag = |tag: &str| self.told(tag.to_owned());
        let tag = match &event.method {
            Method::BasicDeliver(deliver) => Some(told_tag(&deliver.consumer_tag)),
            Method::BasicConsumeOk(consuming) => Some(told_tag(&consuming.consumer_tag)),
            Method::BasicCancel(cancel) => Some(told_tag(&cancel.consumer_tag)),
            Method::BasicCancelOk(cancelled) => Some(told_tag(&cancelled.consumer_tag)),
            _ => None,
        };
        if let Some(channel) = self.links[link].channels.get_mut(&number) {
            match (&event.method, tag) {
                (Method::BasicDeliver(deliver), Some(tag)) if !channel.no_ack.contains(&tag) => {
                    channel.was_sent(tag, deliver.delivery_tag);
                }
                (Method::BasicGetOk(got), _) if !self.is_no_ack => {
                    channel.was_sent("get".to_owned(), got.delivery_tag);
                }
                (Method::BasicConsumeOk(_), Some(tag)) => channel.will_consume(&tag, self.is_no_ack),
                (Method::BasicCancel(_) | Method::BasicCancelOk(_), Some(tag)) => {
                    channel.consumers.remove(&tag);
                    channel.no_ack.remove(&tag);
                }
                (Method::BasicAck(BasicAck { delivery_tag, multiple }), _) => {
                    let confirmed = self.confirmed.entry((link, number)).or_default();
                    channel.was_confirmed(*delivery_tag, *multiple, "ack", confirmed);
                }
                (Method::BasicNack(BasicNack { delivery_tag, multiple, .. }), _) => {
                    let confirmed = self.confirmed.entry((link, number)).or_default();
                    channel.was_confirmed(*delivery_tag, *multiple, "nack", confirmed);
                }
                (Method::BasicReturn(_), _) if channel.has_confirmed_all() => {
                    self.confirmed.entry((link, number)).or_default().insert((0, "before the return"));
                }
                _ => {}
            }
        }
        self.heard.push(Heard::Event(link, event));
    }

    /// Ends a connection and begins it anew.
    pub(crate) fn restart(&mut self, link: usize) {
        if !self.links[link].channels.is_empty() {
            let close =
                ConnectionClose { reply_code: 200, reply_text: short("bye"), class_id: 0, method_id: 0 };
            self.put(link, 0, Method::ConnectionClose(close));
            self.links[link].client.flush();
            self.await_on(link, 0, |method| matches!(method, Method::ConnectionCloseOk(_)));
        }
        self.reconnect(link);
        self.probe_queues();
    }

    /// Deletes everything that a trace can have made, and starts anew.
    pub(crate) fn clean(&mut self, exchanges: &[&str], queues: impl Iterator<Item = String>) {
        // The connections first: their exclusive queues go with them.
        for link in 0..LINKS {
            if !self.links[link].is_closed {
                let close =
                    ConnectionClose { reply_code: 200, reply_text: short("bye"), class_id: 0, method_id: 0 };
                self.put(link, 0, Method::ConnectionClose(close));
                self.links[link].client.flush();
                self.await_on(link, 0, |method| matches!(method, Method::ConnectionCloseOk(_)));
            }
        }
        let mut control = Link::connect(&self.endpoint);
        control.client.open_channel(1);
        for exchange in exchanges {
            let delete = ExchangeDelete { exchange: short(exchange), ..Default::default() };
            let done = control.client.call(1, Method::ExchangeDelete(delete));
            assert!(done.is_ok(), "{done:?}");
        }
        let known =
            self.queues.keys().filter(|name| !name.starts_with('$')).chain(&self.made_queues).cloned();
        let known: Vec<_> = known.collect();
        for queue in queues.chain(known) {
            let delete = QueueDelete { queue: short(&queue), ..Default::default() };
            let done = control.client.call(1, Method::QueueDelete(delete));
            assert!(done.is_ok(), "{queue}: {done:?}");
        }
        control.client.close();
        *self = Side::connect(&self.endpoint);
    }
}

impl Channel {
    fn was_sent(&mut self, to: String, tag: u64) {
        let sequence = self.sequence.entry(to.clone()).or_default();
        *sequence += 1;
        self.unacked.push(Unacked { key: (to, *sequence), tag });
    }

    fn has_confirmed_all(&self) -> bool {
        self.confirms.as_ref().is_some_and(|(_, pending)| pending.is_empty())
    }

    fn will_consume(&mut self, tag: &str, no_ack: bool) {
        match no_ack {
            true => self.no_ack.insert(tag.to_owned()),
            false => self.no_ack.remove(tag),
        };
    }

    /// Cumulative confirms are told one by one: how many are put into one is a matter of time.
    fn was_confirmed(
        &mut self,
        tag: u64,
        multiple: bool,
        how: &'static str,
        told: &mut BTreeSet<(u64, &'static str)>,
    ) {
        let Some((_, pending)) = &mut self.confirms else {
            told.insert((tag, "without confirm.select"));
            return;
        };
        if !multiple && !pending.contains(&tag) {
            told.insert((tag, "twice"));
        }
        pending.retain(|&other| {
            let is_it = other == tag || multiple && (other < tag || tag == 0);
            if is_it {
                told.insert((other, how));
            }
            !is_it
        });
    }
}

impl Link {
    fn connect(endpoint: &Endpoint) -> Link {
        let options = Options { vhost: endpoint.vhost.clone(), ..Options::default() };
        let client = Client::log_in(endpoint.address, &options)
            .unwrap_or_else(|refusal| panic!("{} refuses: {refusal:?}", endpoint.name));
        Link { client, channels: BTreeMap::new(), has_probe: false, is_closed: false }
    }
}

/// A lost connection, told like a close.
fn hung_up(closed: Closed) -> Event {
    let close = ConnectionClose {
        reply_code: closed.code,
        reply_text: short(closed.text),
        class_id: 0,
        method_id: 0,
    };
    Event { channel: 0, method: Method::ConnectionClose(close), content: None }
}

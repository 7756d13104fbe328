//! Operations as methods and contents on the wire.

use super::*;

impl Side {
    pub(super) fn put_operation(&mut self, order: &Order<'_>) {
        let (link, channel) = (order.link, order.channel);
        let name = |name: &String| self.wire_name(name);
        let method = match order.operation {
            Operation::DeclareQueue { queue, form, passive, no_wait } => {
                Method::QueueDeclare(QueueDeclare {
                    queue: name(queue),
                    passive: *passive,
                    durable: form.durable,
                    exclusive: form.exclusive,
                    auto_delete: form.auto_delete,
                    // A made-up name that nobody is told is of no use.
                    no_wait: *no_wait && !queue.is_empty(),
                    arguments: form.arguments.clone(),
                })
            }
            Operation::DeclareExchange { exchange, form, passive, no_wait } => {
                Method::ExchangeDeclare(ExchangeDeclare {
                    exchange: name(exchange),
                    kind: short(form.kind),
                    passive: *passive,
                    durable: form.durable,
                    auto_delete: form.auto_delete,
                    internal: form.internal,
                    no_wait: *no_wait,
                    arguments: form.arguments.clone(),
                })
            }
            Operation::DeleteQueue { queue, if_unused, if_empty, no_wait } => {
                Method::QueueDelete(QueueDelete {
                    queue: name(queue),
                    if_unused: *if_unused,
                    if_empty: *if_empty,
                    no_wait: *no_wait,
                })
            }
            Operation::DeleteExchange { exchange, if_unused, no_wait } => {
                Method::ExchangeDelete(ExchangeDelete {
                    exchange: name(exchange),
                    if_unused: *if_unused,
                    no_wait: *no_wait,
                })
            }
            Operation::Bind { queue, exchange, routing_key, arguments, no_wait } => {
                Method::QueueBind(QueueBind {
                    queue: name(queue),
                    exchange: name(exchange),
                    routing_key: name(routing_key),
                    no_wait: *no_wait,
                    arguments: arguments.clone(),
                })
            }
            Operation::Unbind { queue, exchange, routing_key, arguments } => {
                Method::QueueUnbind(QueueUnbind {
                    queue: name(queue),
                    exchange: name(exchange),
                    routing_key: name(routing_key),
                    arguments: arguments.clone(),
                })
            }
            Operation::BindExchange { destination, source, routing_key, arguments, no_wait } => {
                Method::ExchangeBind(ExchangeBind {
                    destination: name(destination),
                    source: name(source),
                    routing_key: name(routing_key),
                    no_wait: *no_wait,
                    arguments: arguments.clone(),
                })
            }
            Operation::UnbindExchange { destination, source, routing_key, arguments, no_wait } => {
                Method::ExchangeUnbind(ExchangeUnbind {
                    destination: name(destination),
                    source: name(source),
                    routing_key: name(routing_key),
                    no_wait: *no_wait,
                    arguments: arguments.clone(),
                })
            }
            Operation::Purge { queue, no_wait } => {
                Method::QueuePurge(QueuePurge { queue: name(queue), no_wait: *no_wait })
            }
            Operation::Publish(publications) => {
                for (index, publication) in publications.iter().enumerate() {
                    self.put_publication(order, index, publication);
                }
                return;
            }
            Operation::PublishExpired { queue } => {
                let publication = Publication {
                    exchange: String::new(),
                    routing_key: queue.clone(),
                    mandatory: false,
                    immediate: false,
                    properties: Properties { expiration: Some(short("0")), ..Properties::default() },
                    body_len: SHOWN,
                };
                return self.put_publication(order, 0, &publication);
            }
            Operation::Get { queue, no_ack } => {
                Method::BasicGet(BasicGet { queue: name(queue), no_ack: *no_ack })
            }
            Operation::Consume { queue, tag, no_ack, exclusive, no_local, no_wait, arguments } => {
                if let Some(channel) = self.links[link].channels.get_mut(&channel) {
                    channel.will_consume(tag, *no_ack);
                }
                let name = |name: &String| self.wire_name(name);
                Method::BasicConsume(BasicConsume {
                    queue: name(queue),
                    consumer_tag: short(tag),
                    no_local: *no_local,
                    no_ack: *no_ack,
                    exclusive: *exclusive,
                    // A made-up tag must be told.
                    no_wait: *no_wait && !tag.is_empty(),
                    arguments: arguments.clone(),
                })
            }
            Operation::Cancel { tag, no_wait } => {
                let made = || {
                    let consumers = self.channel(link, channel)?.consumers.keys();
                    let index = consumers.filter_map(|tag| tag.strip_prefix("tag")?.parse().ok()).next();
                    index.map(|index: usize| self.made_tags[index].clone())
                };
                let tag = if tag.is_empty() { made().unwrap_or_default() } else { tag.clone() };
                Method::BasicCancel(BasicCancel { consumer_tag: short(tag), no_wait: *no_wait })
            }
            Operation::Qos { size, count, global } => {
                Method::BasicQos(BasicQos { prefetch_size: *size, prefetch_count: *count, global: *global })
            }
            Operation::Settle { verdict, .. } => {
                let (delivery_tag, multiple) = (order.tag, order.multiple);
                self.settle(link, channel, delivery_tag, multiple);
                match *verdict {
                    Verdict::Ack => Method::BasicAck(BasicAck { delivery_tag, multiple }),
                    Verdict::Nack { requeue } => {
                        Method::BasicNack(BasicNack { delivery_tag, multiple, requeue })
                    }
                    Verdict::Reject { requeue } => Method::BasicReject(BasicReject { delivery_tag, requeue }),
                }
            }
            Operation::Recover { requeue, asynchronous } => {
                if let Some(channel) = self.links[link].channels.get_mut(&channel) {
                    channel.unacked.clear();
                }
                match *asynchronous {
                    true => Method::BasicRecoverAsync(BasicRecoverAsync { requeue: *requeue }),
                    false => Method::BasicRecover(BasicRecover { requeue: *requeue }),
                }
            }
            Operation::SelectConfirms { no_wait } => {
                Method::ConfirmSelect(ConfirmSelect { no_wait: *no_wait })
            }
            Operation::SelectTx => Method::TxSelect(TxSelect {}),
            Operation::Commit => Method::TxCommit(TxCommit {}),
            Operation::Rollback => Method::TxRollback(TxRollback {}),
            Operation::Flow { active } => Method::ChannelFlow(ChannelFlow { active: *active }),
            Operation::OpenAgain => Method::ChannelOpen(ChannelOpen {}),
            Operation::CloseChannel => Method::ChannelClose(ChannelClose {
                reply_code: 200,
                reply_text: short("bye"),
                class_id: 0,
                method_id: 0,
            }),
            Operation::UseClosed => {
                return self.put(link, 77, Method::BasicQos(BasicQos::default()));
            }
            Operation::CloseConnection => {
                let close =
                    ConnectionClose { reply_code: 200, reply_text: short("bye"), class_id: 0, method_id: 0 };
                return self.put(link, 0, Method::ConnectionClose(close));
            }
        };
        self.put(link, channel, method);
    }

    fn put_publication(&mut self, order: &Order<'_>, index: usize, publication: &Publication) {
        let method = Method::BasicPublish(BasicPublish {
            exchange: self.wire_name(&publication.exchange),
            routing_key: self.wire_name(&publication.routing_key),
            mandatory: publication.mandatory,
            immediate: publication.immediate,
        });
        let mut body = match publication.body_len {
            0 => Vec::new(),
            _ => format!("m{}.{index}", order.number).into_bytes(),
        };
        body.resize(publication.body_len.max(body.len()), b' ');
        let link = &mut self.links[order.link];
        link.client.put_content(order.channel, &method, &publication.properties, &body);
        if let Some(Channel { confirms: Some((next, pending)), .. }) = link.channels.get_mut(&order.channel) {
            pending.insert(*next);
            *next += 1;
        }
    }
}

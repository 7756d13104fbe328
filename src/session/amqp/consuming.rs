//! Consuming: prefetch, consumers, `basic.get`.

use std::sync::Arc;

use rialto_protocol::ReplyCode;
use rialto_protocol::amqp::{
    BasicCancel, BasicCancelOk, BasicConsume, BasicConsumeOk, BasicGet, BasicGetEmpty, BasicGetOk, BasicQos,
    DeliverWriter, Method, put_body, put_content_header,
};
use rialto_protocol::types::ShortStr;

use super::channel::Consumer;
use super::delivering::delivered_properties;
use super::fault::Refusal;
use super::topology::count;
use super::{AmqpSession, ChannelSlot, State};
use crate::access::Operation;
use crate::broker::{LocalConsumer, QueueCell, REPLY_TO};
use crate::model::{ChannelId, ConsumerTag, QueueType};
use crate::queue::{ChannelWindow, ConsumerSpec};
use crate::session::consumer_arguments;
use crate::session::speaker::Speaker;

impl AmqpSession {
    pub(super) fn qos(&mut self, number: ChannelId, qos: &BasicQos) -> Result<(), Refusal> {
        if qos.prefetch_size != 0 {
            let text = format!("prefetch_size!=0 ({})", qos.prefetch_size);
            return Err(Refusal::new(ReplyCode::NotImplemented, text));
        }
        let turn = &mut self.turn.0;
        let State::Open(open) = &mut self.state else { return Ok(()) };
        let retunes = open.client.retunes_consumers;
        let Some(channel) = open.channel_mut(number) else { return Ok(()) };
        let prefetch = u32::from(qos.prefetch_count);
        let live = channel.consumers.values().filter(|consumer| consumer.cancelled.is_none());
        if qos.global {
            channel.info.global_prefetch.set(prefetch.into());
            match &channel.window {
                Some(window) => window.set_limit(prefetch),
                None => {
                    let window = channel.window.insert(Arc::new(ChannelWindow::new(prefetch)));
                    for consumer in channel.consumers.values().filter(|consumer| !consumer.is_getter()) {
                        consumer.queue.join_channel_window(consumer.id, window, turn);
                    }
                }
            }
            channel.window_has_changed(turn);
        } else {
            channel.prefetch = prefetch;
            channel.info.prefetch.set(prefetch.into());
            channel.info.global_prefetch.set(0);
            // As in RabbitMQ, this ends the limit of the channel as a whole.
            if let Some(window) = &channel.window {
                window.set_limit(0);
                channel.has_room(turn);
            }
            if retunes {
                for consumer in live {
                    consumer.queue.set_prefetch(consumer.id, prefetch, turn);
                }
            }
        }
        self.say(number.0, Method::BasicQosOk(Default::default()));
        Ok(())
    }

    pub(super) fn consume(&mut self, number: ChannelId, consume: BasicConsume) -> Result<(), Refusal> {
        let name = match &*consume.queue {
            REPLY_TO => consume.queue.clone(),
            _ => self.named_queue(number, consume.queue.clone())?,
        };
        self.check_consumer_limits(number, &consume.consumer_tag)?;
        let open = self.open();
        let (vhost, by) = (open.vhost.clone(), open.id);
        if *name != *REPLY_TO {
            open.pass.check(&Operation::Consume { queue: &name })?;
        }
        // What exists is found before its arguments are read; what is made here is made after.
        let found = match &*name {
            REPLY_TO => None,
            _ => Some(vhost.queue(&name, by)?),
        };
        let priority = consumer_arguments::priority(&consume.arguments, &name, &vhost)?;
        let timeout = consumer_arguments::timeout(&consume.arguments)?;
        let tag = match consume.consumer_tag.is_empty() {
            true => ShortStr::truncated(format!("amq.ctag-{}", crate::broker::random_name())),
            false => consume.consumer_tag.clone(),
        };
        let queue = match found {
            Some(queue) => queue,
            None => self.reply_queue(number, &consume)?,
        };
        let limits = self.broker.limits();
        let id = self.broker.next_consumer_id();
        let default_timeout = self.options.amqp.consumer_timeout;
        let turn = &mut self.turn.0;
        let State::Open(open) = &mut self.state else { return Ok(()) };
        let window = limits.consumer_window(open.consumers + 1);
        let Some(channel) = open.channel_mut(number) else { return Ok(()) };
        let is_limited = channel.window.as_ref().is_some_and(|window| window.is_limited());
        if is_limited && queue.options().queue_type == QueueType::Quorum {
            let text =
                format!("queue '{}' in vhost '{}' does not support global qos", queue.name(), vhost.name());
            return Err(Refusal::new(ReplyCode::NotImplemented, text));
        }
        let spec = ConsumerSpec {
            id,
            tag: ConsumerTag::from(tag.clone()),
            auto_ack: consume.no_ack,
            exclusive: consume.exclusive,
            priority,
            prefetch: channel.prefetch,
            credit: None,
            window,
            channel_window: channel.window.clone(),
            timeout: timeout.or(queue.effective_options().consumer_timeout()).or(default_timeout),
        };
        let local = LocalConsumer { channel: number, number: channel.next_number() };
        match queue.consume(spec, local, &self.outbox, turn) {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(consumer_arguments::refused(&error, &queue, &vhost).into()),
            None => return Err(vhost.no_queue(queue.name()).into()),
        }
        let consumer = Consumer {
            id,
            tag: tag.clone(),
            queue,
            auto_ack: consume.no_ack,
            sent: 0,
            window,
            writer: DeliverWriter::new(number.0, &tag),
            cancelled: None,
        };
        channel.consumers.insert(local.number, consumer);
        channel.tags.insert(tag.clone(), local.number);
        open.consumers += 1;
        self.answer(number, consume.no_wait, Method::BasicConsumeOk(BasicConsumeOk { consumer_tag: tag }));
        Ok(())
    }

    fn check_consumer_limits(&mut self, number: ChannelId, tag: &str) -> Result<(), Refusal> {
        let (channel_max, connection_max) =
            (self.options.consumers_max, self.options.connection_consumers_max);
        let open = self.open();
        let consumers = open.consumers;
        let Some(channel) = open.channel_mut(number) else { return Ok(()) };
        let text = if !tag.is_empty() && channel.tags.contains_key(tag) {
            format!("attempt to reuse consumer tag '{tag}'")
        } else if channel.tags.len() >= channel_max {
            format!("a channel has at most {channel_max} consumers (protocol.consumers_per_channel_max)")
        } else if consumers >= connection_max {
            format!(
                "a connection has at most {connection_max} consumers (protocol.consumers_per_connection_max)"
            )
        } else {
            return Ok(());
        };
        Err(Refusal::new(ReplyCode::NotAllowed, text))
    }

    /// The queue behind `amq.rabbitmq.reply-to`: one for each channel, and its consumer does not acknowledge.
    fn reply_queue(&mut self, number: ChannelId, consume: &BasicConsume) -> Result<Arc<QueueCell>, Refusal> {
        let refuse = |text: &str| Err(Refusal::new(ReplyCode::PreconditionFailed, text));
        let turn = &mut self.turn.0;
        let State::Open(open) = &mut self.state else { return refuse("connection is closing") };
        let (vhost, by) = (open.vhost.clone(), open.id);
        let Some(channel) = open.channel_mut(number) else { return refuse("channel is closing") };
        if !consume.no_ack {
            return refuse("reply consumer cannot acknowledge");
        }
        if channel.reply_queue.as_ref().is_some_and(|queue| !queue.is_closed()) {
            return refuse("reply consumer already set");
        }
        let queue = vhost.declare_reply_queue(by, turn)?;
        channel.reply_queue = Some(queue.clone());
        Ok(queue)
    }

    pub(super) fn cancel(&mut self, number: ChannelId, cancel: &BasicCancel) -> Result<(), Refusal> {
        let turn = &mut self.turn.0;
        let State::Open(open) = &mut self.state else { return Ok(()) };
        let Some(channel) = open.channel_mut(number) else { return Ok(()) };
        let ended = channel.tags.remove(&cancel.consumer_tag);
        if let Some(local) = ended
            && let Some(consumer) = channel.consumers.get_mut(&local)
        {
            let unacked = consumer.queue.cancel_consumer(consumer.id, turn);
            consumer.cancelled = Some(unacked);
            if channel.reply_queue.as_ref().is_some_and(|queue| queue.id() == consumer.queue.id()) {
                channel.reply_queue = None;
            }
            // An auto-delete queue goes with its last consumer, and with it what that held for the channel.
            channel.has_room(turn);
            open.consumers -= 1;
            // What was assigned before the cancel goes out before its answer.
            self.encode_sending();
            self.forget_spent(number, local);
        }
        let consumer_tag = cancel.consumer_tag.clone();
        self.answer(number, cancel.no_wait, Method::BasicCancelOk(BasicCancelOk { consumer_tag }));
        Ok(())
    }

    /// Forgets a cancelled consumer that has nothing left to settle.
    fn forget_spent(&mut self, number: ChannelId, local: u32) {
        if let Some(channel) = self.open().channel_mut(number)
            && channel.consumers.get(&local).is_some_and(|consumer| consumer.cancelled == Some(0))
        {
            channel.consumers.remove(&local);
        }
    }

    pub(super) fn get(&mut self, number: ChannelId, get: &BasicGet) -> Result<(), Refusal> {
        let name = self.named_queue(number, get.queue.clone())?;
        let new_id = self.broker.next_consumer_id();
        let turn = &mut self.turn.0;
        let State::Open(open) = &mut self.state else { return Ok(()) };
        let (vhost, frame_max) = (open.vhost.clone(), open.tuned.frame_max);
        open.pass.check(&Operation::Get { queue: &name })?;
        let queue = vhost.queue(&name, open.id)?;
        let options = queue.options();
        if options.queue_type == QueueType::Quorum && options.single_active_consumer {
            let text = format!(
                "cannot obtain access to locked queue '{name}' in vhost '{}'. basic.get operations are not \
                 supported by quorum queues with single active consumer",
                vhost.name()
            );
            return Err(Refusal::new(ReplyCode::ResourceLocked, text));
        }
        let Some(ChannelSlot::Open(channel)) = open.channels.get_mut(&number) else { return Ok(()) };
        let known = channel.getters.get(&queue.id()).copied();
        let getter = known.and_then(|known| channel.consumers.get(&known)).map_or(new_id, |getter| getter.id);
        // A queue that is deleted meanwhile is empty.
        let got = queue.get(getter, get.no_ack, turn).flatten();
        channel.info.messages.got(get.no_ack, got.as_ref().map(|got| got.delivery.redelivered));
        let Some(got) = got else {
            self.say(number.0, Method::BasicGetEmpty(BasicGetEmpty::default()));
            return Ok(());
        };
        channel.last_tag += 1;
        let tag = channel.last_tag;
        if !get.no_ack {
            let local = match known.filter(|known| channel.consumers.contains_key(known)) {
                Some(known) => known,
                None => channel.add_getter(getter, &queue, number),
            };
            channel.unacked.delivered(local, (tag, tag), got.delivery.tag);
        }
        let delivery = &got.delivery;
        let message = &delivery.message;
        let ok = BasicGetOk {
            delivery_tag: tag,
            redelivered: delivery.redelivered,
            exchange: message.exchange().short().clone(),
            routing_key: message.routing_key().short().clone(),
            message_count: count(got.remaining),
        };
        let out = self.out.buffer();
        Method::BasicGetOk(ok).encode(number.0, out);
        let properties = delivered_properties(delivery, &queue);
        put_content_header(number.0, message.body_len() as u64, &properties, out);
        put_body(number.0, message.body(), frame_max, out);
        Ok(())
    }
}

//! Exchanges, queues and bindings: from methods to the broker's operations and back to answers.

use std::sync::Arc;

use rialto_protocol::ReplyCode;
use rialto_protocol::amqp::{
    ExchangeBind, ExchangeDeclare, ExchangeDelete, ExchangeUnbind, Method, QueueBind, QueueDeclare,
    QueueDeclareOk, QueueDelete, QueueDeleteOk, QueuePurge, QueuePurgeOk, QueueUnbind,
};
use rialto_protocol::types::ShortStr;

use super::fault::Refusal;
use super::{AmqpSession, Open, State};
use crate::access::{Operation, Resource};
use crate::broker::{BrokerError, QueueCell, REPLY_TO};
use crate::model::{ChannelId, ExchangeFlags, ExchangeName, QueueFlags, QueueName, RoutingKey};
use crate::routing::Destination;

impl AmqpSession {
    pub(super) fn declare_exchange(
        &mut self,
        number: ChannelId,
        declare: ExchangeDeclare,
    ) -> Result<(), Refusal> {
        let name = ExchangeName::from(clean(declare.exchange));
        let Open { vhost, pass, .. } = self.open();
        if declare.passive {
            not_default(&name)?;
            vhost.check_exchange(&name)?;
        } else {
            if !name.is_empty() {
                vhost.may_declare_exchange(pass, &name, &declare.arguments)?;
            }
            let ExchangeDeclare { durable, auto_delete, internal, .. } = declare;
            let flags = ExchangeFlags { durable, auto_delete, internal };
            vhost.declare_exchange_from(&name, &declare.kind, flags, declare.arguments)?;
        }
        self.answer_kept(number, declare.no_wait, Method::ExchangeDeclareOk(Default::default()));
        Ok(())
    }

    pub(super) fn delete_exchange(
        &mut self,
        number: ChannelId,
        delete: ExchangeDelete,
    ) -> Result<(), Refusal> {
        let name = ExchangeName::from(clean(delete.exchange));
        let Open { vhost, pass, .. } = self.open();
        if !is_predeclared(&name) {
            pass.check(&Operation::DeleteExchange { exchange: &name })?;
        }
        vhost.delete_exchange(&name, delete.if_unused)?;
        self.answer_kept(number, delete.no_wait, Method::ExchangeDeleteOk(Default::default()));
        Ok(())
    }

    pub(super) fn bind_exchange(&mut self, number: ChannelId, bind: ExchangeBind) -> Result<(), Refusal> {
        let source = ExchangeName::from(clean(bind.source));
        let destination = ExchangeName::from(clean(bind.destination));
        let Open { vhost, pass, .. } = self.open();
        vhost.may_bind(pass, &source, Resource::Exchange(&destination), &bind.routing_key)?;
        let destination = Destination::Exchange(destination);
        vhost.bind(&source, &destination, bind.routing_key.into(), &bind.arguments)?;
        self.answer_kept(number, bind.no_wait, Method::ExchangeBindOk(Default::default()));
        Ok(())
    }

    pub(super) fn unbind_exchange(
        &mut self,
        number: ChannelId,
        unbind: ExchangeUnbind,
    ) -> Result<(), Refusal> {
        let source = ExchangeName::from(clean(unbind.source));
        let destination = ExchangeName::from(clean(unbind.destination));
        let key = RoutingKey::from(unbind.routing_key);
        let Open { vhost, pass, .. } = self.open();
        vhost.may_unbind(pass, &source, Resource::Exchange(&destination), &key)?;
        let destination = Destination::Exchange(destination);
        vhost.unbind(&source, &destination, &key, &unbind.arguments)?;
        self.answer_kept(number, unbind.no_wait, Method::ExchangeUnbindOk(Default::default()));
        Ok(())
    }

    pub(super) fn declare_queue(&mut self, number: ChannelId, declare: QueueDeclare) -> Result<(), Refusal> {
        let name = QueueName::from(clean(declare.queue.clone()));
        let declared = match &*name {
            // Not a queue, but always there, with the one who asks as its consumer.
            REPLY_TO => QueueDeclareOk { queue: name.into(), message_count: 0, consumer_count: 1 },
            _ => declared(&*self.declared_queue(&name, &declare)?),
        };
        if let Some(channel) = self.open().channel_mut(number) {
            channel.last_queue = declared.queue.clone();
        }
        self.answer_kept(number, declare.no_wait, Method::QueueDeclareOk(declared));
        Ok(())
    }

    fn declared_queue(
        &mut self,
        name: &QueueName,
        declare: &QueueDeclare,
    ) -> Result<Arc<QueueCell>, Refusal> {
        let turn = &mut self.turn.0;
        let State::Open(open) = &mut self.state else {
            return Err(Refusal::new(ReplyCode::ChannelError, "the connection is closing"));
        };
        if declare.passive {
            return Ok(open.vhost.passive_queue(name, open.id)?);
        }
        let QueueDeclare { durable, exclusive, auto_delete, ref arguments, .. } = *declare;
        let flags = QueueFlags { durable, exclusive, auto_delete };
        Ok(open.vhost.declare_queue_as(&open.pass, name, flags, arguments, open.id, turn)?.queue)
    }

    pub(super) fn bind_queue(&mut self, number: ChannelId, bind: QueueBind) -> Result<(), Refusal> {
        let key = self.binding_key(number, &bind.queue, bind.routing_key);
        let queue = self.named_queue(number, clean(bind.queue))?;
        let source = ExchangeName::from(clean(bind.exchange));
        let Open { vhost, pass, id, .. } = self.open();
        vhost.may_bind(pass, &source, Resource::Queue(&queue), &key)?;
        vhost.bind_queue(&source, &queue, key, bind.arguments, *id)?;
        self.answer_kept(number, bind.no_wait, Method::QueueBindOk(Default::default()));
        Ok(())
    }

    pub(super) fn unbind_queue(&mut self, number: ChannelId, unbind: QueueUnbind) -> Result<(), Refusal> {
        let key = self.binding_key(number, &unbind.queue, unbind.routing_key);
        let queue = self.named_queue(number, clean(unbind.queue))?;
        let source = ExchangeName::from(clean(unbind.exchange));
        let Open { vhost, pass, id, .. } = self.open();
        vhost.may_unbind(pass, &source, Resource::Queue(&queue), &key)?;
        match vhost.unbind_queue(&source, &queue, &key, &unbind.arguments, *id) {
            // What was never bound is unbound already.
            Ok(()) | Err(BrokerError::NoQueue { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.answer_kept(number, false, Method::QueueUnbindOk(Default::default()));
        Ok(())
    }

    pub(super) fn purge_queue(&mut self, number: ChannelId, purge: &QueuePurge) -> Result<(), Refusal> {
        let name = self.named_queue(number, clean(purge.queue.clone()))?;
        let turn = &mut self.turn.0;
        let State::Open(open) = &mut self.state else { return Ok(()) };
        open.pass.check(&Operation::PurgeQueue { queue: &name })?;
        let message_count = count(open.vhost.purge_queue(&name, open.id, turn)?);
        self.answer(number, purge.no_wait, Method::QueuePurgeOk(QueuePurgeOk { message_count }));
        Ok(())
    }

    pub(super) fn delete_queue(&mut self, number: ChannelId, delete: &QueueDelete) -> Result<(), Refusal> {
        let name = self.named_queue(number, clean(delete.queue.clone()))?;
        let turn = &mut self.turn.0;
        let State::Open(open) = &mut self.state else { return Ok(()) };
        open.pass.check(&Operation::DeleteQueue { queue: &name })?;
        let messages = open.vhost.delete_queue(&name, delete.if_unused, delete.if_empty, open.id, turn)?;
        let message_count = count(messages);
        self.answer_kept(number, delete.no_wait, Method::QueueDeleteOk(QueueDeleteOk { message_count }));
        Ok(())
    }

    /// The queue that a method names: an empty name is the channel's last declared one (AMQP 0-9-1, `queue.bind`).
    pub(super) fn named_queue(&mut self, number: ChannelId, name: ShortStr) -> Result<ShortStr, Refusal> {
        if !name.is_empty() {
            return Ok(name);
        }
        let last =
            self.open().channel_mut(number).map(|channel| channel.last_queue.clone()).unwrap_or_default();
        match last.is_empty() {
            true => Err(Refusal::new(ReplyCode::NotFound, "no previously declared queue")),
            false => Ok(last),
        }
    }

    /// With neither a queue nor a key, the key too is the name of the last declared queue.
    fn binding_key(&mut self, number: ChannelId, queue: &str, key: ShortStr) -> RoutingKey {
        if queue.is_empty()
            && key.is_empty()
            && let Some(channel) = self.open().channel_mut(number)
        {
            return RoutingKey::from(channel.last_queue.clone());
        }
        RoutingKey::from(key)
    }
}

fn declared(queue: &QueueCell) -> QueueDeclareOk {
    let stats = queue.stats();
    QueueDeclareOk {
        queue: queue.name().short().clone(),
        message_count: count(stats.ready),
        consumer_count: count(stats.consumers),
    }
}

fn not_default(exchange: &ExchangeName) -> Result<(), Refusal> {
    match exchange.is_empty() {
        true => {
            Err(Refusal::new(ReplyCode::AccessRefused, "operation not permitted on the default exchange"))
        }
        false => Ok(()),
    }
}

/// Whether an exchange is there from the beginning. Nobody deletes those, and that is said before what is allowed.
fn is_predeclared(exchange: &ExchangeName) -> bool {
    exchange.is_empty() || exchange.starts_with("amq.")
}

/// Names lose their line breaks, as in RabbitMQ: they are written into logs and lists.
fn clean(name: ShortStr) -> ShortStr {
    match name.contains(['\r', '\n']) {
        true => ShortStr::truncated(name.replace(['\r', '\n'], "")),
        false => name,
    }
}

/// A count as the wire has it.
pub(super) fn count(messages: u64) -> u32 {
    u32::try_from(messages).unwrap_or(u32::MAX)
}

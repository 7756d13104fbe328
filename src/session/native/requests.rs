//! Requests about exchanges, queues, bindings and lists: translated into the broker's operations.

use rialto_protocol::ReplyCode;
use rialto_protocol::native::{Binding, Command, ListOf, Request, Response};
use rialto_protocol::types::ShortStr;

use super::{NativeSession, State};
use crate::access::{Operation, Resource, Tags};
use crate::broker::{BrokerError, Listed};
use crate::model::{ChannelId, ExchangeFlags, ExchangeName, QueueFlags, QueueName, RoutingKey};
use crate::routing::Destination;

impl NativeSession {
    pub(super) fn handle_request(&mut self, channel: ChannelId, correlation: u32, request: Request) {
        match self.carry_out(channel, request) {
            Ok(response) => self.respond(channel, correlation, response),
            Err(error) => {
                let (code, text) = (error.reply_code(), error.to_string());
                tracing::debug!(peer = %self.link.peer(), %code, text, "request refused");
                let text = ShortStr::truncated(format!("{code} - {text}"));
                let failure = Command::Failure { correlation, code: code.number(), text };
                failure.encode(channel.0, self.out.buffer());
            }
        }
    }

    fn carry_out(&mut self, channel: ChannelId, request: Request) -> Result<Response, BrokerError> {
        match request {
            Request::Consume(consume) => return self.consume(channel, consume),
            Request::Cancel { consumer } => return Ok(self.cancel(channel, consumer)),
            Request::Get { queue, auto_ack } => return self.get(channel, &queue, auto_ack),
            Request::SetPrefetch { messages } => return Ok(self.set_prefetch(channel, messages)),
            _ => {}
        }
        let page_rows_max = self.options.page_rows_max;
        let turn = &mut self.turn.0;
        let State::Open(open) = &mut self.state else { return Ok(Response::Done) };
        let (vhost, pass, by) = (&open.vhost, &open.pass, open.id);
        match request {
            Request::DeclareExchange { name, passive: true, .. } => {
                vhost.check_exchange(&ExchangeName::from(name))?;
            }
            Request::DeclareExchange { name, kind, durable, auto_delete, internal, arguments, .. } => {
                let name = ExchangeName::from(name);
                let flags = ExchangeFlags { durable, auto_delete, internal };
                vhost.may_declare_exchange(pass, &name, &arguments)?;
                vhost.declare_exchange_from(&name, &kind, flags, arguments)?;
            }
            Request::DeleteExchange { name, if_unused } => {
                pass.check(&Operation::DeleteExchange { exchange: &name })?;
                vhost.delete_exchange(&ExchangeName::from(name), if_unused)?;
            }
            Request::BindExchange(Binding { source, destination, routing_key, arguments }) => {
                vhost.may_bind(pass, &source, Resource::Exchange(&destination), &routing_key)?;
                let destination = Destination::Exchange(ExchangeName::from(destination));
                vhost.bind(&source.into(), &destination, routing_key.into(), &arguments)?;
            }
            Request::UnbindExchange(Binding { source, destination, routing_key, arguments }) => {
                vhost.may_unbind(pass, &source, Resource::Exchange(&destination), &routing_key)?;
                let destination = Destination::Exchange(ExchangeName::from(destination));
                vhost.unbind(&source.into(), &destination, &routing_key.into(), &arguments)?;
            }
            Request::BindQueue(Binding { source, destination, routing_key, arguments }) => {
                vhost.may_bind(pass, &source, Resource::Queue(&destination), &routing_key)?;
                vhost.bind_queue(&source.into(), &destination, routing_key.into(), arguments, by)?;
            }
            Request::UnbindQueue(Binding { source, destination, routing_key, arguments }) => {
                vhost.may_unbind(pass, &source, Resource::Queue(&destination), &routing_key)?;
                let key = RoutingKey::from(routing_key);
                vhost.unbind_queue(&source.into(), &destination, &key, &arguments, by)?;
            }
            Request::DeclareQueue { name, passive: true, .. } => {
                let queue = vhost.passive_queue(&name, by)?;
                return Ok(declared(&queue));
            }
            Request::DeclareQueue { name, durable, exclusive, auto_delete, arguments, .. } => {
                let (name, flags) = (QueueName::from(name), QueueFlags { durable, exclusive, auto_delete });
                let queue = vhost.declare_queue_as(pass, &name, flags, &arguments, by, turn)?.queue;
                turn.require(self.broker.catalog_commit());
                return Ok(declared(&queue));
            }
            Request::DeleteQueue { name, if_unused, if_empty } => {
                pass.check(&Operation::DeleteQueue { queue: &name })?;
                let messages = vhost.delete_queue(&name, if_unused, if_empty, by, turn)?;
                turn.require(self.broker.catalog_commit());
                return Ok(Response::Count(messages));
            }
            Request::PurgeQueue { name } => {
                pass.check(&Operation::PurgeQueue { queue: &name })?;
                return Ok(Response::Count(vhost.purge_queue(&name, by, turn)?));
            }
            Request::QueueInfo { name } => return Ok(Response::Info(vhost.queue_info(&name, by)?)),
            Request::ExchangeInfo { name } => return Ok(Response::Info(vhost.exchange_info(&name)?)),
            Request::List { what, after, limit } => {
                let after = std::str::from_utf8(&after).map_err(|_| {
                    BrokerError::refused(ReplyCode::PreconditionFailed, "the cursor is not one of ours")
                })?;
                let page =
                    vhost.list(listed(what, &pass.user().tags), after, limit.min(page_rows_max) as usize)?;
                let next = page.next.unwrap_or_default().into();
                return Ok(Response::Page { rows: page.rows, next });
            }
            Request::Consume(_)
            | Request::Cancel { .. }
            | Request::Get { .. }
            | Request::SetPrefetch { .. } => {
                unreachable!("carried out above")
            }
        }
        turn.require(self.broker.catalog_commit());
        Ok(Response::Done)
    }
}

fn declared(queue: &crate::broker::QueueCell) -> Response {
    let stats = queue.stats();
    Response::QueueDeclared {
        name: queue.name().short().clone(),
        messages: stats.ready,
        consumers: stats.consumers as u32,
    }
}

/// Who may not look over all vhosts sees the connections of its own, as over HTTP.
fn listed(what: ListOf, tags: &Tags) -> Listed {
    match what {
        ListOf::Queues => Listed::Queues,
        ListOf::Exchanges => Listed::Exchanges,
        ListOf::Bindings => Listed::Bindings,
        ListOf::Connections if tags.administrator || tags.monitoring => Listed::Connections,
        ListOf::Connections => Listed::OwnConnections,
        ListOf::Consumers => Listed::Consumers,
    }
}

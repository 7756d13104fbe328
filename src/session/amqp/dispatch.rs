//! From a frame to what carries it out: whose it is, whether it may come now, which handler takes it.

use rialto_protocol::ReplyCode;
use rialto_protocol::amqp::{
    AccessRequestOk, ChannelFlow, ChannelFlowOk, ChannelOpenOk, ContentError, ContentHeader, Frame,
    FrameKind, Method, MethodId,
};

use super::channel::{Channel, ChannelSlot};
use super::closing::LastWords;
use super::fault::{Fault, Refusal};
use super::{AmqpSession, State};
use crate::model::ChannelId;

impl AmqpSession {
    pub(super) fn handle_frame(&mut self, frame: &Frame<'_>, wire_len: usize) {
        let number = ChannelId(frame.channel);
        let outcome = match &mut self.state {
            State::Open(_) if number.0 == 0 => self.handle_connection_frame(frame),
            State::Open(_) => self.handle_channel_frame(number, frame, wire_len),
            State::Handshake { .. } => self.handle_early_frame(frame),
            State::Leaving { last_words, .. } => {
                if is_close(frame) {
                    *last_words = LastWords::CloseOk;
                }
                Ok(())
            }
            State::Closing { silent, .. } => {
                let silent = *silent;
                match MethodId::of(frame.payload).filter(|_| frame.kind == FrameKind::Method && number.0 == 0)
                {
                    Some(MethodId::CONNECTION_CLOSE_OK) if !silent => self.finish(),
                    Some(MethodId::CONNECTION_CLOSE) if !silent => {
                        self.say_now(Method::ConnectionCloseOk(Default::default()));
                        self.finish();
                    }
                    _ => {}
                }
                Ok(())
            }
            State::Finished => Ok(()),
        };
        self.conclude(number, outcome);
    }

    /// Closes what a fault ends, and does what a frame has left to do.
    pub(super) fn conclude(&mut self, number: ChannelId, outcome: Result<(), Fault>) {
        match outcome {
            Ok(()) => {}
            Err(fault) if fault.ends_connection() || number.0 == 0 => self.close(&fault),
            Err(fault) => self.close_channel_with(number, &fault),
        }
        // A queue that has ended must be out of the routes that the next frame's messages take.
        self.turn.0.follow_up(&self.broker);
    }

    fn handle_early_frame(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        match frame.kind {
            FrameKind::Heartbeat if frame.channel == 0 => Ok(()),
            FrameKind::Method if frame.channel == 0 => self.handle_handshake(Method::decode(frame.payload)?),
            _ => Err(unexpected_frame("expected a method frame on channel 0 before connection.open")),
        }
    }

    fn handle_connection_frame(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        match frame.kind {
            FrameKind::Heartbeat => return Ok(()),
            FrameKind::Method => {}
            FrameKind::Header | FrameKind::Body => {
                return Err(unexpected_frame("expected method frame, got non method frame instead"));
            }
        }
        self.flush();
        let method = Method::decode(frame.payload)?;
        match method {
            Method::ConnectionClose(_) => {
                self.leave(LastWords::CloseOk);
                Ok(())
            }
            Method::ConnectionUpdateSecret(_) => {
                // Passwords do not expire: there is nothing to renew, and nothing wrong with it.
                self.say(0, Method::ConnectionUpdateSecretOk(Default::default()));
                Ok(())
            }
            // Answers to nothing: late, not wrong.
            Method::ConnectionCloseOk(_) => Ok(()),
            other => {
                let text = "unexpected method in connection state running";
                Err(Fault::new(ReplyCode::ChannelError, text, other.id()))
            }
        }
    }

    fn handle_channel_frame(
        &mut self,
        number: ChannelId,
        frame: &Frame<'_>,
        wire_len: usize,
    ) -> Result<(), Fault> {
        if frame.kind == FrameKind::Heartbeat {
            return Err(unexpected_frame(format!("heartbeat on channel {number}; they belong on channel 0")));
        }
        let open = self.open();
        let id = MethodId::of(frame.payload).filter(|_| frame.kind == FrameKind::Method);
        let channel = match open.channels.get_mut(&number) {
            Some(ChannelSlot::Open(channel)) => channel,
            Some(ChannelSlot::Closing) => {
                if id == Some(MethodId::CHANNEL_CLOSE_OK) {
                    open.channels.remove(&number);
                } else if id == Some(MethodId::CHANNEL_CLOSE) {
                    // Both sides close at the same time.
                    self.say(number.0, Method::ChannelCloseOk(Default::default()));
                }
                return Ok(());
            }
            None if id == Some(MethodId::CHANNEL_OPEN) => {
                Method::decode(frame.payload)?;
                return self.open_channel(number);
            }
            None => {
                let id = id.unwrap_or(MethodId::NONE);
                return Err(Fault::new(ReplyCode::ChannelError, "expected 'channel.open'", id));
            }
        };
        let publishing = MethodId::BASIC_PUBLISH;
        match frame.kind {
            FrameKind::Method => {
                if let Some(error) = channel.arriving.interrupted() {
                    return Err(Refusal::from(error).at(publishing));
                }
                match id {
                    Some(MethodId::BASIC_PUBLISH) => self.begin_publish(number, frame.payload, wire_len),
                    _ => self.handle_method(number, Method::decode(frame.payload)?),
                }
            }
            FrameKind::Header => {
                let Some(publishing) = channel.arriving.method() else {
                    return Err(Refusal::from(ContentError::ExpectedMethod).at(MethodId::NONE));
                };
                let header = ContentHeader::decode(frame.payload)
                    .map_err(|error| Fault::new(ReplyCode::SyntaxError, error.to_string(), publishing))?;
                self.handle_content_header(number, &header, wire_len)
            }
            FrameKind::Body if channel.arriving.is_idle() => {
                Err(Refusal::from(ContentError::ExpectedMethod).at(MethodId::NONE))
            }
            FrameKind::Body => self.handle_content_body(number, frame.payload, wire_len),
            FrameKind::Heartbeat => Ok(()),
        }
    }

    fn open_channel(&mut self, number: ChannelId) -> Result<(), Fault> {
        self.flush();
        let now = self.turn.0.now;
        let open = self.open();
        // Those whose close the client has not answered count too: their numbers are remembered.
        let (max, count) = (usize::from(open.tuned.channel_max), open.channels.len());
        if max != 0 && count >= max {
            let text =
                format!("number of channels opened ({count}) has reached the negotiated channel_max ({max})");
            return Err(Fault::new(ReplyCode::NotAllowed, text, MethodId::CHANNEL_OPEN));
        }
        let info = open.guard.open_channel(number, now);
        let info = info.map_err(|refused| Refusal::from(refused).at(MethodId::CHANNEL_OPEN))?;
        open.channels.insert(number, ChannelSlot::Open(Box::new(Channel::new(info))));
        self.say(number.0, Method::ChannelOpenOk(ChannelOpenOk::default()));
        Ok(())
    }

    fn handle_method(&mut self, number: ChannelId, method: Method) -> Result<(), Fault> {
        let id = method.id();
        let outcome = match method {
            // Acknowledgements are collected, as publishes are; anything else first sees them carried out.
            Method::BasicAck(ack) => self.ack(number, &ack),
            Method::BasicNack(nack) => self.nack(number, &nack),
            Method::BasicReject(reject) => self.reject(number, &reject),
            method => {
                self.flush();
                let outcome = self.carry_out(number, method);
                self.tell_figures(number);
                outcome
            }
        };
        outcome.map_err(|refusal| refusal.at(id))
    }

    fn carry_out(&mut self, number: ChannelId, method: Method) -> Result<(), Refusal> {
        // What was collected may have closed the channel.
        if self.open().channel_mut(number).is_none() {
            return Ok(());
        }
        match method {
            Method::ChannelOpen(_) => {
                Err(Refusal::new(ReplyCode::ChannelError, "second 'channel.open' seen"))
            }
            Method::ChannelClose(_) => {
                self.release_channel(number);
                self.say(number.0, Method::ChannelCloseOk(Default::default()));
                Ok(())
            }
            Method::ChannelFlow(flow) => self.flow(number, &flow),
            // Answers to what we have said, or to nothing: there is nothing to do.
            Method::ChannelCloseOk(_) | Method::ChannelFlowOk(_) | Method::BasicCancelOk(_) => Ok(()),
            Method::AccessRequest(_) => self.grant_access(number),
            Method::ExchangeDeclare(declare) => self.declare_exchange(number, declare),
            Method::ExchangeDelete(delete) => self.delete_exchange(number, delete),
            Method::ExchangeBind(bind) => self.bind_exchange(number, bind),
            Method::ExchangeUnbind(unbind) => self.unbind_exchange(number, unbind),
            Method::QueueDeclare(declare) => self.declare_queue(number, declare),
            Method::QueueBind(bind) => self.bind_queue(number, bind),
            Method::QueueUnbind(unbind) => self.unbind_queue(number, unbind),
            Method::QueuePurge(purge) => self.purge_queue(number, &purge),
            Method::QueueDelete(delete) => self.delete_queue(number, &delete),
            Method::BasicQos(qos) => self.qos(number, &qos),
            Method::BasicConsume(consume) => self.consume(number, consume),
            Method::BasicCancel(cancel) => self.cancel(number, &cancel),
            Method::BasicGet(get) => self.get(number, &get),
            Method::BasicRecover(recover) => self.recover(number, recover.requeue, true),
            Method::BasicRecoverAsync(recover) => self.recover(number, recover.requeue, false),
            Method::ConfirmSelect(select) => self.select_confirms(number, select.no_wait),
            Method::TxSelect(_) => self.select_transactions(number),
            Method::TxCommit(_) => self.commit(number),
            Method::TxRollback(_) => self.roll_back(number),
            other => {
                let name = other.id().name();
                let text = format!("method {name} is not for clients to send on a channel");
                Err(Refusal::new(ReplyCode::CommandInvalid, text))
            }
        }
    }

    fn flow(&mut self, number: ChannelId, flow: &ChannelFlow) -> Result<(), Refusal> {
        if !flow.active {
            return Err(Refusal::new(ReplyCode::NotImplemented, "active=false"));
        }
        self.say(number.0, Method::ChannelFlowOk(ChannelFlowOk { active: true }));
        Ok(())
    }

    fn grant_access(&mut self, number: ChannelId) -> Result<(), Refusal> {
        self.say(number.0, Method::AccessRequestOk(AccessRequestOk { ticket: 1 }));
        Ok(())
    }
}

fn is_close(frame: &Frame<'_>) -> bool {
    let method =
        MethodId::of(frame.payload).filter(|_| frame.kind == FrameKind::Method && frame.channel == 0);
    method == Some(MethodId::CONNECTION_CLOSE)
}

fn unexpected_frame(text: impl Into<String>) -> Fault {
    Fault::new(ReplyCode::UnexpectedFrame, text, MethodId::NONE)
}

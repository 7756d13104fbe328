//! What an AMQP server says, checked as far as a client can: whole frames, legal methods, answers to what was asked,
//! tags and confirms that only grow, nothing for channels that are closed.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::{Buf, BytesMut};
use rialto_protocol::amqp::*;
use rialto_protocol::types::{Properties, ShortStr};

/// What the names of reply queues begin with.
const REPLY_PREFIX: &str = "amq.rabbitmq.reply-to.";

/// A client's memory of what it has said and heard.
#[derive(Default)]
pub(super) struct Ear {
    /// Said, and not yet a whole frame.
    said: BytesMut,
    /// What was said made no frame: what follows means nothing.
    babbles: bool,
    pub(super) stage: Stage,
    pub(super) frame_max: u32,
    /// It was announced that the server may cancel, and block.
    pub(super) wants_notices: bool,
    lines: HashMap<u16, Line>,
    /// Server-made names that were heard: queues, and addresses for replies.
    pub(super) names: VecDeque<ShortStr>,
    /// Bodies that were published by [`super::speech`] only, so their bytes are known.
    pub(super) knows_bodies: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Handshake,
    Open,
    /// The server has said `connection.close`.
    Closing,
    /// The server has said `connection.close-ok`: nothing may follow.
    Closed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LineState {
    #[default]
    Closed,
    Open,
    /// By an error: nothing but `close-ok` may follow.
    ClosedByServer,
}

/// A channel.
#[derive(Default)]
pub(super) struct Line {
    pub(super) state: LineState,
    content: ContentAssembler,
    last_tag: u64,
    /// Publishes up to this one have been confirmed.
    confirmed: u64,
    /// Publishes that may have been numbered: not fewer than the server has counted.
    publishes: u64,
    /// Requests that may still be answered, by method.
    asked: HashMap<MethodId, u64>,
    /// Whether each `basic.get` that was said expects no ack.
    gets: VecDeque<bool>,
    /// Consumers that were told to be open.
    consumers: HashSet<ShortStr>,
    /// Consumers that may be open or not: nobody was to be told.
    silent_consumers: HashSet<ShortStr>,
    /// Delivered and not yet settled, mostly.
    pub(super) outstanding: VecDeque<u64>,
    /// `tx.select` has been answered.
    pub(super) is_transactional: bool,
}

/// A consumer with such a tag does not acknowledge.
pub(super) fn is_auto_ack_tag(tag: &str) -> bool {
    tag.starts_with('n')
}

impl Ear {
    pub(super) fn new(frame_max: u32) -> Ear {
        Ear { frame_max, knows_bodies: true, ..Ear::default() }
    }

    pub(super) fn line(&mut self, channel: u16) -> &mut Line {
        self.lines.entry(channel).or_default()
    }

    /// Remembers what the client says, so that answers can be told from noise.
    pub(super) fn says(&mut self, bytes: &[u8]) {
        if self.babbles {
            return;
        }
        self.said.extend_from_slice(bytes);
        let mut said = std::mem::take(&mut self.said);
        loop {
            let len = match split_frame(&said, 0) {
                Ok(Some((frame, len))) => {
                    if frame.kind == FrameKind::Method {
                        self.says_method(frame.channel, frame.payload);
                    }
                    len
                }
                Ok(None) => break,
                Err(_) => {
                    self.babbles = true;
                    break;
                }
            };
            said.advance(len);
        }
        self.said = said;
    }

    fn says_method(&mut self, channel: u16, payload: &[u8]) {
        let line = self.line(channel);
        let id = MethodId::of(payload);
        if id == Some(MethodId::BASIC_PUBLISH) {
            line.publishes += 1;
        }
        let Ok(method) = Method::decode(payload) else {
            // Who closes may do so with any fields when the server is closing, too.
            if let Some(close @ (MethodId::CHANNEL_CLOSE | MethodId::CONNECTION_CLOSE)) = id {
                *line.asked.entry(close).or_default() += 1;
            }
            return;
        };
        if wants_answer(&method) {
            let asked = line.asked.entry(method.id()).or_default();
            // Whatever comes now belongs to a new channel, if it is the only one on its way.
            if matches!(method, Method::ChannelOpen(_)) && *asked == 0 && line.state != LineState::Open {
                line.publishes = 0;
            }
            *asked += 1;
        }
        match method {
            Method::BasicConsume(consume) if consume.no_wait => {
                line.silent_consumers.insert(consume.consumer_tag);
            }
            Method::BasicCancel(cancel) if cancel.no_wait => {
                line.silent_consumers.insert(cancel.consumer_tag);
            }
            Method::BasicGet(get) => line.gets.push_back(get.no_ack),
            _ => {}
        }
    }

    /// Takes whole frames out of what the server has said.
    pub(super) fn hears(&mut self, output: &mut BytesMut) {
        loop {
            let frame_max = match self.stage {
                Stage::Handshake => 0,
                _ => self.frame_max,
            };
            let len = match split_frame(output, frame_max).expect("frames within the limit") {
                Some((frame, len)) => {
                    self.hears_frame(&frame);
                    len
                }
                None => return,
            };
            output.advance(len);
        }
    }

    fn hears_frame(&mut self, frame: &Frame<'_>) {
        assert_ne!(self.stage, Stage::Closed, "{:?} after close-ok", frame.kind);
        let channel = frame.channel;
        match frame.kind {
            FrameKind::Heartbeat => assert!(channel == 0 && self.stage != Stage::Closing),
            FrameKind::Method => {
                let method = Method::decode(frame.payload).expect("good methods");
                let interrupted = self.line(channel).content.interrupted();
                assert!(interrupted.is_none(), "{method:?} amid content");
                match channel {
                    0 => self.hears_on_zero(&method),
                    _ => self.hears_method(channel, &method),
                }
                if method.has_content() {
                    self.line(channel).content.begin(frame.payload);
                }
            }
            FrameKind::Header => {
                let header = ContentHeader::decode(frame.payload).expect("good content headers");
                let properties = Properties::decode(header.property_bytes).expect("good properties");
                if let Some(address) = properties.reply_to.filter(|name| name.starts_with(REPLY_PREFIX)) {
                    self.remember(address);
                }
                let empty = self.line(channel).content.header(&header).expect("a header where one is due");
                assert!(empty.is_none_or(|content| content.body.is_empty()));
            }
            FrameKind::Body => {
                let known = self.knows_bodies;
                let content =
                    self.line(channel).content.body(frame.payload).expect("a body where one is due");
                if let Some(content) = content.filter(|_| known) {
                    let fill = super::speech::fill(content.body.len());
                    assert!(content.body.iter().all(|byte| *byte == fill), "bytes of another body");
                }
            }
        }
    }

    fn hears_on_zero(&mut self, method: &Method) {
        let before = self.stage;
        match method {
            Method::ConnectionStart(_) | Method::ConnectionTune(_) => assert_eq!(before, Stage::Handshake),
            Method::ConnectionOpenOk(_) => {
                assert_eq!(before, Stage::Handshake);
                self.stage = Stage::Open;
            }
            Method::ConnectionClose(close) => {
                assert!(matches!(before, Stage::Handshake | Stage::Open), "a second close: {close:?}");
                assert_ne!(close.reply_code, 541, "{close:?}");
                self.stage = Stage::Closing;
            }
            Method::ConnectionCloseOk(_) => self.stage = Stage::Closed,
            Method::ConnectionUpdateSecretOk(_) => assert_eq!(before, Stage::Open),
            Method::ConnectionBlocked(_) | Method::ConnectionUnblocked(_) => {
                assert!(before == Stage::Open && self.wants_notices);
                return;
            }
            other => panic!("{other:?} on channel 0"),
        }
        let id = method.id();
        // A server that is closing begins anew with each read: noise may hide a close from us, but not from it.
        let is_answer = match method {
            Method::ConnectionCloseOk(_) => before != Stage::Closing,
            Method::ConnectionUpdateSecretOk(_) => true,
            _ => false,
        };
        if is_answer {
            self.line(0).answered(MethodId { method: id.method - 1, ..id });
        }
    }

    fn hears_method(&mut self, channel: u16, method: &Method) {
        assert_eq!(self.stage, Stage::Open, "{method:?} on channel {channel}");
        let wants_notices = self.wants_notices;
        let line = self.line(channel);
        match (line.state, method) {
            (LineState::Closed | LineState::ClosedByServer, Method::ChannelOpenOk(_)) => {
                line.answered(MethodId::CHANNEL_OPEN);
                // What was asked before was not answered. What has been asked since may be.
                line.state = LineState::Open;
                line.last_tag = 0;
                line.confirmed = 0;
                line.consumers.clear();
                line.outstanding.clear();
                line.is_transactional = false;
                return;
            }
            (LineState::ClosedByServer, Method::ChannelCloseOk(_)) => {
                return line.answered(MethodId::CHANNEL_CLOSE);
            }
            (LineState::Open, _) => {}
            (state, method) => panic!("{method:?} on channel {channel}, which is {state:?}"),
        }
        match method {
            Method::ChannelClose(close) => {
                assert_ne!(close.reply_code, 541, "{close:?}");
                line.state = LineState::ClosedByServer;
            }
            Method::ChannelCloseOk(_) => {
                line.answered(MethodId::CHANNEL_CLOSE);
                line.state = LineState::Closed;
            }
            Method::BasicDeliver(deliver) => {
                let tag = &deliver.consumer_tag;
                line.next_tag(deliver.delivery_tag, is_auto_ack_tag(tag));
                let known = line.consumers.contains(tag) || line.silent_consumers.contains(tag);
                assert!(known, "a delivery for consumer {tag:?}, which is not open");
            }
            Method::BasicGetOk(got) => {
                line.answered(MethodId::BASIC_GET);
                let no_ack = line.gets.pop_front().unwrap_or(true);
                line.next_tag(got.delivery_tag, no_ack);
            }
            Method::BasicGetEmpty(_) => {
                line.answered(MethodId::BASIC_GET);
                line.gets.pop_front();
            }
            Method::BasicReturn(_) => {}
            Method::BasicAck(ack) => line.confirms(ack.delivery_tag, ack.multiple),
            Method::BasicNack(nack) => line.confirms(nack.delivery_tag, nack.multiple),
            Method::BasicConsumeOk(ok) => {
                line.answered(MethodId::BASIC_CONSUME);
                let tag = &ok.consumer_tag;
                // Without notices a consumer may have ended unheard.
                let new = line.consumers.insert(tag.clone());
                assert!(new || !wants_notices || line.silent_consumers.contains(tag), "{tag:?} twice");
            }
            Method::BasicCancelOk(ok) => {
                line.answered(MethodId::BASIC_CANCEL);
                line.consumers.remove(&ok.consumer_tag);
            }
            Method::BasicCancel(cancel) => {
                assert!(wants_notices && cancel.no_wait);
                let tag = &cancel.consumer_tag;
                let known = line.consumers.remove(tag) || line.silent_consumers.contains(tag);
                assert!(known, "{tag:?} is cancelled, which is not open");
            }
            Method::ExchangeUnbindOk(_) => line.answered(MethodId::EXCHANGE_UNBIND),
            Method::QueueDeclareOk(_)
            | Method::QueueBindOk(_)
            | Method::QueueUnbindOk(_)
            | Method::QueuePurgeOk(_)
            | Method::QueueDeleteOk(_)
            | Method::ExchangeDeclareOk(_)
            | Method::ExchangeDeleteOk(_)
            | Method::ExchangeBindOk(_)
            | Method::ChannelFlowOk(_)
            | Method::AccessRequestOk(_)
            | Method::BasicQosOk(_)
            | Method::BasicRecoverOk(_)
            | Method::ConfirmSelectOk(_)
            | Method::TxSelectOk(_)
            | Method::TxCommitOk(_)
            | Method::TxRollbackOk(_) => {
                let id = method.id();
                line.answered(MethodId { method: id.method - 1, ..id });
            }
            other => panic!("{other:?} is not for servers to say on a channel"),
        }
        if let Method::TxSelectOk(_) = method {
            self.line(channel).is_transactional = true;
        }
        if let Method::QueueDeclareOk(ok) = method
            && ok.queue.starts_with("amq.")
        {
            self.remember(ok.queue.clone());
        }
    }

    fn remember(&mut self, name: ShortStr) {
        if !self.names.contains(&name) {
            self.names.push_front(name);
            self.names.truncate(4);
        }
    }
}

impl Line {
    /// Open, or on its way to be.
    pub(super) fn opens(&self) -> bool {
        self.state == LineState::Open
            || self.asked.get(&MethodId::CHANNEL_OPEN).is_some_and(|count| *count > 0)
    }

    fn answered(&mut self, request: MethodId) {
        let asked = self.asked.entry(request).or_default();
        assert!(*asked > 0, "an answer to {}, which nobody asked", request.name());
        *asked -= 1;
    }

    fn next_tag(&mut self, tag: u64, auto_ack: bool) {
        assert_eq!(tag, self.last_tag + 1, "delivery tags are given out one after the other");
        self.last_tag = tag;
        if !auto_ack {
            self.outstanding.push_back(tag);
        }
    }

    fn confirms(&mut self, tag: u64, multiple: bool) {
        let first = self.confirmed + 1;
        let in_order = if multiple { tag >= first } else { tag == first };
        assert!(in_order, "a confirm of {tag}, when {first} was next");
        assert!(tag <= self.publishes, "a confirm of {tag}, but {} were published", self.publishes);
        self.confirmed = tag;
    }
}

fn wants_answer(method: &Method) -> bool {
    !match method {
        Method::ExchangeDeclare(declare) => declare.no_wait,
        Method::ExchangeDelete(delete) => delete.no_wait,
        Method::ExchangeBind(bind) => bind.no_wait,
        Method::ExchangeUnbind(unbind) => unbind.no_wait,
        Method::QueueDeclare(declare) => declare.no_wait,
        Method::QueueBind(bind) => bind.no_wait,
        Method::QueuePurge(purge) => purge.no_wait,
        Method::QueueDelete(delete) => delete.no_wait,
        Method::BasicConsume(consume) => consume.no_wait,
        Method::BasicCancel(cancel) => cancel.no_wait,
        Method::ConfirmSelect(select) => select.no_wait,
        _ => false,
    }
}

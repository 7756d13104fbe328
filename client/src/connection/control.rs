//! Everything said on the connection except messages: requests and their answers, settlements, credit.
//!
//! A plain machine behind one short lock: callers append encoded frames, the writer takes them all at once.
//! Requests made while there is no connection wait; requests that were sent and not answered when the
//! connection broke are sent again in their order, except `Get`, which must not be repeated, and what nobody
//! waits for any more: who has given up does not expect it to happen later.
//!
//! Invariants: every request is answered once, at the latest by [`Control::close`]; answers are handed over
//! outside of the lock, because dropping an unwanted one may settle a message, which takes this lock.
//! Not here: messages being published (`ledger`), what declares leave behind (`topology::record`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::BytesMut;
use rialto_protocol::ReplyCode;
use rialto_protocol::native::{Binding, Command, Frame, NativeCodec, Request, Response};
use rialto_protocol::types::ShortStr;
use tokio::sync::oneshot;
use tokio_util::codec::Encoder;

use super::consumer_core::ConsumerCore;
use crate::delivery::Delivery;
use crate::error::{Error, Result};
use crate::topology::record::Topology;

/// Requests that may wait for a connection before those are looked for that nobody waits for any more.
const LOOKED_THROUGH_FROM: usize = 64;

/// What a request came to.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The broker's response.
    Response(Response),
    /// The message of a `Get`: dropping it, because nobody waits any more, puts it back.
    Got(Delivery),
}

/// Where an answer is awaited.
pub(crate) type Answers = oneshot::Receiver<Result<Answer>>;

/// Who asked, which decides what happens to the request when the connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// The user: waits for a restored connection, and is asked again.
    User,
    /// The connection's own task, for this one connection: sent at once, forgotten with the connection.
    Session,
}

/// What is waited for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// The answer is for who asked.
    Request(Request),
    /// The answer is for the connection.
    OpenChannel,
    /// The answer is for the consumer, which stays known whether or not anybody waits for its start.
    Consume(Arc<ConsumerCore>, Request),
    /// The answer ends the consumer, and is for who asked.
    Cancel(Arc<ConsumerCore>),
}

#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) channel: u16,
    pub(crate) asked: Asked,
    pub(crate) asker: Asker,
    /// Taken when the answer is given.
    pub(crate) answer: Option<oneshot::Sender<Result<Answer>>>,
    sent: bool,
}

impl Pending {
    /// Whether somebody still waits for its answer.
    fn is_awaited(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| !answer.is_closed())
    }

    /// Whether sending it now would surprise: it was not sent over this connection, and who asked has gone.
    fn is_given_up(&self) -> bool {
        !self.sent && !self.is_awaited()
    }
}

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is none.
    Offline,
    /// Logged in; what was declared is being restored.
    Restoring,
    /// All requests flow.
    Online,
}

/// Consumers whose settlements belong into `out` at an offset.
pub(crate) struct Cut {
    pub(crate) at: usize,
    pub(crate) consumers: Vec<Arc<ConsumerCore>>,
}

/// See the module.
pub(crate) struct Control {
    phase: Phase,
    out: BytesMut,
    /// Written behind everything else.
    farewell: BytesMut,
    codec: NativeCodec,
    pending: BTreeMap<u32, Pending>,
    next_correlation: u32,
    /// How many may be pending before the given up are dropped: so that this costs little for each request.
    looked_through_at: usize,
    /// Consumers that have settlements or credit to be written.
    dirty: Vec<Arc<ConsumerCore>>,
    /// Those that had some before a user's request was made: what was settled first is told first.
    cuts: Vec<Cut>,
    writer_waits: bool,
    closed: Option<Error>,
    /// What this client has declared, in order.
    pub(crate) topology: Topology,
}

impl Control {
    pub(crate) fn new() -> Self {
        Control {
            phase: Phase::Offline,
            out: BytesMut::new(),
            farewell: BytesMut::new(),
            codec: NativeCodec::default(),
            pending: BTreeMap::new(),
            next_correlation: 1,
            looked_through_at: LOOKED_THROUGH_FROM,
            dirty: Vec::new(),
            cuts: Vec::new(),
            writer_waits: false,
            closed: None,
            topology: Topology::default(),
        }
    }

    /// Asks the broker for something. True: the writer must be woken.
    pub(crate) fn ask(&mut self, channel: u16, asked: Asked, asker: Asker) -> Result<(Answers, bool)> {
        if let Some(error) = &self.closed {
            return Err(error.clone());
        }
        let (answer, answers) = oneshot::channel();
        let correlation = self.next_correlation;
        // 0 means "no request" on the wire. After four billion requests the oldest are long answered.
        self.next_correlation = self.next_correlation.checked_add(1).unwrap_or(1);
        let sent = match (asker, self.phase) {
            (Asker::User, Phase::Online) | (Asker::Session, Phase::Restoring | Phase::Online) => true,
            (Asker::User, _) => false,
            (Asker::Session, Phase::Offline) => return Err(lost()),
        };
        let pending = Pending { channel, asked, asker, answer: Some(answer), sent };
        if !sent && self.pending.len() >= self.looked_through_at {
            self.drop_given_up();
        }
        if sent {
            // Not before a cancel: what a leaving consumer gives back would be delivered to it again.
            if asker == Asker::User && !self.dirty.is_empty() {
                self.cuts.push(Cut { at: self.out.len(), consumers: std::mem::take(&mut self.dirty) });
            }
            encode_request(&mut self.codec, correlation, &pending, &mut self.out)?;
        }
        self.pending.insert(correlation, pending);
        Ok((answers, sent && self.wake()))
    }

    fn drop_given_up(&mut self) {
        self.pending.retain(|_, pending| !pending.is_given_up());
        self.looked_through_at = LOOKED_THROUGH_FROM.max(2 * self.pending.len());
    }

    /// Says something that has no answer; forgotten when there is no connection. True: wake the writer.
    pub(crate) fn say(&mut self, channel: u16, command: &Command) -> bool {
        if self.phase == Phase::Offline {
            return false;
        }
        command.encode(channel, &mut self.out);
        self.wake()
    }

    /// Says the last word. True: wake the writer.
    pub(crate) fn say_last(&mut self, command: &Command) -> bool {
        command.encode(0, &mut self.farewell);
        self.wake()
    }

    /// Whether requests of the user flow.
    pub(crate) fn is_online(&self) -> bool {
        self.phase == Phase::Online
    }

    /// A consumer has something to be written. True: wake the writer.
    pub(crate) fn mark_dirty(&mut self, consumer: Arc<ConsumerCore>) -> bool {
        self.dirty.push(consumer);
        self.wake()
    }

    fn wake(&mut self) -> bool {
        std::mem::take(&mut self.writer_waits)
    }

    /// Takes everything that is to be written: frames, what consumers are to be asked for, and what is
    /// written last. When there is nothing, the writer counts as waiting.
    pub(crate) fn take(
        &mut self,
        out: &mut BytesMut,
        cuts: &mut Vec<Cut>,
        dirty: &mut Vec<Arc<ConsumerCore>>,
        farewell: &mut BytesMut,
    ) {
        std::mem::swap(&mut self.out, out);
        std::mem::swap(&mut self.cuts, cuts);
        std::mem::swap(&mut self.dirty, dirty);
        std::mem::swap(&mut self.farewell, farewell);
        // There is no cut without a request behind it.
        self.writer_waits = out.is_empty() && dirty.is_empty() && farewell.is_empty();
    }

    /// The request that an answer belongs to.
    pub(crate) fn answered(&mut self, correlation: u32) -> Result<Pending> {
        match self.pending.remove(&correlation) {
            Some(pending) if pending.sent => Ok(pending),
            _ => Err(Error::Protocol { problem: format!("an answer to the unknown request {correlation}") }),
        }
    }

    /// Takes note of a user's request that the broker has carried out. What nobody was told of is not restored:
    /// who has given up a declare does not know that it is there, and cannot delete it.
    pub(crate) fn carried_out(&mut self, pending: &Pending, request: &Request, response: &Response) {
        let removes = matches!(
            request,
            Request::DeleteQueue { .. }
                | Request::DeleteExchange { .. }
                | Request::UnbindQueue(_)
                | Request::UnbindExchange(_)
        );
        if pending.asker == Asker::User && (removes || pending.is_awaited()) {
            self.topology.record(request, response);
        }
    }

    /// Deletes an exclusive queue that the client made for itself, without waiting, and does not restore it.
    /// Its declare may still be on its way or have been given up. True: wake the writer.
    pub(crate) fn discard_queue(&mut self, channel: u16, name: ShortStr) -> bool {
        let request = Request::DeleteQueue { name, if_unused: false, if_empty: false };
        self.topology.record(&request, &Response::Done);
        // Without a connection there is nothing to delete.
        self.ask(channel, Asked::Request(request), Asker::Session).is_ok_and(|(_, wake)| wake)
    }

    // The connection.

    /// A new connection: only its own requests are sent until [`Control::go_online`].
    pub(crate) fn begin(&mut self, frame_max: u32) {
        self.phase = Phase::Restoring;
        self.codec.set_frame_max(frame_max);
    }

    /// Sends what has waited. True: wake the writer.
    pub(crate) fn go_online(&mut self) -> bool {
        self.phase = Phase::Online;
        self.drop_given_up();
        for (&correlation, pending) in self.pending.iter_mut().filter(|(_, pending)| !pending.sent) {
            match encode_request(&mut self.codec, correlation, pending, &mut self.out) {
                Ok(()) => pending.sent = true,
                Err(error) => tell(&mut pending.answer, Err(error)),
            }
        }
        self.pending.retain(|_, pending| pending.sent);
        self.wake()
    }

    /// The connection is gone. Returns the requests that end with it, to be dropped outside of the lock.
    #[must_use]
    pub(crate) fn go_offline(&mut self) -> Vec<Pending> {
        self.phase = Phase::Offline;
        self.out.clear();
        self.farewell.clear();
        self.dirty.clear();
        self.cuts.clear();
        let ended: Vec<u32> = (self.pending.iter())
            .filter(|(_, pending)| {
                let get = matches!(pending.asked, Asked::Request(Request::Get { .. })) && pending.sent;
                pending.asker == Asker::Session || get
            })
            .map(|(&correlation, _)| correlation)
            .collect();
        self.pending.values_mut().for_each(|pending| pending.sent = false);
        ended.iter().filter_map(|correlation| self.pending.remove(correlation)).collect()
    }

    /// The end. Returns what waited, to be answered outside of the lock.
    #[must_use]
    pub(crate) fn close(&mut self, error: &Error) -> Vec<Pending> {
        let mut ended = self.go_offline();
        self.closed = Some(error.clone());
        ended.extend(std::mem::take(&mut self.pending).into_values());
        ended
    }
}

/// Hands an answer over; drops it when nobody waits any more.
pub(crate) fn tell(to: &mut Option<oneshot::Sender<Result<Answer>>>, answer: Result<Answer>) {
    if let Some(to) = to.take() {
        let _ = to.send(answer);
    }
}

/// What waits on a connection that broke is told.
pub(crate) fn lost() -> Error {
    Error::ConnectionLost { reason: "it broke before the answer came".into() }
}

fn encode_request(
    codec: &mut NativeCodec,
    correlation: u32,
    pending: &Pending,
    out: &mut BytesMut,
) -> Result<()> {
    let command = match &pending.asked {
        Asked::Request(request) => Command::Request { correlation, request: request.clone() },
        Asked::Consume(_, request) => Command::Request { correlation, request: request.clone() },
        Asked::Cancel(consumer) => {
            Command::Request { correlation, request: Request::Cancel { consumer: consumer.id } }
        }
        Asked::OpenChannel => Command::OpenChannel { correlation },
    };
    // Arguments can be larger than the broker takes; better one failed request than a closed connection.
    codec.encode(Frame { channel: pending.channel, command }, out).map_err(|error| Error::Refused {
        what: pending.asked.to_string(),
        code: ReplyCode::FrameError.number(),
        text: ShortStr::truncated(error.to_string()),
    })
}

/// What was asked for, as errors name it.
impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asked::Request(request) | Asked::Consume(_, request) => f.write_str(&described(request)),
            Asked::OpenChannel => f.write_str("open a channel"),
            Asked::Cancel(consumer) => write!(f, "cancel the consumer of queue {:?}", consumer.options.queue),
        }
    }
}

/// A request, as errors name it.
pub(crate) fn described(request: &Request) -> String {
    let bind = |verb: &str, kind: &str, binding: &Binding| {
        let Binding { source, destination, routing_key, .. } = binding;
        format!("{verb} {kind} {destination:?} and exchange {source:?} with key {routing_key:?}")
    };
    match request {
        Request::DeclareExchange { name, passive: true, .. } => format!("check exchange {name:?}"),
        Request::DeclareExchange { name, kind, .. } => format!("declare {kind} exchange {name:?}"),
        Request::DeleteExchange { name, .. } => format!("delete exchange {name:?}"),
        Request::BindExchange(binding) => bind("bind", "exchange", binding),
        Request::UnbindExchange(binding) => bind("unbind", "exchange", binding),
        Request::DeclareQueue { name, passive: true, .. } => format!("check queue {name:?}"),
        Request::DeclareQueue { name, .. } => format!("declare queue {name:?}"),
        Request::DeleteQueue { name, .. } => format!("delete queue {name:?}"),
        Request::BindQueue(binding) => bind("bind", "queue", binding),
        Request::UnbindQueue(binding) => bind("unbind", "queue", binding),
        Request::PurgeQueue { name } => format!("purge queue {name:?}"),
        Request::Consume(consume) => format!("consume from queue {:?}", consume.queue),
        Request::Cancel { consumer } => format!("cancel consumer {consumer}"),
        Request::Get { queue, .. } => format!("get from queue {queue:?}"),
        Request::SetPrefetch { messages } => format!("set the channel's prefetch to {messages}"),
        Request::QueueInfo { name } => format!("describe queue {name:?}"),
        Request::ExchangeInfo { name } => format!("describe exchange {name:?}"),
        Request::List { what, .. } => format!("list {what:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::native::decode_frame;

    use super::*;

    fn purge(control: &mut Control, queue: &str) -> Answers {
        let request = Request::PurgeQueue { name: ShortStr::truncated(queue) };
        control.ask(1, Asked::Request(request), Asker::User).unwrap().0
    }

    /// The queues that are purged now.
    fn purged(control: &mut Control) -> Vec<String> {
        let (mut out, mut farewell) = (BytesMut::new(), BytesMut::new());
        control.take(&mut out, &mut Vec::new(), &mut Vec::new(), &mut farewell);
        let mut all = Vec::new();
        while let Some(frame) = decode_frame(&mut out, u32::MAX).unwrap() {
            let Ok(Some(Command::Request { request: Request::PurgeQueue { name }, .. })) = frame.command()
            else {
                panic!("something else was said")
            };
            all.push(name.to_string());
        }
        all
    }

    #[test]
    fn requests_that_were_given_up_without_a_connection_are_dropped() {
        let mut control = Control::new();
        let first = purge(&mut control, "first");
        for n in 0..10_000 {
            drop(purge(&mut control, &n.to_string()));
            assert!(control.pending.len() <= LOOKED_THROUGH_FROM, "after {n}");
        }
        let last = purge(&mut control, "last");
        control.begin(u32::MAX);
        control.go_online();
        assert_eq!(purged(&mut control), ["first", "last"]);

        // The same for one that was sent over a connection that broke.
        drop(last);
        drop(control.go_offline());
        control.begin(u32::MAX);
        control.go_online();
        assert_eq!(purged(&mut control), ["first"]);
        drop(first);
    }
}

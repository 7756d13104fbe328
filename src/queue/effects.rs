//! What comes out of the queue machine: answers, deliveries, and effects for the caller to carry out.
//!
//! Invariants: the machine only appends to [`Effects`]; a message that leaves the queue for good is named
//! exactly once: in `dead`, or (if the journal knows it) in `settled`.

use rialto_protocol::types::ShortStr;
use thiserror::Error;

use crate::model::{ConsumerId, Lsn, Message, Returned, StoredRun};

use super::durations::Durations;

/// A message assigned to a consumer.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// Its identity.
    pub lsn: Lsn,
    /// The consumer's own tag, counting up from 1; 0 for a `get` with auto-ack.
    pub tag: u64,
    /// How often a delivery of it failed: `x-delivery-count`.
    pub delivery_count: u32,
    /// How often it was delivered before and came back, failed or not: `x-acquired-count`.
    pub returns: u32,
    /// Whether it was delivered before.
    pub redelivered: bool,
}

/// The answer to a `get`.
#[derive(Clone, Debug)]
pub struct Got {
    /// The message.
    pub delivery: Delivery,
    /// Ready messages left behind it.
    pub remaining: u64,
}

/// On which way a message comes to a queue, and so what it is not asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// It was published, or sent on by the broker.
    #[default]
    Published,
    /// An operator moves it here from another queue: it is no duplicate of what came before, for it is nowhere else. If
    /// there is no room it stays with who moves it, and is no dead letter.
    Moved,
    /// It was taken out of this very queue, and finds no other place: it has a right to one here, whatever the limits say,
    /// and is no duplicate either. (A queue that drops from its head does so as after any message.)
    Returned,
}

/// What became of a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The queue took it; what happens later is not the publisher's matter.
    Accepted,
    /// The queue took one with the same key lately, and does not keep this one: for the publisher that is the same.
    Duplicate,
    /// The queue refused it: the publisher gets a negative confirm.
    Rejected(RejectReason),
}

/// Why a queue refuses a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RejectReason {
    /// It would exceed the queue's maximum length, and the queue's overflow rule is to refuse.
    #[error("the queue has reached its maximum length")]
    MaxLength,
    /// It was to be kept safe, and the journal takes nothing any more. (Said by the broker, for all queues.)
    #[error("the journal has stopped, so nothing durable is taken; the broker's log says why")]
    JournalStopped,
}

/// What a consumer decides about messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settle {
    /// Done with.
    Ack,
    /// Back to their old places; the delivery has failed, which `x-delivery-limit` counts.
    Requeue,
    /// Back to their old places, but the messages are not to blame: the limit does not count it. What RabbitMQ
    /// since 4.3 makes of `basic.nack`, while `basic.reject` counts.
    Release,
    /// Not wanted: dead letters, with what the consumer says about it.
    Reject {
        /// Why, in the consumer's words.
        reason: Option<ShortStr>,
    },
}

/// Why a settlement is refused; nothing has been settled then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SettleError {
    /// A tag that this consumer was never given.
    #[error("the consumer was never given that delivery tag")]
    NeverDelivered,
    /// Not a consumer of this queue, or a cancelled one that had settled everything.
    #[error("the consumer is not known to the queue")]
    UnknownConsumer,
}

/// Why a consumer is not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConsumeError {
    /// An exclusive consumer has the queue.
    #[error("another consumer has the queue exclusively")]
    InExclusiveUse,
    /// It wants to be exclusive, but there are others.
    #[error("the queue has other consumers")]
    NotAlone,
    /// It wants to be exclusive on a queue with a single active consumer.
    #[error("the queue has a single active consumer, so none can be exclusive")]
    SingleActive,
    /// The queue has as many consumers as it may.
    #[error("the queue's limit of {max} consumers (queues.consumers_per_queue_max) is reached")]
    TooMany {
        /// The limit, [`super::QueueLimits::consumers_max`].
        max: u32,
    },
    /// The identity is in use.
    #[error("the consumer is there already")]
    AlreadyThere,
}

/// What becomes of a removed consumer's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveMode {
    /// It only stops receiving: what it holds can still be settled.
    Cancel,
    /// It is gone: what it holds goes back to the old places, as failed deliveries. Also if it closed its channel
    /// in good order: that is how many clients end after an exception, and a message that causes one must not
    /// come back for ever. RabbitMQ counts it too.
    Gone,
}

/// Why a message died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeathReason {
    /// A consumer rejected it.
    Rejected,
    /// Its time to live was over.
    Expired,
    /// The queue was full.
    MaxLength,
    /// It came back more often than the queue allows.
    DeliveryLimit,
}

impl DeathReason {
    /// Its name in `x-death`.
    pub fn name(self) -> &'static str {
        match self {
            DeathReason::Rejected => "rejected",
            DeathReason::Expired => "expired",
            DeathReason::MaxLength => "maxlen",
            DeathReason::DeliveryLimit => "delivery_limit",
        }
    }
}

/// A message that died in a queue that has a dead-letter exchange. It has left the queue: moving it and
/// settling it is one step for the journal. (If it came from an overflow file, that is in [`Effects::released`].)
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The message.
    pub message: Message,
    /// Its identity in this queue.
    pub lsn: Lsn,
    /// Why it died.
    pub reason: DeathReason,
    /// What the rejecting consumer said about it.
    pub text: Option<ShortStr>,
    /// How often a delivery of it failed.
    pub delivery_count: u32,
}

/// Why a queue wants to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteReason {
    /// Unused for longer than `x-expires`.
    Expired,
    /// Its last consumer is gone, and it is an auto-delete queue.
    AutoDelete,
}

/// What the caller has to carry out. Reused between calls: the machine only appends, the caller empties.
#[derive(Debug, Default)]
pub struct Effects {
    /// To be routed to the dead-letter exchange, in order. Only of queues that have one.
    pub dead: Vec<DeadLetter>,
    /// Consumers that the queue cancelled, to be told.
    pub cancelled: Vec<ConsumerId>,
    /// Persistent messages of a durable queue that are done with, for the journal.
    pub settled: Vec<StoredRun>,
    /// Transient messages that were put into overflow files and are done with, dead letters among them: their bytes
    /// there are not needed any more.
    pub released: Vec<StoredRun>,
    /// Persistent messages of a durable queue that came back, for the journal.
    pub returned: Vec<Returned>,
    /// Consumers that held messages for too long, in order, and how many: those messages are back, so their channels
    /// may have room again. Cancelled ones and `get`s included.
    pub late: Vec<(ConsumerId, u64)>,
    /// The queue is to be deleted: close it and take it out of the registry.
    pub deleted: Option<DeleteReason>,
    /// How long messages that were delivered for the first time have waited. To be counted.
    pub waited: Durations,
    /// How long consumers have held messages that they acknowledged. To be counted.
    pub held: Durations,
}

impl Effects {
    /// Nothing to do yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Messages are done with: tells who has stored them. The journal knows those of its queues only.
    pub(super) fn note_settled(&mut self, run: StoredRun, journalled: bool) {
        if run.location.segment.is_overflow() {
            StoredRun::push(&mut self.released, run);
        } else if journalled {
            StoredRun::push(&mut self.settled, run);
        }
    }

    /// Whether there is nothing to do; there may be something to count.
    pub fn is_empty(&self) -> bool {
        self.dead.is_empty()
            && self.cancelled.is_empty()
            && self.settled.is_empty()
            && self.released.is_empty()
            && self.returned.is_empty()
            && self.late.is_empty()
            && self.deleted.is_none()
    }

    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.dead.clear();
        self.cancelled.clear();
        self.settled.clear();
        self.released.clear();
        self.returned.clear();
        self.late.clear();
        self.deleted = None;
        self.waited.clear();
        self.held.clear();
    }
}

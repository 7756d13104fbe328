//! What a queue is for. Clients declare ordinary ones; the others the broker keeps for its own ends, hosted like any
//! queue, so that time, memory and lists know them without being told.

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// Declared by a client, for messages.
    #[default]
    Ordinary,
    /// Replies to one channel's requests (`amq.rabbitmq.reply-to`). Reached by its name through the default
    /// exchange and seen by nobody but who knows the name.
    Replies,
    /// Messages that wait in a delayed exchange (`amq.delayed.…`). Listed, and may be purged: nothing else.
    Delays,
}

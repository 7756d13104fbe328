//! Numbers that must not be mixed up.

use std::fmt;

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

id! {
    /// A queue, for as long as the broker runs: a queue deleted and declared again gets a new one.
    QueueId(u64);
    /// A connection, for as long as the broker runs.
    ConnectionId(u64);
    /// A consumer (or a channel's `get`s from one queue), for as long as the broker runs.
    ConsumerId(u64);
    /// A channel of one connection. 0 is the connection itself.
    ChannelId(u16);
    /// A message's priority: higher is delivered earlier.
    Priority(u8);
    /// Log sequence number: a message's identity inside the broker and its place in every queue.
    Lsn(u64);
}

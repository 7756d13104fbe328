//! Names: short strings that cannot be swapped for one another.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use rialto_protocol::types::{ShortStr, TooLong};

macro_rules! name {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// At most 255 bytes of UTF-8. Cloning shares the text.
        #[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(ShortStr);

        impl $name {
            /// Takes a text of at most 255 bytes.
            pub fn new(text: impl AsRef<str>) -> Result<Self, TooLong> {
                ShortStr::new(text).map(Self)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text as the wire's type.
            pub fn short(&self) -> &ShortStr {
                &self.0
            }
        }

        impl From<ShortStr> for $name {
            fn from(text: ShortStr) -> Self {
                Self(text)
            }
        }

        impl From<$name> for ShortStr {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )*};
}

name! {
    /// The name of an exchange; empty: the default exchange.
    ExchangeName;
    /// The name of a queue.
    QueueName;
    /// A message's routing key, or a binding's key.
    RoutingKey;
    /// The name of a consumer, unique on its channel.
    ConsumerTag;
    /// The name of a virtual host: a world of exchanges and queues of its own.
    VhostName;
}

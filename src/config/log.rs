//! The words of `[log]`.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::units;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
        pub enum $name { $($(#[$word_doc])* $variant,)* }

        impl $name {
            /// The word in the file and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text.trim().to_ascii_lowercase().as_str() {
                    $($word => Ok($name::$variant),)*
                    _ => Err(format!("{text:?} is not {}; write one of {}", $what, [$($word),*].join(", "))),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                units::text(from, $what)
            }
        }
    };
}

words! {
    /// The least serious events that are written.
    LogLevel, "a log level" {
        /// Nothing.
        Off = "off",
        /// What the broker could not do.
        Error = "error",
        /// What an operator should look at.
        Warn = "warn",
        /// The life of the broker: listening, logins, closing.
        #[default]
        Info = "info",
        /// Each declare, consumer and refused command.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

words! {
    /// The shape of a log line.
    LogFormat, "a log format" {
        /// For people.
        #[default]
        Text = "text",
        /// One JSON object a line, for collectors.
        Json = "json",
    }
}

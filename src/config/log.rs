//! The words of `[log]`.

use super::words::words;

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

//! What a user may do in a vhost, as patterns of names.

use std::sync::Arc;

use crate::model::{ExchangeName, Pattern, PatternError, VhostName};

/// The three things that may be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// To declare and delete.
    Configure,
    /// To put something in: publish, and bind something to a queue or an exchange.
    Write,
    /// To take something out: consume, get, purge, and bind an exchange to something.
    Read,
}

impl Right {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Right::Configure => "configure",
            Right::Write => "write",
            Right::Read => "read",
        }
    }
}

/// The names of queues and exchanges that a user may configure, write and read in a vhost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Whose.
    pub user: String,
    /// Where.
    pub vhost: VhostName,
    /// What may be declared and deleted.
    pub configure: Pattern,
    /// What may be published to.
    pub write: Pattern,
    /// What may be consumed from.
    pub read: Pattern,
}

impl Permission {
    /// A permission from its patterns.
    ///
    /// # Errors
    /// One of them is no pattern.
    pub fn new(
        user: &str,
        vhost: VhostName,
        configure: &str,
        write: &str,
        read: &str,
    ) -> Result<Self, PatternError> {
        let [configure, write, read] = [configure, write, read].map(Pattern::of_permission);
        let (configure, write, read) = (configure?, write?, read?);
        Ok(Permission { user: user.to_owned(), vhost, configure, write, read })
    }

    /// Everything in a vhost.
    pub fn full(user: &str, vhost: VhostName) -> Self {
        Self::new(user, vhost, ".*", ".*", ".*").expect("`.*` is a pattern")
    }

    /// The pattern for one of the three.
    pub fn pattern(&self, right: Right) -> &Pattern {
        match right {
            Right::Configure => &self.configure,
            Right::Write => &self.write,
            Right::Read => &self.read,
        }
    }
}

/// The routing keys that a user may publish to a topic exchange with, and bind it with. An exchange without one is not
/// restricted.
///
/// Patterns may hold `{username}`, `{vhost}` and `{client_id}`: they stand for the login's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPermission {
    /// Whose.
    pub user: String,
    /// Where.
    pub vhost: VhostName,
    /// For which exchange.
    pub exchange: ExchangeName,
    /// Keys to publish with, as it was written.
    pub write: String,
    /// Keys to bind with, as it was written.
    pub read: String,
    /// The same with names in place, which patterns hold for every login of the user.
    patterns: Arc<(Pattern, Pattern)>,
}

impl TopicPermission {
    /// A permission from its patterns.
    ///
    /// # Errors
    /// One of them is no pattern.
    pub fn new(
        user: &str,
        vhost: VhostName,
        exchange: ExchangeName,
        write: &str,
        read: &str,
    ) -> Result<Self, PatternError> {
        let expand = |text: &str| Pattern::of_permission(&expand(text, user, &vhost));
        let patterns = Arc::new((expand(write)?, expand(read)?));
        let (write, read) = (write.to_owned(), read.to_owned());
        Ok(TopicPermission { user: user.to_owned(), vhost, exchange, write, read, patterns })
    }

    /// Whether a routing key is allowed.
    pub fn allows(&self, right: Right, routing_key: &str) -> bool {
        match right {
            Right::Configure => true,
            Right::Write => self.patterns.0.matches(routing_key),
            Right::Read => self.patterns.1.matches(routing_key),
        }
    }
}

/// Puts names where they are meant. They are taken literally: whoever may choose a user's name must not thereby widen
/// what is allowed. A client id only MQTT has; nothing that is published here can match it.
fn expand(pattern: &str, user: &str, vhost: &str) -> String {
    let names = [("{username}", user), ("{vhost}", vhost), ("{client_id}", "{client_id}")];
    let mut out = pattern.to_owned();
    for (variable, value) in names {
        if out.contains(variable) {
            out = out.replace(variable, &regex::escape(value));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_topic_patterns_are_taken_literally() {
        let topic = |user: &str, write: &str| {
            let vhost = VhostName::new("v").unwrap();
            TopicPermission::new(user, vhost, ExchangeName::new("x").unwrap(), write, "^$").unwrap()
        };
        let own = topic("a.b", "^{vhost}\\.{username}\\..*$");
        assert!(own.allows(Right::Write, "v.a.b.c") && !own.allows(Right::Write, "v.axb.c"));
        assert!(!own.allows(Right::Read, "v.a.b.c"));
        assert!(!topic(".*", "^{username}$").allows(Right::Write, "anything"));
        let of_client = topic("u", "^{client_id}$");
        assert!(!of_client.allows(Right::Write, "u"));
    }
}

//! Policies: what an operator lays down for every queue or exchange whose name matches a pattern.
//!
//! As in RabbitMQ: of the policies that match a name, the one with the highest priority alone holds (of equal ones
//! the first by name). Its keys are arguments without the `x-`. Operators may have policies of their own, chosen in the
//! same way: what holds then is both together, of two numbers the lower, of other values the operator's
//! ([`EffectivePolicy::of`]). Where a queue was declared with the argument too, of two numbers the lower holds, of other
//! values the queue's own.
//!
//! Invariants: a policy that was made has a valid pattern and valid values; applying one cannot fail: what does not
//! fit a queue is passed over. Not here: which policies a vhost has, and when they are applied (`broker`).

use std::fmt;

use rialto_protocol::ReplyCode;
use rialto_protocol::types::{FieldTable, FieldValue, ShortStr};
use thiserror::Error;

use super::{ExchangeName, ExchangeOptions, Pattern, PatternError, QueueOptions, QueueType};

/// Longest name of a policy, and longest pattern, in bytes.
pub const POLICY_TEXT_LEN_MAX: usize = 255;

/// Keys that are arguments of queues, without the `x-`.
const QUEUE_KEYS: [&str; 13] = [
    "consumer-timeout",
    "dead-letter-exchange",
    "dead-letter-routing-key",
    "dead-letter-strategy",
    "delayed-retry-max",
    "delayed-retry-min",
    "delayed-retry-type",
    "delivery-limit",
    "expires",
    "max-length",
    "max-length-bytes",
    "message-ttl",
    "overflow",
];

const ALTERNATE: &str = "alternate-exchange";

/// Keys of RabbitMQ that mean nothing here: one engine serves every queue, on one machine. Accepted, so that
/// definitions can be taken over as they are.
const IGNORED: [&str; 20] = [
    "consumer-disconnected-timeout",
    "federation-upstream",
    "federation-upstream-set",
    "ha-mode",
    "ha-params",
    "ha-promote-on-failure",
    "ha-promote-on-shutdown",
    "ha-sync-batch-size",
    "ha-sync-mode",
    "initial-cluster-size",
    "max-age",
    "max-in-memory-bytes",
    "max-in-memory-length",
    "max-segment-size",
    "queue-leader-locator",
    "queue-master-locator",
    "queue-mode",
    "queue-version",
    "stream-max-segment-size-bytes",
    "target-group-size",
];

/// Keys that an operator policy may have: limits of queues, and what happens at them.
const OPERATOR_KEYS: [&str; 8] = [
    "delivery-limit",
    "expires",
    "max-in-memory-bytes",
    "max-in-memory-length",
    "max-length",
    "max-length-bytes",
    "message-ttl",
    "overflow",
];

/// Whose policy it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PolicyKind {
    /// Of those who use the vhost.
    #[default]
    User,
    /// Of those who run the broker: it limits what the other kind, and declares, may ask for.
    Operator,
}

/// What a policy is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PolicyTarget {
    /// Queues of every type, and exchanges.
    #[default]
    All,
    /// Queues of every type.
    Queues,
    /// Classic queues.
    ClassicQueues,
    /// Quorum queues.
    QuorumQueues,
    /// Streams, which there are none of yet.
    Streams,
    /// Exchanges.
    Exchanges,
}

impl PolicyTarget {
    /// Every target.
    pub const ALL: &'static [PolicyTarget] = &[
        PolicyTarget::All,
        PolicyTarget::Queues,
        PolicyTarget::ClassicQueues,
        PolicyTarget::QuorumQueues,
        PolicyTarget::Streams,
        PolicyTarget::Exchanges,
    ];

    /// Its name, RabbitMQ's `apply-to`.
    pub const fn name(self) -> &'static str {
        match self {
            PolicyTarget::All => "all",
            PolicyTarget::Queues => "queues",
            PolicyTarget::ClassicQueues => "classic_queues",
            PolicyTarget::QuorumQueues => "quorum_queues",
            PolicyTarget::Streams => "streams",
            PolicyTarget::Exchanges => "exchanges",
        }
    }

    /// The target with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|target| target.name() == name)
    }

    fn takes_queues(self, queue_type: QueueType) -> bool {
        match self {
            PolicyTarget::All | PolicyTarget::Queues => true,
            PolicyTarget::ClassicQueues => queue_type == QueueType::Classic,
            PolicyTarget::QuorumQueues => queue_type == QueueType::Quorum,
            PolicyTarget::Streams | PolicyTarget::Exchanges => false,
        }
    }

    fn takes_exchanges(self) -> bool {
        matches!(self, PolicyTarget::All | PolicyTarget::Exchanges)
    }
}

impl fmt::Display for PolicyTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a policy cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// The name is empty or too long.
    #[error("a policy's name has 1 to {POLICY_TEXT_LEN_MAX} bytes")]
    Name,
    /// The pattern is no regular expression, or a too long one.
    #[error("pattern '{pattern}' is not a valid regular expression: {problem}")]
    Pattern {
        /// What was given.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// `apply-to` names nothing that there is.
    #[error(
        "'{0}' is not something to apply a policy to; expected all, queues, classic_queues, quorum_queues, streams, or exchanges"
    )]
    Target(String),
    /// A key that nobody knows.
    #[error("'{0}' is not a recognised policy setting")]
    Key(String),
    /// A key that only policies of users have.
    #[error("'{0}' is not a setting of operator policies; expected {keys}", keys = OPERATOR_KEYS.join(", "))]
    NotForOperators(String),
    /// A value that its key cannot have.
    #[error("'{key}' has an invalid value: {problem}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// It says nothing.
    #[error("the definition is empty")]
    Empty,
}

impl PolicyError {
    /// The code it is answered with.
    pub fn reply_code(&self) -> ReplyCode {
        ReplyCode::PreconditionFailed
    }
}

/// One policy.
#[derive(Clone, Debug)]
pub struct Policy {
    kind: PolicyKind,
    name: String,
    pattern: Pattern,
    target: PolicyTarget,
    priority: i64,
    definition: FieldTable,
}

impl Policy {
    /// Makes a policy of users. The definition's keys are RabbitMQ's; they are kept in the order of their names.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn new(
        name: &str,
        pattern: &str,
        target: PolicyTarget,
        priority: i64,
        definition: &FieldTable,
    ) -> Result<Policy, PolicyError> {
        Self::of_kind(PolicyKind::User, name, pattern, target, priority, definition)
    }

    /// Makes a policy of either kind: those of operators have fewer keys.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn of_kind(
        kind: PolicyKind,
        name: &str,
        pattern: &str,
        target: PolicyTarget,
        priority: i64,
        definition: &FieldTable,
    ) -> Result<Policy, PolicyError> {
        if name.is_empty() || name.len() > POLICY_TEXT_LEN_MAX {
            return Err(PolicyError::Name);
        }
        let problem = |problem: String| PolicyError::Pattern { pattern: pattern.to_owned(), problem };
        if pattern.len() > POLICY_TEXT_LEN_MAX {
            return Err(problem(format!("it is longer than {POLICY_TEXT_LEN_MAX} bytes")));
        }
        let compiled = Pattern::new(pattern);
        let pattern = compiled.map_err(|error| match error {
            PatternError::Invalid { problem: what, .. } => problem(what),
            PatternError::TooLong(_) => problem(error.to_string()),
        })?;
        if definition.is_empty() {
            return Err(PolicyError::Empty);
        }
        let mut entries: Vec<_> = definition.iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        for (key, value) in &entries {
            check(kind, key, value)?;
        }
        let definition = entries.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        Ok(Policy { kind, name: name.to_owned(), pattern, target, priority, definition })
    }

    /// Whose it is.
    pub fn kind(&self) -> PolicyKind {
        self.kind
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The regular expression; it may match anywhere in a name.
    pub fn pattern(&self) -> &str {
        self.pattern.as_str()
    }

    /// What it is for.
    pub fn target(&self) -> PolicyTarget {
        self.target
    }

    /// Higher wins.
    pub fn priority(&self) -> i64 {
        self.priority
    }

    /// What it lays down, by key.
    pub fn definition(&self) -> &FieldTable {
        &self.definition
    }

    /// Whether it is for a queue of this name and type.
    pub fn matches_queue(&self, name: &str, queue_type: QueueType) -> bool {
        self.target.takes_queues(queue_type) && self.pattern.matches(name)
    }

    /// Whether it is for an exchange of this name.
    pub fn matches_exchange(&self, name: &str) -> bool {
        self.target.takes_exchanges() && self.pattern.matches(name)
    }

    /// Keys of the definition that are accepted and mean nothing here.
    pub fn ignored_keys(&self) -> impl Iterator<Item = &str> {
        self.definition.iter().map(|(key, _)| key.as_str()).filter(|key| IGNORED.contains(key))
    }
}

/// What the policies that hold for a name lay down together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EffectivePolicy(FieldTable);

impl EffectivePolicy {
    /// Both together: of two numbers the lower, of other values the operator's. None: no policy holds.
    pub fn of(policy: Option<&Policy>, operator: Option<&Policy>) -> Option<EffectivePolicy> {
        let mut together = match (policy, operator) {
            (None, None) => return None,
            (Some(only), None) | (None, Some(only)) => return Some(EffectivePolicy(only.definition.clone())),
            (Some(policy), Some(_)) => policy.definition.clone(),
        };
        for (key, value) in operator.iter().flat_map(|operator| operator.definition.iter()) {
            let own_is_lower = together.get(key).is_some_and(|own| is_lower(own, value));
            if !own_is_lower {
                together.insert(key.clone(), value.clone());
            }
        }
        Some(EffectivePolicy(together))
    }

    /// The keys and values.
    pub fn table(&self) -> &FieldTable {
        &self.0
    }

    /// What holds for a queue that was declared with these options. They keep the arguments they were declared
    /// with: a later declare is compared with those.
    pub fn applied_to_queue(&self, declared: &QueueOptions) -> QueueOptions {
        let QueueOptions { durable, exclusive, auto_delete, .. } = *declared;
        let mut effective = declared.clone();
        let mut arguments = declared.arguments.clone();
        for (key, value) in self.0.iter().filter(|(key, _)| QUEUE_KEYS.contains(&key.as_str())) {
            let name = argument(key);
            if arguments.get(&name).is_some_and(|own| !is_lower(value, own)) {
                continue;
            }
            // Key by key: what does not fit this type of queue must not keep the rest from holding.
            let mut with = arguments.clone();
            with.insert(name, value.clone());
            if let Ok(options) = QueueOptions::from_declare(durable, exclusive, auto_delete, &with) {
                (effective, arguments) = (options, with);
            }
        }
        QueueOptions { arguments: declared.arguments.clone(), ..effective }
    }

    /// The alternate exchange that holds for an exchange that was declared with these options.
    pub fn alternate_for(&self, declared: &ExchangeOptions) -> Option<ExchangeName> {
        let laid_down = || ExchangeName::new(self.0.get(ALTERNATE)?.as_str()?).ok();
        declared.alternate.clone().or_else(laid_down)
    }
}

/// Whether both are numbers and the first limits more. A negative one is no limit at all (`delivery-limit`).
fn is_lower(one: &FieldValue, other: &FieldValue) -> bool {
    match (one.as_int(), other.as_int()) {
        (Some(one), Some(other)) => one >= 0 && (other < 0 || one < other),
        _ => false,
    }
}

/// The queue argument that a key stands for.
fn argument(key: &str) -> ShortStr {
    ShortStr::truncated(format!("x-{key}"))
}

/// Values are valid as the arguments they stand for are: one rule for both.
fn check(kind: PolicyKind, key: &str, value: &FieldValue) -> Result<(), PolicyError> {
    if kind == PolicyKind::Operator && !OPERATOR_KEYS.contains(&key) {
        return Err(match QUEUE_KEYS.contains(&key) || IGNORED.contains(&key) || key == ALTERNATE {
            true => PolicyError::NotForOperators(key.to_owned()),
            false => PolicyError::Key(key.to_owned()),
        });
    }
    let wrong = |problem: String| PolicyError::Value { key: key.to_owned(), problem };
    if key == ALTERNATE {
        let valid = value.as_str().is_some_and(|name| ExchangeName::new(name).is_ok());
        return if valid { Ok(()) } else { Err(wrong("it must be the name of an exchange".to_owned())) };
    }
    if IGNORED.contains(&key) {
        return Ok(());
    }
    if !QUEUE_KEYS.contains(&key) {
        return Err(PolicyError::Key(key.to_owned()));
    }
    let mut arguments = FieldTable::new();
    if key == "dead-letter-routing-key" {
        // The exchange may come from the queue.
        arguments.insert(argument("dead-letter-exchange"), "");
    }
    arguments.insert(argument(key), value.clone());
    match QueueOptions::from_declare(true, false, false, &arguments) {
        Ok(_) => Ok(()),
        Err(error) => Err(wrong(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_kind(kind: PolicyKind, definition: FieldTable) -> Result<Policy, PolicyError> {
        Policy::of_kind(kind, "p", ".*", PolicyTarget::All, 0, &definition)
    }

    fn policy(definition: FieldTable) -> EffectivePolicy {
        EffectivePolicy::of(Some(&of_kind(PolicyKind::User, definition).unwrap()), None).unwrap()
    }

    fn declared(arguments: &FieldTable) -> QueueOptions {
        QueueOptions::from_declare(true, false, false, arguments).unwrap()
    }

    fn wrong(definition: FieldTable) -> String {
        Policy::new("p", ".*", PolicyTarget::All, 0, &definition).unwrap_err().to_string()
    }

    #[test]
    fn keys_are_arguments_of_queues_that_have_none() {
        let definition = FieldTable::new()
            .with("message-ttl", 1000)
            .with("expires", 5000)
            .with("max-length", 10)
            .with("max-length-bytes", 100i64)
            .with("overflow", "reject-publish")
            .with("dead-letter-routing-key", "dead")
            .with("dead-letter-exchange", "dlx")
            .with("delivery-limit", 7);
        let options = policy(definition).applied_to_queue(&declared(&FieldTable::new()));
        let arguments = FieldTable::new()
            .with("x-message-ttl", 1000)
            .with("x-expires", 5000)
            .with("x-max-length", 10)
            .with("x-max-length-bytes", 100)
            .with("x-overflow", "reject-publish")
            .with("x-dead-letter-routing-key", "dead")
            .with("x-dead-letter-exchange", "dlx")
            .with("x-delivery-limit", 7);
        let same = QueueOptions { arguments: FieldTable::new(), ..declared(&arguments) };
        assert_eq!(options, same, "as if it had been declared so, but for the arguments that are compared");
    }

    #[test]
    fn of_two_numbers_the_lower_holds_and_of_other_values_the_queues_own() {
        let definition = FieldTable::new()
            .with("message-ttl", 1000)
            .with("max-length", 10)
            .with("overflow", "reject-publish")
            .with("dead-letter-exchange", "theirs")
            .with("dead-letter-routing-key", "key");
        let own = FieldTable::new()
            .with("x-message-ttl", 500)
            .with("x-max-length", 20)
            .with("x-overflow", "drop-head")
            .with("x-dead-letter-exchange", "own");
        let options = policy(definition).applied_to_queue(&declared(&own));
        assert_eq!((options.message_ttl_ms, options.max_length), (Some(500), Some(10)));
        assert_eq!(options.overflow, crate::model::OverflowRule::DropHead);
        let target = options.dead_letter.unwrap();
        assert_eq!(
            (&*target.exchange, target.routing_key.as_deref()),
            ("own", Some("key")),
            "each by itself"
        );
        assert_eq!(options.arguments, own);
    }

    #[test]
    fn a_default_is_not_a_value_that_a_limit_competes_with() {
        let quorum = declared(&FieldTable::new().with("x-queue-type", "quorum"));
        let options = policy(FieldTable::new().with("delivery-limit", 50)).applied_to_queue(&quorum);
        assert_eq!(options.delivery_limit, Some(50));
    }

    #[test]
    fn no_limit_is_higher_than_every_limit() {
        let limit = |own: i32, policy: i32| {
            let own = FieldTable::new().with("x-delivery-limit", own);
            let definition = FieldTable::new().with("delivery-limit", policy);
            self::policy(definition).applied_to_queue(&declared(&own)).delivery_limit
        };
        assert_eq!(
            (limit(5, -1), limit(-1, 5), limit(-1, -1), limit(0, 5)),
            (Some(5), Some(5), None, Some(0))
        );
    }

    #[test]
    fn an_operators_policy_limits_the_users() {
        let user = FieldTable::new()
            .with("message-ttl", 500)
            .with("max-length", 50)
            .with("delivery-limit", -1)
            .with("overflow", "drop-head")
            .with("dead-letter-exchange", "dlx");
        let operator = FieldTable::new()
            .with("message-ttl", 1000)
            .with("max-length", 10)
            .with("delivery-limit", 3)
            .with("overflow", "reject-publish")
            .with("expires", 9000);
        let user = of_kind(PolicyKind::User, user).unwrap();
        let operator = of_kind(PolicyKind::Operator, operator).unwrap();
        let both = EffectivePolicy::of(Some(&user), Some(&operator)).unwrap();
        let together = FieldTable::new()
            .with("message-ttl", 500)
            .with("max-length", 10)
            .with("delivery-limit", 3)
            .with("overflow", "reject-publish")
            .with("dead-letter-exchange", "dlx")
            .with("expires", 9000);
        for (key, value) in together.iter() {
            assert_eq!(both.table().get(key), Some(value), "{key}");
        }
        assert_eq!(both.table().len(), together.len());
        assert_eq!(EffectivePolicy::of(None, Some(&operator)).unwrap().table(), operator.definition());
        assert_eq!(EffectivePolicy::of(None, None), None);
    }

    #[test]
    fn operators_have_limits_only() {
        let refused = |definition| of_kind(PolicyKind::Operator, definition).unwrap_err().to_string();
        let text = refused(FieldTable::new().with("dead-letter-exchange", "x"));
        assert!(
            text.starts_with("'dead-letter-exchange' is not a setting of operator policies; expected"),
            "{text}"
        );
        assert_eq!(refused(FieldTable::new().with("nope", 1)), "'nope' is not a recognised policy setting");
    }

    #[test]
    fn what_does_not_fit_is_passed_over() {
        let definition = FieldTable::new().with("dead-letter-routing-key", "key").with("max-length", 3);
        let options = policy(definition).applied_to_queue(&declared(&FieldTable::new()));
        assert_eq!((options.dead_letter, options.max_length), (None, Some(3)));
    }

    #[test]
    fn an_exchanges_own_alternate_wins() {
        let policy = policy(FieldTable::new().with("alternate-exchange", "theirs"));
        let plain = ExchangeOptions::default();
        assert_eq!(policy.alternate_for(&plain).as_deref(), Some("theirs"));
        let own = ExchangeOptions { alternate: ExchangeName::new("own").ok(), ..plain };
        assert_eq!(policy.alternate_for(&own).as_deref(), Some("own"));
    }

    #[test]
    fn targets_choose_by_type_and_patterns_by_name() {
        let of = |target, pattern| {
            let definition = FieldTable::new().with("max-length", 1);
            Policy::new("p", pattern, target, 0, &definition).unwrap()
        };
        use QueueType::{Classic, Quorum};
        for (target, classic, quorum, exchanges) in [
            (PolicyTarget::All, true, true, true),
            (PolicyTarget::Queues, true, true, false),
            (PolicyTarget::ClassicQueues, true, false, false),
            (PolicyTarget::QuorumQueues, false, true, false),
            (PolicyTarget::Streams, false, false, false),
            (PolicyTarget::Exchanges, false, false, true),
        ] {
            let policy = of(target, "^order");
            assert_eq!(policy.matches_queue("orders", Classic), classic, "{target}");
            assert_eq!(policy.matches_queue("orders", Quorum), quorum, "{target}");
            assert_eq!(policy.matches_exchange("orders"), exchanges, "{target}");
            assert!(!policy.matches_queue("my.orders", Classic) && !policy.matches_exchange("my.orders"));
            assert_eq!(PolicyTarget::from_name(target.name()), Some(target));
        }
        assert!(of(PolicyTarget::All, "der").matches_queue("orders", Classic), "anywhere in the name");
    }

    #[test]
    fn mistakes_are_named() {
        for (definition, text) in [
            (FieldTable::new(), "the definition is empty"),
            (FieldTable::new().with("max-lenght", 1), "'max-lenght' is not a recognised policy setting"),
            (
                FieldTable::new().with("max-length", -1),
                "'max-length' has an invalid value: invalid arg 'x-max-length': {value_negative,-1}",
            ),
            (
                FieldTable::new().with("alternate-exchange", 5),
                "'alternate-exchange' has an invalid value: it must be the name of an exchange",
            ),
        ] {
            assert_eq!(wrong(definition), text);
        }
        let definition = FieldTable::new().with("max-length", 1).with("ha-mode", "all");
        let make = |name, pattern| Policy::new(name, pattern, PolicyTarget::All, 0, &definition);
        assert!(make("p", "^a").is_ok(), "what clusters have is accepted");
        assert_eq!(make("", ".*").unwrap_err(), PolicyError::Name);
        assert!(matches!(make("p", "(").unwrap_err(), PolicyError::Pattern { .. }));
        let long = "x".repeat(POLICY_TEXT_LEN_MAX + 1);
        assert!(matches!(make("p", &long).unwrap_err(), PolicyError::Pattern { .. }));
        assert!(make("p", &long[1..]).is_ok());
    }
}

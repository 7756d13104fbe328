//! Differences from RabbitMQ that we want, each with its reason. Everything else that differs is a defect.

use super::operation::{Operation, Step};
use super::side::Observation;

/// How the brokers come together again after a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repair {
    /// Nothing is different but the words.
    None,
    /// Both end the connection of the step.
    Reconnect,
    /// What is in the brokers differs: the episode ends here.
    EndEpisode,
}

/// A difference that we want.
pub(crate) struct Wanted {
    /// What differs.
    pub(crate) name: &'static str,
    /// Why we want it.
    pub(crate) reason: &'static str,
    /// Whether this is it: what was done, what we said, what the oracle said.
    pub(crate) is_it: fn(&Step, &Observation, &Observation) -> bool,
    pub(crate) repair: Repair,
}

/// The list.
pub(crate) const WANTED: &[Wanted] = &[Wanted {
    name: "unknown exchange type",
    reason: "RabbitMQ 4 refuses it with 406 on the channel; RabbitMQ 3 ended the connection with 503",
    is_it: |step, ours, oracle| {
        matches!(step.operation, Operation::DeclareExchange { .. })
            && says(ours, "channel closed 406")
            && says(oracle, "connection closed 503")
    },
    repair: Repair::Reconnect,
}];

/// The entry that explains a difference.
pub(crate) fn find(step: &Step, ours: &Observation, oracle: &Observation) -> Option<&'static Wanted> {
    WANTED.iter().find(|wanted| (wanted.is_it)(step, ours, oracle))
}

/// Whether any line contains this.
fn says(seen: &Observation, what: &str) -> bool {
    seen.values().flatten().any(|line| line.contains(what))
}

//! Differences from RabbitMQ that we want, each with its reason. Everything else that differs is a defect.

use std::collections::BTreeMap;

use super::operation::{Operation, Step};
use super::side::Observation;

/// How the brokers come together again after a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repair {
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
pub(crate) const WANTED: &[Wanted] = &[
    Wanted {
        name: "unknown exchange type",
        reason: "RabbitMQ 4 refuses it with 406 on the channel; RabbitMQ 3 ended the connection with 503",
        is_it: |step, ours, oracle| {
            matches!(step.operation, Operation::DeclareExchange { .. })
                && says(ours, "channel closed 406")
                && says(oracle, "connection closed 503")
        },
        repair: Repair::Reconnect,
    },
    Wanted {
        name: "x-queue-type of a wrong type",
        reason: "RabbitMQ 3 fails with 541 on the connection; we refuse the argument with 406 on the channel",
        is_it: |step, ours, oracle| {
            matches!(step.operation, Operation::DeclareQueue { .. })
                && says(ours, "invalid arg 'x-queue-type'")
                && says(oracle, "connection closed 541")
        },
        repair: Repair::Reconnect,
    },
    Wanted {
        name: "whose turn it is after a full window",
        reason: "a consumer whose window is full leaves the round and joins its end when it has room again; RabbitMQ \
             leaves it its place until its turn comes. Both go round among those that have room",
        is_it: |step, ours, oracle| {
            let is_dispatching = matches!(
                step.operation,
                Operation::Publish(_)
                    | Operation::Settle { .. }
                    | Operation::Recover { .. }
                    | Operation::Commit
            );
            let to_consumers = |seen: &Observation| {
                let sent = seen.iter().filter(|(stream, _)| stream.contains(" to "));
                let mut lines: Vec<_> = sent.flat_map(|(_, lines)| lines.clone()).collect();
                lines.sort();
                lines
            };
            let others = |seen: &Observation| {
                let is_other = |stream: &String| !stream.contains(" to ") && !stream.ends_with(" tags");
                seen.iter()
                    .filter(|(stream, _)| is_other(stream))
                    .map(|(a, b)| (a.clone(), b.clone()))
                    .collect::<Vec<_>>()
            };
            is_dispatching && to_consumers(ours) == to_consumers(oracle) && others(ours) == others(oracle)
        },
        repair: Repair::EndEpisode,
    },
    Wanted {
        name: "a burst that ends in an error",
        reason: "no difference: how much of what went before the error was delivered and confirmed by then is a \
             matter of time, on either broker",
        is_it: |step, ours, oracle| {
            let closed = "channel closed 4";
            matches!(&step.operation, Operation::Publish(burst) if burst.len() > 1)
                && says(ours, closed)
                && says(oracle, closed)
        },
        repair: Repair::EndEpisode,
    },
];

/// Words that differ and mean the same, or more.
pub(crate) struct Wording {
    /// What differs.
    pub(crate) name: &'static str,
    /// Why we want it.
    pub(crate) reason: &'static str,
    /// Makes a line of either side what it would be without this.
    plain: fn(&str) -> Option<String>,
}

/// The list of words.
pub(crate) const WORDINGS: &[Wording] = &[
    Wording {
        name: "x-last-death headers",
        reason: "RabbitMQ 3.13 and later write x-last-death-{exchange,queue,reason}; 3.10 does not",
        plain: |line| {
            let start = line.find(", x-last-death-exchange=")?;
            let end = start + line[start..].find("x-last-death-reason=")?;
            let end = end + line[end..].find(')')? + 1;
            Some(format!("{}{}", &line[..start], &line[end..]))
        },
    },
    Wording {
        name: "x-match in the text",
        reason: "RabbitMQ prints the value as an Erlang term, <<\"bogus\">>; we print it as text",
        plain: |line| {
            let is_it = line.contains("Invalid x-match field value <<");
            is_it.then(|| line.replacen("<<\\\"", "'", 1).replacen("\\\">>", "'", 1))
        },
    },
];

/// Takes out of an observation the words that may differ.
pub(crate) fn plain(mut seen: Observation, met: &mut BTreeMap<&'static str, usize>) -> Observation {
    for line in seen.values_mut().flatten() {
        for wording in WORDINGS {
            if let Some(plain) = (wording.plain)(line) {
                *line = plain;
                *met.entry(wording.name).or_default() += 1;
            }
        }
    }
    seen
}

/// Why a difference of this name is wanted.
pub(crate) fn reason(name: &str) -> &'static str {
    let mut all = WANTED.iter().map(|entry| (entry.name, entry.reason));
    let mut words = WORDINGS.iter().map(|entry| (entry.name, entry.reason));
    all.find(|entry| entry.0 == name)
        .or_else(|| words.find(|entry| entry.0 == name))
        .map_or("", |entry| entry.1)
}

/// The entry that explains a difference.
pub(crate) fn find(step: &Step, ours: &Observation, oracle: &Observation) -> Option<&'static Wanted> {
    WANTED.iter().find(|wanted| (wanted.is_it)(step, ours, oracle))
}

/// Whether any line contains this.
fn says(seen: &Observation, what: &str) -> bool {
    seen.values().flatten().any(|line| line.contains(what))
}

//! Differences from RabbitMQ that we want, each with its reason. Everything else that differs is a defect.

use std::collections::{BTreeMap, BTreeSet};

use super::amqp::FieldValue;
use super::generator::{IGNORED, QUEUES, SINKS};
use super::operation::{Operation, QueueForm, Step};
use super::runner::without_texts;
use super::side::{Observation, Side};

/// How the brokers come together again after a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repair {
    /// They were not apart.
    Nothing,
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
    /// Whether this is it. Every test is as narrow as it can be: what it does not speak of must be the same.
    pub(crate) is_it: fn(&Scene<'_>) -> bool,
    pub(crate) repair: Repair,
}

/// What was done, what both have said, and what is known of the brokers.
pub(crate) struct Scene<'a> {
    pub(crate) step: &'a Step,
    pub(crate) ours: &'a Observation,
    pub(crate) oracle: &'a Observation,
    /// How each queue of the episode was declared last.
    pub(crate) forms: &'a BTreeMap<String, QueueForm>,
    /// The queue of each consumer before the step, by stream.
    pub(crate) consumers: &'a BTreeMap<String, String>,
    pub(crate) past: &'a Past,
}

/// What has happened in an episode that explains later differences.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// Channels that had a window over all their consumers.
    windows: BTreeSet<(usize, u16)>,
    /// Those that held what they had got, not consumed, when they were given their window.
    windows_over_gets: BTreeSet<(usize, u16)>,
    /// Queues that were published to with an expiration of 0.
    expired: BTreeSet<String>,
    /// Queues that had a consumer with a priority.
    prioritized: BTreeSet<String>,
    /// Queues that were published to, by their names, in a transaction before they existed.
    addressed_early: BTreeSet<String>,
}

impl Past {
    /// Takes note of a step that is about to be done.
    pub(crate) fn note(&mut self, step: &Step, side: &Side) {
        let at = (step.link, step.channel);
        let channel = side.channel(step.link, step.channel);
        match &step.operation {
            Operation::Qos { global: true, count: 1.., .. } => {
                self.windows.insert(at);
                if channel.is_some_and(|channel| channel.unacked.iter().any(|one| one.key.0 == "get")) {
                    self.windows_over_gets.insert(at);
                }
            }
            Operation::PublishExpired { queue } => {
                self.expired.insert(queue.clone());
            }
            Operation::Consume { queue, arguments, .. } if arguments.get("x-priority").is_some() => {
                self.prioritized.insert(queue.clone());
            }
            Operation::Publish(burst) if channel.is_some_and(|channel| channel.is_tx) => {
                let named = burst.iter().filter(|one| one.exchange.is_empty()).map(|one| &one.routing_key);
                let missing = named.filter(|queue| side.counts(queue).is_none());
                self.addressed_early.extend(missing.cloned());
            }
            _ => {}
        }
    }
}

/// The list.
pub(crate) const WANTED: &[Wanted] = &[
    Wanted {
        name: "unknown exchange type",
        reason: "RabbitMQ 4 refuses it with 406 on the channel; RabbitMQ 3 ended the connection with 503",
        is_it: |scene| {
            matches!(scene.step.operation, Operation::DeclareExchange { .. })
                && says(scene.ours, "channel closed 406")
                && says(scene.oracle, "connection closed 503")
        },
        repair: Repair::Reconnect,
    },
    Wanted {
        name: "x-queue-type of a wrong type",
        reason: "RabbitMQ 3 fails with 541 on the connection; we refuse the argument with 406 on the channel",
        is_it: |scene| {
            matches!(scene.step.operation, Operation::DeclareQueue { .. })
                && says(scene.ours, "invalid arg 'x-queue-type'")
                && says(scene.oracle, "connection closed 541")
        },
        repair: Repair::Reconnect,
    },
    Wanted {
        name: "arguments without a meaning here",
        reason: "x-queue-mode, x-queue-version and x-queue-master-locator choose among the stores and nodes of \
             RabbitMQ, which refuses some values and fails (541) over others; we accept any value and compare none, so \
             that applications that send them go on",
        is_it: |scene| {
            let refuses =
                |line: &str| IGNORED.iter().any(|name| line.contains(&format!(" arg '{name}' for ")));
            let Operation::DeclareQueue { passive: false, form, .. } = &scene.step.operation else {
                return false;
            };
            let is_asked = form.arguments.iter().any(|(name, _)| IGNORED.contains(&name.as_str()));
            let is_refused = closes(scene.oracle).any(|line| {
                let fails = line.contains("connection closed 541") && is_asked;
                line.contains("channel closed 406") && refuses(line) || fails
            });
            closes(scene.ours).next().is_none() && is_refused
        },
        repair: Repair::EndEpisode,
    },
    Wanted {
        name: "arguments without a meaning here, and another reason to refuse",
        reason: "as above: RabbitMQ names the one that we ignore, we name the other",
        is_it: |scene| {
            let refuses =
                |line: &str| IGNORED.iter().any(|name| line.contains(&format!(" arg '{name}' for ")));
            matches!(scene.step.operation, Operation::DeclareQueue { passive: false, .. })
                && differ_in_texts_only(scene)
                && closes(scene.ours).all(|line| line.contains("channel closed 406"))
                && closes(scene.oracle).all(|line| line.contains("channel closed 406") && refuses(line))
        },
        repair: Repair::Nothing,
    },
    Wanted {
        name: "two reasons to refuse",
        reason: "the channel is closed either way: which of two rules that are both broken is told first is the \
             order in which a broker happens to look",
        is_it: |scene| {
            let is_twice = match &scene.step.operation {
                // What the binding says, and who may bind.
                Operation::Bind { arguments, .. } | Operation::BindExchange { arguments, .. } => {
                    let known = ["all", "any", "all-with-x", "any-with-x"].map(FieldValue::text);
                    arguments.get("x-match").is_some_and(|how| !known.contains(how))
                }
                // An argument of a wrong type, and a reserved name or an exchange of that name that is another.
                Operation::DeclareExchange { form, passive: false, .. } => {
                    let alternate = form.arguments.get("alternate-exchange");
                    alternate.is_some_and(|name| !matches!(name, FieldValue::LongStr(_)))
                }
                Operation::DeclareQueue { queue, passive: false, .. } => {
                    queue.starts_with("amq.") || queue.starts_with('$')
                }
                // Two properties that are refused.
                Operation::Publish(burst) => burst.len() == 1 && burst[0].defects() > 1,
                _ => false,
            };
            let codes = ["403", "404", "405", "406"].map(|code| format!("channel closed {code}"));
            let code = |seen: &Observation| {
                let line = closes(seen).next().unwrap_or("").to_owned();
                codes.iter().position(|code| line.contains(code))
            };
            let codes = [code(scene.ours), code(scene.oracle)];
            is_twice && differ_in_texts_only(scene) && !codes.contains(&None)
        },
        repair: Repair::Nothing,
    },
    Wanted {
        name: "expired, and too many as well",
        reason: "a message that may not wait at all dies as expired with us, even where a limit of the queue \
             would have met it, too; RabbitMQ says maxlen",
        is_it: |scene| {
            let is_both = |(queue, form): (&String, &QueueForm)| {
                is_limited(form) && (never_waits(form) || scene.past.expired.contains(queue))
            };
            let mut queues = scene.forms.iter().filter(|&entry| is_both(entry)).map(|(queue, _)| queue);
            let as_expired = |queue: &String| {
                let (too_many, expired) =
                    (format!("queue={queue} reason=maxlen"), format!("queue={queue} reason=expired"));
                let rename = |line: &String| match line.contains(&too_many) {
                    true => line.replace(&too_many, &expired).replace(FIRST_MAXLEN, FIRST_EXPIRED),
                    false => line.clone(),
                };
                let renamed: Observation = scene
                    .oracle
                    .iter()
                    .map(|(stream, lines)| (stream.clone(), lines.iter().map(rename).collect()))
                    .collect();
                renamed == *scene.ours || renamed == forgetful(scene, scene.ours)
            };
            queues.any(as_expired)
        },
        repair: Repair::EndEpisode,
    },
    Wanted {
        name: "original-expiration of what was on disk",
        reason: "x-death keeps a message's expiration with us, whichever queue it died in; RabbitMQ forgets it for \
             messages that it reads from disk, as all of a lazy queue",
        is_it: |scene| forgetful(scene, scene.ours) == *scene.oracle,
        repair: Repair::EndEpisode,
    },
    Wanted {
        name: "the surplus of a queue that goes",
        reason: "the last consumer of an auto-delete queue leaves with unsettled messages that may not wait there, \
             since they are too many or their time is 0: they become dead letters with us, before the queue goes; \
             RabbitMQ loses them",
        is_it: |scene| {
            let is_gone = |queue: &str| {
                let state = |seen: &Observation| seen.get(&format!("queue {queue}")).cloned();
                let gone = Some(vec!["does not exist".to_owned()]);
                state(scene.ours) == gone && state(scene.oracle) == gone
            };
            let lost_by = |(queue, form): (&String, &QueueForm)| {
                let Some(index) = QUEUES.iter().position(|name| name == queue) else { return false };
                let has_dead = form.arguments.get("x-dead-letter-exchange").is_some();
                let reason = if never_waits(form) { "expired" } else { "maxlen" };
                let may_not_wait = is_limited(form) || never_waits(form);
                form.auto_delete && may_not_wait && has_dead && is_gone(queue) && {
                    let letters = format!("queue={queue} reason={reason}");
                    let sink = format!("queue {}", SINKS[index]);
                    differing(scene).all(|(stream, ours, oracle)| match stream {
                        _ if stream == sink || stream.ends_with(" tags") => true,
                        _ if stream.contains(" to ") => {
                            let more = ours.strip_prefix(oracle);
                            more.is_some_and(|more| more.iter().all(|line| line.contains(&letters)))
                        }
                        _ => false,
                    })
                }
            };
            scene.forms.iter().any(lost_by)
        },
        repair: Repair::EndEpisode,
    },
    Wanted {
        name: "whose turn it is after a full window",
        reason: "a consumer without room in the window of its channel leaves the round and joins its end when \
             there is room again; RabbitMQ leaves it its place until its turn comes. Both go round among those \
             that have room",
        is_it: |scene| {
            let is_window = |stream: &str| is_sent_on(stream, &scene.past.windows);
            let sent: Vec<_> = differing(scene).filter(|(stream, ..)| !stream.ends_with(" tags")).collect();
            let queues: BTreeSet<_> = sent.iter().map(|(stream, ..)| scene.consumers.get(*stream)).collect();
            let all_of = |seen: &Observation| {
                let lines = sent.iter().filter_map(|(stream, ..)| seen.get(*stream)).flatten();
                let mut lines: Vec<_> = lines.cloned().collect();
                lines.sort();
                lines
            };
            sent.iter().any(|(stream, ..)| is_window(stream))
                && queues.len() == 1
                && !queues.contains(&None)
                && all_of(scene.ours) == all_of(scene.oracle)
        },
        repair: Repair::EndEpisode,
    },
    Wanted {
        name: "a single active consumer of a lower priority hands over",
        reason: "when it has settled what it holds, and gets nothing new until then, as quorum queues of RabbitMQ 4 \
             do it; classic queues leave the first consumer active whatever comes",
        is_it: |scene| {
            let is_single = |(queue, form): (&String, &QueueForm)| {
                form.arguments.get("x-single-active-consumer").is_some()
                    && scene.past.prioritized.contains(queue)
                    && differ_in_queue_only(scene, queue)
            };
            scene.forms.iter().any(is_single)
        },
        repair: Repair::EndEpisode,
    },
    Wanted {
        name: "a window over what was got",
        reason: "a channel's window counts what its consumers hold; RabbitMQ counts what was taken by basic.get \
             before there was a window, too, and never gives that room back",
        is_it: |scene| {
            let sent = || differing(scene).filter(|(stream, ..)| stream.contains(" to "));
            let queues: BTreeSet<_> = sent().filter_map(|(stream, ..)| scene.consumers.get(stream)).collect();
            sent().any(|(stream, ..)| is_sent_on(stream, &scene.past.windows_over_gets))
                && queues.iter().any(|queue| differ_in_queue_only(scene, queue))
        },
        repair: Repair::EndEpisode,
    },
    Wanted {
        name: "a queue that was declared after what is committed",
        reason: "a message goes to the queues that exist when it is published; RabbitMQ keeps the names that the \
             default exchange gives in a transaction, and looks for their queues when it is committed",
        is_it: |scene| {
            let is_early = |queue: &String| differ_in_queue_only(scene, queue);
            matches!(scene.step.operation, Operation::Commit)
                && scene.past.addressed_early.iter().any(is_early)
        },
        repair: Repair::EndEpisode,
    },
    Wanted {
        name: "an open-ok before the connection ends",
        reason: "of an answer and the end of the connection that follows at once, RabbitMQ may lose the answer, since \
             two processes write; we say both",
        is_it: |scene| {
            let is_open_ok = |line: &String| line.contains("ChannelOpenOk");
            closes(scene.ours).any(|line| line.starts_with("connection closed"))
                && differing(scene).all(|(_, ours, oracle)| {
                    ours.iter()
                        .filter(|line| !is_open_ok(line))
                        .eq(oracle.iter().filter(|line| !is_open_ok(line)))
                })
        },
        repair: Repair::Reconnect,
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
        name: "tables, arrays and void in the text",
        reason: "RabbitMQ prints them as Erlang terms, an empty table as [], void as undefined; we print ours",
        plain: |line| {
            let value = "received the value '";
            let start = line.find(value)? + value.len();
            let end = start + line[start..].find("' of type '")?;
            let kind = &line[end + "' of type '".len()..];
            let is_it =
                start < end && ["table'", "array'", "void'"].iter().any(|name| kind.starts_with(name));
            is_it.then(|| format!("{}{}", &line[..start], &line[end..]))
        },
    },
    Wording {
        name: "tables, arrays and void in the text, where both are set",
        reason: "as above, and void as if nothing had been said",
        plain: |line| {
            let terms =
                [("received '{}' but", "received '[]' but"), ("received 'void' but", "received none but")];
            let (ours, theirs) = terms.iter().find(|(ours, _)| line.contains(ours))?;
            Some(line.replacen(ours, theirs, 1))
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
pub(crate) fn find(scene: &Scene<'_>) -> Option<&'static Wanted> {
    WANTED.iter().find(|wanted| (wanted.is_it)(scene))
}

/// How the first death of a message is told.
const FIRST_MAXLEN: &str = "x-first-death-reason=LongStr(b\"maxlen\")";
const FIRST_EXPIRED: &str = "x-first-death-reason=LongStr(b\"expired\")";

/// Whether any line contains this.
fn says(seen: &Observation, what: &str) -> bool {
    seen.values().flatten().any(|line| line.contains(what))
}

/// What says that a channel or a connection was closed.
fn closes(seen: &Observation) -> impl Iterator<Item = &str> {
    seen.values().flatten().map(String::as_str).filter(|line| line.contains(" closed "))
}

/// Whether both close the same, for other reasons.
fn differ_in_texts_only(scene: &Scene<'_>) -> bool {
    without_texts(scene.ours) == without_texts(scene.oracle)
}

/// The streams that differ, ours before the oracle's.
fn differing<'a>(scene: &Scene<'a>) -> impl Iterator<Item = (&'a str, &'a [String], &'a [String])> {
    let (ours, oracle) = (scene.ours, scene.oracle);
    let streams: BTreeSet<_> = ours.keys().chain(oracle.keys()).collect();
    let of = |seen: &'a Observation, stream| seen.get(stream).map_or(&[][..], Vec::as_slice);
    let both = move |stream: &'a String| (stream.as_str(), of(ours, stream), of(oracle, stream));
    streams.into_iter().map(both).filter(|(_, ours, oracle)| ours != oracle)
}

/// Whether nothing differs but how many a queue holds and which of its consumers have got what.
fn differ_in_queue_only(scene: &Scene<'_>, queue: &str) -> bool {
    let state = format!("queue {queue}");
    let is_its_own = |stream: &str| {
        let is_consumer = scene.consumers.get(stream).is_some_and(|of| of == queue);
        is_consumer || stream == state || stream.ends_with(" tags")
    };
    differing(scene).all(|(stream, ..)| is_its_own(stream))
}

/// Whether a stream is what a consumer of one of these channels is sent.
fn is_sent_on(stream: &str, channels: &BTreeSet<(usize, u16)>) -> bool {
    channels.iter().any(|(link, channel)| stream.starts_with(&format!("{link}.{channel} to ")))
}

/// What the deaths in lazy queues look like if the expiration of their messages is forgotten.
fn forgetful(scene: &Scene<'_>, seen: &Observation) -> Observation {
    let is_lazy =
        |form: &QueueForm| form.arguments.get("x-queue-mode").and_then(FieldValue::as_str) == Some("lazy");
    let lazy: Vec<_> = scene.forms.iter().filter(|(_, form)| is_lazy(form)).map(|(queue, _)| queue).collect();
    let forget = |line: &String, queue: &str| {
        let end = line.find(&format!(" queue={queue} reason="))?;
        let start = line[..end].rfind(" original-expiration=")?;
        let is_same_death = !line[start..end].contains('}');
        is_same_death.then(|| format!("{}{}", &line[..start], &line[end..]))
    };
    let plain = |line: &String| {
        let forget_in = |line: String, queue: &&String| forget(&line, queue).unwrap_or(line);
        lazy.iter().fold(line.clone(), forget_in)
    };
    seen.iter().map(|(stream, lines)| (stream.clone(), lines.iter().map(plain).collect())).collect()
}

fn is_limited(form: &QueueForm) -> bool {
    ["x-max-length", "x-max-length-bytes"].iter().any(|limit| form.arguments.get(limit).is_some())
}

fn never_waits(form: &QueueForm) -> bool {
    form.arguments.get("x-message-ttl").and_then(FieldValue::as_int) == Some(0)
}

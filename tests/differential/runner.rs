//! Carries out a trace on two brokers, step by step, and stops where they differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::generator::{EXCHANGES, QUEUES, SINKS};
use super::operation::{ExchangeForm, Operation, Publication, Step, Target};
use super::side::{Endpoint, Observation, Order, Side};
use super::wanted::{self, Past, Repair, Scene};

/// How long two observations may take to become the same.
const LATE: Duration = Duration::from_secs(2);
/// How long a trace may be shortened.
const SHRINKING: Duration = Duration::from_secs(60);

/// Where the brokers differed.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    /// Which step of the trace.
    pub(crate) index: usize,
    pub(crate) step: Step,
    pub(crate) ours: Observation,
    pub(crate) oracle: Observation,
}

/// Two brokers, and what was seen of them.
pub(crate) struct Runner {
    sides: [Side; 2],
    /// Steps carried out.
    pub(crate) performed: usize,
    /// How often each wanted difference was met.
    pub(crate) wanted: BTreeMap<&'static str, usize>,
    /// Exchanges of this episode that may take no publishes.
    internal: BTreeSet<String>,
    past: Past,
    /// Steps that both brokers refuse, for other reasons or in other words.
    pub(crate) texts: BTreeMap<String, Difference>,
}

impl Runner {
    pub(crate) fn connect(endpoints: &[Endpoint; 2]) -> Runner {
        let sides = [Side::connect(&endpoints[0]), Side::connect(&endpoints[1])];
        Runner {
            sides,
            performed: 0,
            wanted: BTreeMap::new(),
            internal: BTreeSet::new(),
            past: Past::default(),
            texts: BTreeMap::new(),
        }
    }

    /// Carries out a trace on brokers that are empty.
    pub(crate) fn run(&mut self, trace: &[Step]) -> Option<Difference> {
        let names = || QUEUES.iter().chain(&SINKS).map(|&name| name.to_owned());
        on_both(&mut self.sides, |_, side| side.clean(&EXCHANGES, names()));
        self.internal.clear();
        self.past = Past::default();
        for (index, step) in trace.iter().enumerate() {
            for step in self.steps(step) {
                match self.step(index, &step) {
                    Outcome::Same => {}
                    Outcome::EndEpisode => return None,
                    Outcome::Different(difference) => return Some(*difference),
                }
            }
        }
        None
    }

    /// A step as it can be compared: nothing if it cannot, and with others before it if channels would die
    /// together with its own.
    fn steps(&mut self, step: &Step) -> Vec<Step> {
        if let Operation::Publish(burst) = &step.operation
            && burst.len() > 1
        {
            return self.bursts(step, burst).iter().flat_map(|step| self.comparable(step)).collect();
        }
        self.comparable(step)
    }

    fn comparable(&self, step: &Step) -> Vec<Step> {
        let side = &self.sides[0];
        let channel = side.channel(step.link, step.channel);
        let mut operation = step.operation.clone();
        let mut is_fatal = operation.is_fatal();
        match &mut operation {
            // A name of the server's kind that it has not made up.
            Operation::DeclareQueue { queue, .. } if queue.starts_with('$') && !side.has_made(queue) => {
                return Vec::new();
            }
            // Elsewhere than at the head RabbitMQ keeps an expired message.
            Operation::PublishExpired { queue } if side.counts(queue) != Some((0, 0)) => return Vec::new(),
            Operation::Qos { global, .. } if *global => {
                // Which queue gets the room of a window that two share is left to chance.
                let mut queues: Vec<_> =
                    channel.map(|channel| channel.consumers.values().collect()).unwrap_or_default();
                queues.dedup();
                *global = queues.len() < 2;
            }
            Operation::Consume { queue, tag, .. } => {
                if let Some(channel) = channel {
                    let others = channel.consumers.values().any(|other| other != queue);
                    if channel.global_prefetch > 0 && others {
                        return Vec::new();
                    }
                    is_fatal |= channel.consumers.contains_key(tag);
                }
            }
            Operation::Settle { target: Target::Nth(_), .. }
                if channel.is_none_or(|channel| channel.unacked.is_empty()) =>
            {
                return Vec::new();
            }
            Operation::OpenAgain if channel.is_none() => return Vec::new(),
            Operation::CloseChannel if channel.is_none() => return Vec::new(),
            _ => {}
        }
        let mut steps = Vec::new();
        if is_fatal {
            let others = side.open_channels(step.link).into_iter();
            let others = others.filter(|&other| other != step.channel || step.operation.leaves_channel());
            steps.extend(others.map(|channel| Step {
                link: step.link,
                channel,
                operation: Operation::CloseChannel,
            }));
        }
        steps.push(Step { link: step.link, channel: step.channel, operation });
        steps
    }

    /// What a broker refuses goes alone, behind the burst: how much of what was sent before an error is
    /// delivered and confirmed by then is a matter of time.
    fn bursts(&mut self, step: &Step, burst: &[Publication]) -> Vec<Step> {
        let mut names: Vec<_> = burst.iter().map(|publication| publication.exchange.clone()).collect();
        names.sort();
        names.dedup();
        names.retain(|name| {
            let is_predeclared = name.is_empty() || name.starts_with("amq.");
            is_predeclared || !self.internal.contains(name) && self.sides[0].has_exchange(name)
        });
        let is_taken = |one: &&Publication| names.contains(&one.exchange) && !one.is_refused();
        let (taken, refused) = burst.iter().partition::<Vec<_>, _>(is_taken);
        let publish = |burst: Vec<&Publication>| Step {
            operation: Operation::Publish(burst.into_iter().cloned().collect()),
            ..step.clone()
        };
        let alone = refused.into_iter().map(|one| publish(vec![one]));
        [publish(taken)].into_iter().chain(alone).collect()
    }

    fn step(&mut self, index: usize, step: &Step) -> Outcome {
        self.performed += 1;
        let (tags, multiple) = self.settled(step);
        self.past.note(step, &self.sides[0]);
        if let Operation::DeclareExchange { exchange, form: ExchangeForm { internal: true, .. }, .. } =
            &step.operation
        {
            self.internal.insert(exchange.clone());
        }
        let consumers = self.sides[0].consumers();
        // Several steps may come of one of the trace.
        let number = self.performed;
        on_both(&mut self.sides, |side_index, side| {
            let Step { link, channel, operation } = step;
            side.perform(&Order {
                number,
                link: *link,
                channel: *channel,
                operation,
                tag: tags[side_index],
                multiple,
            });
        });
        let since = Instant::now();
        for round in 0.. {
            let [ours, oracle] = &self.sides;
            let forms = &ours.forms;
            let ours = wanted::plain(ours.observation(), &mut self.wanted);
            let oracle = wanted::plain(oracle.observation(), &mut self.wanted);
            if ours == oracle {
                return Outcome::Same;
            }
            let past = &self.past;
            let scene = Scene { step, ours: &ours, oracle: &oracle, forms, consumers: &consumers, past };
            // What is only late is not to be taken for something else.
            if let Some(wanted) = wanted::find(&scene).filter(|_| round > 0) {
                *self.wanted.entry(wanted.name).or_default() += 1;
                return match wanted.repair {
                    Repair::Nothing => Outcome::Same,
                    Repair::Reconnect => {
                        on_both(&mut self.sides, |_, side| side.restart(step.link));
                        Outcome::Same
                    }
                    Repair::EndEpisode => Outcome::EndEpisode,
                };
            }
            if round > 0 && without_texts(&ours) == without_texts(&oracle) {
                // Both go on in the same state: so does the comparison.
                let difference = Difference { index, step: step.clone(), ours, oracle };
                self.texts.entry(difference.signature()).or_insert(difference);
                return Outcome::Same;
            }
            if since.elapsed() > LATE {
                let step = step.clone();
                return Outcome::Different(Box::new(Difference { index, step, ours, oracle }));
            }
            on_both(&mut self.sides, |_, side| side.look_again());
        }
        unreachable!("the rounds have no end but those above")
    }

    /// The tags that a step settles on each side, and whether all before them, too.
    fn settled(&self, step: &Step) -> ([u64; 2], bool) {
        let Operation::Settle { target, multiple, .. } = &step.operation else { return ([0, 0], false) };
        let unacked = |side: &Side| {
            side.channel(step.link, step.channel).map(|channel| channel.unacked.clone()).unwrap_or_default()
        };
        let [ours, oracle] = [unacked(&self.sides[0]), unacked(&self.sides[1])];
        match target {
            Target::Zero => ([0, 0], *multiple),
            Target::Unknown => ([1 << 20, 1 << 20], *multiple),
            Target::Nth(nth) => {
                let Some(mine) = ours.get(nth % ours.len().max(1)) else { return ([1 << 20; 2], *multiple) };
                let other = oracle.iter().find(|other| other.key == mine.key);
                let tags = [mine.tag, other.map_or(1 << 20, |other| other.tag)];
                let up_to = |of: &[super::side::Unacked], tag| {
                    let mut keys: Vec<_> =
                        of.iter().filter(|one| one.tag <= tag).map(|one| one.key.clone()).collect();
                    keys.sort();
                    keys
                };
                // Deliveries to two consumers in one step have no order.
                let is_edge = up_to(&ours, tags[0]) == up_to(&oracle, tags[1]);
                (tags, *multiple && is_edge)
            }
        }
    }

    /// A shorter trace that ends in the same kind of difference.
    pub(crate) fn shrink(&mut self, trace: &[Step], difference: &Difference) -> (Vec<Step>, Difference) {
        let since = Instant::now();
        let signature = difference.signature();
        let mut best = (trace[..=difference.index].to_vec(), difference.clone());
        let mut chunk = best.0.len() / 2;
        while chunk > 0 {
            let mut start = 0;
            while start < best.0.len() {
                if since.elapsed() > SHRINKING {
                    return best;
                }
                let end = (start + chunk).min(best.0.len());
                let shorter = [&best.0[..start], &best.0[end..]].concat();
                match self.run(&shorter) {
                    Some(found) if found.signature() == signature => {
                        best = (shorter[..=found.index].to_vec(), found);
                    }
                    _ => start += chunk,
                }
            }
            chunk /= 2;
        }
        best
    }
}

enum Outcome {
    Same,
    EndEpisode,
    Different(Box<Difference>),
}

impl Difference {
    /// Differences with the same signature have the same cause, most likely.
    pub(crate) fn signature(&self) -> String {
        let mut signature = format!("{:?}", self.step.operation);
        signature.truncate(signature.find([' ', '(']).unwrap_or(signature.len()));
        for (stream, ours, oracle) in self.lines() {
            let kind = stream.split(' ').nth(1).unwrap_or("");
            let _ = write!(signature, " / {kind}: {} | {}", shape(&ours), shape(&oracle));
        }
        signature
    }

    /// The streams that differ.
    pub(crate) fn lines(&self) -> Vec<(String, Vec<String>, Vec<String>)> {
        let mut streams: Vec<_> = self.ours.keys().chain(self.oracle.keys()).cloned().collect();
        streams.sort();
        streams.dedup();
        let of = |seen: &Observation, stream: &String| seen.get(stream).cloned().unwrap_or_default();
        streams
            .into_iter()
            .map(|stream| {
                let (ours, oracle) = (of(&self.ours, &stream), of(&self.oracle, &stream));
                (stream, ours, oracle)
            })
            .filter(|(_, ours, oracle)| ours != oracle)
            .collect()
    }
}

/// An observation with codes and texts of errors left out: what is closed, and nothing of why.
pub(crate) fn without_texts(seen: &Observation) -> Observation {
    let strip = |line: &String| match line.find(" closed ") {
        Some(end) => line[..end].to_owned(),
        None => line.clone(),
    };
    seen.iter().map(|(stream, lines)| (stream.clone(), lines.iter().map(strip).collect())).collect()
}

/// The words of lines, without what is between quotes and without numbers.
fn shape(lines: &[String]) -> String {
    let words = lines.iter().map(|line| {
        let parts = line.split('\'').enumerate().filter(|(index, _)| index % 2 == 0).map(|(_, part)| part);
        let text = parts.collect::<Vec<_>>().join("'");
        let is_close = text.contains(" closed ");
        let text: String = text.chars().filter(|c| is_close || !c.is_ascii_digit()).collect();
        text.split(['{', '$']).next().unwrap_or("").chars().take(160).collect::<String>()
    });
    words.collect::<Vec<_>>().join("; ")
}

/// Does something with both at the same time.
fn on_both(sides: &mut [Side; 2], act: impl Fn(usize, &mut Side) + Sync) {
    let [ours, oracle] = sides;
    std::thread::scope(|scope| {
        let act = &act;
        scope.spawn(move || act(1, oracle));
        act(0, ours);
    });
}

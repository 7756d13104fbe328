//! How nearly a binding matches.
//!
//! A near miss has few faults that a person would make: a misspelt word, a word too many, a pattern where no patterns are
//! known, a header that is missing. The nearest are kept.
//!
//! Invariant: comparing costs at most [`WORK_MAX`] steps for an exchange, however long keys are.

use std::collections::BinaryHeap;

use rialto_protocol::types::{FieldTable, FieldValue, ShortStr};

use super::super::binding::BindingRow;
use super::super::table::{RoutingTable, implicit_binding};
use super::super::topic::topic_matches;
use super::fault::Fault;
use super::{NearMiss, tests_of};
use crate::model::ExchangeName;

/// Steps of comparing letters or words. A few tenths of a second at most.
const WORK_MAX: usize = 20_000_000;

/// The faults of a near miss cost at most so much together: see [`Fault::cost`].
const COST_MAX: usize = 6;

/// Words of a key beyond which only equal ones are looked for.
const WORDS_MAX: usize = 64;

/// The nearest bindings of an exchange.
pub(super) struct Near<'a> {
    max: usize,
    work: usize,
    /// The farthest on top.
    kept: BinaryHeap<Kept<'a>>,
    order: usize,
}

struct Kept<'a> {
    cost: usize,
    /// Earlier ones go first among equals.
    order: usize,
    whose: Whose<'a>,
    routing_key: String,
    faults: Vec<Fault>,
}

#[derive(Clone, Copy)]
enum Whose<'a> {
    Row(&'a BindingRow),
    Queue(u32),
}

impl<'a> Near<'a> {
    pub(super) fn new(max: usize) -> Self {
        Near { max, work: 0, kept: BinaryHeap::new(), order: 0 }
    }

    pub(super) fn look_at_queue(&mut self, key: &str, name: &str, slot: u32) {
        if let Some(fault) = self.compare(key, name, None) {
            self.keep(key, Whose::Queue(slot), vec![fault]);
        }
    }

    pub(super) fn look_at_direct(&mut self, key: &str, row: &'a BindingRow) {
        let wanted: &str = &row.routing_key;
        let is_pattern = wanted.split('.').any(|word| word == "*" || word == "#");
        let fault = match is_pattern && topic_matches(wanted, key) {
            true => Some(Fault::PatternOnDirect { pattern: wanted.to_owned() }),
            false => self.compare(key, wanted, None),
        };
        if let Some(fault) = fault {
            self.keep(key, Whose::Row(row), vec![fault]);
        }
    }

    pub(super) fn look_at_topic(&mut self, key: &str, row: &'a BindingRow) {
        if let Some(faults) = self.compare_words(key, &row.routing_key) {
            self.keep(key, Whose::Row(row), faults);
        }
    }

    pub(super) fn look_at_headers(&mut self, headers: &FieldTable, row: &'a BindingRow) {
        let Some(tests) = tests_of(row) else { return };
        let mut faults = Vec::new();
        let unmet: Vec<(ShortStr, FieldValue)> =
            tests.unmet(headers).map(|(name, wanted)| (name.clone(), wanted.clone())).collect();
        let met = tests.len() - unmet.len();
        for (name, wanted) in unmet {
            let fault = match headers.get(&name) {
                Some(is) => Fault::HeaderDiffers { name, is: Box::new(is.clone()), wanted: Box::new(wanted) },
                None => {
                    let names = headers.iter().map(|(name, _)| name);
                    let mut like = names.filter(|other| self.compare(other, &name, None).is_some());
                    let like = like.next().cloned();
                    Fault::HeaderMissing { name, like }
                }
            };
            faults.push(fault);
        }
        // Of many tests, some must be met for it to be near.
        let said = |fault: &Fault| !matches!(fault, Fault::HeaderMissing { like: None, .. });
        match tests.wants_all() {
            true if met == 0 && !faults.iter().any(said) => {}
            true => self.keep("", Whose::Row(row), faults),
            // One of them would be enough.
            false => {
                faults.retain(said);
                faults.sort_by_key(Fault::cost);
                faults.truncate(1);
                if !faults.is_empty() {
                    self.keep("", Whose::Row(row), faults);
                }
            }
        }
    }

    fn keep(&mut self, key: &str, whose: Whose<'a>, faults: Vec<Fault>) {
        let cost = faults.iter().map(Fault::cost).sum();
        if cost > COST_MAX || faults.is_empty() {
            return;
        }
        self.order += 1;
        if self.kept.len() >= self.max {
            if self.kept.peek().is_none_or(|farthest| farthest.cost <= cost) {
                return;
            }
            self.kept.pop();
        }
        let (order, routing_key) = (self.order, key.to_owned());
        self.kept.push(Kept { cost, order, whose, routing_key, faults });
    }

    pub(super) fn into_misses(self, table: &RoutingTable) -> Vec<NearMiss> {
        let miss = |kept: Kept<'_>| NearMiss {
            binding: match kept.whose {
                Whose::Row(row) => table.binding_of(row),
                Whose::Queue(slot) => implicit_binding(table.queue_at(slot)),
            },
            routing_key: kept.routing_key,
            faults: kept.faults,
        };
        self.kept.into_sorted_vec().into_iter().map(miss).collect()
    }

    /// Why two texts differ, if it is by little.
    fn compare(&mut self, is: &str, wanted: &str, word: Option<usize>) -> Option<Fault> {
        let edits = edits(is, wanted, &mut self.work)?;
        let (is, wanted) = (is.to_owned(), wanted.to_owned());
        Some(match is.to_lowercase() == wanted.to_lowercase() {
            true => Fault::Case { word, is, wanted },
            false => Fault::Spelling { word, is, wanted, edits },
        })
    }

    /// The cheapest set of faults for which a pattern does not match a key, if it is cheap enough.
    fn compare_words(&mut self, key: &str, pattern: &str) -> Option<Vec<Fault>> {
        let words = |text| super::super::topic::words(text).collect::<Vec<&str>>();
        let (words, parts) = (words(key), words(pattern));
        if words.len() > WORDS_MAX || parts.len() > WORDS_MAX {
            return None;
        }
        self.work += words.len() * parts.len();
        let width = words.len() + 1;
        // Row by row: cost of the first `part` parts against the first `word` words, and which way it came.
        let mut best: Vec<Option<Step>> = vec![None; (parts.len() + 1) * width];
        best[0] = Some(Step { cost: 0, way: Way::Start });
        for part in 0..=parts.len() {
            for word in 0..width {
                let from = |part: usize, word: usize, best: &[Option<Step>]| {
                    best[part * width + word].map(|step| step.cost)
                };
                let mut least = best[part * width + word];
                let mut offer = |cost: Option<usize>, more: usize, way: Way| {
                    let Some(cost) = cost.map(|cost| cost + more).filter(|cost| *cost <= COST_MAX) else {
                        return;
                    };
                    if least.is_none_or(|least| cost < least.cost) {
                        least = Some(Step { cost, way });
                    }
                };
                if word > 0 {
                    offer(from(part, word - 1, &best), 4, Way::WordOnly);
                }
                if part > 0 && word > 0 {
                    let before = from(part - 1, word - 1, &best);
                    if before.is_some() {
                        match parts[part - 1] {
                            "*" => offer(before, 0, Way::Both(None)),
                            "#" => {}
                            wanted if wanted == words[word - 1] => offer(before, 0, Way::Both(None)),
                            wanted => {
                                let is = words[word - 1];
                                let near = edits(is, wanted, &mut self.work);
                                let cost = near.map_or(5, |edits| 1 + edits);
                                offer(before, cost, Way::Both(Some(near)));
                            }
                        }
                    }
                    if parts[part - 1] == "#" {
                        offer(from(part, word - 1, &best), 0, Way::Swallow);
                    }
                }
                if part > 0 {
                    let more = match parts[part - 1] {
                        "#" => 0,
                        "*" => 3,
                        _ => 4,
                    };
                    offer(from(part - 1, word, &best), more, Way::PartOnly);
                }
                best[part * width + word] = least;
            }
        }
        let (mut faults, mut equal) = (Vec::new(), 0);
        let (mut part, mut word) = (parts.len(), words.len());
        loop {
            match best[part * width + word]?.way {
                Way::Start => break,
                Way::Swallow => word -= 1,
                Way::Both(differ) => {
                    (part, word) = (part - 1, word - 1);
                    match differ {
                        Some(near) => faults.push(differing(word + 1, words[word], parts[part], near)),
                        None => equal += usize::from(parts[part] != "*"),
                    }
                }
                Way::PartOnly => {
                    part -= 1;
                    if parts[part] != "#" {
                        faults.push(Fault::WordMissing { word: part + 1, wanted: parts[part].to_owned() });
                    }
                }
                Way::WordOnly => {
                    word -= 1;
                    faults.push(Fault::WordTooMany { word: word + 1, is: words[word].to_owned() });
                }
            }
        }
        faults.reverse();
        // A pattern none of whose own words is there is not near, however few they are.
        let has_own = parts.iter().any(|part| !matches!(*part, "*" | "#"));
        let is_spelling = |fault: &Fault| matches!(fault, Fault::Spelling { .. } | Fault::Case { .. });
        (equal > 0 || !has_own || faults.iter().all(is_spelling)).then_some(faults)
    }
}

fn differing(word: usize, is: &str, wanted: &str, near: Option<usize>) -> Fault {
    let (is, wanted) = (is.to_owned(), wanted.to_owned());
    match near {
        Some(_) if is.to_lowercase() == wanted.to_lowercase() => Fault::Case { word: Some(word), is, wanted },
        Some(edits) => Fault::Spelling { word: Some(word), is, wanted, edits },
        None => Fault::Word { word, is, wanted },
    }
}

#[derive(Clone, Copy)]
struct Step {
    cost: usize,
    way: Way,
}

/// How a part of the pattern and a word of the key go together.
#[derive(Clone, Copy)]
enum Way {
    Start,
    /// Each has its place; if they differ, by so many edits, or altogether.
    Both(Option<Option<usize>>),
    /// `#` takes the word.
    Swallow,
    /// The key has no word for this part.
    PartOnly,
    /// The pattern has no part for this word.
    WordOnly,
}

/// Letters in which two texts differ, if they are few for their length.
fn edits(is: &str, wanted: &str, work: &mut usize) -> Option<usize> {
    if is == wanted {
        return None;
    }
    let (short, long) = (is.len().min(wanted.len()), is.len().max(wanted.len()));
    // Words of one or two letters are alike only by chance.
    let most = match long {
        0..=2 => 0,
        3..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    if is.eq_ignore_ascii_case(wanted) {
        return Some(1);
    }
    if most == 0 || long - short > most || *work >= WORK_MAX {
        return None;
    }
    *work += short * long;
    let edits = strsim::osa_distance(is, wanted);
    (edits <= most).then_some(edits)
}

/// Those of many names that are like one, the likest first.
pub(super) fn likest<'a>(
    name: &str,
    names: impl Iterator<Item = &'a ExchangeName>,
    max: usize,
) -> Vec<&'a ExchangeName> {
    let mut work = 0;
    let mut like: Vec<_> = names.filter_map(|other| Some((edits(name, other, &mut work)?, other))).collect();
    like.sort_by_key(|(edits, name)| (*edits, name.as_str()));
    like.truncate(max);
    like.into_iter().map(|(_, name)| name).collect()
}

impl Ord for Kept<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.cost, self.order).cmp(&(other.cost, other.order))
    }
}

impl PartialOrd for Kept<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Kept<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Kept<'_> {}

//! Is what a crash left what should be left?
//!
//! For every append we know whether it was told to be committed before the crash. If not, it may have happened or not,
//! but as a whole. A pair that is alive says that what published it has happened, and that what settled it has not; one
//! that is not alive says: if what published it has happened, what settled it has, too. From what must have happened
//! follows what else must; a contradiction is a violation.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::Pair;
use super::history::{History, compare, journal, recovered};
use super::model::{Event, Model, PairState, Published};
use crate::model::{Location, Lsn, QueueId, RestoredRun};
use crate::store::journal::SyncMode;
use crate::store::{Position, SimDisk};

/// What was found after a crash.
pub(super) struct Found {
    pub(super) disk: SimDisk,
    /// The model of what is there: a new history can go on with it.
    pub(super) model: Model,
    pub(super) alive: u64,
}

/// Checks an image of a crash after so many operations of the disk.
pub(super) fn check(
    history: &History,
    operation: usize,
    image: SimDisk,
    rng: &mut Rng,
) -> Result<Found, String> {
    let model = &history.model;
    let exists = |queue: QueueId| {
        model.queues.get(&queue).is_some_and(|removed| removed.is_none_or(|removed| removed > operation))
    };
    let found = recovered(&image, &exists)?;
    let mut next = Model { next_queue: model.next_queue, ..Model::default() };
    next.queues = model.queues.keys().map(|queue| (*queue, (!exists(*queue)).then_some(0))).collect();
    let log = journal(&image, SyncMode::Always, rng.u64(..), &found)?;
    let next_lsn = found.next_lsn;
    for (queue, restored) in found.queues {
        let mut last = None;
        for run in restored {
            for (lsn, message) in messages(model, queue, &run)? {
                if lsn >= next_lsn {
                    return Err(format!("message {lsn} is there, and the next is to be {next_lsn}"));
                }
                if last.is_some_and(|last| last >= lsn) {
                    return Err(format!("message {lsn} of queue {queue} is there twice or out of order"));
                }
                last = Some(lsn);
                compare(&log, queue, lsn, &message)?;
                let returns = run.returned.map_or(0, |returned| returned.returns);
                let pair = PairState {
                    message,
                    published_by: None,
                    settled_by: None,
                    returns,
                    returned_by: Vec::new(),
                };
                next.pairs.insert((queue, lsn), pair);
            }
        }
    }
    happened(history, operation, &exists, &next.pairs)?;
    let alive = next.pairs.len() as u64;
    if log.stats().live_pairs != alive {
        return Err(format!("{alive} pairs are there, and the journal counts {}", log.stats().live_pairs));
    }
    drop(log);
    Ok(Found { disk: image, model: next, alive })
}

/// The messages of a run, where they are now.
fn messages(model: &Model, queue: QueueId, run: &RestoredRun) -> Result<Vec<(Lsn, Published)>, String> {
    let mut from = run.from;
    let mut found = Vec::new();
    for lsn in (run.first.0..).take(run.count as usize).map(Lsn) {
        let Some(pair) = model.pairs.get(&(queue, lsn)) else {
            return Err(format!("queue {queue} has message {lsn}, which never was in it"));
        };
        let message = &pair.message;
        if message.priority != run.priority {
            return Err(format!("message {lsn} of queue {queue} has priority {:?}", run.priority));
        }
        found.push((lsn, Published { location: run.location, from, ..message.clone() }));
        from += message.len;
    }
    if from != run.from + run.len {
        let Location { segment, offset } = run.location;
        return Err(format!("a run in segment {segment} at {offset} has a wrong length"));
    }
    Ok(found)
}

fn happened(
    history: &History,
    operation: usize,
    exists: &dyn Fn(QueueId) -> bool,
    alive: &BTreeMap<Pair, PairState>,
) -> Result<(), String> {
    let model = &history.model;
    let committed = history.committed_at(operation);
    let mut published: BTreeMap<Event, Vec<Pair>> = BTreeMap::new();
    let mut must: Vec<bool> = model.events.iter().map(|position| *position <= committed).collect();
    let mut must_not = vec![false; model.events.len()];
    let mut queue: Vec<Event> = (0..must.len()).filter(|event| must[*event]).collect();
    for (pair, state) in model.pairs.iter().filter(|((queue, _), _)| exists(*queue)) {
        let text = |position: Position| format!("{}:{}", position.0 >> 32, position.0 & 0xffff_ffff);
        let at = |event: Event| text(model.events[event]);
        let name = || format!("message {} of queue {}", pair.1, pair.0);
        if let Some(event) = state.published_by {
            published.entry(event).or_default().push(*pair);
        }
        match alive.get(pair) {
            Some(found) => {
                if let Some(event) = state.published_by
                    && !std::mem::replace(&mut must[event], true)
                {
                    queue.push(event);
                }
                if let Some(event) = state.settled_by {
                    if must[event] && model.events[event] <= committed {
                        let place = state.message.location;
                        let (published, settled) = (state.published_by.map(at), at(event));
                        return Err(format!(
                            "{} came back, though its settlement was committed: published in segment {} at {} ({published:?}), settled before {settled}, committed to {}",
                            name(),
                            place.segment,
                            place.offset,
                            text(committed),
                        ));
                    }
                    must_not[event] = true;
                }
                let sure = state.returned_by.iter().filter(|(event, _)| model.events[*event] <= committed);
                let sure = sure.map(|(_, returns)| *returns).max().unwrap_or(state.returns);
                if found.returns < sure || found.returns > state.returns_now() {
                    let returns = found.returns;
                    return Err(format!("{} came back {returns} times, not {sure}", name()));
                }
            }
            None if state.published_by.is_none() => match state.settled_by {
                None => return Err(format!("{} is lost, which was there from the start", name())),
                Some(event) => {
                    if !std::mem::replace(&mut must[event], true) {
                        queue.push(event);
                    }
                }
            },
            None => {}
        }
    }
    while let Some(event) = queue.pop() {
        for pair in published.get(&event).into_iter().flatten().filter(|pair| !alive.contains_key(pair)) {
            let state = &model.pairs[pair];
            let Some(settled_by) = state.settled_by else {
                let how =
                    if model.events[event] <= committed { "it was committed" } else { "the rest is there" };
                return Err(format!("message {} of queue {} is lost, though {how}", pair.1, pair.0));
            };
            if !std::mem::replace(&mut must[settled_by], true) {
                queue.push(settled_by);
            }
        }
    }
    match (0..must.len()).find(|event| must[*event] && must_not[*event]) {
        None => Ok(()),
        Some(event) => Err(format!("append {event} happened in part")),
    }
}

//! What holds publishers back, by name: alarms of the whole broker, and queues that are full.
//!
//! Invariants: an alarm holds up publishers, never consumers or acknowledgements, and lifts by itself. A queue is listed
//! from when it begins to hold publishers back until they may go on; who is only paced is not listed. The log hears of
//! a queue once, however often it fills and drains meanwhile. Not here: the rule (`pressure`).

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ahash::AHashMap;
use bytesize::ByteSize;
use parking_lot::Mutex;

use super::{Broker, Hold, QueueCell};
use crate::model::{QueueId, QueueName, Timestamp, VhostName};

/// A queue that has not been full for so long is worth a line in the log when it is full again.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Queues of which it is remembered that the log has heard of them.
const TOLD_MAX: usize = 1024;

/// Why publishers of the whole broker wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// Messages hold far more memory than they may. Everybody who publishes waits.
    Memory {
        /// Bytes that messages hold.
        used: u64,
        /// Bytes below which publishers go on.
        lifts_at: u64,
        /// `memory.budget`.
        budget: u64,
    },
    /// The process takes more memory than it may, messages or not. Everybody who publishes waits.
    Process {
        /// Bytes that it took when it was last looked at.
        used: u64,
        /// Bytes below which publishers go on.
        lifts_at: u64,
        /// [`super::Limits::process_limit`].
        limit: u64,
    },
    /// The disk has no room for what must survive a restart. Who publishes to durable queues waits.
    Disk {
        /// What is short, and where.
        why: String,
    },
}

impl Alarm {
    /// What is short, as RabbitMQ's API calls it: `memory` or `disk`.
    pub fn resource(&self) -> &'static str {
        match self {
            Alarm::Memory { .. } | Alarm::Process { .. } => "memory",
            Alarm::Disk { .. } => "disk",
        }
    }
}

/// In the words that `connection.blocked` begins with in RabbitMQ.
impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Alarm::Memory { used, lifts_at, budget } => write!(
                f,
                "low on memory: messages hold {}, memory.budget is {}; publishers go on below {}",
                size(*used),
                size(*budget),
                size(*lifts_at)
            ),
            Alarm::Process { used, lifts_at, limit } => write!(
                f,
                "low on memory: the broker takes {}, memory.process_percent allows {}; publishers go on below {}",
                size(*used),
                size(*limit),
                size(*lifts_at)
            ),
            Alarm::Disk { why } => write!(f, "low on disk: {why}"),
        }
    }
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// A queue that holds publishers back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullQueue {
    /// Its vhost.
    pub vhost: VhostName,
    /// Its name.
    pub name: QueueName,
    /// Since when.
    pub since: Timestamp,
    /// Why. Never [`Hold::Paced`].
    pub hold: Hold,
}

/// Every queue that is full. A leaf lock: see `ARCHITECTURE.md`.
#[derive(Debug, Default)]
pub(super) struct FullQueues(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    full: AHashMap<QueueId, (FullQueue, Weak<QueueCell>)>,
    /// Of which the log has heard, and when each was full last.
    told: AHashMap<QueueId, Timestamp>,
}

impl FullQueues {
    /// A queue begins to hold publishers back, or does so for a weightier reason.
    pub(super) fn enter(&self, id: QueueId, cell: &Arc<QueueCell>, entry: FullQueue) {
        let mut state = self.0.lock();
        match state.full.get_mut(&id) {
            Some((known, _)) => known.hold = entry.hold,
            None => drop(state.full.insert(id, (entry, Arc::downgrade(cell)))),
        }
    }

    /// They may go on.
    pub(super) fn leave(&self, id: QueueId, now: Timestamp) {
        let mut state = self.0.lock();
        state.full.remove(&id);
        if let Some(told) = state.told.get_mut(&id) {
            *told = now;
        }
    }

    fn name(&self, id: QueueId) -> Option<FullQueue> {
        self.0.lock().full.get(&id).map(|(entry, _)| entry.clone())
    }

    fn all(&self) -> Vec<FullQueue> {
        self.0.lock().full.values().map(|(entry, _)| entry.clone()).collect()
    }

    /// Those that the log should hear of, and has not for a while.
    fn untold(&self, now: Timestamp) -> Vec<(FullQueue, Weak<QueueCell>)> {
        let mut state = self.0.lock();
        let State { full, told } = &mut *state;
        told.retain(|id, last| full.contains_key(id) || now.since(*last) < TOLD_AGAIN_AFTER);
        let mut untold = Vec::new();
        for (id, entry) in full.iter() {
            if told.len() >= TOLD_MAX {
                break;
            }
            if told.insert(*id, now).is_none() {
                untold.push(entry.clone());
            }
        }
        untold
    }
}

impl Broker {
    /// What the process takes now, in bytes. Whoever watches it tells this from time to time: between two samples the alarm
    /// stays as it is.
    pub fn note_process_memory(&self, resident: u64) {
        self.0.core.pressure.note_process(resident);
    }

    /// What holds publishers of the whole broker back now: of each resource one alarm at most.
    pub fn alarms(&self) -> Vec<Alarm> {
        let core = &self.0.core;
        let memory = core.pressure.alarm();
        memory.into_iter().chain(core.disk_full().map(|why| Alarm::Disk { why })).collect()
    }

    /// The queues that hold publishers back now, in no order.
    pub fn full_queues(&self) -> Vec<FullQueue> {
        self.0.core.full_queues.all()
    }

    /// What to tell a publisher that these queues hold back. None: nothing, it goes on in a moment. At most 255 bytes
    /// of it reach a client, so the name comes first.
    pub fn hold_text(&self, held: impl Iterator<Item = (QueueId, Hold)> + Clone) -> Option<String> {
        let (id, hold) = held.clone().max_by_key(|(_, hold)| *hold)?;
        let core = &self.0.core;
        Some(match hold {
            Hold::Paced => return None,
            // It may have got room in this moment.
            Hold::Memory => match core.pressure.alarm() {
                Some(alarm) => alarm.to_string(),
                None => "low on memory".to_owned(),
            },
            Hold::Disk => match core.disk_full() {
                Some(why) => Alarm::Disk { why }.to_string(),
                None => "low on disk".to_owned(),
            },
            Hold::Full => {
                let others = held.filter(|(_, hold)| *hold == Hold::Full).count() - 1;
                let more = if others > 0 { format!(", and {others} more") } else { String::new() };
                match core.full_queues.name(id) {
                    Some(FullQueue { vhost, name, .. }) => {
                        format!(
                            "queue '{name}' in vhost '{vhost}' is full{more}: it takes messages again when some have gone"
                        )
                    }
                    None => format!("a queue published to is full{more}"),
                }
            }
        })
    }

    /// Tells the log of queues that have become full.
    pub(super) fn tell_full_queues(&self, now: Timestamp) {
        for (FullQueue { vhost, name, hold, .. }, cell) in self.0.core.full_queues.untold(now) {
            // What all wait for has a line of its own.
            if hold != Hold::Full {
                continue;
            }
            let stats = cell.upgrade().map(|cell| cell.stats());
            let (ready, unacked, memory) = stats.map_or((0, 0, 0), |stats| {
                (stats.ready, stats.unacked, stats.ready_bytes + stats.unacked_bytes)
            });
            tracing::warn!(
                %vhost, queue = %name, ready, unacked, memory = %size(memory),
                "a queue is full: who publishes to it waits, and nobody else"
            );
        }
    }
}

//! Sending dead letters back to where they came from.
//!
//! The queue is gone through once, from its head to what was its end when the job began: what dies meanwhile, a second
//! time perhaps, waits for the next job. Each message that is meant leaves this queue and enters the other in one record of the
//! journal, so that a job that is cut short has doubled and lost nothing, and a second one finds what is left.
//!
//! Invariants: at most so many messages a second as were asked for; a message that cannot go stays, and is counted with its
//! reason; queues that hold publishers back hold the job back, too.
//! Not here: which messages are meant (`filter`), how one is moved (`broker`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::progress::{JobState, Skipped};
use super::{AdminState, Job};
use crate::admin::caller::Caller;
use crate::admin::filter::MessageFilter;
use crate::broker::{Commit, Move, Moved, Outbox, Purpose, QueueCell, Turn, Vhost};
use crate::model::{ExchangeName, Lsn, MessageRoute, RoutingKey};
use crate::queue::{BrowsePlace, BrowsedMessage, origin};

/// Messages that are looked at, and moved, at once.
const BATCH: usize = 512;

/// Batches a second, at least, if a rate is asked for: so that it is even.
const BATCHES_A_SECOND: u32 = 20;

/// How long the job waits before it looks again whether a queue takes messages.
const HELD_BACK: Duration = Duration::from_millis(20);

/// Where dead letters go.
#[derive(Clone, Debug)]
pub(in crate::admin) enum Where {
    /// Each to the queue in which it died first, and to no other.
    Queue,
    /// Each to the exchange that it had been published to, with its routing keys.
    Exchange,
    /// All to this queue.
    OneQueue(Arc<QueueCell>),
    /// All to this exchange, with this key or each with its own.
    OneExchange(ExchangeName, Option<RoutingKey>),
}

/// What a job does.
#[derive(Clone, Debug)]
pub(in crate::admin) struct Redrive {
    /// Who has asked for it. Where messages came from stands in their headers, which any publisher can write: so what
    /// goes to an exchange is asked for each.
    pub(in crate::admin) caller: Caller,
    pub(in crate::admin) vhost: Arc<Vhost>,
    pub(in crate::admin) queue: Arc<QueueCell>,
    pub(in crate::admin) filter: MessageFilter,
    pub(in crate::admin) to: Where,
    /// Whether messages keep the history of their deaths.
    pub(in crate::admin) keep_history: bool,
    /// Messages to move, at most.
    pub(in crate::admin) limit: Option<u64>,
}

/// What one step has come to.
struct Step {
    /// Where to go on. None: there is nothing more.
    next: Option<BrowsePlace>,
    /// Messages that went.
    moved: u64,
    commit: Commit,
    /// Whether a queue holds publishers back.
    is_held_back: bool,
}

impl Redrive {
    /// Does it.
    pub(in crate::admin) async fn run(self, state: AdminState, job: Arc<Job>) {
        let broker = state.broker.clone();
        let horizon = broker.horizon();
        job.progress.add(|account| account.total = self.queue.stats().ready);
        // What was declared a moment ago must be safe before a message depends on it.
        if let Err(why) = broker.committed(broker.catalog_commit()).await {
            return job.progress.end(JobState::Failed, &why, broker.now());
        }
        let began = Instant::now();
        let plan = Arc::new(self);
        let mover = Arc::new(Outbox::new());
        let (mut after, mut moved, mut commit) = (None, 0u64, Commit::NONE);
        let batch = match job.rate {
            Some(rate) => (rate.div_ceil(BATCHES_A_SECOND) as usize).clamp(1, BATCH),
            None => BATCH,
        };
        loop {
            if job.is_cancelled() {
                break;
            }
            let left = plan.limit.map_or(u64::MAX, |limit| limit.saturating_sub(moved));
            if left == 0 {
                break;
            }
            let most = batch.min(usize::try_from(left).unwrap_or(usize::MAX));
            let (plan, job_there, mover) = (plan.clone(), job.clone(), mover.clone());
            let step =
                state.blocking(move |state| plan.step(state, &job_there, after, most, horizon, &mover));
            let step = step.await;
            moved += step.moved;
            commit = commit.join(step.commit);
            if let Some(why) = broker.log_stopped() {
                return job.progress.end(JobState::Failed, &why, broker.now());
            }
            after = match step.next {
                Some(next) => Some(next),
                None => break,
            };
            if let Some(rate) = job.rate
                && !job.is_dry_run
            {
                job.rest(began + Duration::from_secs_f64(moved as f64 / f64::from(rate))).await;
            }
            if step.is_held_back {
                job.rest(Instant::now() + HELD_BACK).await;
            }
        }
        // Only what is safe is done.
        if let Err(why) = broker.committed(commit).await {
            return job.progress.end(JobState::Failed, &why, broker.now());
        }
        let state = if job.is_cancelled() { JobState::Cancelled } else { JobState::Done };
        job.progress.end(state, "", broker.now());
    }

    /// Looks at some messages and moves those that are meant: at most so many of them.
    fn step(
        &self,
        state: &AdminState,
        job: &Job,
        after: Option<BrowsePlace>,
        most: usize,
        horizon: Lsn,
        mover: &Arc<Outbox>,
    ) -> Step {
        let now = state.broker.now();
        let page = self.queue.browse(after, BATCH);
        let mut next = page.next;
        let mut skipped = Skipped { unreadable: page.unreadable, ..Skipped::default() };
        let (mut scanned, mut matched) = (0, 0);
        let mut going: Vec<(String, Move)> = Vec::new();
        let mut known = Known::default();
        for browsed in page.messages {
            if !matches!(browsed.place, BrowsePlace::Ready { .. }) {
                // Behind them are only others that wait for their time.
                next = None;
                break;
            }
            let place = browsed.place;
            if place.lsn() < horizon {
                scanned += 1;
                if self.filter.wants(&browsed, now) {
                    matched += 1;
                    match self.route(&browsed, &mut known) {
                        Ok((destination, message)) => going.push((destination, message)),
                        Err(NoRoute::Origin) => skipped.no_origin += 1,
                        Err(NoRoute::Queue) => skipped.no_queue += 1,
                        Err(NoRoute::NotAllowed) => skipped.not_allowed += 1,
                    }
                }
            }
            if going.len() >= most {
                next = Some(place);
                break;
            }
        }
        let mut turn = Turn::new();
        turn.begin(now);
        let (destinations, moves): (Vec<_>, Vec<_>) = going.into_iter().unzip();
        let (outcomes, commit) = match job.is_dry_run || moves.is_empty() {
            true => (vec![Moved::Moved; moves.len()], Commit::NONE),
            false => state.broker.move_messages(&self.queue, &moves, mover, &mut turn),
        };
        let is_held_back = turn.take_congested().count() > 0;
        turn.finish(&state.broker);
        let mut moved = 0;
        job.progress.add(|account| {
            account.scanned += scanned;
            account.matched += matched;
            for (destination, outcome) in destinations.iter().zip(outcomes) {
                match outcome {
                    Moved::Moved => {
                        moved += 1;
                        account.count(destination, 1);
                    }
                    Moved::Gone => skipped.gone += 1,
                    Moved::Full => skipped.full += 1,
                    Moved::NotYet | Moved::Stopped => skipped.no_queue += 1,
                }
            }
            account.moved += moved;
            let all = &mut account.skipped;
            all.no_origin += skipped.no_origin;
            all.no_queue += skipped.no_queue;
            all.not_allowed += skipped.not_allowed;
            all.full += skipped.full;
            all.gone += skipped.gone;
            all.unreadable += skipped.unreadable;
        });
        Step { next, moved, commit, is_held_back }
    }

    /// Where a message goes, in words and in queues.
    fn route(&self, browsed: &BrowsedMessage, known: &mut Known) -> Result<(String, Move), NoRoute> {
        let message = &browsed.message;
        let properties = message.properties();
        let came_from = origin::origin(&properties);
        let own_key = || {
            let first = came_from.as_ref().and_then(|origin| origin.routing_keys.first());
            first.unwrap_or(message.routing_key()).clone()
        };
        let was_published = || MessageRoute {
            exchange: came_from.as_ref().map_or(message.exchange(), |origin| &origin.exchange).clone(),
            routing_key: own_key(),
        };
        let mut to_exchange = |exchange: &ExchangeName, key: RoutingKey| {
            let asked = (exchange.clone(), key.clone());
            let ask = || self.caller.may_write(&self.vhost, exchange, &key).is_ok();
            let may_copy = self.caller.may_write_copies(&self.vhost, exchange, &message.properties());
            if !*known.allowed.entry(asked).or_insert_with(ask) || may_copy.is_err() {
                return Err(NoRoute::NotAllowed);
            }
            let to = self.vhost.queues_of(exchange, &key, message.properties()).unwrap_or_default();
            let to: Vec<_> = to.into_iter().filter(|queue| queue.id() != self.queue.id()).collect();
            let destination = format!("exchange '{exchange}'");
            Ok((destination, MessageRoute { exchange: exchange.clone(), routing_key: key }, to))
        };
        let (destination, route, to) = match &self.to {
            Where::Queue => {
                let origin = came_from.as_ref().ok_or(NoRoute::Origin)?;
                let name = origin.queue.as_str();
                let find = || {
                    let found = self.vhost.any_queue(name);
                    found
                        .filter(|queue| queue.purpose() == Purpose::Ordinary && queue.id() != self.queue.id())
                };
                let queue = known.queues.entry(name.to_owned()).or_insert_with(find);
                let queue = queue.clone().ok_or(NoRoute::Queue)?;
                (name.to_owned(), was_published(), vec![queue])
            }
            Where::Exchange => {
                let origin = came_from.as_ref().ok_or(NoRoute::Origin)?;
                to_exchange(&origin.exchange, own_key())?
            }
            Where::OneQueue(queue) => (queue.name().to_string(), was_published(), vec![queue.clone()]),
            Where::OneExchange(exchange, key) => to_exchange(exchange, key.clone().unwrap_or_else(own_key))?,
        };
        if to.is_empty() {
            return Err(NoRoute::Queue);
        }
        let revived =
            came_from.filter(|_| !self.keep_history).map(|_| origin::revived(&properties).encoded());
        Ok((destination, Move { place: browsed.place, route, properties: revived, to }))
    }
}

/// Why a message stays.
enum NoRoute {
    Origin,
    Queue,
    NotAllowed,
}

/// What was asked before in a step.
#[derive(Default)]
struct Known {
    queues: HashMap<String, Option<Arc<QueueCell>>>,
    /// Whether the caller may publish there.
    allowed: HashMap<(ExchangeName, RoutingKey), bool>,
}

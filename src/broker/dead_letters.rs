//! Dead letters: from the queue in which a message died to the queues its dead-letter exchange leads to.
//!
//! Called from a turn's work list, when no queue is locked; what dies on the way joins the list.

use std::iter;
use std::sync::Arc;

use tracing::{debug, warn};

use super::commit::Later;
use super::journalling::stored_run;
use super::purpose::Purpose;
use super::{Broker, QueueCell, Turn};
use crate::model::{Message, MessageRoute, Priority, Publication};
use crate::queue::{Admission, DeadLetter, death};
use crate::routing::delay::delay_ms;
use crate::routing::{CopyKeys, RouteInput};

/// Longest properties of a dead letter, in bytes: what a message was published with and its history, which
/// repeats the keys of its `CC` header for each death. It must fit a frame next to the largest body.
const PROPERTIES_MAX: usize = 256 << 10;

impl Broker {
    /// Letters that died over and over within one turn were given up.
    pub(super) fn end_dead_letters(&self, count: u64) {
        self.counters().count_dead_letters_ended(count);
        warn!(count, "dead letters end here: too many died again at once");
    }

    pub(super) fn bury(&self, queue: &Arc<QueueCell>, letter: DeadLetter, turn: &mut Turn) {
        if queue.purpose() == Purpose::Delays {
            return self.release(queue, letter, turn);
        }
        let Some(vhost) = queue.vhost() else { return };
        let options = queue.effective_options();
        let Some(target) = &options.dead_letter else { return turn.notes_dead(queue, &letter) };
        let limits = &self.limits().queue;
        let reborn = match death::rewrite(&letter, queue.name(), target, limits, turn.now) {
            Ok(reborn) => reborn,
            Err(end) => {
                self.counters().count_dead_letters_ended(1);
                warn!(queue = %queue.name(), vhost = %vhost.name(), %end, "a dead letter ends here");
                return turn.notes_dead(queue, &letter);
            }
        };
        let properties = reborn.properties.encoded();
        if properties.len() > PROPERTIES_MAX {
            self.counters().count_dead_letters_ended(1);
            let len = properties.len();
            warn!(queue = %queue.name(), vhost = %vhost.name(), len, "a dead letter ends here: its history is too long");
            return turn.notes_dead(queue, &letter);
        }
        let route =
            MessageRoute { exchange: reborn.exchange.clone(), routing_key: reborn.routing_key.clone() };
        let message = Message::new(route, &properties, letter.message.body(), self.gauge());
        // `BCC` went when the message was published. A `CC` that is no list was refused then.
        let copies = CopyKeys::read(&message.properties()).ok().flatten().unwrap_or_default();
        let input = RouteInput {
            exchange: &reborn.exchange,
            routing_keys: &copies.with(&reborn.routing_key),
            properties: message.properties(),
        };
        let mut cells = vhost.lookup(&input, &mut turn.routed).unwrap_or_else(|missing| {
            debug!(queue = %queue.name(), vhost = %vhost.name(), %missing, "dead letter dropped");
            Vec::new()
        });
        if cells.is_empty() {
            self.counters().count_dead_letter_unroutable();
            return turn.notes_dead(queue, &letter);
        }
        let publication = Publication {
            lsn: self.log().reserve(1),
            priority: message.properties().priority().map(Priority),
            delay_ms: delay_ms(&message.properties()),
            ttl_ms: None, // the rewrite has moved the expiration into the history
            message,
        };
        cells.retain(|cell| match reborn.may_enter(cell.name()) {
            Ok(()) => true,
            Err(end) => {
                self.counters().count_dead_letters_ended(1);
                warn!(queue = %queue.name(), vhost = %vhost.name(), %end, "a dead letter ends here");
                false
            }
        });
        self.move_on(queue, &letter, &cells, publication, turn);
    }

    /// Gives a message that the broker itself sends on to the queues it goes to. For the journal, leaving the one and
    /// entering the others is one thing.
    pub(super) fn move_on(
        &self,
        from: &QueueCell,
        letter: &DeadLetter,
        queues: &[Arc<QueueCell>],
        publication: Publication,
        turn: &mut Turn,
    ) {
        let left = stored_run(from, &letter.message, letter.lsn).map(|run| (from.id(), run));
        // A queue that it goes to may not be in the catalog yet, and a crash would take it along: then it leaves later.
        let core = &self.0.core;
        let into_young = queues.iter().any(|queue| core.is_young(queue));
        let (left, later) = if into_young { (None, left) } else { (left, None) };
        let moved = self.append_move(left, queues, &publication, turn.now);
        if let (Ok(moved), Some((queue, run))) = (&moved, later) {
            // Apart from its settlement, that it has moved is in no record.
            if let Some(until) = moved {
                core.log.keep_until(run.location, *until);
            }
            core.tell_journal_later(Later::Settle { queue, run });
        }
        if let Err(error) = moved {
            // It is still in its queue, for who starts the broker again.
            return warn!(queue = %from.name(), %error, "a dead letter is not moved");
        }
        // A queue that is full refuses it; there is no publisher who would be told.
        let mut rejected = Vec::new();
        for queue in queues {
            let one = iter::once((0, publication.clone()));
            queue.publish(one, Admission::Published, None, &mut rejected, turn);
        }
    }
}

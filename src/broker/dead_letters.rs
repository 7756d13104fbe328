//! Dead letters: from the queue in which a message died to the queues its dead-letter exchange leads to.
//!
//! Called from a turn's work list, when no queue is locked; what dies on the way joins the list.

use std::iter;
use std::sync::Arc;

use rialto_protocol::ReplyCode;
use tracing::{debug, warn};

use super::{Broker, QueueCell, Turn};
use crate::model::{Message, MessageRoute, Priority, Publication};
use crate::queue::{DeadLetter, death};
use crate::routing::{CopyKeys, RouteInput, Routed};

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
        let Some(vhost) = queue.vhost() else { return };
        let Some(target) = &queue.options().dead_letter else { return };
        let limits = &self.limits().queue;
        let reborn = match death::rewrite(&letter, queue.name(), target, limits, turn.now) {
            Ok(reborn) => reborn,
            Err(end) => {
                self.counters().count_dead_letters_ended(1);
                warn!(queue = %queue.name(), vhost = %vhost.name(), %end, "a dead letter ends here");
                return;
            }
        };
        let properties = reborn.properties.encoded();
        if properties.len() > PROPERTIES_MAX {
            self.counters().count_dead_letters_ended(1);
            let len = properties.len();
            warn!(queue = %queue.name(), vhost = %vhost.name(), len, "a dead letter ends here: its history is too long");
            return;
        }
        let route =
            MessageRoute { exchange: reborn.exchange.clone(), routing_key: reborn.routing_key.clone() };
        let message = Message::new(route, &properties, letter.message.body(), self.gauge());
        // `BCC` went when the message was published. A `CC` that is no list was refused then.
        let copies = CopyKeys::read(&message.properties()).ok().flatten().unwrap_or_default();
        let mut routed = Routed::new();
        let topology = vhost.topology.read();
        let input = RouteInput {
            exchange: &reborn.exchange,
            routing_keys: &copies.with(&reborn.routing_key),
            properties: message.properties(),
        };
        if let Err(missing) = topology.routing.route(&input, &mut routed) {
            debug_assert_eq!(missing.reply_code(), ReplyCode::NotFound);
            debug!(queue = %queue.name(), vhost = %vhost.name(), %missing, "dead letter dropped");
        }
        let cells: Vec<_> = routed.queues.iter().filter_map(|id| topology.cells.get(id)).cloned().collect();
        drop(topology);
        if cells.is_empty() {
            self.counters().count_dead_letter_unroutable();
        }
        let publication = Publication {
            lsn: self.log().reserve(1),
            priority: message.properties().priority().map(Priority),
            ttl_ms: None, // the rewrite has moved the expiration into the history
            message,
        };
        let mut rejected = Vec::new();
        for cell in cells {
            match reborn.may_enter(cell.name()) {
                Ok(()) => cell.publish(iter::once((0, publication.clone())), None, &mut rejected, turn),
                Err(end) => {
                    self.counters().count_dead_letters_ended(1);
                    warn!(queue = %queue.name(), vhost = %vhost.name(), %end, "a dead letter ends here");
                }
            }
        }
    }
}

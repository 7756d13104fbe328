//! What changes when a queue gets other options: a policy came, changed or went.
//!
//! Invariants: what depends on the options alone is as if they had always been so from the next moment on: lengths,
//! overflow, dead letters, limits, delays. How long it may be unused is counted from the change on. Messages that are
//! there live no longer than the new time to live, counted from when they came; a longer one is for new messages, since
//! what a message asked for itself is not kept. Consumers keep the time they were started with. Not here: which options
//! hold (policies).

use crate::model::{QueueOptions, Timestamp};

use super::effects::Effects;
use super::{Queue, duplicates};

impl Queue {
    /// Gives the queue other options. What a queue is for its life (durable, exclusive, auto-delete, its type, its
    /// priorities, its single active consumer) stays as it was declared. [`Queue::dispatch`] should follow.
    pub fn set_options(&mut self, options: QueueOptions, now: Timestamp, out: &mut Effects) {
        let old = &self.options;
        let options = QueueOptions {
            durable: old.durable,
            exclusive: old.exclusive,
            auto_delete: old.auto_delete,
            queue_type: old.queue_type,
            max_priority: old.max_priority,
            default_priority: old.default_priority,
            single_active_consumer: old.single_active_consumer,
            arguments: old.arguments.clone(),
            ..options
        };
        let old = std::mem::replace(&mut self.options, options);
        if old.deduplication != self.options.deduplication {
            self.seen = duplicates::window(&self.options);
        }
        if let Some(ttl) = self.options.message_ttl_ms
            && old.message_ttl_ms.is_none_or(|old| ttl < old)
        {
            let shorten = |enqueued: Timestamp, expires: &mut Timestamp| {
                *expires = (*expires).min(enqueued.plus_millis(ttl));
            };
            self.ready.change_expiry(shorten);
            self.delayed.change_expiry(shorten);
            self.consumers.change_expiry(shorten);
        }
        if old.expires_ms != self.options.expires_ms {
            // A queue that nobody has used for long is not gone the moment that a policy says for how long it may be
            // unused: its time begins then, as in RabbitMQ.
            self.touch(now);
        }
        if self.options.dead_letter.is_none() {
            self.forget_dying(out);
        }
        self.pass_time(now, out);
        self.drop_overflow(out);
    }
}

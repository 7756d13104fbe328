//! What a session says besides answering at once: deliveries from its outbox, and what has waited for the disk.
//!
//! Invariants: what came into the outbox first goes out first, and which consumers are gone comes behind what was sent
//! to them; urgent notices pass by all of it. While the output is held, no deliveries are encoded: they would only wait
//! there, where the queues' windows do not count them. Not here: how a delivery or a confirm looks on the wire.

use std::sync::Arc;

use super::held_answers::{Answer, HeldAnswers};
use super::{OUTPUT_HIGH, UNREAD_ANSWERS_MAX, WriteQueue};
use crate::broker::{Broker, DeliveryRun, LocalConsumer, Notice, Outbox, Outgoing, Turn};
use crate::model::ChannelId;

/// What is the same in the sessions of both protocols, and theirs to hold.
pub(super) struct Parts<'a, A> {
    pub(super) broker: &'a Broker,
    pub(super) outbox: &'a Arc<Outbox>,
    pub(super) turn: &'a mut Turn,
    pub(super) out: &'a mut WriteQueue,
    /// What was taken from the outbox and goes out next.
    pub(super) sending: &'a mut Outgoing,
    pub(super) held: &'a mut HeldAnswers<A>,
}

/// See the module.
pub(super) trait Speaker {
    /// What publishers are told.
    type Answer: Answer;

    /// Deliveries taken from a run at a time, so that large messages do not fill the output far past its mark.
    const DELIVERIES_MAX: usize;

    fn parts(&mut self) -> Parts<'_, Self::Answer>;

    /// What is to be written, and what is not even that.
    fn waiting(&self) -> (&WriteQueue, &HeldAnswers<Self::Answer>);

    /// Hears a notice. Of a consumer that is gone it is told apart, in its turn.
    fn handle_notice(&mut self, notice: Notice);

    /// Forgets a consumer whose queue is gone, and tells the client if it wants to know.
    fn consumer_cancelled(&mut self, consumer: LocalConsumer);

    /// Takes the first `count` deliveries from what goes out next and encodes them for this consumer.
    fn encode_deliveries(&mut self, consumer: LocalConsumer, count: usize);

    /// Nothing more will ever be safe: publishers hear that their messages were not taken, and who waits for another
    /// answer hears nothing but the reason.
    fn log_has_stopped(&mut self, why: &str);

    /// Counts the messages whose confirms were told.
    fn count_confirmed(&mut self);

    /// Ends the connection, if it only waits for that.
    fn say_last_words(&mut self);

    /// Whether answers wait for the disk.
    fn waits_for_disk(&self) -> bool {
        let (out, held) = self.waiting();
        out.is_held() || !held.is_empty()
    }

    /// Whether the peer, or the disk, must first let some of the answers go.
    fn has_too_many_answers(&self) -> bool {
        let (out, held) = self.waiting();
        out.total_len() >= UNREAD_ANSWERS_MAX || held.is_full()
    }

    /// Whether the peer's heartbeats wait in the socket, which is not read while it has so much to read itself, and it lives
    /// for all that is known: it takes what is sent to it, if slowly, or nothing may be sent to it yet.
    fn may_be_alive_unheard(&mut self) -> bool {
        let reads = self.parts().out.take_progress();
        self.has_too_many_answers() && (reads || self.waits_for_disk())
    }

    /// What comes from here on waits until everything that was done is safe.
    fn hold_output(&mut self) {
        let Parts { broker, turn, out, .. } = self.parts();
        let commit = turn.take_commit();
        if !broker.is_committed(&commit) {
            out.hold(commit);
        }
    }

    /// Says what has waited for the disk and need not any more.
    fn say_committed(&mut self) {
        let Parts { broker, out, held, .. } = self.parts();
        held.release(out, broker);
        let waits = out.is_held() || !held.is_empty();
        self.count_confirmed();
        let Parts { broker, outbox, out, held, .. } = self.parts();
        if waits {
            match broker.log_stopped() {
                Some(why) => self.log_has_stopped(&why),
                None => held.await_commits(out, broker, outbox),
            }
        }
        if !self.waiting().0.is_held() {
            self.say_last_words();
        }
    }

    /// Hears what does not wait until everything before it has been sent.
    fn hear_urgent(&mut self) {
        for notice in self.parts().outbox.take_urgent() {
            self.handle_notice(notice);
        }
    }

    /// Takes the outbox if everything taken before has been sent, and hears its notices. False if it took nothing.
    fn take_outbox(&mut self) -> bool {
        let Parts { outbox, sending, .. } = self.parts();
        if !sending.is_empty() || !outbox.take(sending) {
            return false;
        }
        let notices = std::mem::take(&mut sending.notices);
        self.handle_notices(notices);
        true
    }

    fn handle_notices(&mut self, notices: Vec<Notice>) {
        for notice in notices {
            match notice {
                // Told when what was sent to it before has gone out: see `encode_some`.
                Notice::ConsumerCancelled { .. } => self.parts().sending.notices.push(notice),
                notice => self.handle_notice(notice),
            }
        }
    }

    /// Encodes deliveries until enough waits to be written.
    fn fill_output(&mut self) {
        loop {
            let (out, _) = self.waiting();
            if out.is_held() || out.len() >= OUTPUT_HIGH {
                return;
            }
            if !self.encode_some() && !self.take_outbox() {
                return;
            }
        }
    }

    /// Encodes everything that others have put into the outbox up to now, whatever its size: what follows must
    /// come after it. The outbox is bounded by its consumers' windows.
    fn encode_sending(&mut self) {
        while self.encode_some() {}
        self.take_outbox();
        while self.encode_some() {}
    }

    /// Encodes a stretch of deliveries for one consumer, or which consumers are gone when all deliveries have been
    /// encoded. False if there was nothing.
    fn encode_some(&mut self) -> bool {
        let sending = self.parts().sending;
        let Some(run) = sending.runs.front_mut() else {
            let notices = std::mem::take(&mut sending.notices);
            for notice in &notices {
                if let Notice::ConsumerCancelled { consumer } = notice {
                    self.consumer_cancelled(*consumer);
                }
            }
            return !notices.is_empty();
        };
        let DeliveryRun { consumer, count } = *run;
        let take = count.min(Self::DELIVERIES_MAX);
        run.count -= take;
        if run.count == 0 {
            sending.runs.pop_front();
        }
        self.encode_deliveries(consumer, take);
        true
    }

    /// Forgets the deliveries of a channel and keeps the others.
    fn forget_deliveries_of(&mut self, channel: ChannelId) {
        let Parts { outbox, sending, .. } = self.parts();
        sending.forget_channel(channel);
        let mut rest = Outgoing::default();
        if outbox.take(&mut rest) {
            rest.forget_channel(channel);
            sending.runs.extend(rest.runs);
            sending.deliveries.extend(rest.deliveries);
            self.handle_notices(rest.notices);
        }
    }
}

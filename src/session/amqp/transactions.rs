//! `tx`: publishes and acknowledgements that are carried out together, or not at all.
//!
//! Routes are found when a message is published, as in RabbitMQ; returns of unroutable messages wait for the commit.
//! A rollback forgets the publishes and puts the acknowledged messages back among the unacknowledged ones: it does
//! not requeue them.
//!
//! `tx.commit-ok` waits for the disk, as in RabbitMQ: the client is to wait for it before it goes on with the channel.
//! If the disk fails, the connection is closed instead.

use bytes::BytesMut;
use rialto_protocol::ReplyCode;
use rialto_protocol::amqp::Method;

use super::channel::Mode;
use super::confirms::Confirm;
use super::fault::Refusal;
use super::unacked::Taken;
use super::{AmqpSession, State};
use crate::access::Protocol;
use crate::broker::{Commit, PublishBatch};
use crate::model::ChannelId;
use crate::queue::{RejectReason, Settle};

/// What waits for the commit.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// In order; each as large as a batch may be.
    batches: Vec<PublishBatch>,
    /// Encoded.
    returns: BytesMut,
    pub(super) settles: Vec<(Taken, Settle)>,
    /// How many messages it publishes, the unroutable ones included.
    pub(super) published: u64,
    /// How many messages it settles.
    pub(super) settled: u64,
    /// What it counts for in the connection's limit.
    pub(super) bytes: u64,
}

impl Transaction {
    /// Settles this, too.
    pub(super) fn settle(&mut self, taken: Taken, settlement: Settle) {
        self.settled += taken.tags.1 + 1 - taken.tags.0;
        self.settles.push((taken, settlement));
    }

    /// Where the next message goes, and its return.
    pub(super) fn buffers(&mut self) -> (&mut PublishBatch, &mut BytesMut) {
        if self.batches.last().is_none_or(PublishBatch::is_full) {
            self.batches.push(PublishBatch::of(Protocol::Amqp));
        }
        (self.batches.last_mut().expect("just pushed"), &mut self.returns)
    }
}

impl AmqpSession {
    pub(super) fn select_transactions(&mut self, number: ChannelId) -> Result<(), Refusal> {
        if let Some(channel) = self.open().channel_mut(number) {
            match &channel.mode {
                Mode::Plain => channel.mode = Mode::Transaction(Box::default()),
                Mode::Transaction(_) => {}
                Mode::Confirm { .. } => {
                    let text = "cannot switch from confirm to tx mode";
                    return Err(Refusal::new(ReplyCode::PreconditionFailed, text));
                }
            }
        }
        self.say(number.0, Method::TxSelectOk(Default::default()));
        Ok(())
    }

    pub(super) fn commit(&mut self, number: ChannelId) -> Result<(), Refusal> {
        let Transaction { batches, returns, settles, .. } = self.take_transaction(number)?;
        let partly = || Refusal::new(ReplyCode::PreconditionFailed, "partial tx completion");
        let mut commit = Commit::NONE;
        let batches = match self.broker.would_take(&batches) {
            true => batches,
            false => {
                // As in RabbitMQ when a queue refuses (`x-overflow`): nothing is acknowledged, what was taken stays.
                commit = self.publish_apart(batches).ok_or_else(partly)?;
                Vec::new()
            }
        };
        if let State::Open(open) = &mut self.state {
            for (taken, settlement) in settles {
                open.collect_settle(number, taken, &settlement);
            }
        }
        self.flush_settles();
        match self.publish_committed(batches) {
            Ok(together) => commit = commit.join(together),
            // Another publisher was quicker since.
            Err(RejectReason::MaxLength) => return Err(partly()),
            Err(reason) => return Err(Refusal::new(ReplyCode::InternalError, reason.to_string())),
        }
        self.out.buffer().extend_from_slice(&returns);
        let commit = commit.join(self.turn.0.take_commit());
        if self.held.may_pass(&commit, &self.broker) {
            self.say(number.0, Method::TxCommitOk(Default::default()));
        } else {
            let open = match &mut self.state {
                State::Open(open) => open,
                _ => return Ok(()),
            };
            if let Some(channel) = open.channel_mut(number) {
                self.held.push(commit, &channel.info, Confirm::Committed);
            }
        }
        Ok(())
    }

    pub(super) fn roll_back(&mut self, number: ChannelId) -> Result<(), Refusal> {
        let transaction = self.take_transaction(number)?;
        if let Some(channel) = self.open().channel_mut(number) {
            for (taken, _) in transaction.settles {
                channel.unacked.put_back(taken);
            }
        }
        self.say(number.0, Method::TxRollbackOk(Default::default()));
        Ok(())
    }

    /// Ends the present transaction; the next one begins.
    fn take_transaction(&mut self, number: ChannelId) -> Result<Transaction, Refusal> {
        let open = self.open();
        let taken = match open.channel_mut(number).map(|channel| &mut channel.mode) {
            Some(Mode::Transaction(transaction)) => std::mem::take(&mut **transaction),
            _ => {
                let text = "channel is not transactional";
                return Err(Refusal::new(ReplyCode::PreconditionFailed, text));
            }
        };
        open.uncommitted -= taken.bytes;
        Ok(taken)
    }
}

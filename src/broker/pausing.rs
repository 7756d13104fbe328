//! Pausing a queue: deliveries stop, everything else goes on. Durable queues stay paused over a restart.

use std::sync::Arc;

use super::purpose::Purpose;
use super::{BrokerError, Commit, QueueCell, Turn, Vhost};

impl Vhost {
    /// Stops a queue's deliveries, or lets them go on. What it must wait for to be safe.
    ///
    /// # Errors
    /// The queue is the broker's own, is gone, or nothing durable can be changed.
    pub fn pause_queue(
        &self,
        queue: &Arc<QueueCell>,
        paused: bool,
        turn: &mut Turn,
    ) -> Result<Commit, BrokerError> {
        if queue.purpose() != Purpose::Ordinary {
            let (queue, vhost) = (queue.name().clone(), self.name().clone());
            return Err(BrokerError::QueueInternal { queue, vhost });
        }
        self.check_keeps(queue.is_journalled())?;
        let topology = self.topology.write();
        if topology.cells.get(queue.id()).is_none() {
            return Err(self.no_queue(queue.name()));
        }
        let changed = queue.set_paused(paused, turn);
        let mut commit = Commit::NONE;
        if changed && queue.is_journalled() {
            commit.catalog = self.keep_queue_row(queue, paused);
        }
        drop(topology);
        Ok(commit)
    }
}

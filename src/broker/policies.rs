//! The policies of one vhost: which one holds for a queue or an exchange, and what changes when they do.
//!
//! A policy holds at once, for what is declared before it and after it. Queues that the broker keeps for itself are
//! no operator's matter: policies pass them over.
//!
//! Invariants: at most [`POLICIES_MAX`]; at any moment at most one policy holds for a name.
//! Not here: what a policy says and how it combines with arguments (`model::Policy`).

use std::collections::BTreeMap;
use std::sync::Arc;

use rialto_protocol::ReplyCode;

use super::purpose::Purpose;
use super::vhost::Topology;
use super::{BrokerError, QueueCell, Turn, Vhost};
use crate::model::{ExchangeName, ExchangeOptions, POLICIES_MAX, Policy, QueueType};

/// The policies by name.
#[derive(Debug, Default)]
pub(super) struct Policies(BTreeMap<String, Arc<Policy>>);

impl Policies {
    /// Of the policies that match, the one with the highest priority; of equal ones the first by name.
    fn holding(&self, matches: impl Fn(&Policy) -> bool) -> Option<&Arc<Policy>> {
        // The last of equals wins, so from the end.
        self.0.values().rev().filter(|policy| matches(policy)).max_by_key(|policy| policy.priority())
    }

    /// The policy that holds for a queue.
    pub(super) fn of_queue(&self, name: &str, queue_type: QueueType) -> Option<&Arc<Policy>> {
        self.holding(|policy| policy.matches_queue(name, queue_type))
    }

    /// The policy that holds for an exchange.
    pub(super) fn of_exchange(&self, name: &str) -> Option<&Arc<Policy>> {
        self.holding(|policy| policy.matches_exchange(name))
    }

    /// The alternate exchange that holds for an exchange.
    pub(super) fn alternate(&self, name: &str, declared: &ExchangeOptions) -> Option<ExchangeName> {
        match self.of_exchange(name) {
            Some(policy) => policy.alternate_for(declared),
            None => declared.alternate.clone(),
        }
    }
}

impl Vhost {
    /// Sets a policy, in the place of one of the same name.
    ///
    /// # Errors
    /// The vhost has as many as it may have.
    pub fn set_policy(&self, policy: Policy, turn: &mut Turn) -> Result<(), BrokerError> {
        let mut topology = self.topology.write();
        let policies = &mut topology.policies.0;
        if policies.len() >= POLICIES_MAX && !policies.contains_key(policy.name()) {
            let text = format!("cannot set policy '{}': limit of {POLICIES_MAX} is reached", policy.name());
            return Err(BrokerError::refused(ReplyCode::PreconditionFailed, text));
        }
        policies.insert(policy.name().to_owned(), Arc::new(policy));
        self.apply_policies(&mut topology, turn);
        Ok(())
    }

    /// Takes a policy away. Whether there was one of this name.
    pub fn clear_policy(&self, name: &str, turn: &mut Turn) -> bool {
        let mut topology = self.topology.write();
        let existed = topology.policies.0.remove(name).is_some();
        if existed {
            self.apply_policies(&mut topology, turn);
        }
        existed
    }

    /// Every policy, by name.
    pub fn policies(&self) -> Vec<Arc<Policy>> {
        self.topology.read().policies.0.values().cloned().collect()
    }

    fn apply_policies(&self, topology: &mut Topology, turn: &mut Turn) {
        let alternates: Vec<_> = topology
            .routing
            .exchanges()
            .map(|exchange| {
                let alternate = topology.policies.alternate(exchange.name(), exchange.options());
                (exchange.name().clone(), alternate)
            })
            .collect();
        for (exchange, alternate) in alternates {
            topology.routing.set_alternate(&exchange, alternate);
        }
        self.publish_generation(topology);
        // One queue at a time, and never two policies at once: the topology stays locked.
        topology.cells.all().for_each(|queue| topology.apply_policy(queue, turn));
    }
}

impl Topology {
    /// Lets hold for a queue what its policy and its declaration say together.
    pub(super) fn apply_policy(&self, queue: &Arc<QueueCell>, turn: &mut Turn) {
        let declared = queue.options();
        let laid_down = self.policy_of(queue).map(|policy| policy.applied_to_queue(declared));
        let now = queue.effective_options();
        let holds = laid_down.as_ref().unwrap_or(declared);
        if *now != *holds {
            queue.set_options(holds.clone(), turn);
        }
    }

    /// The policy that holds for a queue; none for the broker's own.
    pub(super) fn policy_of(&self, queue: &QueueCell) -> Option<&Arc<Policy>> {
        if queue.purpose() != Purpose::Ordinary {
            return None;
        }
        self.policies.of_queue(queue.name(), queue.options().queue_type)
    }
}

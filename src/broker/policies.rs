//! The policies of one vhost: which ones hold for a queue or an exchange, and what changes when they do.
//!
//! A policy holds at once, for what is declared before it and after it. Queues that the broker keeps for itself are
//! no operator's matter: policies pass them over. Policies that were set at run time are in the catalog; those of the
//! file are set with each start, in the place of others of their name, and can be changed in the file only.
//!
//! Invariants: nobody adds more than `Limits::policies_max` of each kind; at any moment at most one of each kind holds for a name.
//! Not here: what policies say and how they combine with each other and with arguments (`model::Policy`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rialto_protocol::ReplyCode;

use super::purpose::Purpose;
use super::vhost::Topology;
use super::{BrokerError, QueueCell, Turn, Vhost};
use crate::model::{EffectivePolicy, ExchangeName, ExchangeOptions, Policy, PolicyKind, QueueType};
use crate::store::{Change, PolicyRow};

/// Where a policy was set, and so where it can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Catalog,
    File,
}

/// Policies of one kind, by name.
#[derive(Debug, Default)]
struct Named(BTreeMap<String, (Arc<Policy>, Source)>);

impl Named {
    /// Of the policies that match, the one with the highest priority; of equal ones the first by name.
    fn holding(&self, matches: impl Fn(&Policy) -> bool) -> Option<&Arc<Policy>> {
        // The last of equals wins, so from the end.
        let policies = self.0.values().rev().map(|(policy, _)| policy);
        policies.filter(|policy| matches(policy)).max_by_key(|policy| policy.priority())
    }
}

/// The policies of a vhost.
#[derive(Debug, Default)]
pub(super) struct Policies {
    user: Named,
    operator: Named,
}

/// The policies that hold for one queue or exchange.
#[derive(Clone, Debug, Default)]
pub struct HoldingPolicies {
    /// The users'.
    pub policy: Option<Arc<Policy>>,
    /// The operators'.
    pub operator: Option<Arc<Policy>>,
}

impl HoldingPolicies {
    /// What they lay down together.
    pub fn effective(&self) -> Option<EffectivePolicy> {
        EffectivePolicy::of(self.policy.as_deref(), self.operator.as_deref())
    }
}

impl Policies {
    fn of_kind(&self, kind: PolicyKind) -> &Named {
        match kind {
            PolicyKind::User => &self.user,
            PolicyKind::Operator => &self.operator,
        }
    }

    fn of_kind_mut(&mut self, kind: PolicyKind) -> &mut Named {
        match kind {
            PolicyKind::User => &mut self.user,
            PolicyKind::Operator => &mut self.operator,
        }
    }

    fn holding(&self, matches: impl Fn(&Policy) -> bool) -> HoldingPolicies {
        let holding = |named: &Named| named.holding(&matches).cloned();
        HoldingPolicies { policy: holding(&self.user), operator: holding(&self.operator) }
    }

    /// The policies that hold for a queue.
    pub(super) fn of_queue(&self, name: &str, queue_type: QueueType) -> HoldingPolicies {
        self.holding(|policy| policy.matches_queue(name, queue_type))
    }

    /// The policies that hold for an exchange.
    pub(super) fn of_exchange(&self, name: &str) -> HoldingPolicies {
        self.holding(|policy| policy.matches_exchange(name))
    }

    /// The alternate exchange that holds for an exchange.
    pub(super) fn alternate(&self, name: &str, declared: &ExchangeOptions) -> Option<ExchangeName> {
        match self.of_exchange(name).effective() {
            Some(effective) => effective.alternate_for(declared),
            None => declared.alternate.clone(),
        }
    }

    fn insert(&mut self, policy: Policy, source: Source) {
        let named = self.of_kind_mut(policy.kind());
        named.0.insert(policy.name().to_owned(), (Arc::new(policy), source));
    }

    /// Refuses changes of policies of the file, and more than `max` policies.
    fn check_set(&self, policies: &[Policy], max: usize) -> Result<(), BrokerError> {
        let refused = |text| Err(BrokerError::refused(ReplyCode::PreconditionFailed, text));
        let mut added: [BTreeSet<&str>; 2] = Default::default();
        for policy in policies {
            let (kind, name) = (policy.kind(), policy.name());
            let known = &self.of_kind(kind).0;
            match known.get(name) {
                Some((_, Source::File)) => return refused(of_file(name)),
                Some((_, Source::Catalog)) => {}
                None => {
                    let added = &mut added[usize::from(kind == PolicyKind::Operator)];
                    added.insert(name);
                    if known.len() + added.len() > max {
                        return refused(format!(
                            "cannot set policy '{name}': limit of {max} (topology.policies_per_vhost_max) is reached"
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

fn of_file(name: &str) -> String {
    format!(
        "policy '{name}' is set in the broker's settings file: change it there ([[policies]]), and start the broker again"
    )
}

impl Vhost {
    /// Sets a policy, in the place of one of the same name and kind, and keeps it.
    ///
    /// # Errors
    /// The vhost has as many as it may have, the file has one of this name, or nothing durable can be changed.
    pub fn set_policy(&self, policy: Policy, turn: &mut Turn) -> Result<(), BrokerError> {
        self.set_policies(vec![policy], turn)
    }

    /// Whether [`Vhost::set_policies`] would set them.
    ///
    /// # Errors
    /// As there.
    pub fn check_policies(&self, policies: &[Policy]) -> Result<(), BrokerError> {
        self.check_keeps(true)?;
        self.topology.read().policies.check_set(policies, self.core().limits.policies_max)
    }

    /// Sets policies, all of them or none. They are applied once.
    ///
    /// # Errors
    /// As [`Vhost::set_policy`].
    pub fn set_policies(&self, policies: Vec<Policy>, turn: &mut Turn) -> Result<(), BrokerError> {
        self.check_keeps(true)?;
        let mut topology = self.topology.write();
        topology.policies.check_set(&policies, self.core().limits.policies_max)?;
        for policy in policies {
            self.keep_policy(&policy);
            topology.policies.insert(policy, Source::Catalog);
        }
        self.apply_policies(&mut topology, turn);
        Ok(())
    }

    /// Sets a policy of the file, in the place of one that was set at run time. It is never one too many: what the
    /// catalog has may have been set when more were allowed, and is no reason not to start.
    pub fn set_file_policy(&self, policy: Policy, turn: &mut Turn) {
        let mut topology = self.topology.write();
        topology.policies.insert(policy, Source::File);
        self.apply_policies(&mut topology, turn);
    }

    /// Sets what the catalog has, before there are messages. Nothing is told to anybody.
    pub(super) fn restore_policies(&self, policies: Vec<Policy>, turn: &mut Turn) {
        let mut topology = self.topology.write();
        for policy in policies {
            topology.policies.insert(policy, Source::Catalog);
        }
        self.apply_policies(&mut topology, turn);
    }

    /// Takes a policy away. Whether there was one of this name.
    ///
    /// # Errors
    /// It is the file's.
    pub fn clear_policy(&self, kind: PolicyKind, name: &str, turn: &mut Turn) -> Result<bool, BrokerError> {
        let mut topology = self.topology.write();
        let policies = &mut topology.policies.of_kind_mut(kind).0;
        match policies.get(name) {
            None => return Ok(false),
            Some((_, Source::File)) => {
                return Err(BrokerError::refused(ReplyCode::PreconditionFailed, of_file(name)));
            }
            Some((_, Source::Catalog)) => policies.remove(name),
        };
        self.forget_kept_policy(kind, name);
        self.apply_policies(&mut topology, turn);
        Ok(true)
    }

    /// Every policy of a kind, by name.
    pub fn policies(&self, kind: PolicyKind) -> Vec<Arc<Policy>> {
        let topology = self.topology.read();
        topology.policies.of_kind(kind).0.values().map(|(policy, _)| policy.clone()).collect()
    }

    /// The policy of a kind with this name.
    pub fn policy(&self, kind: PolicyKind, name: &str) -> Option<Arc<Policy>> {
        let topology = self.topology.read();
        topology.policies.of_kind(kind).0.get(name).map(|(policy, _)| policy.clone())
    }

    /// Whether there is such a policy, and it is the file's.
    pub fn is_file_policy(&self, kind: PolicyKind, name: &str) -> bool {
        let topology = self.topology.read();
        matches!(topology.policies.of_kind(kind).0.get(name), Some((_, Source::File)))
    }

    /// The policies that hold for a queue; none for the broker's own.
    pub fn policies_of_queue(&self, queue: &QueueCell) -> HoldingPolicies {
        self.topology.read().policies_of(queue)
    }

    /// The policies that hold for an exchange.
    pub fn policies_of_exchange(&self, name: &str) -> HoldingPolicies {
        self.topology.read().policies.of_exchange(name)
    }

    fn keep_policy(&self, policy: &Policy) {
        let row = PolicyRow {
            vhost: self.name().clone(),
            name: policy.name().to_owned(),
            pattern: policy.pattern().to_owned(),
            target: policy.target(),
            priority: policy.priority(),
            definition: policy.definition().clone(),
        };
        self.keep(match policy.kind() {
            PolicyKind::User => Change::PutPolicy(row),
            PolicyKind::Operator => Change::PutOperatorPolicy(row),
        });
    }

    fn forget_kept_policy(&self, kind: PolicyKind, name: &str) {
        let (vhost, name) = (self.name().clone(), name.to_owned());
        self.keep(match kind {
            PolicyKind::User => Change::DeletePolicy { vhost, name },
            PolicyKind::Operator => Change::DeleteOperatorPolicy { vhost, name },
        });
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
    /// Lets hold for a queue what its policies and its declaration say together.
    pub(super) fn apply_policy(&self, queue: &Arc<QueueCell>, turn: &mut Turn) {
        let declared = queue.options();
        let laid_down = self.policies_of(queue).effective();
        let laid_down = laid_down.map(|effective| effective.applied_to_queue(declared));
        let now = queue.effective_options();
        let holds = laid_down.as_ref().unwrap_or(declared);
        if *now != *holds {
            queue.set_options(holds.clone(), turn);
        }
    }

    /// The policies that hold for a queue; none for the broker's own.
    pub(super) fn policies_of(&self, queue: &QueueCell) -> HoldingPolicies {
        if queue.purpose() != Purpose::Ordinary {
            return HoldingPolicies::default();
        }
        self.policies.of_queue(queue.name(), queue.options().queue_type)
    }
}

//! What the catalog keeps, as rows: whatever is needed to declare it again as it was.
//!
//! Arguments are kept as they were given, not as what they mean: options are read from them anew at every start, by
//! the same rules as at the declare. Not here: how rows lie on disk (`tables`).

use std::fmt;

use rialto_protocol::types::FieldTable;

use crate::model::{
    ExchangeFlags, ExchangeKind, ExchangeName, PolicyTarget, QueueFlags, QueueId, QueueName, RoutingKey,
    VhostName,
};

/// A vhost.
#[derive(Clone, Debug, PartialEq)]
pub struct VhostRow {
    /// Its name.
    pub name: VhostName,
    /// What operators have noted or set for it, its limits among that.
    pub metadata: FieldTable,
}

/// An exchange that was declared.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeRow {
    /// Its vhost.
    pub vhost: VhostName,
    /// Its name.
    pub name: ExchangeName,
    /// Its type.
    pub kind: ExchangeKind,
    /// Its flags.
    pub flags: ExchangeFlags,
    /// Its arguments, exactly as they were given.
    pub arguments: FieldTable,
}

/// What a queue in the catalog is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueUse {
    /// A client has declared it.
    #[default]
    Ordinary,
    /// Messages of a delayed exchange wait in it.
    Delays,
}

/// A queue.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueRow {
    /// Its vhost.
    pub vhost: VhostName,
    /// Its name.
    pub name: QueueName,
    /// What the journal knows it by.
    pub id: QueueId,
    /// What it is for.
    pub purpose: QueueUse,
    /// Whether an operator has stopped its deliveries.
    pub paused: bool,
    /// Its flags.
    pub flags: QueueFlags,
    /// Its arguments, exactly as they were given.
    pub arguments: FieldTable,
}

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindingEnd {
    /// A queue.
    Queue(QueueName),
    /// An exchange.
    Exchange(ExchangeName),
}

/// A binding. All of it is its identity.
#[derive(Clone, Debug, PartialEq)]
pub struct BindingRow {
    /// Its vhost.
    pub vhost: VhostName,
    /// The exchange that messages come from.
    pub source: ExchangeName,
    /// Where they go.
    pub destination: BindingEnd,
    /// The binding's key.
    pub routing_key: RoutingKey,
    /// Its arguments. In whatever order they are given, they are the same binding's; read back sorted by name.
    pub arguments: FieldTable,
}

/// A policy, as it is made from texts and a table.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyRow {
    /// Its vhost.
    pub vhost: VhostName,
    /// Its name.
    pub name: String,
    /// The regular expression.
    pub pattern: String,
    /// What it is for.
    pub target: PolicyTarget,
    /// Higher wins.
    pub priority: i64,
    /// What it lays down, by key.
    pub definition: FieldTable,
}

/// A user.
#[derive(Clone, PartialEq)]
pub struct UserRow {
    /// The name to log in with.
    pub name: String,
    /// The hash of the password, with how it was made.
    pub password_hash: String,
    /// What the user may do besides using vhosts, separated by commas.
    pub tags: String,
    /// What else there is to know: keys of SCRAM, limits. Secret in part.
    pub details: FieldTable,
}

impl fmt::Debug for UserRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the hash: rows end up in logs.
        f.debug_struct("UserRow").field("name", &self.name).field("tags", &self.tags).finish_non_exhaustive()
    }
}

/// What a user may do in a vhost, as regular expressions of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionRow {
    /// The user.
    pub user: String,
    /// The vhost.
    pub vhost: VhostName,
    /// What may be declared and deleted.
    pub configure: String,
    /// What may be published to.
    pub write: String,
    /// What may be consumed from.
    pub read: String,
}

/// Which routing keys a user may publish to a topic exchange with, and bind it with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPermissionRow {
    /// The user.
    pub user: String,
    /// The vhost.
    pub vhost: VhostName,
    /// The exchange.
    pub exchange: ExchangeName,
    /// Keys to publish with.
    pub write: String,
    /// Keys to bind with.
    pub read: String,
}

/// Something that an operator has set by name, for a component to understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterRow {
    /// Its vhost. None: it is a global parameter, which has no component.
    pub vhost: Option<VhostName>,
    /// Whose it is; empty for a global parameter.
    pub component: String,
    /// Its name.
    pub name: String,
    /// What it says, in JSON.
    pub value: String,
}

/// Everything in the catalog, each kind sorted by its name, within its vhost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CatalogContents {
    /// Vhosts.
    pub vhosts: Vec<VhostRow>,
    /// Exchanges.
    pub exchanges: Vec<ExchangeRow>,
    /// Queues.
    pub queues: Vec<QueueRow>,
    /// Bindings, by source.
    pub bindings: Vec<BindingRow>,
    /// Policies.
    pub policies: Vec<PolicyRow>,
    /// Users.
    pub users: Vec<UserRow>,
    /// Permissions, by user.
    pub permissions: Vec<PermissionRow>,
    /// Topic permissions, by user, then vhost.
    pub topic_permissions: Vec<TopicPermissionRow>,
    /// Policies of operators.
    pub operator_policies: Vec<PolicyRow>,
    /// Parameters: the global ones, then those of vhosts.
    pub parameters: Vec<ParameterRow>,
}

impl CatalogContents {
    /// The changes that make these contents out of nothing.
    pub fn into_changes(self) -> impl Iterator<Item = Change> {
        let CatalogContents {
            vhosts,
            exchanges,
            queues,
            bindings,
            policies,
            users,
            permissions,
            topic_permissions,
            operator_policies,
            parameters,
        } = self;
        let vhosts = vhosts.into_iter().map(Change::PutVhost);
        let exchanges = exchanges.into_iter().map(Change::PutExchange);
        let queues = queues.into_iter().map(Change::PutQueue);
        let bindings = bindings.into_iter().map(Change::PutBinding);
        let policies = policies.into_iter().map(Change::PutPolicy);
        let users = users.into_iter().map(Change::PutUser);
        let permissions = permissions.into_iter().map(Change::PutPermission);
        let topics = topic_permissions.into_iter().map(Change::PutTopicPermission);
        let operators = operator_policies.into_iter().map(Change::PutOperatorPolicy);
        let parameters = parameters.into_iter().map(Change::PutParameter);
        let topology = vhosts.chain(exchanges).chain(queues).chain(bindings).chain(policies);
        topology.chain(users).chain(permissions).chain(topics).chain(operators).chain(parameters)
    }
}

/// Something to be remembered or forgotten. To put what exists replaces it, to delete what does not exist is fine.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A vhost is there.
    PutVhost(VhostRow),
    /// A vhost is gone with everything in it, and what users may do there.
    DeleteVhost {
        /// Its name.
        name: VhostName,
    },
    /// An exchange is there.
    PutExchange(ExchangeRow),
    /// An exchange is gone with the bindings from it and to it.
    DeleteExchange {
        /// Its vhost.
        vhost: VhostName,
        /// Its name.
        name: ExchangeName,
    },
    /// A queue is there. If one of the same name was another ([`QueueRow::id`]), that one is gone, with its bindings.
    PutQueue(QueueRow),
    /// A queue is gone with the bindings to it, unless the name is another's by now.
    DeleteQueue {
        /// Its vhost.
        vhost: VhostName,
        /// Its name.
        name: QueueName,
        /// Which of this name.
        id: QueueId,
    },
    /// A binding is there. (Whether its ends are, nobody asks: `amq.topic` is in no catalog.)
    PutBinding(BindingRow),
    /// A binding is gone.
    DeleteBinding(BindingRow),
    /// A policy is there.
    PutPolicy(PolicyRow),
    /// A policy is gone.
    DeletePolicy {
        /// Its vhost.
        vhost: VhostName,
        /// Its name.
        name: String,
    },
    /// A user is there.
    PutUser(UserRow),
    /// A user is gone with all permissions.
    DeleteUser {
        /// The name.
        name: String,
    },
    /// A permission is there.
    PutPermission(PermissionRow),
    /// A permission is gone.
    DeletePermission {
        /// Whose.
        user: String,
        /// Where.
        vhost: VhostName,
    },
    /// A topic permission is there.
    PutTopicPermission(TopicPermissionRow),
    /// A topic permission is gone.
    DeleteTopicPermission {
        /// Whose.
        user: String,
        /// Where.
        vhost: VhostName,
        /// For which exchange.
        exchange: ExchangeName,
    },
    /// A policy of an operator is there.
    PutOperatorPolicy(PolicyRow),
    /// A policy of an operator is gone.
    DeleteOperatorPolicy {
        /// Its vhost.
        vhost: VhostName,
        /// Its name.
        name: String,
    },
    /// A parameter is there.
    PutParameter(ParameterRow),
    /// A parameter is gone.
    DeleteParameter {
        /// Its vhost; none for a global one.
        vhost: Option<VhostName>,
        /// Whose it is; empty for a global one.
        component: String,
        /// Its name.
        name: String,
    },
}

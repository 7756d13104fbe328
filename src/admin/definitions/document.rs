//! Definitions as values: what RabbitMQ's JSON says, checked as far as the document alone can be.
//!
//! Reading goes through all of it whatever is wrong, so that every error is told at once; what is not known is told
//! too. Not here: how items are read (`items`), whether they fit what is there (`check`), making them so (`apply`).

use std::collections::BTreeMap;
use std::hash::Hash;

use serde_json::{Map, Value};

use super::findings::Findings;
use super::items::{
    BindingItem, ExchangeItem, GlobalParameter, Parameter, PolicyItem, QueueItem, UserItem, VhostItem,
};
use super::reader::{Reader, kind};
use crate::access::{Permission, RabbitHashing, TopicPermission};
use crate::model::{PolicyKind, VhostLimits, VhostName};

/// Keys that say where a document comes from.
const ORIGIN: [&str; 7] = [
    "rabbitmq_version",
    "product_name",
    "product_version",
    "rabbitmq_definition_format",
    "original_cluster_name",
    "original_vhost_name",
    "explanation",
];

/// Sections that belong to a broker, and to no single vhost.
const OF_BROKER: [&str; 5] = ["users", "vhosts", "permissions", "topic_permissions", "global_parameters"];

/// The global parameter by which RabbitMQ tells clusters apart.
const CLUSTER_ID: &str = "internal_cluster_id";

/// An item with its place in the document.
#[derive(Clone, Debug)]
pub(in crate::admin) struct Placed<T> {
    /// Its place.
    pub(in crate::admin) at: String,
    /// What stands there.
    pub(in crate::admin) item: T,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(in crate::admin) struct Document {
    pub(in crate::admin) vhosts: Vec<Placed<VhostItem>>,
    pub(in crate::admin) users: Vec<Placed<UserItem>>,
    pub(in crate::admin) permissions: Vec<Placed<Permission>>,
    pub(in crate::admin) topic_permissions: Vec<Placed<TopicPermission>>,
    pub(in crate::admin) parameters: Vec<Placed<Parameter>>,
    pub(in crate::admin) global_parameters: Vec<Placed<GlobalParameter>>,
    pub(in crate::admin) vhost_limits: Vec<Placed<(VhostName, VhostLimits)>>,
    pub(in crate::admin) policies: Vec<Placed<PolicyItem>>,
    pub(in crate::admin) queues: Vec<Placed<QueueItem>>,
    pub(in crate::admin) exchanges: Vec<Placed<ExchangeItem>>,
    pub(in crate::admin) bindings: Vec<Placed<BindingItem>>,
}

impl Document {
    /// Reads a document. Into this vhost, if it is the export of a single one.
    pub(in crate::admin) fn read(
        object: &Map<String, Value>,
        into: Option<&VhostName>,
        findings: &mut Findings,
    ) -> Document {
        let mut document = Document::default();
        let mut reader = Reader::new(String::new(), object, findings);
        let version = reader.text("rabbit_version").map(str::to_owned);
        reader.pass_over(&ORIGIN);
        match into {
            None => document.read_of_broker(&mut reader, default_hashing(version.as_deref())),
            Some(vhost) => {
                for key in OF_BROKER {
                    if reader.value(key).is_some() {
                        reader.notice(key, format!("'{key}' belongs to no single vhost and was left out"));
                    }
                }
                if ["description", "tags", "default_queue_type", "metadata", "limits"]
                    .iter()
                    .any(|key| object.get(*key).is_some_and(|value| !value.is_null()))
                {
                    let item = VhostItem::read_fields(&mut reader, vhost.clone());
                    document.vhosts.push(Placed { at: String::new(), item });
                }
            }
        }
        document.read_parameters(&mut reader, into);
        let policies = section(&mut reader, "policies", |reader| {
            let item = PolicyItem::read(reader, PolicyKind::User, into)?;
            let key = (item.vhost.clone(), item.policy.name().to_owned());
            Some((key, item))
        });
        document.policies.extend(policies);
        document.exchanges = section(&mut reader, "exchanges", |reader| {
            let item = ExchangeItem::read(reader, into)?;
            Some(((item.vhost.clone(), item.name.clone()), item))
        });
        document.queues = section(&mut reader, "queues", |reader| {
            let item = QueueItem::read(reader, into)?;
            Some(((item.vhost.clone(), item.name.clone()), item))
        });
        document.bindings = section(&mut reader, "bindings", |reader| {
            let item = BindingItem::read(reader, into)?;
            Some((item.key(), item))
        });
        reader.finish();
        document
    }

    fn read_of_broker(&mut self, reader: &mut Reader<'_>, hashing: RabbitHashing) {
        self.vhosts = section(reader, "vhosts", |reader| {
            let item = VhostItem::read(reader)?;
            Some((item.name.clone(), item))
        });
        self.users = section(reader, "users", |reader| {
            let item = UserItem::read(reader, hashing)?;
            Some((item.name.clone(), item))
        });
        self.permissions = section(reader, "permissions", |reader| {
            let (user, vhost) = (super::items::user(reader), super::items::vhost(reader, None));
            let item = super::items::permission(reader, user?, vhost?)?;
            Some(((item.user.clone(), item.vhost.clone()), item))
        });
        self.topic_permissions = section(reader, "topic_permissions", |reader| {
            let (user, vhost) = (super::items::user(reader), super::items::vhost(reader, None));
            let item = super::items::topic_permission(reader, user?, vhost?)?;
            Some(((item.user.clone(), item.vhost.clone(), item.exchange.clone()), item))
        });
        self.global_parameters = section(reader, "global_parameters", |reader| {
            let item = GlobalParameter::read(reader)?;
            Some((item.name.clone(), item))
        });
        self.global_parameters.retain(|placed| {
            let is_foreign = placed.item.name == CLUSTER_ID;
            if is_foreign {
                let notice = format!("'{CLUSTER_ID}' names the cluster that it comes from and was left out");
                reader.notice_at(&placed.at, notice);
            }
            !is_foreign
        });
    }

    /// Parameters, and those among them that are something else: operator policies and limits of vhosts.
    fn read_parameters(&mut self, reader: &mut Reader<'_>, into: Option<&VhostName>) {
        let read = section(reader, "parameters", |reader| {
            let item = Parameter::read(reader, into)?;
            let key = (item.vhost.clone(), item.component.clone(), item.name.clone());
            Some((key, item))
        });
        for Placed { at, item } in read {
            match item.component.as_str() {
                "operator_policy" => {
                    let read = |reader: &mut Reader<'_>| {
                        PolicyItem::read_fields(reader, PolicyKind::Operator, item.vhost.clone(), &item.name)
                    };
                    if let Some(item) = reader.inside_value(&at, &item.value, read).flatten() {
                        self.policies.push(Placed { at, item });
                    }
                }
                "vhost-limits" => {
                    if let Some(limits) = reader.inside_value(&at, &item.value, super::items::vhost_limits) {
                        self.vhost_limits.push(Placed { at, item: (item.vhost, limits) });
                    }
                }
                component => {
                    let notice = format!("parameters of component '{component}' are kept and have no effect");
                    reader.notice_at(&at, notice);
                    self.parameters.push(Placed { at, item });
                }
            }
        }
    }

    /// How many items there are.
    pub(in crate::admin) fn len(&self) -> usize {
        let Document {
            vhosts,
            users,
            permissions,
            topic_permissions,
            parameters,
            global_parameters,
            vhost_limits,
            policies,
            queues,
            exchanges,
            bindings,
        } = self;
        let of_broker = vhosts.len() + users.len() + permissions.len() + topic_permissions.len();
        let set = parameters.len() + global_parameters.len() + vhost_limits.len() + policies.len();
        of_broker + set + queues.len() + exchanges.len() + bindings.len()
    }
}

/// How a hash was made that does not say: RabbitMQ used MD5 before 3.6.0.
fn default_hashing(version: Option<&str>) -> RabbitHashing {
    let numbers = version.map(|version| version.split('.').map_while(|number| number.parse().ok()));
    let numbers: Option<Vec<u32>> = numbers.map(Iterator::collect);
    match numbers.as_deref() {
        Some([major, minor, ..]) if (*major, *minor) < (3, 6) => RabbitHashing::Md5,
        _ => RabbitHashing::Sha256,
    }
}

/// Reads the items of a list, each with the name that only one of them may have.
fn section<K: Ord + Hash, T>(
    reader: &mut Reader<'_>,
    key: &'static str,
    mut read: impl FnMut(&mut Reader<'_>) -> Option<(K, T)>,
) -> Vec<Placed<T>> {
    let Some(list) = reader.list(key) else { return Vec::new() };
    let mut items = Vec::with_capacity(list.len());
    let mut known: BTreeMap<K, usize> = BTreeMap::new();
    for (index, value) in list.iter().enumerate() {
        let at = format!("{key}[{index}]");
        let Value::Object(_) = value else {
            reader.fault(&at, format!("must be an object, and is {}", kind(value)));
            continue;
        };
        let Some((name, item)) = reader.inside_value(&at, value, &mut read).flatten() else { continue };
        match known.get(&name) {
            None => {
                known.insert(name, index);
                items.push(Placed { at, item });
            }
            Some(first) if list[*first] == *value => {
                reader.notice_at(&at, "stands there twice, and counts once");
            }
            Some(first) => reader.fault(&at, format!("is the same as {key}[{first}], with other properties")),
        }
    }
    items
}

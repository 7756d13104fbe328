//! Rows in the tables of redb.
//!
//! Every table is typed, its key is what names a row, sorted as it is listed; bindings are kept twice, to be found
//! from both ends. Flags are bits. Arguments are AMQP tables with their length.
//!
//! Tables that were added later are missing in older catalogs: they are empty there, and made by the first change.
//!
//! Invariants: both tables of bindings hold the same; a change is applied whole, in one transaction with its
//! neighbours; applied again, it changes nothing. What is read is checked: a file is not trusted.

use std::ops::Range;

use ahash::AHashMap;
use redb::{
    Database, Key, ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError,
    Value, WriteTransaction,
};
use rialto_protocol::types::{FieldTable, FieldValue, ShortStr};

use super::rows::{
    BindingEnd, BindingRow, CatalogContents, Change, ExchangeRow, ParameterRow, PermissionRow, PolicyRow,
    QueueRow, QueueUse, TopicPermissionRow, UserRow, VhostRow,
};
use super::{CatalogError, FORMAT};
use crate::model::{
    ExchangeFlags, ExchangeKind, ExchangeName, PolicyTarget, QueueFlags, QueueId, QueueName, RoutingKey,
    VhostName,
};

type Named<'a> = (&'a str, &'a str);

type Three<'a> = (&'a str, &'a str, &'a str);

/// Vhost, source, kind of destination, destination, key, arguments.
type FromSource<'a> = (&'a str, &'a str, u8, &'a str, &'a str, &'a [u8]);

/// Vhost, kind of destination, destination, source, key, arguments.
type ToDestination<'a> = (&'a str, u8, &'a str, &'a str, &'a str, &'a [u8]);

const META: TableDefinition<'_, &str, u128> = TableDefinition::new("meta");
const VHOSTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("vhosts");
const EXCHANGES: TableDefinition<'_, Named<'_>, (&str, u8, &[u8])> = TableDefinition::new("exchanges");
const QUEUES: TableDefinition<'_, Named<'_>, (u64, u8, u8, &[u8])> = TableDefinition::new("queues");
const BINDINGS: TableDefinition<'_, FromSource<'_>, ()> = TableDefinition::new("bindings");
const BINDINGS_TO: TableDefinition<'_, ToDestination<'_>, ()> = TableDefinition::new("bindings_to");
const POLICIES: TableDefinition<'_, Named<'_>, (&str, &str, i64, &[u8])> = TableDefinition::new("policies");
const USERS: TableDefinition<'_, &str, (&str, &str)> = TableDefinition::new("users");
/// By user, then vhost.
const PERMISSIONS: TableDefinition<'_, Named<'_>, (&str, &str, &str)> = TableDefinition::new("permissions");

/// By name. What did not fit into the first table; a user may have no row.
const USER_DETAILS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("user_details");
/// By user, vhost, then exchange.
const TOPIC_PERMISSIONS: TableDefinition<'_, Three<'_>, (&str, &str)> =
    TableDefinition::new("topic_permissions");
const OPERATOR_POLICIES: TableDefinition<'_, Named<'_>, (&str, &str, i64, &[u8])> =
    TableDefinition::new("operator_policies");
/// By vhost, component, then name. Global parameters have no vhost and no component: both are empty.
const PARAMETERS: TableDefinition<'_, Three<'_>, &str> = TableDefinition::new("parameters");

const META_FORMAT: &str = "format";
const META_NODE: &str = "node";
const META_NEXT_QUEUE: &str = "next_queue_id";

const DURABLE: u8 = 1;
const AUTO_DELETE: u8 = 2;
const INTERNAL: u8 = 4;
const EXCLUSIVE: u8 = 8;
const PAUSED: u8 = 16;

const TO_QUEUE: u8 = 0;
const TO_EXCHANGE: u8 = 1;

const ORDINARY: u8 = 0;
const DELAYS: u8 = 1;

/// Facts about the catalog itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) node: u128,
    pub(super) next_queue_id: u64,
}

/// Makes the tables of a new catalog and fills them.
pub(super) fn fill(database: &Database, meta: Meta, contents: CatalogContents) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(META)?;
        table.insert(META_FORMAT, FORMAT)?;
        table.insert(META_NODE, meta.node)?;
        table.insert(META_NEXT_QUEUE, u128::from(meta.next_queue_id))?;
        let mut tables = Tables::open(&transaction)?;
        for change in contents.into_changes() {
            tables.apply(&change)?;
        }
    }
    Ok(transaction.commit()?)
}

/// Reads what the catalog says of itself.
pub(super) fn meta(database: &Database) -> Result<Meta, CatalogError> {
    let read = || -> Result<_, redb::Error> {
        let table = database.begin_read()?.open_table(META)?;
        let get = |key| Ok::<_, redb::Error>(table.get(key)?.map(|value| value.value()));
        Ok((get(META_FORMAT)?, get(META_NODE)?, get(META_NEXT_QUEUE)?))
    };
    let (format, node, next) = read()?;
    match format {
        Some(FORMAT) => {}
        Some(found) if found > FORMAT => return Err(CatalogError::Newer { found, known: FORMAT }),
        _ => return Err(CatalogError::Damaged("it does not say its format".to_owned())),
    }
    match (node, next.and_then(|next| u64::try_from(next).ok())) {
        (Some(node), Some(next_queue_id)) => Ok(Meta { node, next_queue_id }),
        _ => Err(CatalogError::Damaged("it does not say which queue is the next".to_owned())),
    }
}

/// Takes identities of queues out of those that were never used.
pub(super) fn take_queue_ids(database: &Database, from: u64, count: u64) -> Result<Range<u64>, CatalogError> {
    let used_up = || CatalogError::Damaged("its identities of queues are used up".to_owned());
    let taken = from..from.checked_add(count).ok_or_else(used_up)?;
    let write = || -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        transaction.open_table(META)?.insert(META_NEXT_QUEUE, u128::from(taken.end))?;
        Ok(transaction.commit()?)
    };
    write()?;
    Ok(taken)
}

/// Applies changes in one transaction.
pub(super) fn commit(database: &Database, changes: &[Change]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut tables = Tables::open(&transaction)?;
        for change in changes {
            tables.apply(change)?;
        }
    }
    Ok(transaction.commit()?)
}

/// All tables but [`META`], to be written.
struct Tables<'t> {
    vhosts: Table<'t, &'static str, &'static [u8]>,
    exchanges: Table<'t, Named<'static>, (&'static str, u8, &'static [u8])>,
    queues: Table<'t, Named<'static>, (u64, u8, u8, &'static [u8])>,
    bindings: Table<'t, FromSource<'static>, ()>,
    bindings_to: Table<'t, ToDestination<'static>, ()>,
    policies: Table<'t, Named<'static>, (&'static str, &'static str, i64, &'static [u8])>,
    users: Table<'t, &'static str, (&'static str, &'static str)>,
    permissions: Table<'t, Named<'static>, (&'static str, &'static str, &'static str)>,
    user_details: Table<'t, &'static str, &'static [u8]>,
    topic_permissions: Table<'t, Three<'static>, (&'static str, &'static str)>,
    operator_policies: Table<'t, Named<'static>, (&'static str, &'static str, i64, &'static [u8])>,
    parameters: Table<'t, Three<'static>, &'static str>,
}

/// A binding as both tables name it.
struct BindingKey {
    vhost: String,
    source: String,
    kind: u8,
    destination: String,
    routing_key: String,
    arguments: Vec<u8>,
}

impl BindingKey {
    fn of(row: &BindingRow) -> Self {
        let (kind, destination) = match &row.destination {
            BindingEnd::Queue(name) => (TO_QUEUE, name.as_str()),
            BindingEnd::Exchange(name) => (TO_EXCHANGE, name.as_str()),
        };
        BindingKey {
            vhost: row.vhost.as_str().to_owned(),
            source: row.source.as_str().to_owned(),
            kind,
            destination: destination.to_owned(),
            routing_key: row.routing_key.as_str().to_owned(),
            arguments: sorted(&row.arguments).encoded().to_vec(),
        }
    }

    fn by_source(&self) -> FromSource<'_> {
        (&self.vhost, &self.source, self.kind, &self.destination, &self.routing_key, &self.arguments)
    }

    fn by_destination(&self) -> ToDestination<'_> {
        (&self.vhost, self.kind, &self.destination, &self.source, &self.routing_key, &self.arguments)
    }
}

/// Arguments in the order in which bindings are compared.
fn sorted(table: &FieldTable) -> FieldTable {
    let mut entries: Vec<(&ShortStr, &FieldValue)> = table.iter().collect();
    entries.sort_by_key(|(name, _)| *name);
    entries.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Tables {
            vhosts: transaction.open_table(VHOSTS)?,
            exchanges: transaction.open_table(EXCHANGES)?,
            queues: transaction.open_table(QUEUES)?,
            bindings: transaction.open_table(BINDINGS)?,
            bindings_to: transaction.open_table(BINDINGS_TO)?,
            policies: transaction.open_table(POLICIES)?,
            users: transaction.open_table(USERS)?,
            permissions: transaction.open_table(PERMISSIONS)?,
            user_details: transaction.open_table(USER_DETAILS)?,
            topic_permissions: transaction.open_table(TOPIC_PERMISSIONS)?,
            operator_policies: transaction.open_table(OPERATOR_POLICIES)?,
            parameters: transaction.open_table(PARAMETERS)?,
        })
    }

    fn apply(&mut self, change: &Change) -> Result<(), redb::Error> {
        match change {
            Change::PutVhost(row) => {
                self.vhosts.insert(row.name.as_str(), &*row.metadata.encoded())?;
            }
            Change::DeleteVhost { name } => self.delete_vhost(name)?,
            Change::PutExchange(row) => {
                let ExchangeFlags { durable, auto_delete, internal } = row.flags;
                let flags = bit(durable, DURABLE) | bit(auto_delete, AUTO_DELETE) | bit(internal, INTERNAL);
                let value = (row.kind.name(), flags, &*row.arguments.encoded());
                self.exchanges.insert((row.vhost.as_str(), row.name.as_str()), value)?;
            }
            Change::DeleteExchange { vhost, name } => {
                self.exchanges.remove((vhost.as_str(), name.as_str()))?;
                self.remove_bindings_from(vhost, name)?;
                self.remove_bindings_to(vhost, TO_EXCHANGE, name)?;
            }
            Change::PutQueue(row) => self.put_queue(row)?,
            Change::DeleteQueue { vhost, name, id } => {
                if self.queue_id(vhost, name)? == Some(id.0) {
                    self.queues.remove((vhost.as_str(), name.as_str()))?;
                    self.remove_bindings_to(vhost, TO_QUEUE, name)?;
                }
            }
            Change::PutBinding(row) => {
                let key = BindingKey::of(row);
                self.bindings.insert(key.by_source(), ())?;
                self.bindings_to.insert(key.by_destination(), ())?;
            }
            Change::DeleteBinding(row) => self.remove_bindings(vec![BindingKey::of(row)])?,
            Change::PutPolicy(row) => {
                let value = (&*row.pattern, row.target.name(), row.priority, &*row.definition.encoded());
                self.policies.insert((row.vhost.as_str(), &*row.name), value)?;
            }
            Change::DeletePolicy { vhost, name } => {
                self.policies.remove((vhost.as_str(), &**name))?;
            }
            Change::PutUser(row) => {
                self.users.insert(&*row.name, (&*row.password_hash, &*row.tags))?;
                match row.details.is_empty() {
                    true => drop(self.user_details.remove(&*row.name)?),
                    false => drop(self.user_details.insert(&*row.name, &*row.details.encoded())?),
                }
            }
            Change::DeleteUser { name } => {
                self.users.remove(&**name)?;
                self.user_details.remove(&**name)?;
                remove_first(&mut self.permissions, name)?;
                self.topic_permissions.retain(|(user, ..), _| user != name)?;
            }
            Change::PutPermission(row) => {
                let value = (&*row.configure, &*row.write, &*row.read);
                self.permissions.insert((&*row.user, row.vhost.as_str()), value)?;
            }
            Change::DeletePermission { user, vhost } => {
                self.permissions.remove((&**user, vhost.as_str()))?;
            }
            Change::PutTopicPermission(row) => {
                let key = (&*row.user, row.vhost.as_str(), row.exchange.as_str());
                self.topic_permissions.insert(key, (&*row.write, &*row.read))?;
            }
            Change::DeleteTopicPermission { user, vhost, exchange } => {
                self.topic_permissions.remove((&**user, vhost.as_str(), exchange.as_str()))?;
            }
            Change::PutOperatorPolicy(row) => {
                let value = (&*row.pattern, row.target.name(), row.priority, &*row.definition.encoded());
                self.operator_policies.insert((row.vhost.as_str(), &*row.name), value)?;
            }
            Change::DeleteOperatorPolicy { vhost, name } => {
                self.operator_policies.remove((vhost.as_str(), &**name))?;
            }
            Change::PutParameter(ParameterRow { vhost, component, name, value }) => {
                self.parameters.insert((of_vhost(vhost), &**component, &**name), &**value)?;
            }
            Change::DeleteParameter { vhost, component, name } => {
                self.parameters.remove((of_vhost(vhost), &**component, &**name))?;
            }
        }
        Ok(())
    }

    fn queue_id(&self, vhost: &str, name: &str) -> Result<Option<u64>, redb::Error> {
        Ok(self.queues.get((vhost, name))?.map(|value| value.value().0))
    }

    fn put_queue(&mut self, row: &QueueRow) -> Result<(), redb::Error> {
        if self.queue_id(&row.vhost, &row.name)?.is_some_and(|id| id != row.id.0) {
            self.remove_bindings_to(&row.vhost, TO_QUEUE, &row.name)?;
        }
        let QueueFlags { durable, exclusive, auto_delete } = row.flags;
        let flags = bit(durable, DURABLE) | bit(exclusive, EXCLUSIVE) | bit(auto_delete, AUTO_DELETE);
        let flags = flags | bit(row.paused, PAUSED);
        let purpose = match row.purpose {
            QueueUse::Ordinary => ORDINARY,
            QueueUse::Delays => DELAYS,
        };
        let value = (row.id.0, flags, purpose, &*row.arguments.encoded());
        self.queues.insert((row.vhost.as_str(), row.name.as_str()), value)?;
        Ok(())
    }

    fn delete_vhost(&mut self, name: &str) -> Result<(), redb::Error> {
        self.vhosts.remove(name)?;
        remove_first(&mut self.exchanges, name)?;
        remove_first(&mut self.queues, name)?;
        remove_first(&mut self.policies, name)?;
        remove_first(&mut self.operator_policies, name)?;
        self.permissions.retain(|(_, vhost), _| vhost != name)?;
        self.topic_permissions.retain(|(_, vhost, _), _| vhost != name)?;
        // A vhost without a name is none, so global parameters stay.
        self.parameters.retain(|(vhost, ..), _| vhost != name || name.is_empty())?;
        let first: FromSource<'_> = (name, "", 0, "", "", &[]);
        let of_vhost = from_source(&self.bindings, first, |key| key.0 == name)?;
        self.remove_bindings(of_vhost)
    }

    fn remove_bindings_from(&mut self, vhost: &str, source: &str) -> Result<(), redb::Error> {
        let first: FromSource<'_> = (vhost, source, 0, "", "", &[]);
        let found = from_source(&self.bindings, first, |key| (key.0, key.1) == (vhost, source))?;
        self.remove_bindings(found)
    }

    fn remove_bindings_to(&mut self, vhost: &str, kind: u8, name: &str) -> Result<(), redb::Error> {
        let first: ToDestination<'_> = (vhost, kind, name, "", "", &[]);
        let mut found = Vec::new();
        for entry in self.bindings_to.range(first..)? {
            let (key, _) = entry?;
            let (of_vhost, of_kind, destination, source, routing_key, arguments) = key.value();
            if (of_vhost, of_kind, destination) != (vhost, kind, name) {
                break;
            }
            found.push(owned((of_vhost, source, of_kind, destination, routing_key, arguments)));
        }
        self.remove_bindings(found)
    }

    fn remove_bindings(&mut self, keys: Vec<BindingKey>) -> Result<(), redb::Error> {
        for key in keys {
            self.bindings.remove(key.by_source())?;
            self.bindings_to.remove(key.by_destination())?;
        }
        Ok(())
    }
}

/// The bindings from a key on, as long as they belong.
fn from_source(
    bindings: &Table<'_, FromSource<'static>, ()>,
    first: FromSource<'_>,
    belongs: impl Fn(&FromSource<'_>) -> bool,
) -> Result<Vec<BindingKey>, redb::Error> {
    let mut found = Vec::new();
    for entry in bindings.range(first..)? {
        let (key, _) = entry?;
        if !belongs(&key.value()) {
            break;
        }
        found.push(owned(key.value()));
    }
    Ok(found)
}

fn owned(key: FromSource<'_>) -> BindingKey {
    let (vhost, source, kind, destination, routing_key, arguments) = key;
    BindingKey {
        vhost: vhost.to_owned(),
        source: source.to_owned(),
        kind,
        destination: destination.to_owned(),
        routing_key: routing_key.to_owned(),
        arguments: arguments.to_vec(),
    }
}

/// Removes the rows whose names begin with this one.
fn remove_first<V: Value + 'static>(
    table: &mut Table<'_, Named<'static>, V>,
    first: &str,
) -> Result<(), redb::Error> {
    let mut names = Vec::new();
    for entry in table.range((first, "")..)? {
        let (key, _) = entry?;
        let (of, name) = key.value();
        if of != first {
            break;
        }
        names.push(name.to_owned());
    }
    for name in names {
        table.remove((first, &*name))?;
    }
    Ok(())
}

fn bit(is_set: bool, bit: u8) -> u8 {
    if is_set { bit } else { 0 }
}

/// The part of a parameter's key that says its vhost.
fn of_vhost(vhost: &Option<VhostName>) -> &str {
    vhost.as_deref().unwrap_or_default()
}

/// Reads everything.
pub(super) fn contents(read: &ReadTransaction) -> Result<CatalogContents, CatalogError> {
    Ok(CatalogContents {
        vhosts: rows(read, VHOSTS, |name, metadata| {
            Ok(VhostRow { name: vhost(name)?, metadata: table(metadata)? })
        })?,
        exchanges: rows(read, EXCHANGES, |(of, name), (kind, flags, arguments)| {
            Ok(ExchangeRow {
                vhost: vhost(of)?,
                name: exchange(name)?,
                kind: ExchangeKind::from_name(kind).ok_or_else(|| format!("unknown type '{kind}'"))?,
                flags: ExchangeFlags {
                    durable: flags & DURABLE != 0,
                    auto_delete: flags & AUTO_DELETE != 0,
                    internal: flags & INTERNAL != 0,
                },
                arguments: table(arguments)?,
            })
        })?,
        queues: rows(read, QUEUES, |(of, name), (id, flags, purpose, arguments)| {
            Ok(QueueRow {
                vhost: vhost(of)?,
                name: queue(name)?,
                id: QueueId(id),
                purpose: match purpose {
                    ORDINARY => QueueUse::Ordinary,
                    DELAYS => QueueUse::Delays,
                    other => return Err(format!("unknown purpose {other}")),
                },
                paused: flags & PAUSED != 0,
                flags: QueueFlags {
                    durable: flags & DURABLE != 0,
                    exclusive: flags & EXCLUSIVE != 0,
                    auto_delete: flags & AUTO_DELETE != 0,
                },
                arguments: table(arguments)?,
            })
        })?,
        bindings: rows(read, BINDINGS, |(of, source, kind, destination, key, arguments), ()| {
            Ok(BindingRow {
                vhost: vhost(of)?,
                source: exchange(source)?,
                destination: match kind {
                    TO_QUEUE => BindingEnd::Queue(queue(destination)?),
                    TO_EXCHANGE => BindingEnd::Exchange(exchange(destination)?),
                    other => return Err(format!("unknown kind of destination {other}")),
                },
                routing_key: RoutingKey::new(key).map_err(|error| error.to_string())?,
                arguments: table(arguments)?,
            })
        })?,
        policies: policies(read, POLICIES)?,
        users: users(read)?,
        permissions: rows(read, PERMISSIONS, |(user, of), (configure, write, read)| {
            Ok(PermissionRow {
                user: user.to_owned(),
                vhost: vhost(of)?,
                configure: configure.to_owned(),
                write: write.to_owned(),
                read: read.to_owned(),
            })
        })?,
        topic_permissions: rows(read, TOPIC_PERMISSIONS, |(user, of, name), (write, read)| {
            Ok(TopicPermissionRow {
                user: user.to_owned(),
                vhost: vhost(of)?,
                exchange: exchange(name)?,
                write: write.to_owned(),
                read: read.to_owned(),
            })
        })?,
        operator_policies: policies(read, OPERATOR_POLICIES)?,
        parameters: rows(read, PARAMETERS, |(of, component, name), value| {
            Ok(ParameterRow {
                vhost: if of.is_empty() { None } else { Some(vhost(of)?) },
                component: component.to_owned(),
                name: name.to_owned(),
                value: value.to_owned(),
            })
        })?,
    })
}

fn policies(
    read: &ReadTransaction,
    definition: TableDefinition<'_, Named<'static>, (&'static str, &'static str, i64, &'static [u8])>,
) -> Result<Vec<PolicyRow>, CatalogError> {
    rows(read, definition, |(of, name), (pattern, target, priority, definition)| {
        Ok(PolicyRow {
            vhost: vhost(of)?,
            name: name.to_owned(),
            pattern: pattern.to_owned(),
            target: PolicyTarget::from_name(target).ok_or_else(|| format!("unknown target '{target}'"))?,
            priority,
            definition: table(definition)?,
        })
    })
}

fn users(read: &ReadTransaction) -> Result<Vec<UserRow>, CatalogError> {
    let details = rows(read, USER_DETAILS, |name, details| Ok((name.to_owned(), table(details)?)))?;
    let mut details: AHashMap<_, _> = details.into_iter().collect();
    let users = rows(read, USERS, |name, (password_hash, tags)| {
        let (name, password_hash, tags) = (name.to_owned(), password_hash.to_owned(), tags.to_owned());
        Ok(UserRow { name, password_hash, tags, details: FieldTable::new() })
    })?;
    let with_details =
        |user: UserRow| UserRow { details: details.remove(&user.name).unwrap_or_default(), ..user };
    Ok(users.into_iter().map(with_details).collect())
}

/// Reads a table, row by row.
fn rows<K: Key + 'static, V: Value + 'static, R>(
    read: &ReadTransaction,
    definition: TableDefinition<'_, K, V>,
    row: impl for<'k, 'v> Fn(K::SelfType<'k>, V::SelfType<'v>) -> Result<R, String>,
) -> Result<Vec<R>, CatalogError> {
    let each = || -> Result<Vec<Result<R, String>>, redb::Error> {
        let table = match read.open_table(definition) {
            // A catalog from before there was such a table.
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            table => table?,
        };
        let mut rows = Vec::new();
        for entry in table.range::<K::SelfType<'_>>(..)? {
            let (key, value) = entry?;
            rows.push(row(key.value(), value.value()));
        }
        Ok(rows)
    };
    let damaged = |(number, problem): (usize, String)| {
        CatalogError::Damaged(format!("row {number} of table '{definition}': {problem}"))
    };
    let rows = each()?.into_iter().enumerate();
    rows.map(|(number, row)| row.map_err(|problem| damaged((number + 1, problem)))).collect()
}

fn vhost(name: &str) -> Result<VhostName, String> {
    VhostName::new(name).map_err(|error| error.to_string())
}

fn exchange(name: &str) -> Result<ExchangeName, String> {
    ExchangeName::new(name).map_err(|error| error.to_string())
}

fn queue(name: &str) -> Result<QueueName, String> {
    QueueName::new(name).map_err(|error| error.to_string())
}

fn table(bytes: &[u8]) -> Result<FieldTable, String> {
    FieldTable::decode(bytes).map_err(|error| error.to_string())
}

//! The items of definitions, and the bodies that set one of them: each is read here and nowhere else.
//!
//! Invariant: an item that was read could be made as it is: its names, patterns and values are valid. Reading reports
//! everything that is wrong with an item, and what of it has no effect here.

use rialto_protocol::types::{FieldTable, ShortStr};
use serde_json::{Map, Value};

use super::reader::Reader;
use crate::access::{
    Credentials, PASSWORD_LEN_MAX, Permission, RabbitHashing, TAG_LEN_MAX, TAGS_MAX, Tags, TopicPermission,
    USER_NAME_LEN_MAX, UserLimits,
};
use crate::model::{
    ExchangeFlags, ExchangeName, ExchangeOptions, Pattern, Policy, PolicyError, PolicyKind, PolicyTarget,
    QueueName, QueueOptions, QueueType, RoutingKey, VHOST_TEXT_LEN_MAX, VhostLimits, VhostName,
    field_from_json, table_from_json,
};

/// Longest name of a parameter or a component, in bytes.
const PARAMETER_NAME_LEN_MAX: usize = 255;

/// Arguments of queues that say something about other engines than this broker's.
const IDLE_QUEUE_ARGUMENTS: [&str; 9] = [
    "x-initial-cluster-size",
    "x-max-in-memory-bytes",
    "x-max-in-memory-length",
    "x-queue-leader-locator",
    "x-queue-master-locator",
    "x-queue-mode",
    "x-queue-version",
    "x-quorum-initial-group-size",
    "x-quorum-target-group-size",
];

/// A name that nobody could mistake for another, or for the end of a line.
fn check_name(reader: &mut Reader<'_>, key: &'static str, name: &str, len_max: usize) -> Option<()> {
    if name.is_empty() {
        reader.fault(key, "is empty");
    } else if name.len() > len_max {
        reader.fault(key, format!("has {} bytes, and may have {len_max}", name.len()));
    } else if name.chars().any(char::is_control) {
        reader.fault(key, "has control characters (line breaks, tabs, …); choose a name without");
    } else {
        return Some(());
    }
    None
}

/// The vhost that an item belongs to: the one that is imported into, or the item's own.
pub(in crate::admin) fn vhost(reader: &mut Reader<'_>, into: Option<&VhostName>) -> Option<VhostName> {
    let Some(into) = into else {
        let name = reader.needed_text("vhost")?;
        check_name(reader, "vhost", name, 255)?;
        return VhostName::new(name).ok();
    };
    if let Some(named) = reader.text("vhost").filter(|named| *named != into.as_str()) {
        let notice = format!("what belonged to vhost '{named}' goes to '{into}'");
        reader.notice("vhost", notice);
    }
    Some(into.clone())
}

/// The user that an item belongs to.
pub(in crate::admin) fn user(reader: &mut Reader<'_>) -> Option<String> {
    let name = reader.needed_text("user")?;
    check_name(reader, "user", name, USER_NAME_LEN_MAX)?;
    Some(name.to_owned())
}

/// A virtual host. What is none is not said.
#[derive(Clone, Debug)]
pub(in crate::admin) struct VhostItem {
    pub(in crate::admin) name: VhostName,
    pub(in crate::admin) description: Option<String>,
    pub(in crate::admin) tags: Option<Vec<String>>,
    pub(in crate::admin) default_queue_type: Option<QueueType>,
    pub(in crate::admin) protected_from_deletion: Option<bool>,
    pub(in crate::admin) limits: Option<VhostLimits>,
}

impl VhostItem {
    pub(in crate::admin) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let name = reader.needed_text("name");
        let name = name.and_then(|name| {
            check_name(reader, "name", name, 255)?;
            VhostName::new(name).ok()
        });
        // All of it is looked at, even if it has no name.
        let item = Self::read_fields(reader, name.clone().unwrap_or_default());
        name.map(|_| item)
    }

    /// Reads what is said of a vhost with this name.
    pub(in crate::admin) fn read_fields(reader: &mut Reader<'_>, name: VhostName) -> Self {
        let mut item = VhostItem {
            name,
            description: None,
            tags: None,
            default_queue_type: None,
            protected_from_deletion: None,
            limits: None,
        };
        // Exports have the same both in the metadata and beside it.
        reader.inside("metadata", |metadata| item.read_metadata(metadata));
        item.read_metadata(reader);
        item.limits = reader.inside("limits", vhost_limits);
        if reader.flag("tracing") == Some(true) {
            reader.notice("tracing", "the firehose tracer is not there; 'tracing' has no effect");
        }
        item
    }

    fn read_metadata(&mut self, reader: &mut Reader<'_>) {
        if let Some(description) = reader.text("description") {
            if description.len() > VHOST_TEXT_LEN_MAX {
                let problem = format!("has {} bytes, and may have {VHOST_TEXT_LEN_MAX}", description.len());
                reader.fault("description", problem);
            }
            self.description = Some(description.to_owned());
        }
        if let Some(tags) = texts_as_tags(reader) {
            self.tags = Some(tags);
        }
        match reader.text("default_queue_type") {
            None | Some("" | "undefined") => {}
            Some("classic") => self.default_queue_type = Some(QueueType::Classic),
            Some("quorum") => self.default_queue_type = Some(QueueType::Quorum),
            Some(other) => {
                let problem =
                    format!("'{other}' is no type of queue that there is; expected classic or quorum");
                reader.fault("default_queue_type", problem);
            }
        }
        if let Some(is_protected) = reader.flag("protected_from_deletion") {
            self.protected_from_deletion = Some(is_protected);
        }
    }
}

fn texts_as_tags(reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let tags = reader.texts("tags")?;
    if tags.len() > TAGS_MAX {
        reader.fault("tags", format!("are {}, and may be {TAGS_MAX}", tags.len()));
    }
    if tags.iter().any(|tag| tag.len() > TAG_LEN_MAX || tag.chars().any(char::is_control)) {
        let problem = format!("have one of more than {TAG_LEN_MAX} bytes, or with control characters");
        reader.fault("tags", problem);
    }
    Some(tags)
}

/// A limit: a number; a negative one is none.
fn limit(reader: &mut Reader<'_>, key: &'static str) -> Option<u32> {
    let value = reader.number(key)?;
    match u32::try_from(value) {
        Ok(limit) => Some(limit),
        Err(_) if value < 0 => None,
        Err(_) => {
            reader.fault(key, format!("{value} is more than can be; -1 means no limit"));
            None
        }
    }
}

/// How much a vhost may hold.
pub(in crate::admin) fn vhost_limits(reader: &mut Reader<'_>) -> VhostLimits {
    VhostLimits { max_connections: limit(reader, "max-connections"), max_queues: limit(reader, "max-queues") }
}

/// How much a user may have open.
pub(in crate::admin) fn user_limits(reader: &mut Reader<'_>) -> UserLimits {
    UserLimits {
        max_connections: limit(reader, "max-connections"),
        max_channels: limit(reader, "max-channels"),
    }
}

/// How a user's password is said.
#[derive(Clone, Debug)]
pub(in crate::admin) enum PasswordItem {
    /// As a hash, or that there is none.
    Credentials(Credentials),
    /// In clear text, to be hashed.
    Clear(Secret),
}

/// A text that is not shown.
#[derive(Clone)]
pub(in crate::admin) struct Secret(pub(in crate::admin) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// A user.
#[derive(Clone, Debug)]
pub(in crate::admin) struct UserItem {
    pub(in crate::admin) name: String,
    pub(in crate::admin) password: PasswordItem,
    pub(in crate::admin) tags: Tags,
    pub(in crate::admin) limits: UserLimits,
}

impl UserItem {
    pub(in crate::admin) fn read(reader: &mut Reader<'_>, hashing: RabbitHashing) -> Option<Self> {
        let name = reader.needed_text("name");
        let item = Self::read_fields(reader, name.unwrap_or("name"), hashing);
        name.and(item)
    }

    /// Reads what is said of a user with this name. A hash that does not say how it was made was made like this.
    pub(in crate::admin) fn read_fields(
        reader: &mut Reader<'_>,
        name: &str,
        hashing: RabbitHashing,
    ) -> Option<Self> {
        let is_named = check_name(reader, "name", name, USER_NAME_LEN_MAX);
        let (password, hash) = (reader.text("password"), reader.text("password_hash"));
        let algorithm = reader.text("hashing_algorithm").unwrap_or(hashing.name());
        let password = match (password, hash) {
            (Some(_), Some(_)) => {
                reader.fault("password", "stands beside a password_hash; leave one of them out");
                None
            }
            (Some(password), None) if password.len() > PASSWORD_LEN_MAX => {
                reader.fault("password", format!("has more than {PASSWORD_LEN_MAX} bytes"));
                None
            }
            (Some(password), None) => Some(PasswordItem::Clear(Secret(password.to_owned()))),
            (None, hash) => match Credentials::from_definition(hash.unwrap_or_default(), algorithm) {
                Ok(credentials) => Some(PasswordItem::Credentials(credentials)),
                Err(error) => {
                    reader.fault("password_hash", error.to_string());
                    None
                }
            },
        };
        let tags = match reader.needed("tags") {
            Some(_) => texts_as_tags(reader).map(Tags::from_names),
            None => None,
        };
        let limits = reader.inside("limits", user_limits);
        is_named?;
        Some(UserItem {
            name: name.to_owned(),
            password: password?,
            tags: tags?,
            limits: limits.unwrap_or_default(),
        })
    }
}

fn pattern(reader: &mut Reader<'_>, key: &'static str) -> Option<Pattern> {
    let text = reader.needed_text(key)?;
    Pattern::new(text).map_err(|error| reader.fault(key, error.to_string())).ok()
}

/// What a user may do in a vhost.
pub(in crate::admin) fn permission(
    reader: &mut Reader<'_>,
    user: String,
    vhost: VhostName,
) -> Option<Permission> {
    let (configure, write, read) =
        (pattern(reader, "configure"), pattern(reader, "write"), pattern(reader, "read"));
    Some(Permission { user, vhost, configure: configure?, write: write?, read: read? })
}

/// Which routing keys a user may use with a topic exchange.
pub(in crate::admin) fn topic_permission(
    reader: &mut Reader<'_>,
    user: String,
    vhost: VhostName,
) -> Option<TopicPermission> {
    let exchange = reader.needed_text("exchange").and_then(|name| match ExchangeName::new(name) {
        Ok(name) => Some(name),
        Err(_) => {
            reader.fault("exchange", "has more than 255 bytes");
            None
        }
    });
    let (write, read) = (reader.needed_text("write"), reader.needed_text("read"));
    let check = |text: Option<&str>| {
        text.map_or(Ok(()), |text| {
            let exchange = ExchangeName::default();
            TopicPermission::new(&user, vhost.clone(), exchange, text, "").map(drop)
        })
    };
    // `{username}` and `{vhost}` are no regular expressions until they are filled in.
    for (key, text) in [("write", write), ("read", read)] {
        if let Err(error) = check(text) {
            reader.fault(key, error.to_string());
        }
    }
    TopicPermission::new(&user, vhost, exchange?, write?, read?).ok()
}

/// A parameter that something else than the broker itself reads.
#[derive(Clone, Debug)]
pub(in crate::admin) struct Parameter {
    pub(in crate::admin) vhost: VhostName,
    pub(in crate::admin) component: String,
    pub(in crate::admin) name: String,
    pub(in crate::admin) value: Value,
}

impl Parameter {
    pub(in crate::admin) fn read(reader: &mut Reader<'_>, into: Option<&VhostName>) -> Option<Self> {
        let vhost = vhost(reader, into);
        let (component, name) = (reader.needed_text("component"), reader.needed_text("name"));
        for (key, text) in [("component", component), ("name", name)] {
            text.map(|text| check_name(reader, key, text, PARAMETER_NAME_LEN_MAX));
        }
        let value = parameter_value(reader);
        let (component, name) = (component?.to_owned(), name?.to_owned());
        Some(Parameter { vhost: vhost?, component, name, value: value? })
    }
}

/// The value of a parameter, which may be `null`.
fn parameter_value(reader: &mut Reader<'_>) -> Option<Value> {
    let value = reader.needed_or_null("value")?;
    match field_from_json(value) {
        Ok(_) => Some(value.clone()),
        Err(problem) => {
            reader.fault("value", problem);
            None
        }
    }
}

/// A parameter that belongs to no vhost.
#[derive(Clone, Debug)]
pub(in crate::admin) struct GlobalParameter {
    pub(in crate::admin) name: String,
    pub(in crate::admin) value: Value,
}

impl GlobalParameter {
    pub(in crate::admin) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let name = reader.needed_text("name");
        let item = Self::read_fields(reader, name.unwrap_or("name"));
        name.and(item)
    }

    pub(in crate::admin) fn read_fields(reader: &mut Reader<'_>, name: &str) -> Option<Self> {
        let is_named = check_name(reader, "name", name, PARAMETER_NAME_LEN_MAX);
        let value = parameter_value(reader);
        is_named?;
        Some(GlobalParameter { name: name.to_owned(), value: value? })
    }
}

/// A policy of either kind.
#[derive(Clone, Debug)]
pub(in crate::admin) struct PolicyItem {
    pub(in crate::admin) vhost: VhostName,
    pub(in crate::admin) policy: Policy,
}

impl PolicyItem {
    pub(in crate::admin) fn read(
        reader: &mut Reader<'_>,
        kind: PolicyKind,
        into: Option<&VhostName>,
    ) -> Option<Self> {
        let (vhost, name) = (vhost(reader, into), reader.needed_text("name"));
        let item = Self::read_fields(reader, kind, vhost.clone().unwrap_or_default(), name.unwrap_or("name"));
        vhost.and(name).and(item)
    }

    /// Reads what is said of a policy with this name.
    pub(in crate::admin) fn read_fields(
        reader: &mut Reader<'_>,
        kind: PolicyKind,
        vhost: VhostName,
        name: &str,
    ) -> Option<Self> {
        let is_named = check_name(reader, "name", name, crate::model::POLICY_TEXT_LEN_MAX);
        let pattern = reader.needed_text("pattern");
        let priority = reader.number("priority").unwrap_or(0);
        let target = match reader.text("apply-to") {
            None => Some(PolicyTarget::All),
            Some(text) => {
                let target = PolicyTarget::from_name(text);
                if target.is_none() {
                    let names: Vec<_> = PolicyTarget::ALL.iter().map(|target| target.name()).collect();
                    let problem =
                        format!("'{text}' is nothing to apply a policy to; expected {}", names.join(", "));
                    reader.fault("apply-to", problem);
                }
                target
            }
        };
        let definition = Self::definition(reader, kind).unwrap_or_default();
        match Policy::of_kind(kind, name, pattern?, target.unwrap_or_default(), priority, &definition) {
            Ok(policy) => {
                target?;
                for key in policy.ignored_keys() {
                    reader.notice("definition", format!("'{key}' is kept and has no effect"));
                }
                is_named?;
                Some(PolicyItem { vhost, policy })
            }
            // Told already, as are the keys of the definition, one by one.
            Err(PolicyError::Name | PolicyError::Empty) => None,
            Err(error) => {
                reader.fault("pattern", error.to_string());
                None
            }
        }
    }

    fn definition(reader: &mut Reader<'_>, kind: PolicyKind) -> Option<FieldTable> {
        reader.needed("definition")?;
        let Some(object) = reader.object("definition").filter(|object| !object.is_empty()) else {
            reader.fault("definition", "is empty; it says what the policy lays down");
            return None;
        };
        let mut definition = FieldTable::new();
        let mut is_valid = true;
        for (key, value) in object {
            let one = field_from_json(value).and_then(|value| {
                let name = ShortStr::new(key).map_err(|_| "its name has more than 255 bytes".to_owned())?;
                let one = FieldTable::new().with(key, value.clone());
                let policy = Policy::of_kind(kind, "one", "", PolicyTarget::All, 0, &one);
                policy.map(|_| (name, value)).map_err(|error| error.to_string())
            });
            match one {
                Ok((name, value)) => definition.insert(name, value),
                Err(problem) => {
                    reader.fault(&format!("definition.{key}"), problem);
                    is_valid = false;
                }
            }
        }
        is_valid.then_some(definition)
    }
}

/// Arguments of something that is declared.
fn arguments(reader: &mut Reader<'_>) -> Option<FieldTable> {
    let empty = Map::new();
    let object = reader.object("arguments").unwrap_or(&empty);
    match table_from_json(object) {
        Ok(table) => Some(table),
        Err(problem) => {
            reader.fault("arguments", problem);
            None
        }
    }
}

/// A queue.
#[derive(Clone, Debug)]
pub(in crate::admin) struct QueueItem {
    pub(in crate::admin) vhost: VhostName,
    pub(in crate::admin) name: QueueName,
    pub(in crate::admin) options: QueueOptions,
}

impl QueueItem {
    pub(in crate::admin) fn read(reader: &mut Reader<'_>, into: Option<&VhostName>) -> Option<Self> {
        let vhost = vhost(reader, into);
        let name = reader.needed_text("name").and_then(|name| {
            check_name(reader, "name", name, 255)?;
            QueueName::new(name).ok()
        });
        let durable = reader.flag("durable").unwrap_or(true);
        let auto_delete = reader.flag("auto_delete").unwrap_or(false);
        if reader.flag("exclusive") == Some(true) {
            reader.fault(
                "exclusive",
                "is true; an exclusive queue belongs to a connection and cannot be imported",
            );
        }
        let queue_type = reader.text("type");
        let mut arguments = arguments(reader)?;
        if let Some(queue_type) = queue_type
            && arguments.get("x-queue-type").is_none()
            && queue_type != QueueType::default().name()
        {
            arguments.insert(ShortStr::truncated("x-queue-type"), queue_type);
        }
        let mut is_valid = true;
        for (argument, value) in arguments.iter() {
            let mut one = FieldTable::new().with(argument, value.clone());
            if argument.as_str() == "x-dead-letter-routing-key" {
                // What it is not without.
                one.insert(ShortStr::truncated("x-dead-letter-exchange"), "");
            }
            if let Err(error) = QueueOptions::from_declare(true, false, false, &one) {
                reader.fault(&format!("arguments.{argument}"), error.to_string());
                is_valid = false;
            }
            if IDLE_QUEUE_ARGUMENTS.contains(&argument.as_str()) {
                reader.notice("arguments", format!("'{argument}' is kept and has no effect"));
            }
        }
        if !is_valid {
            return None;
        }
        match QueueOptions::from_declare(durable, false, auto_delete, &arguments) {
            Ok(options) => Some(QueueItem { vhost: vhost?, name: name?, options }),
            Err(error) => {
                reader.fault("", error.to_string());
                None
            }
        }
    }
}

/// An exchange.
#[derive(Clone, Debug)]
pub(in crate::admin) struct ExchangeItem {
    pub(in crate::admin) vhost: VhostName,
    pub(in crate::admin) name: ExchangeName,
    pub(in crate::admin) options: ExchangeOptions,
}

impl ExchangeItem {
    pub(in crate::admin) fn read(reader: &mut Reader<'_>, into: Option<&VhostName>) -> Option<Self> {
        let vhost = vhost(reader, into);
        let name = reader.needed_text("name").and_then(|name| {
            check_name(reader, "name", name, 255)?;
            ExchangeName::new(name).ok()
        });
        let kind = reader.needed_text("type");
        let flags = ExchangeFlags {
            durable: reader.flag("durable").unwrap_or(true),
            auto_delete: reader.flag("auto_delete").unwrap_or(false),
            internal: reader.flag("internal").unwrap_or(false),
        };
        let (kind, arguments) = (kind?, arguments(reader)?);
        let ExchangeFlags { durable, auto_delete, internal } = flags;
        match ExchangeOptions::from_arguments(kind, durable, auto_delete, internal, arguments) {
            Ok(options) => Some(ExchangeItem { vhost: vhost?, name: name?, options }),
            Err(error) => {
                let is_kind = matches!(error, crate::model::ExchangeOptionsError::UnknownKind(_));
                reader.fault(if is_kind { "type" } else { "arguments" }, error.to_string());
                None
            }
        }
    }
}

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::admin) enum BindingEnd {
    Queue(QueueName),
    Exchange(ExchangeName),
}

/// A binding.
#[derive(Clone, Debug)]
pub(in crate::admin) struct BindingItem {
    pub(in crate::admin) vhost: VhostName,
    pub(in crate::admin) source: ExchangeName,
    pub(in crate::admin) destination: BindingEnd,
    pub(in crate::admin) routing_key: RoutingKey,
    pub(in crate::admin) arguments: FieldTable,
}

/// What tells a binding from others.
pub(in crate::admin) type BindingKey = (VhostName, ExchangeName, BindingEnd, RoutingKey, Vec<u8>);

impl BindingItem {
    pub(in crate::admin) fn read(reader: &mut Reader<'_>, into: Option<&VhostName>) -> Option<Self> {
        let vhost = vhost(reader, into);
        reader.pass_over(&["properties_key"]);
        let source = reader.needed_text("source").and_then(|name| {
            if name.is_empty() {
                reader.fault("source", "is the default exchange, to which every queue is bound already");
                return None;
            }
            ExchangeName::new(name).map_err(|error| reader.fault("source", error.to_string())).ok()
        });
        let destination = reader.needed_text("destination");
        let destination = match (destination, reader.needed_text("destination_type")) {
            (Some(name), Some("queue" | "q")) => QueueName::new(name).map(BindingEnd::Queue),
            (Some(name), Some("exchange" | "e")) => ExchangeName::new(name).map(BindingEnd::Exchange),
            (_, Some(other)) if !["queue", "q", "exchange", "e"].contains(&other) => {
                reader.fault("destination_type", format!("is '{other}'; expected queue or exchange"));
                return None;
            }
            _ => return None,
        };
        let destination = destination.map_err(|error| reader.fault("destination", error.to_string())).ok();
        let key = reader.text("routing_key").unwrap_or_default();
        let routing_key =
            RoutingKey::new(key).map_err(|error| reader.fault("routing_key", error.to_string())).ok();
        let arguments = arguments(reader)?;
        let (source, destination, routing_key) = (source?, destination?, routing_key?);
        Some(BindingItem { vhost: vhost?, source, destination, routing_key, arguments })
    }

    pub(in crate::admin) fn key(&self) -> BindingKey {
        let BindingItem { vhost, source, destination, routing_key, arguments } = self.clone();
        (vhost, source, destination, routing_key, arguments.encoded().to_vec())
    }
}

//! What an operator has noted of a vhost and set for it.
//!
//! Not here: what is in it (`broker::Vhost`), who may enter (`access`).

use rialto_protocol::types::{FieldTable, FieldValue, ShortStr};

use super::QueueType;

/// Longest description of a vhost, and longest tag, in bytes.
pub const VHOST_TEXT_LEN_MAX: usize = 1024;

/// Most tags of a vhost.
pub const VHOST_TAGS_MAX: usize = 100;

/// What an operator has noted of a vhost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VhostOptions {
    /// What it is for.
    pub description: String,
    /// Words that mean nothing to the broker.
    pub tags: Vec<String>,
    /// The type of queues that are declared without one, if they can be of it.
    pub default_queue_type: Option<QueueType>,
    /// Whether it is refused to delete it.
    pub protected_from_deletion: bool,
}

/// How much may be in a vhost at once. None: as much as in any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VhostLimits {
    /// Connections to it.
    pub max_connections: Option<u32>,
    /// Queues in it.
    pub max_queues: Option<u32>,
}

const DESCRIPTION: &str = "description";
const TAGS: &str = "tags";
const DEFAULT_QUEUE_TYPE: &str = "default_queue_type";
const PROTECTED: &str = "protected_from_deletion";
const MAX_CONNECTIONS: &str = "max-connections";
const MAX_QUEUES: &str = "max-queues";

impl VhostOptions {
    /// As the catalog keeps it, with the limits.
    pub fn to_metadata(&self, limits: &VhostLimits) -> FieldTable {
        let mut table = FieldTable::new();
        let long = |text: &str| FieldValue::text(text);
        if !self.description.is_empty() {
            table = table.with(DESCRIPTION, long(&self.description));
        }
        if !self.tags.is_empty() {
            table = table.with(TAGS, FieldValue::Array(self.tags.iter().map(|tag| long(tag)).collect()));
        }
        if let Some(queue_type) = self.default_queue_type {
            table = table.with(DEFAULT_QUEUE_TYPE, queue_type.name());
        }
        if self.protected_from_deletion {
            table = table.with(PROTECTED, true);
        }
        for (name, limit) in [(MAX_CONNECTIONS, limits.max_connections), (MAX_QUEUES, limits.max_queues)] {
            if let Some(limit) = limit {
                table = table.with(name, i64::from(limit));
            }
        }
        table
    }

    /// From what the catalog keeps. What is not understood is left out.
    pub fn from_metadata(table: &FieldTable) -> (Self, VhostLimits) {
        let text = |name| table.get(name).and_then(FieldValue::as_str).unwrap_or_default();
        let tags = match table.get(TAGS) {
            Some(FieldValue::Array(tags)) => {
                tags.iter().filter_map(FieldValue::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        let options = VhostOptions {
            description: text(DESCRIPTION).to_owned(),
            tags,
            default_queue_type: QueueType::from_name(text(DEFAULT_QUEUE_TYPE)),
            protected_from_deletion: table.get(PROTECTED).and_then(FieldValue::as_bool).unwrap_or(false),
        };
        let limit = |name| table.get(name).and_then(FieldValue::as_int).and_then(|n| u32::try_from(n).ok());
        let limits = VhostLimits { max_connections: limit(MAX_CONNECTIONS), max_queues: limit(MAX_QUEUES) };
        (options, limits)
    }

    /// The type that a queue without one gets, if it can be of it: RabbitMQ's rule.
    pub fn type_for(
        &self,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
        arguments: &FieldTable,
    ) -> Option<QueueType> {
        let queue_type = self.default_queue_type?;
        let fits = match queue_type {
            QueueType::Classic => true,
            QueueType::Quorum => durable && !exclusive && !auto_delete,
        };
        (fits && arguments.get("x-queue-type").is_none()).then_some(queue_type)
    }

    /// Arguments with the type that a queue without one gets.
    pub fn with_type(&self, arguments: &FieldTable, queue_type: QueueType) -> FieldTable {
        let mut arguments = arguments.clone();
        arguments.insert(ShortStr::truncated("x-queue-type"), queue_type.name());
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_limits_come_back_from_what_is_kept() {
        let options = VhostOptions {
            description: "for tests".repeat(100),
            tags: vec!["a".into(), "é".into()],
            default_queue_type: Some(QueueType::Quorum),
            protected_from_deletion: true,
        };
        let limits = VhostLimits { max_connections: Some(0), max_queues: Some(u32::MAX) };
        assert_eq!(VhostOptions::from_metadata(&options.to_metadata(&limits)), (options, limits));
        let none = VhostOptions::default().to_metadata(&VhostLimits::default());
        assert!(none.is_empty());
        assert_eq!(VhostOptions::from_metadata(&none), Default::default());
    }

    #[test]
    fn the_default_type_is_for_queues_that_can_be_of_it_and_name_none() {
        let options = VhostOptions { default_queue_type: Some(QueueType::Quorum), ..VhostOptions::default() };
        let none = FieldTable::new();
        assert_eq!(options.type_for(true, false, false, &none), Some(QueueType::Quorum));
        for (durable, exclusive, auto_delete) in
            [(false, false, false), (true, true, false), (true, false, true)]
        {
            assert_eq!(options.type_for(durable, exclusive, auto_delete, &none), None);
        }
        let classic = FieldTable::new().with("x-queue-type", "classic");
        assert_eq!(options.type_for(true, false, false, &classic), None);
        assert_eq!(VhostOptions::default().type_for(true, false, false, &none), None);
    }
}

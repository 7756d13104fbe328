//! `[[policies]]`: policies as an operator writes them, and as the broker takes them.

use std::collections::BTreeMap;

use rialto_protocol::types::{FieldTable, FieldValue, ShortStr};
use serde::{Deserialize, Serialize};

use crate::model::{Policy, PolicyTarget};

/// One policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySettings {
    /// Its name; one of a name in each vhost.
    pub name: String,
    /// The vhost it is for.
    #[serde(default = "root")]
    pub vhost: String,
    /// A regular expression; it may match anywhere in a name.
    pub pattern: String,
    /// `all`, `queues`, `classic_queues`, `quorum_queues`, `streams` or `exchanges`.
    #[serde(default = "all")]
    pub apply_to: String,
    /// Of the policies that match a name, the one with the highest alone holds.
    #[serde(default)]
    pub priority: i64,
    /// What it lays down, under RabbitMQ's keys.
    pub definition: BTreeMap<String, PolicyValue>,
}

/// A value of a definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PolicyValue {
    /// A number.
    Integer(i64),
    /// `true` or `false`.
    Boolean(bool),
    /// A text.
    Text(String),
}

impl PolicySettings {
    /// The policy.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn policy(&self) -> Result<Policy, String> {
        let target = PolicyTarget::from_name(&self.apply_to).ok_or_else(|| {
            let names: Vec<_> = PolicyTarget::ALL.iter().map(|target| target.name()).collect();
            format!("`apply_to` is {:?}; write one of {}", self.apply_to, names.join(", "))
        })?;
        let mut definition = FieldTable::new();
        for (key, value) in &self.definition {
            let name = ShortStr::new(key).map_err(|_| "a key is longer than 255 bytes".to_owned())?;
            definition.insert(name, FieldValue::from(value.clone()));
        }
        Policy::new(&self.name, &self.pattern, target, self.priority, &definition)
            .map_err(|error| error.to_string())
    }
}

impl From<PolicyValue> for FieldValue {
    fn from(value: PolicyValue) -> Self {
        match value {
            PolicyValue::Integer(number) => number.into(),
            PolicyValue::Boolean(value) => value.into(),
            PolicyValue::Text(text) => text.into(),
        }
    }
}

fn root() -> String {
    "/".to_owned()
}

fn all() -> String {
    PolicyTarget::All.name().to_owned()
}

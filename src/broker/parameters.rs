//! Parameters: what an operator has set by name, for components that are not here to understand. Kept, listed and
//! exported, so that definitions of a RabbitMQ lose nothing.
//!
//! Not here: policies and limits, which RabbitMQ keeps among its parameters and which mean something.

use std::collections::BTreeMap;

use rialto_protocol::ReplyCode;

use super::identity::check_name;
use super::{Broker, BrokerError, Commit, Limits};
use crate::model::VhostName;
use crate::store::{Change, ParameterRow};

/// The global parameter that names the cluster, so that people tell it from others.
pub const CLUSTER_NAME: &str = "cluster_name";

/// Longest name of a cluster, in bytes.
pub const CLUSTER_NAME_LEN_MAX: usize = 255;

/// Whether a cluster can be called so.
pub fn is_cluster_name(name: &str) -> bool {
    (1..=CLUSTER_NAME_LEN_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// Longest component and name of a parameter, in bytes.
const NAME_LEN_MAX: usize = 255;

/// By vhost (none: global), component, name.
type Key = (Option<VhostName>, String, String);

/// Values, in JSON.
#[derive(Debug, Default)]
pub(super) struct Parameters(BTreeMap<Key, String>);

fn key(row: &ParameterRow) -> Key {
    (row.vhost.clone(), row.component.clone(), row.name.clone())
}

impl Broker {
    /// Every parameter: the global ones, then those of vhosts.
    pub fn parameters(&self) -> Vec<ParameterRow> {
        let parameters = self.0.core.parameters.read();
        let row = |((vhost, component, name), value): (&Key, &String)| ParameterRow {
            vhost: vhost.clone(),
            component: component.clone(),
            name: name.clone(),
            value: value.clone(),
        };
        parameters.0.iter().map(row).collect()
    }

    /// One global parameter's value, as JSON.
    pub fn global_parameter(&self, name: &str) -> Option<String> {
        let parameters = self.0.core.parameters.read();
        parameters.0.get(&(None, String::new(), name.to_owned())).cloned()
    }

    /// What somebody has called the cluster: as [`CLUSTER_NAME`] says, if that can be a name.
    pub fn cluster_name(&self) -> Option<String> {
        let name = serde_json::from_str::<String>(&self.global_parameter(CLUSTER_NAME)?).ok()?;
        is_cluster_name(&name).then_some(name)
    }

    /// Sets a parameter, in the place of one of the same name.
    ///
    /// # Errors
    /// Its name cannot be one, its vhost does not exist, its value is too long, there are too many, or nothing durable
    /// can be changed.
    pub fn set_parameter(&self, row: ParameterRow) -> Result<Commit, BrokerError> {
        let _one_after_the_other = self.0.core.identity.lock();
        let refused = |text| Err(BrokerError::refused(ReplyCode::PreconditionFailed, text));
        check_name("parameter", &row.name, NAME_LEN_MAX)?;
        match &row.vhost {
            Some(vhost) => {
                self.existing(vhost)?;
                check_name("component", &row.component, NAME_LEN_MAX)?;
            }
            None if row.component.is_empty() => {}
            None => return refused(format!("global parameter '{}' has no component", row.name)),
        }
        let &Limits { parameters_max, parameter_size_max, .. } = self.limits();
        if row.value.len() as u64 > parameter_size_max {
            return refused(format!(
                "parameter '{}' has more than {parameter_size_max} bytes (topology.parameter_size_max)",
                row.name
            ));
        }
        let mut parameters = self.0.core.parameters.write();
        if parameters.0.len() >= parameters_max && !parameters.0.contains_key(&key(&row)) {
            return refused(format!(
                "cannot set parameter '{}': limit of {parameters_max} (topology.parameters_max) is reached",
                row.name
            ));
        }
        self.0.core.check_catalog()?;
        parameters.0.insert(key(&row), row.value.clone());
        Ok(self.kept(Change::PutParameter(row)))
    }

    /// Takes a parameter away.
    ///
    /// # Errors
    /// There is none, or nothing durable can be changed.
    pub fn clear_parameter(
        &self,
        vhost: Option<&str>,
        component: &str,
        name: &str,
    ) -> Result<Commit, BrokerError> {
        let _one_after_the_other = self.0.core.identity.lock();
        let vhost = vhost.map(|vhost| self.existing(vhost)).transpose()?;
        self.0.core.check_catalog()?;
        let key = (vhost.clone(), component.to_owned(), name.to_owned());
        if self.0.core.parameters.write().0.remove(&key).is_none() {
            let text = format!("no parameter '{name}' of component '{component}'");
            return Err(BrokerError::refused(ReplyCode::NotFound, text));
        }
        let (_, component, name) = key;
        Ok(self.kept(Change::DeleteParameter { vhost, component, name }))
    }

    pub(super) fn restore_parameters(&self, rows: Vec<ParameterRow>) {
        let mut parameters = self.0.core.parameters.write();
        parameters.0.extend(rows.into_iter().map(|row| (key(&row), row.value)));
    }

    /// A vhost is gone.
    pub(super) fn forget_parameters_of(&self, vhost: &VhostName) {
        self.0.core.parameters.write().0.retain(|(of, ..), _| of.as_ref() != Some(vhost));
    }
}

//! What a user may do besides using vhosts: RabbitMQ's tags.

use std::fmt;

/// Most tags of a user, and most bytes of one.
pub const TAGS_MAX: usize = 100;

/// Longest tag, in bytes.
pub const TAG_LEN_MAX: usize = 255;

/// The tags of a user. Those that mean something are flags; the others are kept as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// May do everything over the API, and see every vhost.
    pub administrator: bool,
    /// May see connections, channels and figures of the node over the API.
    pub monitoring: bool,
    /// May set policies and parameters of their own vhosts over the API.
    pub policymaker: bool,
    /// May use the API for what their own permissions allow.
    pub management: bool,
    /// May publish messages in another user's name (the `user-id` property).
    pub impersonator: bool,
    /// Tags that mean nothing here, in the order given.
    pub others: Vec<String>,
}

impl Tags {
    /// The tags of an operator who may do everything.
    pub fn administrator() -> Self {
        Tags { administrator: true, ..Tags::default() }
    }

    /// Tags from their names. Empty names are left out, repeated ones count once, and of too many or too long ones
    /// the rest is left out.
    pub fn from_names<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        let mut tags = Tags::default();
        for name in names {
            match name.as_ref().trim() {
                "administrator" => tags.administrator = true,
                "monitoring" => tags.monitoring = true,
                "policymaker" => tags.policymaker = true,
                "management" => tags.management = true,
                "impersonator" => tags.impersonator = true,
                "" => {}
                other => {
                    let is_known = tags.others.iter().any(|known| known == other);
                    if !is_known && tags.others.len() < TAGS_MAX && other.len() <= TAG_LEN_MAX {
                        tags.others.push(other.to_owned());
                    }
                }
            }
        }
        tags
    }

    /// Tags from names with commas between them, as old exports and the catalog have them.
    pub fn from_list(names: &str) -> Self {
        Tags::from_names(names.split(','))
    }

    /// Their names.
    pub fn names(&self) -> Vec<&str> {
        let Tags { administrator, monitoring, policymaker, management, impersonator, others } = self;
        let flags = [
            (administrator, "administrator"),
            (monitoring, "monitoring"),
            (policymaker, "policymaker"),
            (management, "management"),
            (impersonator, "impersonator"),
        ];
        let flags = flags.into_iter().filter(|(is_set, _)| **is_set).map(|(_, name)| name);
        flags.chain(others.iter().map(String::as_str)).collect()
    }

    /// Whether a user with these tags may use the API at all.
    pub fn may_use_api(&self) -> bool {
        self.administrator || self.monitoring || self.policymaker || self.management
    }
}

/// Names with commas between them.
impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_come_back_from_their_names() {
        let tags = Tags::from_list("monitoring, ops,administrator,ops,");
        assert!(tags.administrator && tags.monitoring && !tags.management && tags.may_use_api());
        assert_eq!(tags.to_string(), "administrator,monitoring,ops");
        assert_eq!(Tags::from_list(&tags.to_string()), tags);
        assert_eq!(Tags::from_list(""), Tags::default());
        assert!(!Tags::from_list("impersonator").may_use_api());
    }
}

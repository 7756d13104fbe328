//! `NAME=N` limits of users and vhosts: `max-connections=100`, `max-queues=none`.

use serde_json::json;

use super::api::{Api, Path};
use crate::cli::Failure;

/// One limit; without a number it is taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    name: String,
    value: Option<u32>,
}

/// Reads one, for clap.
pub(super) fn parse(text: &str) -> Result<Limit, String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=N, or NAME=none")?;
    if !matches!(name, "max-connections" | "max-channels" | "max-queues") {
        return Err(format!("{name:?} is no limit; write max-connections, max-channels or max-queues"));
    }
    let value = match value {
        "none" => None,
        value => Some(value.parse().map_err(|_| format!("{value:?} is no number; write none for no limit"))?),
    };
    Ok(Limit { name: name.to_owned(), value })
}

impl Limit {
    /// Has it hold for a user (`user-limits`) or a vhost (`vhost-limits`).
    pub(super) fn apply(&self, api: &Api, kind: &str, whose: &str) -> Result<(), Failure> {
        let path = Path::new(&[kind, whose, &self.name]);
        match self.value {
            Some(value) => drop(api.put(&path, &json!({ "value": value }))?),
            None => match api.delete(&path) {
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_none() {
        let limit = |name: &str, value| Limit { name: name.to_owned(), value };
        assert_eq!(parse("max-queues=5"), Ok(limit("max-queues", Some(5))));
        assert_eq!(parse("max-channels=none"), Ok(limit("max-channels", None)));
        assert!(parse("max-queues=many").unwrap_err().contains("none"));
        assert!(parse("max=5").unwrap_err().contains("max-connections"));
        assert!(parse("max-queues").is_err());
    }
}

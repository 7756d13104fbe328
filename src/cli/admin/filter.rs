//! Which messages of a queue are meant: the same options for looking at them and for sending them back.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};

/// All that is said must hold.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which messages")]
pub(super) struct FilterOptions {
    /// Published with this routing key; * is one word of it, # any number of words
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Published to this exchange; '' is the default exchange
    #[arg(long, value_name = "NAME")]
    exchange: Option<String>,
    /// With this header; may be repeated. NAME alone: it is there, whatever it says
    #[arg(long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// With this text in the body
    #[arg(long, value_name = "TEXT")]
    contains: Option<String>,
    /// In the queue for longer than this
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// In the queue for less than this
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    newer_than: Option<Duration>,
    /// With this message-id
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// With this correlation-id
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// Dead letters that died first in this queue
    #[arg(long, value_name = "QUEUE")]
    died_in: Option<String>,
    /// Dead letters that died first of this: rejected, expired, maxlen or delivery_limit
    #[arg(long, value_name = "REASON")]
    died_of: Option<String>,
}

impl FilterOptions {
    /// As the API wants it.
    pub(super) fn json(&self) -> Value {
        let mut filter = Map::new();
        let texts = [
            ("routing_key", &self.key),
            ("exchange", &self.exchange),
            ("body", &self.contains),
            ("message_id", &self.message_id),
            ("correlation_id", &self.correlation_id),
            ("origin", &self.died_in),
            ("reason", &self.died_of),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                filter.insert(name.to_owned(), text.as_str().into());
            }
        }
        for (name, time) in [("min_age_ms", self.older_than), ("max_age_ms", self.newer_than)] {
            if let Some(time) = time {
                filter.insert(name.to_owned(), u64::try_from(time.as_millis()).unwrap_or(u64::MAX).into());
            }
        }
        if !self.headers.is_empty() {
            filter.insert("headers".to_owned(), headers(&self.headers).into());
        }
        filter.into()
    }
}

/// `NAME=VALUE` each; a value has the type it looks like, a name alone goes with `null`.
pub(super) fn headers(pairs: &[String]) -> Map<String, Value> {
    let pair = |pair: &String| match pair.split_once('=') {
        Some((name, value)) => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
            (name.to_owned(), value)
        }
        None => (pair.clone(), Value::Null),
    };
    pairs.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_filter_says_only_what_was_asked_for() {
        assert_eq!(FilterOptions::default().json(), json!({}));
        let options = FilterOptions {
            key: Some("orders.#".to_owned()),
            headers: vec!["retries=3".to_owned(), "type=report".to_owned(), "trace".to_owned()],
            older_than: Some(Duration::from_secs(60)),
            died_in: Some("work".to_owned()),
            ..FilterOptions::default()
        };
        let expected = json!({
            "routing_key": "orders.#",
            "headers": {"retries": 3, "type": "report", "trace": null},
            "min_age_ms": 60_000,
            "origin": "work",
        });
        assert_eq!(options.json(), expected);
    }
}

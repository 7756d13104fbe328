//! A message as a line.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rialto_client::{DeliveredMessage, Properties};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::model::json_from_table;

/// What a line shows of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// The body as it is.
    Bodies,
    /// All of it, as a JSON object.
    Json,
}

/// The JSON object of one message. Its names are part of the command's interface.
#[derive(Serialize)]
struct Row<'a> {
    exchange: &'a str,
    routing_key: &'a str,
    redelivered: bool,
    delivery_count: u32,
    properties: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl Format {
    /// Appends the line with its line break.
    pub(super) fn append(self, message: &DeliveredMessage, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Format::Bodies => out.extend_from_slice(message.body()),
            Format::Json => {
                let body = message.text();
                let row = Row {
                    exchange: message.exchange(),
                    routing_key: message.routing_key(),
                    redelivered: message.redelivered(),
                    delivery_count: message.delivery_count(),
                    properties: properties(&message.properties()),
                    body,
                    body_base64: body.is_none().then(|| STANDARD.encode(message.body())),
                };
                serde_json::to_writer(&mut *out, &row)?;
            }
        }
        out.push(b'\n');
        Ok(())
    }
}

/// The properties that are set, by AMQP's names.
fn properties(from: &Properties) -> Map<String, Value> {
    let text = |text: &Option<rialto_client::ShortStr>| text.as_ref().map(|text| Value::from(text.as_str()));
    let all = [
        ("content_type", text(&from.content_type)),
        ("content_encoding", text(&from.content_encoding)),
        ("headers", from.headers.as_ref().map(json_from_table)),
        ("delivery_mode", from.delivery_mode.map(Value::from)),
        ("priority", from.priority.map(Value::from)),
        ("correlation_id", text(&from.correlation_id)),
        ("reply_to", text(&from.reply_to)),
        ("expiration", text(&from.expiration)),
        ("message_id", text(&from.message_id)),
        ("timestamp", from.timestamp.map(Value::from)),
        ("type", text(&from.kind)),
        ("user_id", text(&from.user_id)),
        ("app_id", text(&from.app_id)),
        ("cluster_id", text(&from.cluster_id)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_properties_that_are_set_are_shown() {
        let headers = rialto_client::FieldTable::new().with("retries", 3);
        let set = Properties { priority: Some(4), headers: Some(headers), ..Properties::default() };
        assert_eq!(Value::from(properties(&set)).to_string(), r#"{"headers":{"retries":3},"priority":4}"#);
        assert!(properties(&Properties::default()).is_empty());
    }
}

//! Questions to JetStream, and what its answers say.

use serde_json::{Value, json};

use super::super::super::error::{BenchError, BenchResult};
use super::super::connection::Connection;
use super::super::subject;
use super::super::walker::Message;

/// What the answer to a published message begins with if it was taken.
const TAKEN: &[u8] = b"{\"stream\"";

/// Nobody listens where JetStream would.
const NO_RESPONDERS: &[u8] = b"NATS/1.0 503";

/// Why a message or a question was not taken, if it was not.
pub(in super::super) fn refusal(message: &Message<'_>) -> Option<String> {
    if message.body.starts_with(TAKEN) {
        return None;
    }
    if message.header.starts_with(NO_RESPONDERS) {
        return Some("JetStream does not answer: it is not enabled there, or has no such stream".to_owned());
    }
    let Ok(answer) = serde_json::from_slice::<Value>(message.body) else {
        return Some(format!("an answer that is no JSON: {}", String::from_utf8_lossy(message.body)));
    };
    let error = answer.get("error")?;
    let text = error["description"].as_str().unwrap_or("no reason given");
    Some(match error["err_code"].as_u64() {
        Some(code) => format!("{text} (JetStream error {code})"),
        None => text.to_owned(),
    })
}

/// A connection that asks, and waits for each answer.
pub(super) struct Control {
    connection: Connection,
    inbox: String,
}

impl Control {
    pub(super) fn open(endpoint: &str) -> BenchResult<Control> {
        let mut connection = Connection::open(endpoint)?;
        let inbox = format!("_INBOX.{}.control", subject::prefix());
        connection.write(format!("SUB {inbox} 1\r\n").as_bytes())?;
        Ok(Control { connection, inbox })
    }

    pub(super) fn create_stream(&mut self, name: &str, settings: &Value) -> BenchResult<()> {
        self.ask(&format!("STREAM.CREATE.{name}"), &settings.to_string())
    }

    pub(super) fn delete_stream(&mut self, name: &str) -> BenchResult<()> {
        self.ask(&format!("STREAM.DELETE.{name}"), "")
    }

    /// `settings` have a `durable_name`.
    pub(super) fn create_consumer(&mut self, stream: &str, settings: &Value) -> BenchResult<()> {
        let name = settings["durable_name"].as_str().unwrap_or_default();
        let what = format!("CONSUMER.DURABLE.CREATE.{stream}.{name}");
        self.ask(&what, &json!({ "stream_name": stream, "config": settings }).to_string())
    }

    fn ask(&mut self, what: &str, content: &str) -> BenchResult<()> {
        let question = format!("PUB $JS.API.{what} {} {}\r\n{content}\r\n", self.inbox, content.len());
        self.connection.write(question.as_bytes())?;
        let mut answer = None;
        while answer.is_none() {
            self.connection.await_bytes()?;
            self.connection.hear(|message| {
                answer = Some(refusal(&message));
                Ok(())
            })?;
        }
        match answer.flatten() {
            Some(why) => Err(BenchError::Refused(format!("{why}, to {what}"))),
            None => Ok(()),
        }
    }
}

//! Definitions: everything that was declared and set, as one JSON document in RabbitMQ's format, out and in.
//!
//! Invariants: an import is all or nothing; every error is told, with its place; what is not understood, or has no
//! effect here, is told too. What was exported and is imported into an empty broker makes an equal one.

mod document;
pub(super) mod export;
pub(super) mod findings;
pub(super) mod import;
pub(super) mod items;
mod load;
mod lost;
pub(super) mod reader;

#[cfg(test)]
mod tests;

use document::Document;
pub use load::{LoadError, load_definitions};

use serde_json::{Map, Value};

use super::ApiError;
use crate::broker::{Broker, Commit};
use crate::model::VhostName;
use findings::Findings;
use import::Refused;
use reader::Reader;

/// Takes definitions over: from their text to what holds. How many items they had, and what to wait for.
///
/// # Errors
/// The findings have what is wrong; nothing was changed.
pub(super) fn take(
    broker: &Broker,
    text: &[u8],
    into: Option<&VhostName>,
    findings: &mut Findings,
) -> Result<(usize, Commit), Refused> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(object)) => {
            let document = Document::read(&object, into, findings);
            Ok((document.len(), import::import(broker, &document, findings)?))
        }
        Ok(other) => {
            findings
                .fault("", format!("definitions are a JSON object, and this is {}", reader::kind(&other)));
            Err(Refused)
        }
        Err(error) => {
            findings.fault("", format!("this is not JSON: {error}"));
            Err(Refused)
        }
    }
}

/// Reads one item from the body of a request, by the same rules.
///
/// # Errors
/// 400 with everything that is wrong.
pub(super) fn read_body<T>(
    body: &Map<String, Value>,
    read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
) -> Result<T, ApiError> {
    let mut findings = Findings::default();
    let mut reader = Reader::new(String::new(), body, &mut findings);
    // Tools repeat what the path says.
    reader.pass_over(&["name", "vhost", "user", "component"]);
    let item = read(&mut reader);
    reader.finish();
    for notice in findings.notices() {
        tracing::info!(notice = notice.notice, "part of a request over HTTP has no effect");
    }
    match item {
        Some(item) if findings.is_sound() => Ok(item),
        _ => Err(ApiError::bad_request(findings.text())),
    }
}

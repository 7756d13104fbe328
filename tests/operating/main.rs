//! What operators do over HTTP with single messages, queues and routes: the HTTP API against a broker with real clients.

mod explaining;
mod http;
mod messages;
mod redriving;
#[path = "../support/mod.rs"]
#[allow(dead_code)]
mod support;

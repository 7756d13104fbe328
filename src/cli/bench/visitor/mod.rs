//! Connections for their own sake: one that comes and stays, one that comes and goes.
//!
//! Rooms: `script` (what is said and what is waited for), `amqp`, `native`, `nats` (whose words). Invariants: everything is
//! encoded before the clock starts; each step waits for its answer, as clients do, and nothing is sent ahead.
//! Not here: messages (the rooms of the protocols).

mod amqp;
mod native;
mod nats;
mod script;

use super::error::{BenchError, BenchResult};
use super::running::Speech;
pub(super) use script::{Script, Stay};

/// The words of a connection that logs in, opens a channel and stays.
pub(super) fn stay(speech: &Speech) -> Script {
    match speech {
        Speech::Native(address) => native::stay(address),
        Speech::Amqp(address) => amqp::stay(address),
        Speech::Nats(endpoint) | Speech::JetStream { endpoint, .. } => nats::stay(endpoint),
    }
}

/// The words of a connection that logs in, opens a channel, declares an exclusive queue of this name, deletes it and
/// closes.
///
/// # Errors
/// What is spoken has no queues.
pub(super) fn pass(speech: &Speech, queue: &str) -> BenchResult<Script> {
    match speech {
        Speech::Native(address) => Ok(native::pass(address, queue)),
        Speech::Amqp(address) => Ok(amqp::pass(address, queue)),
        Speech::Nats(_) | Speech::JetStream { .. } => {
            Err(BenchError::Options("NATS has no queues to declare".to_owned()))
        }
    }
}

/// Whether a queue of this name is there.
///
/// # Errors
/// It cannot be asked.
pub(super) fn has_queue(speech: &Speech, queue: &str) -> BenchResult<bool> {
    let script = match speech {
        Speech::Native(address) => native::look(address, queue),
        Speech::Amqp(address) => amqp::look(address, queue),
        Speech::Nats(_) | Speech::JetStream { .. } => return Ok(false),
    };
    match script.play() {
        Ok(_) => Ok(true),
        Err(BenchError::Refused(why)) if why.contains(NOT_FOUND) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What brokers say of a queue that is not there.
const NOT_FOUND: &str = "NOT_FOUND";

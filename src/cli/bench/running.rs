//! A broker that is measured, while it runs: started for one round and ended with it, or someone else's.
//!
//! Not here: who can be measured and how it is named (`contender`), what a round does with it.

use std::path::PathBuf;

use rialto_client::Address;

use super::error::BenchResult;
use super::leftovers::Guard;
use super::plan::Plan;
use super::process::Process;
use super::rabbitmq::RabbitMq;
use super::traffic::Ends;
use super::usage::Meter;
use super::{amqp, native, nats};

/// What is spoken with a broker, and where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Speech {
    /// Rialto's own protocol.
    Native(Address),
    /// AMQP 0-9-1.
    Amqp(Address),
    /// NATS core, at this host and port.
    Nats(String),
    /// JetStream of a NATS server, at this host and port.
    JetStream {
        /// Host and port.
        endpoint: String,
        /// Where it keeps messages that the system has to sync.
        unsynced: Option<PathBuf>,
    },
}

/// A broker that runs. What was started for it ends when it is dropped.
#[derive(Debug)]
pub(super) struct Running {
    speech: Speech,
    pid: Option<u32>,
    _kept: Kept,
}

/// What ends with it, in the order of the fields.
#[derive(Debug)]
#[expect(dead_code, reason = "held to be dropped")]
pub(super) enum Kept {
    /// It runs whether it is measured or not.
    Nothing,
    /// A process, and the folder that it writes to.
    Process(Process, Option<Guard>),
    /// A RabbitMQ node.
    Node(RabbitMq),
}

impl Running {
    /// `pid`: whose CPU and memory are measured, where that is known.
    pub(super) fn new(speech: Speech, pid: Option<u32>, kept: Kept) -> Running {
        Running { speech, pid, _kept: kept }
    }

    /// What is spoken with it.
    pub(super) fn speech(&self) -> &Speech {
        &self.speech
    }

    /// Looks at its process.
    pub(super) fn meter(&self) -> Option<Meter> {
        self.pid.map(Meter::of)
    }

    /// Publishers and consumers that are connected with it, their queues declared.
    pub(super) fn ends(&self, plan: &Plan) -> BenchResult<Ends> {
        match &self.speech {
            Speech::Native(address) => native::connect(address, plan),
            Speech::Amqp(address) => amqp::connect(address, plan),
            Speech::Nats(endpoint) => nats::connect(endpoint, plan),
            Speech::JetStream { endpoint, unsynced } => {
                nats::jetstream::connect(endpoint, plan, unsynced.as_deref())
            }
        }
    }
}

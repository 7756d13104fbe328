//! Exchanges, queues and bindings: builders to declare them, requests about them, and the record of what was
//! declared (`record`), from which a new connection is restored.

mod exchange;
mod listing;
mod queue;
pub(crate) mod record;

pub use exchange::Exchange;
pub use listing::{ListKind, Listing};
pub use queue::{Overflow, Queue, QueueInfo};

use std::sync::Arc;

use rialto_protocol::native::{Binding, Request, Response};
use rialto_protocol::types::{FieldTable, FieldValue, ShortStr};

use crate::client::Handle;
use crate::connection::unexpected;
use crate::error::{Error, Result, short};

/// A name and arguments, collected by a builder; the first mistake is told when the request is made.
#[derive(Clone, Debug, Default)]
struct Draft {
    name: ShortStr,
    arguments: FieldTable,
    problem: Option<Error>,
}

impl Draft {
    fn new(what: &'static str, name: &str) -> Self {
        match short(what, name) {
            Ok(name) => Draft { name, ..Draft::default() },
            Err(problem) => Draft { problem: Some(problem), ..Draft::default() },
        }
    }

    fn argument(&mut self, name: &str, value: impl Into<FieldValue>) {
        match short("argument name", name) {
            Ok(name) => self.arguments.insert(name, value),
            Err(problem) => {
                self.problem.get_or_insert(problem);
            }
        }
    }

    /// A binding of what is named here to the exchange `source`.
    fn binding(&self, source: &str, routing_key: &str, arguments: FieldTable) -> Result<Binding> {
        let destination = self.checked_name()?;
        let source = short("exchange name", source)?;
        Ok(Binding { source, destination, routing_key: short("routing key", routing_key)?, arguments })
    }

    fn checked_name(&self) -> Result<ShortStr> {
        match &self.problem {
            Some(problem) => Err(problem.clone()),
            None => Ok(self.name.clone()),
        }
    }
}

/// Makes a request and reads its answer. The future owns what it needs, so that it can be spawned.
fn requested<T: Send + 'static>(
    handle: &Arc<Handle>,
    request: Result<Request>,
    read: fn(Response) -> Result<T>,
) -> impl Future<Output = Result<T>> + Send + use<T> {
    let handle = handle.clone();
    async move { read(handle.shared.request(request?).await?) }
}

fn done(response: Response) -> Result<()> {
    match response {
        Response::Done => Ok(()),
        other => Err(unexpected(&other)),
    }
}

fn count(response: Response) -> Result<u64> {
    match response {
        Response::Count(messages) => Ok(messages),
        other => Err(unexpected(&other)),
    }
}

fn info(response: Response) -> Result<FieldTable> {
    match response {
        Response::Info(facts) => Ok(facts),
        other => Err(unexpected(&other)),
    }
}

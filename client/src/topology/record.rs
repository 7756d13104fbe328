//! What this client has declared and not deleted again, in order: what a new connection must restore.
//!
//! Invariants: a thing stands once, in the place of its first declaration and with its last arguments; only
//! what the broker has carried out, and somebody was told of, is recorded. Durable things are recorded too, since
//! declaring them again does no harm and the broker may have been replaced.

use rialto_protocol::native::{Binding, Request, Response};
use rialto_protocol::types::ShortStr;

/// One thing to restore.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Finds it; rises with the order.
    pub(crate) id: u64,
    /// The request that made it, with the names of the connection it was last made on.
    pub(crate) request: Request,
    /// The name that the broker made for a queue declared without one.
    pub(crate) made_name: Option<ShortStr>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    steps: Vec<Step>,
    last_id: u64,
}

impl Topology {
    /// Takes note of a request that was carried out.
    pub(crate) fn record(&mut self, request: &Request, response: &Response) {
        match request {
            Request::DeclareExchange { passive: false, name, .. } => self.set(
                request,
                None,
                |known| matches!(known, Request::DeclareExchange { name: known, .. } if known == name),
            ),
            Request::DeclareQueue { passive: false, name, .. } => {
                let Response::QueueDeclared { name: made, .. } = response else { return };
                let made_name = name.is_empty().then(|| made.clone());
                self.set(
                    request,
                    made_name,
                    |known| matches!(known, Request::DeclareQueue { name: known, .. } if known == name && !name.is_empty()),
                );
            }
            Request::BindQueue(_) | Request::BindExchange(_) => {
                self.set(request, None, |known| known == request);
            }
            Request::UnbindQueue(binding) => {
                self.forget(|step| matches!(&step.request, Request::BindQueue(known) if known == binding));
            }
            Request::UnbindExchange(binding) => {
                self.forget(|step| matches!(&step.request, Request::BindExchange(known) if known == binding));
            }
            Request::DeleteExchange { name, .. } => self.forget(|step| match &step.request {
                Request::DeclareExchange { name: known, .. } => known == name,
                Request::BindQueue(binding) => binding.source == *name,
                Request::BindExchange(binding) => binding.source == *name || binding.destination == *name,
                _ => false,
            }),
            Request::DeleteQueue { name, .. } => self.forget(|step| match &step.request {
                Request::DeclareQueue { name: known, .. } => step.made_name.as_ref().unwrap_or(known) == name,
                Request::BindQueue(binding) => binding.destination == *name,
                _ => false,
            }),
            _ => {}
        }
    }

    /// What to restore, in order.
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.steps.clone()
    }

    /// Whether a step is still wanted.
    pub(crate) fn holds(&self, id: u64) -> bool {
        self.steps.binary_search_by_key(&id, |step| step.id).is_ok()
    }

    /// A queue whose name the broker makes has a new one.
    pub(crate) fn rename(&mut self, old: &ShortStr, new: &ShortStr) {
        for step in &mut self.steps {
            if step.made_name.as_ref() == Some(old) {
                step.made_name = Some(new.clone());
            }
            renamed(&mut step.request, old, new);
        }
    }

    fn set(&mut self, request: &Request, made_name: Option<ShortStr>, same: impl Fn(&Request) -> bool) {
        match self.steps.iter_mut().find(|step| same(&step.request)) {
            Some(step) => step.request = request.clone(),
            None => {
                self.last_id += 1;
                self.steps.push(Step { id: self.last_id, request: request.clone(), made_name });
            }
        }
    }

    fn forget(&mut self, gone: impl Fn(&Step) -> bool) {
        self.steps.retain(|step| !gone(step));
    }
}

/// Puts the new name of a queue into a binding to it.
pub(crate) fn renamed(request: &mut Request, old: &ShortStr, new: &ShortStr) {
    if let Request::BindQueue(Binding { destination, .. }) = request
        && destination == old
    {
        *destination = new.clone();
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::types::FieldTable;

    use super::*;

    fn name(text: &str) -> ShortStr {
        ShortStr::truncated(text)
    }

    fn queue(text: &str) -> Request {
        Request::DeclareQueue {
            name: name(text),
            passive: false,
            durable: false,
            exclusive: true,
            auto_delete: false,
            arguments: FieldTable::new(),
        }
    }

    fn bind(exchange: &str, queue: &str) -> Binding {
        let (source, destination) = (name(exchange), name(queue));
        Binding { source, destination, routing_key: name("k"), arguments: FieldTable::new() }
    }

    fn declared(made: &str) -> Response {
        Response::QueueDeclared { name: name(made), messages: 0, consumers: 0 }
    }

    #[test]
    fn a_thing_declared_twice_is_restored_once() {
        let mut topology = Topology::default();
        topology.record(&queue("q"), &declared("q"));
        topology.record(&Request::BindQueue(bind("x", "q")), &Response::Done);
        topology.record(&Request::BindQueue(bind("x", "q")), &Response::Done);
        topology.record(&queue("q"), &declared("q"));
        assert_eq!(topology.steps().len(), 2);
    }

    #[test]
    fn deleting_a_queue_forgets_its_bindings() {
        let mut topology = Topology::default();
        topology.record(&queue("q"), &declared("q"));
        topology.record(&queue(""), &declared("made-1"));
        topology.record(&Request::BindQueue(bind("x", "q")), &Response::Done);
        topology.record(&Request::BindQueue(bind("x", "made-1")), &Response::Done);
        let delete = |text| Request::DeleteQueue { name: name(text), if_unused: false, if_empty: false };
        let ids: Vec<u64> = topology.steps().iter().map(|step| step.id).collect();
        topology.record(&delete("q"), &Response::Count(0));
        assert_eq!(topology.steps().len(), 2);
        assert_eq!(ids.iter().map(|&id| topology.holds(id)).collect::<Vec<_>>(), [false, true, false, true]);
        topology.record(&delete("made-1"), &Response::Count(0));
        assert!(topology.steps().is_empty());
    }

    #[test]
    fn bindings_follow_a_queue_with_a_made_name() {
        let mut topology = Topology::default();
        topology.record(&queue(""), &declared("made-1"));
        topology.record(&Request::BindQueue(bind("x", "made-1")), &Response::Done);
        topology.rename(&name("made-1"), &name("made-2"));
        let steps = topology.steps();
        assert_eq!(steps[0].made_name, Some(name("made-2")));
        assert_eq!(steps[1].request, Request::BindQueue(bind("x", "made-2")));
    }

    #[test]
    fn what_was_only_checked_is_not_restored() {
        let mut topology = Topology::default();
        let Request::DeclareQueue { name, durable, exclusive, auto_delete, arguments, .. } = queue("q")
        else {
            unreachable!()
        };
        let passive =
            Request::DeclareQueue { name, passive: true, durable, exclusive, auto_delete, arguments };
        topology.record(&passive, &declared("q"));
        assert!(topology.steps().is_empty());
    }
}

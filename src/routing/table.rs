//! The routing table of one vhost: its exchanges, the names of its queues, and the bindings between them.
//!
//! Invariants: both ends of every binding exist; an auto-delete exchange does not outlive its last binding;
//! `generation` has grown whenever a message might go elsewhere than before; nothing that peers can grow goes past
//! [`RoutingLimits`]. Not here: the rule (`route`), what queues are (`queue`), what survives a restart (`store`).

use ahash::HashMap;
use rialto_protocol::types::{FieldTable, ShortStr};
use slab::Slab;

use super::binding::{
    Binding, BindingArguments, BindingIdentity, BindingRow, BindingRows, BindingTarget, Destination,
};
use super::error::{BindError, DeclareExchangeError, DeleteExchangeError, Inequivalence};
use super::exchange::{Exchange, Index, is_reserved};
use super::target::Target;
use crate::model::{
    ExchangeKind, ExchangeName, ExchangeOptions, QueueId, QueueName, RoutingKey, argument_difference,
};

/// How large a routing table may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutingLimits {
    /// Exchanges, the predeclared ones included.
    pub exchanges_max: usize,
    /// Bindings, the default exchange's implicit ones not counted.
    pub bindings_max: usize,
}

impl RoutingLimits {
    /// As large as memory lets it.
    pub const NONE: RoutingLimits = RoutingLimits { exchanges_max: usize::MAX, bindings_max: usize::MAX };
}

impl Default for RoutingLimits {
    fn default() -> Self {
        RoutingLimits { exchanges_max: 100_000, bindings_max: 10_000_000 }
    }
}

/// What a declare did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    /// There is a new exchange.
    Created,
    /// It existed and is equivalent.
    Existed,
}

/// What went because something else did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Removed {
    /// Bindings, in the order of their removal. The implicit ones of the default exchange are not told.
    pub bindings: Vec<Binding>,
    /// Auto-delete exchanges that lost their last binding, in the order of their deletion.
    pub exchanges: Vec<ExchangeName>,
}

/// What the deletion of an exchange did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeletedExchange {
    /// Whether it existed.
    pub existed: bool,
    /// What went with it; the exchange itself is not among them.
    pub removed: Removed,
}

/// What undoing a binding did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unbound {
    /// Whether it existed.
    pub existed: bool,
    /// The binding, and what went with it.
    pub removed: Removed,
}

#[derive(Debug)]
pub(super) struct QueueEntry {
    pub(super) name: QueueName,
    pub(super) id: QueueId,
}

/// The routing table of one vhost.
#[derive(Debug)]
pub struct RoutingTable {
    exchanges: Slab<Exchange>,
    pub(super) exchange_slots: HashMap<ExchangeName, u32>,
    queues: Slab<QueueEntry>,
    pub(super) queue_slots: HashMap<QueueName, u32>,
    queue_slots_by_id: HashMap<QueueId, u32>,
    pub(super) bindings: BindingRows,
    limits: RoutingLimits,
    generation: u64,
}

/// Name, kind, internal.
const PREDECLARED: [(&str, ExchangeKind, bool); 7] = [
    ("", ExchangeKind::Direct, false),
    ("amq.direct", ExchangeKind::Direct, false),
    ("amq.fanout", ExchangeKind::Fanout, false),
    ("amq.topic", ExchangeKind::Topic, false),
    ("amq.headers", ExchangeKind::Headers, false),
    ("amq.match", ExchangeKind::Headers, false),
    ("amq.rabbitmq.trace", ExchangeKind::Topic, true),
];

impl Default for RoutingTable {
    fn default() -> Self {
        Self::new()
    }
}

impl RoutingTable {
    /// A table with the predeclared exchanges and nothing else.
    pub fn new() -> Self {
        Self::with_limits(RoutingLimits::default())
    }

    /// [`RoutingTable::new`] with other limits.
    pub fn with_limits(limits: RoutingLimits) -> Self {
        let mut table = RoutingTable {
            exchanges: Slab::new(),
            exchange_slots: HashMap::default(),
            queues: Slab::new(),
            queue_slots: HashMap::default(),
            queue_slots_by_id: HashMap::default(),
            bindings: BindingRows::default(),
            limits,
            generation: 0,
        };
        for (name, kind, internal) in PREDECLARED {
            let name = ExchangeName::new(name).expect("the names of predeclared exchanges are short");
            let options = ExchangeOptions { durable: true, internal, ..ExchangeOptions::new(kind) };
            table.add_exchange(name, options);
        }
        table
    }

    /// Grows with every change that can alter where a message goes. Results of
    /// [`route`](RoutingTable::route) can be kept for as long as it stays the same.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How large it may grow.
    pub fn limits(&self) -> RoutingLimits {
        self.limits
    }

    /// From now on it may grow so large. What there is stays, even if that is more.
    pub fn set_limits(&mut self, limits: RoutingLimits) {
        self.limits = limits;
    }

    /// The exchange with this name.
    pub fn exchange(&self, name: &str) -> Option<&Exchange> {
        self.exchange_slots.get(name).map(|&slot| self.exchange_at(slot))
    }

    /// All exchanges, the default one included.
    pub fn exchanges(&self) -> impl ExactSizeIterator<Item = &Exchange> {
        self.exchanges.iter().map(|(_, exchange)| exchange)
    }

    /// Declares an exchange: it exists afterwards, with these options.
    pub fn declare_exchange(
        &mut self,
        name: ExchangeName,
        options: ExchangeOptions,
    ) -> Result<Declared, DeclareExchangeError> {
        if name.is_empty() {
            return Err(DeclareExchangeError::DefaultExchange);
        }
        if let Some(exchange) = self.exchange(&name) {
            return match exchange.inequivalence(&options) {
                None => Ok(Declared::Existed),
                Some(difference) => Err(DeclareExchangeError::Inequivalent { name, difference }),
            };
        }
        if is_reserved(&name) {
            return Err(DeclareExchangeError::Reserved(name));
        }
        if self.exchanges.len() >= self.limits.exchanges_max {
            return Err(DeclareExchangeError::TooMany { name, max: self.limits.exchanges_max });
        }
        self.add_exchange(name, options);
        Ok(Declared::Created)
    }

    /// Why a declare with these options is refused whose alternate exchange, in `arguments`, is not even a name: the
    /// exchange exists and differs, or may not be. None: only the argument is wrong.
    pub fn refuses_declare(
        &self,
        name: &ExchangeName,
        options: &ExchangeOptions,
        arguments: &FieldTable,
    ) -> Option<DeclareExchangeError> {
        let Some(exchange) = self.exchange(name) else {
            return is_reserved(name).then(|| DeclareExchangeError::Reserved(name.clone()));
        };
        let options = ExchangeOptions { alternate: exchange.options.alternate.clone(), ..options.clone() };
        let difference = match exchange.inequivalence(&options) {
            Some(difference) => difference,
            None => {
                let argument = "alternate-exchange";
                let current = exchange.options.arguments.get(argument);
                let (received, current) = argument_difference(arguments.get(argument), current)?;
                Inequivalence::Argument { argument, received, current }
            }
        };
        Some(DeclareExchangeError::Inequivalent { name: name.clone(), difference })
    }

    fn add_exchange(&mut self, name: ExchangeName, options: ExchangeOptions) {
        let slot = self.exchanges.insert(Exchange::new(name.clone(), options)) as u32;
        self.exchange_slots.insert(name, slot);
        self.generation += 1;
    }

    /// Deletes an exchange and all bindings from and to it. One that does not exist is deleted already.
    pub fn delete_exchange(
        &mut self,
        name: &ExchangeName,
        if_unused: bool,
    ) -> Result<DeletedExchange, DeleteExchangeError> {
        if name.is_empty() {
            return Err(DeleteExchangeError::DefaultExchange);
        }
        if is_reserved(name) {
            return Err(DeleteExchangeError::Reserved(name.clone()));
        }
        let Some(&slot) = self.exchange_slots.get(name) else { return Ok(DeletedExchange::default()) };
        // As RabbitMQ: only bindings from it are use, not those that lead to it.
        if if_unused && self.exchange_at(slot).bindings_from > 0 {
            return Err(DeleteExchangeError::InUse(name.clone()));
        }
        let mut removal = Removal::default();
        self.remove_exchange(slot, &mut removal);
        Ok(DeletedExchange { existed: true, removed: self.finish(removal) })
    }

    /// Sends what matches none of an exchange's bindings to another exchange, whatever it was declared with.
    pub fn set_alternate(&mut self, exchange: &ExchangeName, alternate: Option<ExchangeName>) {
        if let Some(&slot) = self.exchange_slots.get(exchange) {
            let exchange = &mut self.exchanges[slot as usize];
            if exchange.alternate != alternate {
                exchange.alternate = alternate;
                self.generation += 1;
            }
        }
    }

    /// Sends messages that are to go on from this exchange later to this queue, which routing does not know by any
    /// name.
    pub fn set_delay_queue(&mut self, exchange: &ExchangeName, queue: QueueId) {
        if let Some(&slot) = self.exchange_slots.get(exchange) {
            self.exchanges[slot as usize].delay_queue = Some(queue);
            self.generation += 1;
        }
    }

    /// Makes a queue known: the default exchange routes to it by its name. False, and nothing done, if the
    /// name or the id is taken.
    pub fn add_queue(&mut self, name: QueueName, id: QueueId) -> bool {
        if self.queue_slots.contains_key(&name) || self.queue_slots_by_id.contains_key(&id) {
            return false;
        }
        let slot = self.queues.insert(QueueEntry { name: name.clone(), id }) as u32;
        self.queue_slots.insert(name, slot);
        self.queue_slots_by_id.insert(id, slot);
        self.generation += 1;
        true
    }

    /// Forgets a queue and all bindings to it. Costs what those bindings cost, however many others there are.
    pub fn remove_queue(&mut self, name: &QueueName) -> Removed {
        let Some(slot) = self.queue_slots.remove(name) else { return Removed::default() };
        let mut removal = Removal::default();
        while let Some(row) = self.bindings.first_of_target(Target::Queue(slot)) {
            self.remove_binding(row, &mut removal);
        }
        let entry = self.queues.remove(slot as usize);
        self.queue_slots_by_id.remove(&entry.id);
        self.generation += 1;
        self.finish(removal)
    }

    /// The queue with this name.
    pub fn queue(&self, name: &str) -> Option<QueueId> {
        self.queue_slots.get(name).map(|&slot| self.queue_at(slot).id)
    }

    /// Binds a queue or an exchange to an exchange. False if the binding existed: the same key and equal
    /// arguments between the same two.
    pub fn bind(
        &mut self,
        source: &ExchangeName,
        destination: &Destination,
        routing_key: RoutingKey,
        arguments: &FieldTable,
    ) -> Result<bool, BindError> {
        let (source, target) = self.ends(source, destination)?;
        let arguments = BindingArguments::new(arguments);
        let table = arguments.as_deref().map(|arguments| &arguments.table);
        let checked = self.exchange_at(source).index.check(&routing_key, table)?;
        let identity = BindingIdentity {
            source,
            target: target.pack(),
            routing_key: &routing_key,
            arguments: arguments.as_deref(),
        };
        if self.bindings.find(identity).is_some() {
            return Ok(false);
        }
        self.exchange_at(source).index.check_room()?;
        if self.bindings.len() >= self.limits.bindings_max {
            return Err(BindError::TooMany { max: self.limits.bindings_max });
        }
        let number = self.bindings.insert(source, target.pack(), routing_key, arguments);
        let destination = self.name_of(target).clone();
        let exchange = &mut self.exchanges[source as usize];
        exchange.index.insert(number, self.bindings.row(number), &destination, checked);
        exchange.bindings_from += 1;
        if let Target::Exchange(slot) = target {
            self.exchanges[slot as usize].bindings_to += 1;
        }
        self.generation += 1;
        Ok(true)
    }

    /// Undoes a binding. One that was never made is undone already, even if its ends do not exist.
    pub fn unbind(
        &mut self,
        source: &ExchangeName,
        destination: &Destination,
        routing_key: &RoutingKey,
        arguments: &FieldTable,
    ) -> Result<Unbound, BindError> {
        match self.unbound(source, destination, routing_key, arguments)? {
            Some(removal) => Ok(Unbound { existed: true, removed: self.finish(removal) }),
            None => Ok(Unbound::default()),
        }
    }

    /// Undoes a binding as if it had never been: an exchange that is left without any stays, even if it would go with its
    /// last one.
    pub fn take_back(
        &mut self,
        source: &ExchangeName,
        destination: &Destination,
        routing_key: &RoutingKey,
        arguments: &FieldTable,
    ) {
        // It is there, or it is gone: both are fine.
        let _ = self.unbound(source, destination, routing_key, arguments);
    }

    fn unbound(
        &mut self,
        source: &ExchangeName,
        destination: &Destination,
        routing_key: &RoutingKey,
        arguments: &FieldTable,
    ) -> Result<Option<Removal>, BindError> {
        let (source, target) = match self.ends(source, destination) {
            Ok(ends) => ends,
            Err(BindError::NoExchange(_) | BindError::NoQueue(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let arguments = BindingArguments::new(arguments);
        let identity =
            BindingIdentity { source, target: target.pack(), routing_key, arguments: arguments.as_deref() };
        let Some(row) = self.bindings.find(identity) else { return Ok(None) };
        let mut removal = Removal::default();
        self.remove_binding(row, &mut removal);
        Ok(Some(removal))
    }

    fn name_of(&self, target: Target) -> &ShortStr {
        match target {
            Target::Queue(slot) => self.queue_at(slot).name.short(),
            Target::Exchange(slot) => self.exchange_at(slot).name.short(),
        }
    }

    /// Whether this binding exists: the same key and equal arguments between the same two.
    pub fn has_binding(
        &self,
        source: &ExchangeName,
        destination: &Destination,
        routing_key: &RoutingKey,
        arguments: &FieldTable,
    ) -> bool {
        let Ok((source, target)) = self.ends(source, destination) else { return false };
        let arguments = BindingArguments::new(arguments);
        let identity =
            BindingIdentity { source, target: target.pack(), routing_key, arguments: arguments.as_deref() };
        self.bindings.find(identity).is_some()
    }

    fn ends(&self, source: &ExchangeName, destination: &Destination) -> Result<(u32, Target), BindError> {
        let source = self.bindable(source)?;
        let target = match destination {
            Destination::Queue(id) => {
                Target::Queue(*self.queue_slots_by_id.get(id).ok_or(BindError::NoQueue(*id))?)
            }
            Destination::Exchange(name) => Target::Exchange(self.bindable(name)?),
        };
        Ok((source, target))
    }

    fn bindable(&self, name: &ExchangeName) -> Result<u32, BindError> {
        if name.is_empty() {
            return Err(BindError::DefaultExchange);
        }
        self.exchange_slots.get(name).copied().ok_or_else(|| BindError::NoExchange(name.clone()))
    }

    pub(super) fn exchange_at(&self, slot: u32) -> &Exchange {
        &self.exchanges[slot as usize]
    }

    pub(super) fn queue_at(&self, slot: u32) -> &QueueEntry {
        &self.queues[slot as usize]
    }
}

/// Removal: bindings, then whatever auto-delete exchanges lost their last one.
impl RoutingTable {
    fn remove_binding(&mut self, number: u32, removal: &mut Removal) {
        let row = self.bindings.remove(number);
        removal.removed.bindings.push(self.binding_of(&row));
        if let Target::Exchange(slot) = Target::unpack(row.target) {
            self.exchanges[slot as usize].bindings_to -= 1;
        }
        let exchange = &mut self.exchanges[row.source as usize];
        exchange.index.remove(number, &row);
        exchange.bindings_from -= 1;
        if exchange.bindings_from == 0 && exchange.options.auto_delete {
            removal.without_bindings.push(row.source);
        }
        self.generation += 1;
    }

    fn remove_exchange(&mut self, slot: u32, removal: &mut Removal) -> ExchangeName {
        // The whole index goes, so its entries need not be taken out one by one.
        self.exchanges[slot as usize].index = Index::Default;
        while let Some(row) = self.bindings.first_of_source(slot) {
            self.remove_binding(row, removal);
        }
        while let Some(row) = self.bindings.first_of_target(Target::Exchange(slot)) {
            self.remove_binding(row, removal);
        }
        let exchange = self.exchanges.remove(slot as usize);
        self.exchange_slots.remove(&exchange.name);
        self.generation += 1;
        exchange.name
    }

    /// Deletes auto-delete exchanges until none is left without bindings. A list, not recursion: chains of
    /// exchanges can be long.
    fn finish(&mut self, mut removal: Removal) -> Removed {
        while let Some(slot) = removal.without_bindings.pop() {
            // It may be gone: as the exchange whose deletion began this.
            if self.exchanges.contains(slot as usize) {
                let name = self.remove_exchange(slot, &mut removal);
                removal.removed.exchanges.push(name);
            }
        }
        removal.removed
    }
}

#[derive(Default)]
struct Removal {
    removed: Removed,
    without_bindings: Vec<u32>,
}

/// Lists of bindings, as RabbitMQ shows them: every queue is bound to the default exchange by its name.
impl RoutingTable {
    /// How many bindings there are, the implicit ones not counted.
    pub fn bindings_len(&self) -> usize {
        self.bindings.len()
    }

    /// How many bindings an exchange has; of the default exchange the implicit ones. 0 if it does not exist.
    pub fn bindings_from_len(&self, source: &str) -> usize {
        match self.exchange_slots.get(source) {
            _ if source.is_empty() => self.queue_slots_by_id.len(),
            Some(&slot) => self.bindings.of_source(slot).count(),
            None => 0,
        }
    }

    /// All bindings, the implicit ones first.
    pub fn bindings(&self) -> impl Iterator<Item = Binding> {
        self.implicit_bindings().chain(self.bindings.iter().map(|row| self.binding_of(row)))
    }

    /// The bindings of an exchange; of the default exchange the implicit ones. None if it does not exist.
    pub fn bindings_from<'a>(&'a self, source: &str) -> impl Iterator<Item = Binding> + use<'a> {
        let implicit = source.is_empty().then(|| self.implicit_bindings()).into_iter().flatten();
        let rows = self.exchange_slots.get(source).map(|&slot| self.bindings.of_source(slot));
        implicit.chain(rows.into_iter().flatten().map(|row| self.binding_of(row)))
    }

    /// The bindings that lead to a queue, the implicit one first, or to an exchange.
    pub fn bindings_to<'a>(&'a self, destination: &Destination) -> impl Iterator<Item = Binding> + use<'a> {
        let target = match destination {
            Destination::Queue(id) => self.queue_slots_by_id.get(id).map(|&slot| Target::Queue(slot)),
            Destination::Exchange(name) => self.exchange_slots.get(name).map(|&slot| Target::Exchange(slot)),
        };
        let implicit = target.and_then(|target| match target {
            Target::Queue(slot) => Some(implicit_binding(self.queue_at(slot))),
            Target::Exchange(_) => None,
        });
        let rows = target.map(|target| self.bindings.of_target(target));
        implicit.into_iter().chain(rows.into_iter().flatten().map(|row| self.binding_of(row)))
    }

    fn implicit_bindings(&self) -> impl Iterator<Item = Binding> {
        self.queues.iter().map(|(_, entry)| implicit_binding(entry))
    }

    pub(super) fn binding_of(&self, row: &BindingRow) -> Binding {
        let destination = match Target::unpack(row.target) {
            Target::Queue(slot) => {
                let entry = self.queue_at(slot);
                BindingTarget::Queue { name: entry.name.clone(), id: entry.id }
            }
            Target::Exchange(slot) => BindingTarget::Exchange(self.exchange_at(slot).name.clone()),
        };
        Binding {
            source: self.exchange_at(row.source).name.clone(),
            destination,
            routing_key: row.routing_key.clone(),
            arguments: row.arguments.as_ref().map_or_else(FieldTable::new, |a| a.table.clone()),
        }
    }
}

pub(super) fn implicit_binding(entry: &QueueEntry) -> Binding {
    Binding {
        source: ExchangeName::default(),
        destination: BindingTarget::Queue { name: entry.name.clone(), id: entry.id },
        routing_key: RoutingKey::from(entry.name.short().clone()),
        arguments: FieldTable::new(),
    }
}

//! Makes a document so: all of it, or nothing.
//!
//! First all of it is compared with what is there; then it is made, and what still goes wrong (somebody else was
//! quicker, a limit is reached) is told and everything undone; so it is if the import itself fails. The catalog commits
//! nothing meanwhile, so after a crash, too, there is all of it or nothing. What is there already, and the same, is left
//! alone; what can be set again, is.
//! Invariant: one import at a time (whoever calls sees to it). Not here: reading the document (`document`).

use std::collections::BTreeSet;
use std::sync::Arc;

use ahash::AHashMap;

use super::document::{Document, Placed};
use super::findings::Findings;
use super::items::{BindingEnd, BindingItem, PasswordItem, UserItem, VhostItem};
use crate::access::{Credentials, Permission, TopicPermission, User, UserSource};
use crate::broker::{Broker, BrokerError, Commit, ImportedEnd, Turn, Vhost};
use crate::model::{ExchangeName, Policy, PolicyKind, QueueName, VhostLimits, VhostName, VhostOptions};
use crate::store::{BACKLOG_MAX, CatalogHold, ParameterRow};

/// Most items of one import: twice as many changes, should it have to be undone, wait in the catalog at once.
const ITEMS_MAX: usize = BACKLOG_MAX / 4;

/// Items after which the turn is finished: what it collects is bounded.
const TURN_ITEMS: usize = 100;

/// Something that was made or changed, with what was there before.
enum Undo {
    Vhost(VhostName, Option<(Arc<VhostOptions>, VhostLimits)>),
    User(String, Option<Arc<User>>),
    Permission(String, VhostName, Option<Arc<Permission>>),
    TopicPermission(String, VhostName, ExchangeName, Option<Arc<TopicPermission>>),
    Exchange(VhostName, ExchangeName),
    Queue(VhostName, QueueName),
    Binding(BindingItem),
    Policy(VhostName, PolicyKind, String, Option<Arc<Policy>>),
    Parameter(ParameterRow, Option<String>),
}

/// Carries out a document. Waits for the processor, and for nothing else. What is answered must be waited for until it
/// is safe.
///
/// # Errors
/// `findings` has what is wrong; nothing was changed.
pub(in crate::admin) fn import(
    broker: &Broker,
    document: &Document,
    findings: &mut Findings,
) -> Result<Commit, Refused> {
    if document.len() > ITEMS_MAX {
        let items = document.len();
        findings.fault(
            "",
            format!("there are {items} items, and at most {ITEMS_MAX} are taken at a time: split them"),
        );
        return Err(Refused);
    }
    let mut import = Import {
        broker,
        findings: &mut *findings,
        undo: Vec::new(),
        turn: Turn::new(),
        items: 0,
        hold: None,
        is_kept: true,
    };
    import.check(document);
    let users = import.users(document);
    if !import.findings.is_sound() {
        return Err(Refused);
    }
    // Vhosts are told of twice: with their limits.
    match broker.hold_catalog(2 * (document.len() + document.vhosts.len())) {
        Ok(hold) => import.hold = hold,
        Err(error) => {
            import.findings.fault("", error.to_string());
            return Err(Refused);
        }
    }
    import.turn.begin(broker.now());
    import.is_kept = false;
    import.make(document, users);
    import.is_kept = import.findings.is_sound();
    drop(import);
    if findings.is_sound() { Ok(broker.catalog_commit()) } else { Err(Refused) }
}

/// Nothing was imported; the findings say why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) struct Refused;

struct Import<'a> {
    broker: &'a Broker,
    findings: &'a mut Findings,
    undo: Vec<Undo>,
    turn: Turn,
    items: usize,
    /// Ends last: until then nothing is committed.
    hold: Option<CatalogHold>,
    /// Whether what was made stays.
    is_kept: bool,
}

impl Drop for Import<'_> {
    /// Also when it panics: half an import must not be committed.
    fn drop(&mut self) {
        if !self.is_kept {
            self.undo_all();
        }
        self.turn.finish(self.broker);
        drop(self.hold.take());
    }
}

impl Import<'_> {
    /// Compares the document with what is there.
    fn check(&mut self, document: &Document) {
        self.check_vhosts_and_users(document);
        let mut exchanges = BTreeSet::new();
        let mut queues = BTreeSet::new();
        let mut added: AHashMap<&VhostName, usize> = AHashMap::new();
        for Placed { at, item } in &document.exchanges {
            exchanges.insert((&item.vhost, item.name.as_str()));
            if let Some(vhost) = self.broker.vhost(&item.vhost)
                && let Err(error) = vhost.check_exchange_import(&item.name, &item.options)
            {
                self.findings.fault(at, error.to_string());
            } else if self.broker.vhost(&item.vhost).is_none() && item.name.starts_with("amq.") {
                let problem = "its name begins with 'amq.': such exchanges are made by the broker";
                self.findings.fault(at, problem);
            }
        }
        for Placed { at, item } in &document.queues {
            queues.insert((&item.vhost, item.name.as_str()));
            let vhost = self.broker.vhost(&item.vhost);
            match vhost.map(|vhost| vhost.check_queue_import(&item.name, &item.options)) {
                Some(Err(error)) => self.findings.fault(at, error.to_string()),
                Some(Ok(true)) => {}
                Some(Ok(false)) | None => *added.entry(&item.vhost).or_default() += 1,
            }
        }
        for Placed { at, item } in &document.bindings {
            let vhost = self.broker.vhost(&item.vhost);
            let has_exchange = |name: &ExchangeName| {
                let is_predeclared = vhost.is_none() && name.starts_with("amq.");
                is_predeclared
                    || exchanges.contains(&(&item.vhost, name.as_str()))
                    || vhost.as_ref().is_some_and(|vhost| vhost.check_exchange(name).is_ok())
            };
            let mut missing = Vec::new();
            if !has_exchange(&item.source) {
                missing.push(format!("exchange '{}'", item.source));
            }
            match &item.destination {
                BindingEnd::Exchange(name) if !has_exchange(name) => {
                    missing.push(format!("exchange '{name}'"))
                }
                BindingEnd::Queue(name)
                    if !queues.contains(&(&item.vhost, name.as_str()))
                        && !vhost.as_ref().is_some_and(|vhost| vhost.has_queue(name)) =>
                {
                    missing.push(format!("queue '{name}'"));
                }
                _ => {}
            }
            if !missing.is_empty() {
                let problem = format!("{} is neither here nor in the definitions", missing.join(" and "));
                self.findings.fault(at, problem);
            }
        }
        self.check_queue_limits(document, &added);
    }

    /// Every vhost and user that is named must be here, or in the document.
    fn check_vhosts_and_users(&mut self, document: &Document) {
        let mut vhosts: BTreeSet<String> =
            self.broker.vhosts().iter().map(|vhost| vhost.name().to_string()).collect();
        vhosts.extend(document.vhosts.iter().map(|placed| placed.item.name.to_string()));
        let mut users: BTreeSet<String> =
            self.broker.access().users().iter().map(|user| user.name.clone()).collect();
        users.extend(document.users.iter().map(|placed| placed.item.name.clone()));
        let findings = &mut *self.findings;
        let mut of_vhost = |at: &str, vhost: &VhostName| {
            if !vhosts.contains(vhost.as_str()) {
                let problem = format!("vhost '{vhost}' is neither here nor in the definitions");
                findings.fault(at, problem);
            }
        };
        let Document { permissions, topic_permissions, parameters, vhost_limits, policies, .. } = document;
        permissions.iter().for_each(|placed| of_vhost(&placed.at, &placed.item.vhost));
        topic_permissions.iter().for_each(|placed| of_vhost(&placed.at, &placed.item.vhost));
        parameters.iter().for_each(|placed| of_vhost(&placed.at, &placed.item.vhost));
        vhost_limits.iter().for_each(|placed| of_vhost(&placed.at, &placed.item.0));
        policies.iter().for_each(|placed| of_vhost(&placed.at, &placed.item.vhost));
        document.exchanges.iter().for_each(|placed| of_vhost(&placed.at, &placed.item.vhost));
        document.queues.iter().for_each(|placed| of_vhost(&placed.at, &placed.item.vhost));
        document.bindings.iter().for_each(|placed| of_vhost(&placed.at, &placed.item.vhost));
        let of_permissions = permissions.iter().map(|placed| (&placed.at, &placed.item.user));
        let of_topics = topic_permissions.iter().map(|placed| (&placed.at, &placed.item.user));
        for (at, user) in of_permissions.chain(of_topics) {
            if !users.contains(user) {
                self.findings.fault(at, format!("user '{user}' is neither here nor in the definitions"));
            }
        }
    }

    fn check_queue_limits(&mut self, document: &Document, added: &AHashMap<&VhostName, usize>) {
        for (name, added) in added {
            let vhost = self.broker.vhost(name);
            let set = document.vhost_limits.iter().rfind(|placed| placed.item.0 == **name);
            let set = set.map(|placed| placed.item.1);
            let here = || vhost.as_ref().map(|vhost| vhost.limits());
            let limit = set.or_else(here).and_then(|limits| limits.max_queues);
            let known = vhost.as_ref().map_or(0, |vhost| vhost.declared_queue_count());
            if let Some(limit) = limit
                && known + added > limit as usize
            {
                let problem = format!(
                    "{added} new queues in vhost '{name}', which has {known}, are more than its limit of {limit} \
                     (max-queues)"
                );
                self.findings.fault("queues", problem);
            }
        }
    }

    /// The users as they are to be, passwords hashed. Those of the settings file are left out.
    fn users(&mut self, document: &Document) -> Vec<(String, User)> {
        let mut users = Vec::new();
        for Placed { at, item } in &document.users {
            let UserItem { name, password, tags, limits } = item;
            let known = self.broker.access().user(name);
            if known.is_some_and(|known| known.source == UserSource::File) {
                let notice = format!("user '{name}' is set in the broker's settings file, and stays so");
                self.findings.notice(at, notice);
                continue;
            }
            match self.credentials(password) {
                Ok(credentials) => {
                    let user = User::new(name, credentials, tags.clone()).with_limits(*limits);
                    users.push((at.clone(), user));
                }
                Err(problem) => self.findings.fault(at, problem),
            }
        }
        users
    }

    fn credentials(&self, password: &PasswordItem) -> Result<Credentials, String> {
        match password {
            PasswordItem::Credentials(credentials) => Ok(credentials.clone()),
            PasswordItem::Clear(_) if !self.findings.is_sound() => Ok(Credentials::none()),
            PasswordItem::Clear(password) => {
                self.broker.access().hash_password(&password.0).map_err(|error| error.to_string())
            }
        }
    }

    fn make(&mut self, document: &Document, users: Vec<(String, User)>) {
        for Placed { at, item } in &document.vhosts {
            let done = self.make_vhost(item);
            self.note(at, done);
        }
        for Placed { at, item: (name, limits) } in &document.vhost_limits {
            let done = self.set_limits(name, *limits);
            self.note(at, done);
        }
        for (at, user) in users {
            let before = self.broker.access().user(&user.name);
            let undo = Undo::User(user.name.clone(), before);
            let done = self.broker.put_user(user);
            self.note_or(&at, done, undo);
        }
        let permissions = self.broker.access().permissions();
        let permissions: AHashMap<_, _> =
            permissions.into_iter().map(|known| ((known.user.clone(), known.vhost.clone()), known)).collect();
        for Placed { at, item } in &document.permissions {
            let (user, vhost) = (item.user.clone(), item.vhost.clone());
            if self.broker.access().has_file_permission(&user, &vhost) {
                let notice = format!(
                    "permissions of user '{user}' are set in the broker's settings file, and stay so"
                );
                self.findings.notice(at, notice);
                continue;
            }
            let before = permissions.get(&(user.clone(), vhost.clone())).cloned();
            let undo = Undo::Permission(user, vhost, before);
            let done = self.broker.set_permission(item.clone());
            self.note_or(at, done, undo);
        }
        let topics = self.broker.access().topic_permissions();
        let topics: AHashMap<_, _> = topics
            .into_iter()
            .map(|known| ((known.user.clone(), known.vhost.clone(), known.exchange.clone()), known))
            .collect();
        for Placed { at, item } in &document.topic_permissions {
            let TopicPermission { user, vhost, exchange, .. } = item;
            let before = topics.get(&(user.clone(), vhost.clone(), exchange.clone())).cloned();
            let undo = Undo::TopicPermission(user.clone(), vhost.clone(), exchange.clone(), before);
            let done = self.broker.set_topic_permission(item.clone());
            self.note_or(at, done, undo);
        }
        self.make_parameters(document);
        self.make_topology(document);
        // Last, for what is in queues may go at once by a policy.
        if self.findings.is_sound() {
            self.make_policies(document);
        }
    }

    fn make_vhost(&mut self, item: &VhostItem) -> Result<(), BrokerError> {
        let known = self.broker.vhost(&item.name);
        let before = known.as_ref().map(|known| (known.options(), known.limits()));
        let mut options =
            before.as_ref().map(|(options, _)| VhostOptions::clone(options)).unwrap_or_default();
        item.description.clone_into_if(&mut options.description);
        item.tags.clone_into_if(&mut options.tags);
        options.default_queue_type = item.default_queue_type.or(options.default_queue_type);
        options.protected_from_deletion =
            item.protected_from_deletion.unwrap_or(options.protected_from_deletion);
        self.broker.add_vhost(&item.name, options)?;
        self.undo.push(Undo::Vhost(item.name.clone(), before));
        match item.limits {
            Some(limits) => self.set_limits(&item.name, limits),
            None => Ok(()),
        }
    }

    fn set_limits(&mut self, name: &VhostName, limits: VhostLimits) -> Result<(), BrokerError> {
        let before = self.broker.vhost(name).map(|known| (known.options(), known.limits()));
        self.broker.set_vhost_limits(name, limits)?;
        self.undo.push(Undo::Vhost(name.clone(), before));
        Ok(())
    }

    fn make_parameters(&mut self, document: &Document) {
        let of_vhosts = document.parameters.iter().map(|Placed { at, item }| {
            let (component, name) = (item.component.clone(), item.name.clone());
            let value = item.value.to_string();
            (at, ParameterRow { vhost: Some(item.vhost.clone()), component, name, value })
        });
        let global = document.global_parameters.iter().map(|Placed { at, item }| {
            let (name, value) = (item.name.clone(), item.value.to_string());
            (at, ParameterRow { vhost: None, component: String::new(), name, value })
        });
        let known = self.broker.parameters().into_iter();
        let known: AHashMap<_, _> =
            known.map(|row| ((row.vhost, row.component, row.name), row.value)).collect();
        for (at, row) in of_vhosts.chain(global) {
            if row.vhost.is_none() {
                self.findings.notice(at, "global parameters are kept and have no effect");
            }
            let key = (row.vhost.clone(), row.component.clone(), row.name.clone());
            let before = known.get(&key).cloned();
            let undo = Undo::Parameter(row.clone(), before);
            let done = self.broker.set_parameter(row);
            self.note_or(at, done, undo);
        }
    }

    fn make_topology(&mut self, document: &Document) {
        for Placed { at, item } in &document.exchanges {
            let Some(vhost) = self.vhost(at, &item.vhost) else { continue };
            match vhost.declare_exchange(&item.name, item.options.clone()) {
                Ok(crate::routing::Declared::Created) => {
                    self.undo.push(Undo::Exchange(item.vhost.clone(), item.name.clone()));
                }
                Ok(_) => {}
                Err(error) => self.findings.fault(at, error.to_string()),
            }
            self.count();
        }
        for Placed { at, item } in &document.queues {
            let Some(vhost) = self.vhost(at, &item.vhost) else { continue };
            match vhost.import_queue(&item.name, item.options.clone(), &mut self.turn) {
                Ok(true) => self.undo.push(Undo::Queue(item.vhost.clone(), item.name.clone())),
                Ok(false) => {}
                Err(error) => self.findings.fault(at, error.to_string()),
            }
            self.count();
        }
        for Placed { at, item } in &document.bindings {
            let Some(vhost) = self.vhost(at, &item.vhost) else { continue };
            let end = item.end();
            match vhost.import_binding(&item.source, &end, &item.routing_key, &item.arguments) {
                Ok(true) => self.undo.push(Undo::Binding(item.clone())),
                Ok(false) => {}
                Err(error) => self.findings.fault(at, error.to_string()),
            }
            self.count();
        }
    }

    /// Of each vhost all at once: they are applied to every queue only once.
    fn make_policies(&mut self, document: &Document) {
        let mut of_vhosts: AHashMap<&VhostName, Vec<Policy>> = AHashMap::new();
        let mut first_at: AHashMap<&VhostName, &str> = AHashMap::new();
        for Placed { at, item } in &document.policies {
            let Some(vhost) = self.vhost(at, &item.vhost) else { continue };
            let (kind, name) = (item.policy.kind(), item.policy.name());
            if vhost.is_file_policy(kind, name) {
                let notice = format!("policy '{name}' is set in the broker's settings file, and stays so");
                self.findings.notice(at, notice);
                continue;
            }
            of_vhosts.entry(&item.vhost).or_default().push(item.policy.clone());
            first_at.entry(&item.vhost).or_insert(at);
        }
        // Of all vhosts before those of any: what a policy drops from a queue, no undoing brings back.
        for (name, policies) in &of_vhosts {
            let refused = self.broker.vhost(name).map(|vhost| vhost.check_policies(policies));
            if let Some(Err(error)) = refused {
                self.findings.fault(first_at[name], error.to_string());
            }
        }
        if !self.findings.is_sound() {
            return;
        }
        for (name, policies) in of_vhosts {
            let Some(vhost) = self.broker.vhost(name) else { continue };
            let before = |policy: &Policy| {
                let (kind, named) = (policy.kind(), policy.name());
                Undo::Policy(name.clone(), kind, named.to_owned(), vhost.policy(kind, named))
            };
            let undo: Vec<_> = policies.iter().map(before).collect();
            match vhost.set_policies(policies, &mut self.turn) {
                Ok(()) => self.undo.extend(undo),
                Err(error) => self.findings.fault(first_at[name], error.to_string()),
            }
            self.turn.finish(self.broker);
        }
    }

    fn vhost(&mut self, at: &str, name: &VhostName) -> Option<Arc<Vhost>> {
        let vhost = self.broker.vhost(name);
        if vhost.is_none() {
            self.findings.fault(at, format!("vhost '{name}' was deleted meanwhile"));
        }
        vhost
    }

    fn note(&mut self, at: &str, done: Result<(), BrokerError>) {
        if let Err(error) = done {
            self.findings.fault(at, error.to_string());
        }
    }

    fn note_or(&mut self, at: &str, done: Result<Commit, BrokerError>, undo: Undo) {
        match done {
            Ok(_) => self.undo.push(undo),
            Err(error) => self.findings.fault(at, error.to_string()),
        }
    }

    fn count(&mut self) {
        self.items += 1;
        if self.items.is_multiple_of(TURN_ITEMS) {
            self.turn.finish(self.broker);
            self.turn.begin(self.broker.now());
        }
    }

    fn undo_all(&mut self) {
        while let Some(undo) = self.undo.pop() {
            if let Err(error) = self.undo(undo) {
                tracing::error!(%error, "a part of a failed import could not be undone");
            }
        }
    }

    fn undo(&mut self, undo: Undo) -> Result<(), BrokerError> {
        let broker = self.broker;
        let vhost = |name: &VhostName| broker.vhost(name);
        match undo {
            Undo::Vhost(name, None) => {
                broker.protect_vhost(&name, false)?;
                broker.delete_vhost(&name, &mut self.turn).map(drop)
            }
            Undo::Vhost(name, Some((options, limits))) => {
                broker.add_vhost(&name, VhostOptions::clone(&options))?;
                broker.set_vhost_limits(&name, limits).map(drop)
            }
            Undo::User(name, None) => broker.delete_user(&name).map(drop),
            Undo::User(_, Some(before)) => broker.put_user(User::clone(&before)).map(drop),
            Undo::Permission(user, vhost, None) => broker.clear_permission(&user, &vhost).map(drop),
            Undo::Permission(_, _, Some(before)) => {
                broker.set_permission(Permission::clone(&before)).map(drop)
            }
            Undo::TopicPermission(user, vhost, exchange, None) => {
                broker.clear_topic_permission(&user, &vhost, Some(&exchange)).map(drop)
            }
            Undo::TopicPermission(.., Some(before)) => {
                broker.set_topic_permission(TopicPermission::clone(&before)).map(drop)
            }
            Undo::Exchange(of, name) => {
                vhost(&of).map_or(Ok(()), |vhost| vhost.delete_exchange(&name, false))
            }
            Undo::Queue(of, name) => {
                if let Some(vhost) = vhost(&of) {
                    vhost.take_back_queue(&name, &mut self.turn);
                }
                Ok(())
            }
            Undo::Binding(item) => {
                if let Some(vhost) = vhost(&item.vhost) {
                    vhost.take_back_binding(&item.source, &item.end(), &item.routing_key, &item.arguments);
                }
                Ok(())
            }
            Undo::Policy(of, kind, name, before) => {
                let Some(vhost) = vhost(&of) else { return Ok(()) };
                match before {
                    Some(before) => vhost.set_policy(Policy::clone(&before), &mut self.turn),
                    None => vhost.clear_policy(kind, &name, &mut self.turn).map(drop),
                }
            }
            Undo::Parameter(row, Some(value)) => {
                broker.set_parameter(ParameterRow { value, ..row }).map(drop)
            }
            Undo::Parameter(row, None) => {
                broker.clear_parameter(row.vhost.as_deref(), &row.component, &row.name).map(drop)
            }
        }
    }
}

impl BindingItem {
    fn end(&self) -> ImportedEnd<'_> {
        match &self.destination {
            BindingEnd::Queue(name) => ImportedEnd::Queue(name),
            BindingEnd::Exchange(name) => ImportedEnd::Exchange(name),
        }
    }
}

/// Overwrites only with what is said.
trait CloneIntoIf<T> {
    fn clone_into_if(&self, target: &mut T);
}

impl<T: Clone> CloneIntoIf<T> for Option<T> {
    fn clone_into_if(&self, target: &mut T) {
        if let Some(value) = self {
            target.clone_from(value);
        }
    }
}

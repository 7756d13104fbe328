//! The HTTP API: what RabbitMQ's management plugin offers to its tools, and what is our own.
//!
//! Invariants: whoever asks has logged in (`caller`) and is held to the permissions that hold for both protocols; bad
//! input is refused with a reason and never answered with 5xx (`error`); every act is written to the audit log
//! (`audit`); figures are read, never gathered by stopping a queue. Every route is documented where it is (`routes`).
//! Not here: what operations do (`broker`), who may do what (`access`), pages for people.

mod api;
mod audit;
mod caller;
mod columns;
mod definitions;
mod error;
mod filter;
mod guard;
mod input;
pub mod jobs;
mod metrics;
mod node;
mod page;
mod permission;
mod process;
mod routes;
mod serve;
mod shown;
mod slow;
pub mod stats;
mod trace;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::StatusCode;

pub use definitions::{LoadError, load_definitions};
pub use error::ApiError;
pub use node::{Listener, Node, node_name};
pub use process::{machine_memory, resident_memory};
pub use routes::{document, router};
pub use serve::{Peer, Sockets, bind, serve, serve_metrics};

use crate::access::{Origin, Protocol};
use crate::broker::{Alarm, Broker, Commit, Outbox};
use crate::config::Settings;
use crate::model::ConnectionId;
use crate::tls::Acceptor;
use jobs::Jobs;
use stats::Stats;

/// What every handler has. Clones are the same.
#[derive(Clone)]
pub struct AdminState {
    /// The broker that is administered.
    pub broker: Broker,
    /// What it was started with.
    pub settings: Arc<Settings>,
    /// Its certificates, if it has any.
    pub tls: Option<Arc<Acceptor>>,
    /// Figures over time.
    pub stats: Arc<Stats>,
    /// What goes on in the background.
    pub jobs: Arc<Jobs>,
    /// This process.
    pub node: Arc<Node>,
    /// Held by whoever imports definitions.
    imports: Arc<parking_lot::Mutex<()>>,
    /// What the API is among connections: exclusive queues are not its own.
    pub connection: ConnectionId,
}

impl AdminState {
    /// For a broker that listens there.
    pub fn new(broker: Broker, settings: Arc<Settings>, listeners: Vec<Listener>) -> Self {
        AdminState {
            tls: None,
            stats: Arc::new(Stats::new(broker.clone())),
            jobs: Arc::new(Jobs::new(settings.management.jobs_max as usize)),
            node: Arc::new(Node::new(listeners)),
            imports: Arc::default(),
            connection: broker.new_connection_id(),
            broker,
            settings,
        }
    }

    /// For one that has certificates.
    pub fn with_tls(self, tls: Option<Arc<Acceptor>>) -> Self {
        AdminState { tls, ..self }
    }

    /// Bytes of memory that the process may take: `memory.process_percent`, or else all that there are.
    pub(super) fn memory_limit(&self) -> Option<u64> {
        Some(self.broker.limits().process_limit).filter(|limit| *limit != u64::MAX).or_else(machine_memory)
    }

    /// The alarms that hold publishers back: `memory`, `disk`.
    pub(super) fn alarms(&self) -> Vec<&'static str> {
        self.broker.alarms().iter().map(Alarm::resource).collect()
    }

    /// What the cluster is called: as somebody has called it (`PUT /api/cluster-name`), or as its one node is.
    pub(super) fn cluster_name(&self) -> String {
        self.broker.cluster_name().unwrap_or_else(|| self.node.name().to_owned())
    }

    /// The SASL mechanisms that clients may log in by.
    pub(super) fn mechanisms(&self) -> Vec<&'static str> {
        let somewhere = SocketAddr::from(([127, 0, 0, 1], 0));
        self.broker.access().mechanisms(&Origin::plain(somewhere, Protocol::Amqp))
    }

    /// Whether a node that somebody names is this one.
    ///
    /// # Errors
    /// 404: there is no other.
    pub(super) fn check_node(&self, node: &str) -> Result<(), ApiError> {
        if node == self.node.name() { Ok(()) } else { Err(ApiError::not_found()) }
    }

    /// What whoever has set something is told, once that is safe: 201 if it is new, 204 if it was there.
    ///
    /// # Errors
    /// As [`AdminState::wait_for`].
    pub(super) async fn answer_set(&self, commit: Commit, is_new: bool) -> Result<StatusCode, ApiError> {
        self.wait_for(commit).await?;
        Ok(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
    }

    /// What whoever has changed something or taken it away is told, once that is safe: 204.
    ///
    /// # Errors
    /// As [`AdminState::wait_for`].
    pub(super) async fn answer_done(&self, commit: Commit) -> Result<StatusCode, ApiError> {
        self.answer_set(commit, false).await
    }

    /// Waits until something is safe.
    ///
    /// # Errors
    /// 503: the disk failed, and it never will be.
    pub(super) async fn wait_for(&self, commit: Commit) -> Result<(), ApiError> {
        if commit.is_none() || self.broker.is_committed(&commit) {
            return Ok(());
        }
        let outbox = Arc::new(Outbox::new());
        self.broker.wake_when_committed(commit, &outbox);
        std::future::poll_fn(|cx| outbox.poll_woken(cx)).await;
        match self.broker.is_committed(&commit) {
            true => Ok(()),
            false => {
                let why = self.broker.log_stopped().unwrap_or_else(|| "it has stopped".to_owned());
                let reason = format!("the journal takes nothing more: {why}");
                Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "journal_stopped", reason))
            }
        }
    }

    /// Runs work that takes longer than a moment where it holds up no connection: lists of everything, above all.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&AdminState) -> T + Send + 'static,
    ) -> T {
        let state = self.clone();
        match tokio::task::spawn_blocking(move || work(&state)).await {
            Ok(value) => value,
            // It panicked: so does the request, and its connection ends.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminState").field("node", &self.node).finish_non_exhaustive()
    }
}

//! From settings to a running broker: what `rialto serve` does.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::memory_watch::watch_memory;
use super::storage::{self, Storage};
use super::{Server, ServerOptions};
use crate::access::{Access, AccessOptions, Credentials, HashCost, Permission, Tags, ThrottleLimits, User};
use crate::admin::{self, AdminState, Listener};
use crate::broker::{Broker, Limits, RestoreError, Turn};
use crate::config::{ListenAddress, MetricsSettings, PermissionSettings, Settings};
use crate::model::VhostName;
use crate::queue::QueueLimits;
use crate::routing::RoutingLimits;
use crate::session::amqp::Greeting;
use crate::session::{AmqpOptions, SessionOptions};
use crate::store::StoreError;
use crate::tls::{Acceptor, TlsError};

/// The settings that have addresses.
const SERVER: &str = "server.listen";
const TLS: &str = "tls.listen";
const MANAGEMENT: &str = "management.listen";
const MANAGEMENT_TLS: &str = "management.tls_listen";
const METRICS: &str = "metrics.listen";

/// Why the broker could not serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// An address could not be resolved.
    #[error("cannot resolve the address {address} to listen on: {error}")]
    Resolve {
        /// The setting that has it: `management.listen`.
        setting: &'static str,
        /// The address of the settings.
        address: ListenAddress,
        /// What the system says.
        error: io::Error,
    },
    /// A socket could not be opened.
    #[error("{error}")]
    Listen {
        /// The setting that has its address.
        setting: &'static str,
        /// What the system says, and of which address.
        error: io::Error,
    },
    /// A socket that was opened does not say where it listens.
    #[error("{0}")]
    Socket(#[from] io::Error),
    /// The data folder cannot be opened.
    #[error("cannot open the data folder {folder}: {error}")]
    Store {
        /// The folder.
        folder: String,
        /// Why.
        error: StoreError,
    },
    /// Certificates and keys are of no use.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// What is in the data folder is not for this version.
    #[error("{0}")]
    Restore(RestoreError),
    /// The definitions of a file cannot be taken over.
    #[error("{0}")]
    Definitions(#[from] admin::LoadError),
    /// Some connections had to be cut off.
    #[error("some connections did not end within server.shutdown_grace and were cut off")]
    CutOff,
}

/// Where a running broker listens, with the ports that the system chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Both protocols of messages, encrypted too if there is a certificate.
    pub messages: Vec<SocketAddr>,
    /// Both, and always encrypted.
    pub tls: Vec<SocketAddr>,
    /// The HTTP API.
    pub management: Vec<SocketAddr>,
    /// The HTTP API, encrypted.
    pub management_tls: Vec<SocketAddr>,
    /// Scrapes.
    pub metrics: Vec<SocketAddr>,
}

/// Serves until `stop` is cancelled. `ready` is told the addresses once connections are accepted.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(
    settings: &Settings,
    stop: CancellationToken,
    ready: impl FnOnce(&Addresses),
) -> Result<(), ServeError> {
    super::open_files::raise_for(settings.server.connections_max.into());
    // Before anything is opened: what an operator mistypes is told at once.
    let tls = Acceptor::load(&settings.tls)?;
    let addresses = resolve(SERVER, &settings.server.listen).await?;
    let management = resolve(MANAGEMENT, &settings.management.listen).await?;
    let management_tls = match &tls {
        Some(_) => resolve(MANAGEMENT_TLS, &settings.management.tls_listen).await?,
        None => Vec::new(),
    };
    let management = (&*management, &*management_tls);
    let (broker, storage) = broker(settings)?;
    if let Err(error) = load_definitions(settings, &broker) {
        if let Some(storage) = storage {
            storage.close(true);
        }
        return Err(error.into());
    }
    let control_stop = stop.child_token();
    let control = storage.as_ref();
    let control = control.and_then(|storage| storage.control(&settings.store.data_dir, control_stop.clone()));
    let control = control.map(|control| tokio::spawn(control.run()));
    let served = serve_broker(settings, broker, tls, &addresses, management, stop, ready).await;
    control_stop.cancel();
    if let Some(control) = control {
        // A backup that was being made has been given up.
        let _ = control.await;
    }
    if let Some(storage) = storage {
        let all_ended = served.is_ok();
        // It waits for the disk.
        let _ = tokio::task::spawn_blocking(move || storage.close(all_ended)).await;
    }
    served
}

async fn resolve(setting: &'static str, listed: &[ListenAddress]) -> Result<Vec<SocketAddr>, ServeError> {
    let mut addresses = Vec::new();
    for address in listed {
        let resolved = tokio::net::lookup_host((address.host(), address.port())).await;
        let resolved =
            resolved.map_err(|error| ServeError::Resolve { setting, address: address.clone(), error })?;
        addresses.extend(resolved);
    }
    Ok(addresses)
}

/// What could not be listened on is told with its setting.
fn listening<T>(setting: &'static str, opened: io::Result<T>) -> Result<T, ServeError> {
    opened.map_err(|error| ServeError::Listen { setting, error })
}

/// Where sockets listen.
fn bound(listeners: &[TcpListener]) -> io::Result<Vec<SocketAddr>> {
    listeners.iter().map(TcpListener::local_addr).collect()
}

/// The sockets for scrapes. A second broker on a machine, which nobody has told of another port, goes without.
async fn bind_metrics(settings: &Settings) -> Result<Vec<TcpListener>, ServeError> {
    let listen = &settings.metrics.listen;
    match admin::bind(&resolve(METRICS, listen).await?).await {
        Err(error)
            if error.kind() == io::ErrorKind::AddrInUse && *listen == MetricsSettings::default().listen =>
        {
            tracing::warn!(
                %error,
                "scrapes are answered at the HTTP API only: something else has their port; set metrics.listen"
            );
            Ok(Vec::new())
        }
        bound => listening(METRICS, bound),
    }
}

async fn serve_broker(
    settings: &Settings,
    broker: Broker,
    tls: Option<Arc<Acceptor>>,
    messages: &[SocketAddr],
    (management, management_tls): (&[SocketAddr], &[SocketAddr]),
    stop: CancellationToken,
    ready: impl FnOnce(&Addresses),
) -> Result<(), ServeError> {
    let options = ServerOptions { tls: tls.clone(), ..options(settings) };
    let mut server = listening(SERVER, Server::bind(broker.clone(), messages, options).await)?;
    if settings.tls.is_on() {
        listening(TLS, server.bind_tls(&resolve(TLS, &settings.tls.listen).await?).await)?;
    }
    let http = admin::Sockets {
        plain: listening(MANAGEMENT, admin::bind(management).await)?,
        tls: listening(MANAGEMENT_TLS, admin::bind(management_tls).await)?,
    };
    let scrapes = bind_metrics(settings).await?;
    let addresses = Addresses {
        messages: server.addresses()?,
        tls: server.tls_addresses()?,
        management: bound(&http.plain)?,
        management_tls: bound(&http.tls)?,
        metrics: bound(&scrapes)?,
    };
    let listeners = [
        ("amqp", &addresses.messages),
        ("amqp/ssl", &addresses.tls),
        ("http", &addresses.management),
        ("https", &addresses.management_tls),
        ("http/prometheus", &addresses.metrics),
    ];
    let listeners = listeners.into_iter().flat_map(|(protocol, addresses)| {
        addresses.iter().map(move |address| Listener { protocol, address: *address })
    });
    let listeners = listeners.collect();
    ready(&addresses);
    let stopping = server.stop_token();
    let run = tokio::spawn(server.run());
    let memory = tokio::spawn(watch_memory(broker.clone(), stop.clone()));
    let state = AdminState::new(broker, Arc::new(settings.clone()), listeners).with_tls(tls);
    let sampling = (!http.is_empty())
        .then(|| tokio::spawn(state.stats.clone().run(settings.metrics.sample_interval, stop.clone())));
    let metrics = tokio::spawn(admin::serve_metrics(state.clone(), scrapes, stop.clone()));
    let admin = tokio::spawn(admin::serve(state, http, stop.clone()));
    stop.cancelled().await;
    stopping.cancel();
    let ended = run.await;
    // It ends with `stop`, and after its requests.
    let _ = admin.await;
    let _ = metrics.await;
    for watching in sampling.into_iter().chain([memory]) {
        let _ = watching.await;
    }
    match ended {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(ServeError::CutOff),
    }
}

/// The broker, and what drives its data folder if it has one. Nobody is served yet, so it may wait for the disk.
fn broker(settings: &Settings) -> Result<(Broker, Option<Storage>), ServeError> {
    let vhosts: Vec<_> = settings
        .vhosts
        .names
        .iter()
        .map(|name| VhostName::new(name).expect("checked with the settings: at most 255 bytes"))
        .collect();
    let mut builder =
        Broker::in_memory().limits(limits(settings)).access(access(settings)).vhosts(vhosts.clone());
    if !settings.management.load_definitions.as_os_str().is_empty() {
        builder = builder.without_guest();
    }
    if settings.store.in_memory {
        let broker = builder.build();
        set_policies(settings, &broker);
        return Ok((broker, None));
    }
    let (broker, storage) =
        storage::open(&settings.store, builder, vhosts, |broker| set_policies(settings, broker))?;
    Ok((broker, Some(storage)))
}

/// Nobody is served yet, so it may take its time.
fn load_definitions(settings: &Settings, broker: &Broker) -> Result<(), admin::LoadError> {
    let file = settings.management.load_definitions.as_path();
    if file.as_os_str().is_empty() { Ok(()) } else { admin::load_definitions(broker, file) }
}

/// Who may do what, as far as the file says.
fn access(settings: &Settings) -> Arc<Access> {
    let auth = &settings.auth;
    let access = Access::new(AccessOptions {
        guest_loopback_only: auth.guest_loopback_only,
        users_max: auth.users_max as usize,
        cost: HashCost {
            memory_kib: auth.hash_memory.as_u32() >> 10,
            passes: auth.hash_passes,
            scram_rounds: auth.scram_rounds,
        },
        throttle: ThrottleLimits {
            free_failures: auth.failures_free,
            delay_min: auth.failure_delay_min,
            delay_max: auth.failure_delay_max,
            forget_after: auth.failure_memory,
            entries_max: auth.failures_remembered_max as usize,
        },
        hashes_at_once: auth.hashes_at_once as usize,
        pending_logins_max: auth.pending_logins_max as usize,
    });
    for (name, user) in &auth.users {
        let permission = |(vhost, rights): (&String, &PermissionSettings)| {
            let vhost = VhostName::new(vhost).expect("checked with the settings: it is in vhosts.names");
            let PermissionSettings { configure, write, read } = rights;
            Permission::new(name, vhost, configure, write, read)
                .expect("checked with the settings: they are patterns")
        };
        let permissions = user.permissions.as_ref().map(|all| all.iter().map(permission).collect());
        let credentials = Credentials::plain(user.password.reveal());
        access.put_file_user(User::new(name, credentials, Tags::from_names(&user.tags)), permissions);
    }
    access
}

fn set_policies(settings: &Settings, broker: &Broker) {
    let mut turn = Turn::new();
    turn.begin(broker.now());
    for policy in &settings.policies {
        let vhost = broker.vhost(&policy.vhost).expect("checked with the settings: it is in vhosts.names");
        let policy = policy.policy().expect("checked with the settings: it is valid");
        vhost.set_file_policy(policy, &mut turn);
    }
    turn.finish(broker);
}

fn limits(settings: &Settings) -> Limits {
    let Settings { memory, queues, topology, .. } = settings;
    Limits {
        memory_budget: memory.budget.bytes(),
        queue_budget: memory.queue_budget.bytes(),
        queue_bodies: memory.bodies_kept().bytes(),
        low_water_percent: memory.low_water_percent.into(),
        process_limit: process_limit(memory.process_percent),
        outbox_bytes: memory.outbox.bytes(),
        consumer_window: memory.consumer_window.bytes(),
        vhosts_max: topology.vhosts_max as usize,
        queues_max: topology.queues_per_vhost_max as usize,
        policies_max: topology.policies_per_vhost_max as usize,
        parameters_max: topology.parameters_max as usize,
        parameter_size_max: topology.parameter_size_max.bytes(),
        routing: RoutingLimits {
            exchanges_max: topology.exchanges_per_vhost_max as usize,
            bindings_max: topology.bindings_per_vhost_max as usize,
        },
        queue: QueueLimits {
            consumers_max: queues.consumers_per_queue_max,
            deaths_max: queues.deaths_max as usize,
            ..QueueLimits::default()
        },
    }
}

/// A share of the machine's memory, in bytes.
fn process_limit(percent: u8) -> u64 {
    match (percent, admin::machine_memory()) {
        (0, _) | (_, None) => u64::MAX,
        (percent, Some(bytes)) => bytes / 100 * u64::from(percent),
    }
}

fn options(settings: &Settings) -> ServerOptions {
    let Settings { server, protocol, .. } = settings;
    ServerOptions {
        session: Arc::new(SessionOptions {
            frame_max: protocol.frame_max.as_u32(),
            login_frame_max: protocol.frame_max_before_login.as_u32(),
            message_size_max: protocol.message_size_max.as_u32(),
            channel_max: protocol.channel_max,
            route_max: protocol.route_max,
            route_cache: protocol.route_cache as usize,
            consumers_max: protocol.consumers_per_channel_max as usize,
            connection_consumers_max: protocol.consumers_per_connection_max as usize,
            heartbeat: (!protocol.heartbeat.is_zero()).then_some(protocol.heartbeat),
            handshake_timeout: server.handshake_timeout,
            publish_window: protocol.publish_window.as_u32(),
            page_rows_max: protocol.list_page_max,
            amqp: amqp_options(settings),
        }),
        connections_max: server.connections_max as usize,
        read_chunk: server.read_chunk.as_usize(),
        shutdown_grace: server.shutdown_grace,
        tls: None,
    }
}

fn amqp_options(settings: &Settings) -> AmqpOptions {
    let amqp = &settings.amqp;
    let version = match amqp.announce_version.as_str() {
        "" => env!("CARGO_PKG_VERSION"),
        version => version,
    };
    AmqpOptions {
        frame_max: amqp.frame_max.as_u32(),
        heartbeat: (!amqp.heartbeat.is_zero()).then_some(amqp.heartbeat),
        greeting: Greeting::new(&amqp.announce_product, version, &admin::node_name()),
        consumer_timeout: (!amqp.consumer_timeout.is_zero()).then_some(amqp.consumer_timeout),
        uncommitted_max: amqp.uncommitted_max.bytes(),
    }
}

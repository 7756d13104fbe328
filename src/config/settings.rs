//! Every setting of the broker, with its default. `broker.toml` tells the same to operators.
//!
//! Invariants: the field names are the keys; a default lies within the limits of `limits`.
//! Not here: reading (`sources`), the limits (`limits`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::{self, Size};
use super::{ListenAddress, LogFormat, LogLevel, OnDamage, PolicySettings, Secret, SyncMode, TlsSettings};

/// Everything an operator can set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The listener and its connections.
    pub server: ServerSettings,
    /// Encryption of connections.
    pub tls: TlsSettings,
    /// What a peer may say, and how much of it.
    pub protocol: ProtocolSettings,
    /// What holds for AMQP clients only.
    pub amqp: AmqpSettings,
    /// How much memory messages may take.
    pub memory: MemorySettings,
    /// Limits of queues and of what is delivered from them.
    pub queues: QueueSettings,
    /// Limits on how much may be declared.
    pub topology: TopologySettings,
    /// Where messages are kept.
    pub store: StoreSettings,
    /// Who may log in.
    pub auth: AuthSettings,
    /// Which vhosts there are.
    pub vhosts: VhostSettings,
    /// What holds for queues and exchanges by their names.
    pub policies: Vec<PolicySettings>,
    /// The HTTP API.
    pub management: ManagementSettings,
    /// Figures for Prometheus.
    pub metrics: MetricsSettings,
    /// What is logged, and how.
    pub log: LogSettings,
    /// Where traces go.
    pub tracing: TracingSettings,
}

/// `[server]`: the listener and its connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Addresses to accept connections on. At least one.
    #[serde(deserialize_with = "units::list")]
    pub listen: Vec<ListenAddress>,
    /// How long a new connection may take to log in.
    #[serde(with = "units::duration")]
    pub handshake_timeout: Duration,
    /// How long connections may take to close when the broker stops.
    #[serde(with = "units::duration")]
    pub shutdown_grace: Duration,
    /// Most connections at a time.
    #[serde(deserialize_with = "units::whole")]
    pub connections_max: u32,
    /// Most bytes taken from one connection in one turn.
    pub read_chunk: Size,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddress::new("127.0.0.1", 5672)],
            handshake_timeout: Duration::from_secs(10),
            shutdown_grace: Duration::from_secs(10),
            connections_max: 10_000,
            read_chunk: Size::mib(1),
        }
    }
}

/// `[protocol]`: what a peer may say, and how much of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProtocolSettings {
    /// Time between heartbeats that the broker proposes; a peer silent for two of them is gone. Zero: none.
    #[serde(with = "units::duration")]
    pub heartbeat: Duration,
    /// Longest frame of a peer that is logged in.
    pub frame_max: Size,
    /// Longest frame of a peer that is not logged in yet.
    pub frame_max_before_login: Size,
    /// Largest body of one message.
    pub message_size_max: Size,
    /// Highest channel number.
    #[serde(deserialize_with = "units::whole")]
    pub channel_max: u16,
    /// Most routes that a channel of the native protocol may define.
    #[serde(deserialize_with = "units::whole")]
    pub route_max: u32,
    /// Most routes that a connection remembers of those that are spelt out with each message.
    #[serde(deserialize_with = "units::whole")]
    pub route_cache: u32,
    /// Bytes of publish frames that a connection may send ahead of the broker's credit.
    pub publish_window: Size,
    /// Most consumers of one channel.
    #[serde(deserialize_with = "units::whole")]
    pub consumers_per_channel_max: u32,
    /// Most consumers of one connection, over all its channels.
    #[serde(deserialize_with = "units::whole")]
    pub consumers_per_connection_max: u32,
    /// Most rows in one page of a list.
    #[serde(deserialize_with = "units::whole")]
    pub list_page_max: u32,
}

impl Default for ProtocolSettings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(30),
            frame_max: Size::mib(17),
            frame_max_before_login: Size::kib(64),
            message_size_max: Size::mib(16),
            channel_max: 2047,
            route_max: 65_536,
            route_cache: 16_384,
            publish_window: Size::mib(2),
            consumers_per_channel_max: 1000,
            consumers_per_connection_max: 10_000,
            list_page_max: 1000,
        }
    }
}

/// `[amqp]`: what holds for AMQP clients only. What holds for both protocols is in `[protocol]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AmqpSettings {
    /// Longest frame that the broker proposes; clients may choose any from 4 KiB.
    pub frame_max: Size,
    /// Time between heartbeats that the broker proposes; a peer silent for two of them is gone. Zero: none.
    #[serde(with = "units::duration")]
    pub heartbeat: Duration,
    /// How long a consumer may hold a message without acknowledging it. Zero: for ever.
    #[serde(with = "units::duration")]
    pub consumer_timeout: Duration,
    /// Bytes of one connection's messages that are still arriving or not committed.
    pub uncommitted_max: Size,
    /// The product that clients are told.
    pub announce_product: String,
    /// The version that clients are told; empty: the broker's own.
    pub announce_version: String,
}

impl Default for AmqpSettings {
    fn default() -> Self {
        Self {
            frame_max: Size::kib(128),
            heartbeat: Duration::from_secs(60),
            consumer_timeout: Duration::from_secs(30 * 60),
            uncommitted_max: Size::mib(64),
            announce_product: "Rialto".to_owned(),
            announce_version: String::new(),
        }
    }
}

/// `[memory]`: how much memory messages may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemorySettings {
    /// Message memory above which each queue gets only its fair share before its publishers are held back.
    pub budget: Size,
    /// Message memory of one queue at which its publishers are held back.
    pub queue_budget: Size,
    /// Bodies of waiting messages that one queue keeps in memory: see [`MemorySettings::bodies_kept`].
    pub queue_bodies: Size,
    /// Share of a budget, in percent, below which publishers that were held back go on.
    #[serde(deserialize_with = "units::whole")]
    pub low_water_percent: u8,
    /// Share of the machine's or container's memory, in percent, above which the process is too large and all
    /// publishers are held back; 0 is no limit.
    #[serde(deserialize_with = "units::whole")]
    pub process_percent: u8,
    /// Unsent deliveries of one connection at which its consumers are paused.
    pub outbox: Size,
    /// Bytes that one consumer may have in its connection's outbox.
    pub consumer_window: Size,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self {
            budget: Size::gib(1),
            queue_budget: Size::mib(128),
            queue_bodies: Size::mib(16),
            low_water_percent: 80,
            process_percent: 60,
            outbox: Size::mib(4),
            consumer_window: Size::mib(1),
        }
    }
}

impl MemorySettings {
    /// Bytes of waiting bodies beyond which a queue keeps those that are in the journal there only: `queue_bodies`, but
    /// no more than half of `queue_budget`, so that nobody is held back for bodies that need not be in memory.
    pub fn bodies_kept(&self) -> Size {
        self.queue_bodies.min(Size::new(self.queue_budget.bytes() / 2))
    }
}

/// `[queues]`: limits of queues and of what is delivered from them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueSettings {
    /// Most consumers of one queue.
    #[serde(deserialize_with = "units::whole")]
    pub consumers_per_queue_max: u32,
    /// Most queues and reasons in the history of a message's deaths before it ends.
    #[serde(deserialize_with = "units::whole")]
    pub deaths_max: u16,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self { consumers_per_queue_max: 65_536, deaths_max: 64 }
    }
}

/// `[topology]`: limits on how much may be declared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopologySettings {
    /// Most exchanges of one vhost.
    #[serde(deserialize_with = "units::whole")]
    pub exchanges_per_vhost_max: u32,
    /// Most vhosts.
    #[serde(deserialize_with = "units::whole")]
    pub vhosts_max: u32,
    /// Most queues of one vhost.
    #[serde(deserialize_with = "units::whole")]
    pub queues_per_vhost_max: u32,
    /// Most bindings of one vhost.
    #[serde(deserialize_with = "units::whole")]
    pub bindings_per_vhost_max: u32,
    /// Most policies of one vhost, and as many operator policies.
    #[serde(deserialize_with = "units::whole")]
    pub policies_per_vhost_max: u32,
    /// Most parameters of the broker.
    #[serde(deserialize_with = "units::whole")]
    pub parameters_max: u32,
    /// Longest value of a parameter, in bytes of JSON.
    pub parameter_size_max: Size,
}

impl Default for TopologySettings {
    fn default() -> Self {
        Self {
            exchanges_per_vhost_max: 100_000,
            vhosts_max: 10_000,
            queues_per_vhost_max: 100_000,
            bindings_per_vhost_max: 10_000_000,
            policies_per_vhost_max: 1000,
            parameters_max: 10_000,
            parameter_size_max: Size::kib(256),
        }
    }
}

/// `[store]`: where messages are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// The folder for everything that must survive a restart.
    pub data_dir: PathBuf,
    /// Keep everything in memory and nothing in the folder.
    #[serde(deserialize_with = "units::yes_or_no")]
    pub in_memory: bool,
    /// When what was written is forced onto the disk.
    pub sync: SyncMode,
    /// Time between two syncs, with [`SyncMode::Interval`].
    #[serde(with = "units::duration")]
    pub sync_interval: Duration,
    /// Length at which a file of the journal is closed and the next one begun.
    pub segment_size: Size,
    /// Free space of the disk below which publishers are held back.
    pub free_space_min: Size,
    /// What happens at start when a record is damaged.
    pub on_damage: OnDamage,
    /// Share of the journal, in percent, that may belong to messages that are gone.
    #[serde(deserialize_with = "units::whole")]
    pub garbage_ratio_max: u8,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            data_dir: "rialto-data".into(),
            in_memory: false,
            sync: SyncMode::default(),
            sync_interval: Duration::from_millis(200),
            segment_size: Size::mib(64),
            free_space_min: Size::mib(512),
            on_damage: OnDamage::default(),
            garbage_ratio_max: 50,
        }
    }
}

/// `[auth]`: who may log in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSettings {
    /// The users by name: set anew at each start, beside those that were set at run time. If there are none at all, there
    /// will be `guest`.
    pub users: BTreeMap<String, UserSettings>,
    /// Whether the user `guest` may log in over loopback addresses only, as with RabbitMQ.
    #[serde(deserialize_with = "units::yes_or_no")]
    pub guest_loopback_only: bool,
    /// Most users.
    #[serde(deserialize_with = "units::whole")]
    pub users_max: u32,
    /// Memory that argon2id takes for a new password.
    pub hash_memory: Size,
    /// Passes over that memory.
    #[serde(deserialize_with = "units::whole")]
    pub hash_passes: u32,
    /// Rounds of PBKDF2 for SCRAM-SHA-256. 0: there is no SCRAM.
    #[serde(deserialize_with = "units::whole")]
    pub scram_rounds: u32,
    /// Slow checks of passwords that run at the same time.
    #[serde(deserialize_with = "units::whole")]
    pub hashes_at_once: u32,
    /// Logins whose password is being checked or waits for it.
    #[serde(deserialize_with = "units::whole")]
    pub pending_logins_max: u32,
    /// Failed logins of a user from an address that cost nothing yet.
    #[serde(deserialize_with = "units::whole")]
    pub failures_free: u32,
    /// What the first one after them costs; it doubles with each further one.
    #[serde(with = "units::duration")]
    pub failure_delay_min: Duration,
    /// The longest delay.
    #[serde(with = "units::duration")]
    pub failure_delay_max: Duration,
    /// After this long without one they are forgotten.
    #[serde(with = "units::duration")]
    pub failure_memory: Duration,
    /// Users and addresses whose failures are remembered.
    #[serde(deserialize_with = "units::whole")]
    pub failures_remembered_max: u32,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            users: BTreeMap::new(),
            guest_loopback_only: true,
            users_max: 100_000,
            hash_memory: Size::mib(19),
            hash_passes: 2,
            scram_rounds: 100_000,
            hashes_at_once: 2,
            pending_logins_max: 200,
            failures_free: 5,
            failure_delay_min: Duration::from_millis(250),
            failure_delay_max: Duration::from_secs(5),
            failure_memory: Duration::from_secs(15 * 60),
            failures_remembered_max: 10_000,
        }
    }
}

/// `[auth.users.NAME]`: one user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserSettings {
    /// The password, in clear text.
    pub password: Secret,
    /// What the user may do besides using vhosts.
    #[serde(default = "administrator", deserialize_with = "units::list")]
    pub tags: Vec<String>,
    /// What the user may do in vhosts. None: everything in every vhost.
    #[serde(default)]
    pub permissions: Option<BTreeMap<String, PermissionSettings>>,
}

fn administrator() -> Vec<String> {
    vec!["administrator".to_owned()]
}

/// What a user may do in one vhost: patterns of names. One that is left out allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PermissionSettings {
    /// What may be declared and deleted.
    pub configure: String,
    /// What may be published to.
    pub write: String,
    /// What may be consumed from.
    pub read: String,
}

/// `[vhosts]`: which vhosts there are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VhostSettings {
    /// Their names, each at most 255 bytes. At least one.
    #[serde(deserialize_with = "units::list")]
    pub names: Vec<String>,
}

impl Default for VhostSettings {
    fn default() -> Self {
        Self { names: vec!["/".to_owned()] }
    }
}

/// `[management]`: the HTTP API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ManagementSettings {
    /// Addresses to answer HTTP on. None: no HTTP API.
    #[serde(deserialize_with = "units::list")]
    pub listen: Vec<ListenAddress>,
    /// Addresses to answer HTTP on by TLS, with the certificates of `[tls]`.
    #[serde(deserialize_with = "units::list")]
    pub tls_listen: Vec<ListenAddress>,
    /// Most connections at a time.
    #[serde(deserialize_with = "units::whole")]
    pub connections_max: u32,
    /// How long a client may take to send the head of a request.
    #[serde(with = "units::duration")]
    pub header_timeout: Duration,
    /// How long a request may take, its body and its answer included.
    #[serde(with = "units::duration")]
    pub request_timeout: Duration,
    /// Longest body of a request.
    pub body_max: Size,
    /// Most rows in one page of a list.
    #[serde(deserialize_with = "units::whole")]
    pub page_max: u32,
    /// Most messages in one answer to a look into a queue.
    #[serde(deserialize_with = "units::whole")]
    pub peek_max: u32,
    /// Most messages that one look goes through.
    #[serde(deserialize_with = "units::whole")]
    pub peek_scan_max: u32,
    /// Most jobs that run at a time.
    #[serde(deserialize_with = "units::whole")]
    pub jobs_max: u32,
    /// Web sites, besides the API's own, whose pages may use it.
    #[serde(deserialize_with = "units::list")]
    pub origins: Vec<String>,
    /// The version of RabbitMQ whose HTTP API tools are told to find.
    pub announce_version: String,
    /// A file of definitions to take over at start; empty: none.
    pub load_definitions: PathBuf,
}

impl Default for ManagementSettings {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddress::new("127.0.0.1", 15672)],
            tls_listen: Vec::new(),
            connections_max: 256,
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            body_max: Size::mib(32),
            page_max: 500,
            peek_max: 1000,
            peek_scan_max: 50_000,
            jobs_max: 8,
            origins: Vec::new(),
            announce_version: "4.1.0".to_owned(),
            load_definitions: PathBuf::new(),
        }
    }
}

/// `[metrics]`: figures for Prometheus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsSettings {
    /// Addresses to answer scrapes on, to whoever asks. None: only the HTTP API answers them, to users.
    #[serde(deserialize_with = "units::list")]
    pub listen: Vec<ListenAddress>,
    /// How often counters are read for the rates of the HTTP API.
    #[serde(with = "units::duration")]
    pub sample_interval: Duration,
    /// Most queues, exchanges, connections and channels, of each, with lines of their own in one scrape.
    #[serde(deserialize_with = "units::whole")]
    pub objects_max: u32,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddress::new("127.0.0.1", 15692)],
            sample_interval: Duration::from_secs(5),
            objects_max: 10_000,
        }
    }
}

/// `[log]`: what is logged, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// The least serious events that are written.
    pub level: LogLevel,
    /// The shape of a line.
    pub format: LogFormat,
    /// The file that has a line of JSON for each administrative act; empty: none.
    pub audit_file: PathBuf,
}

/// `[tracing]`: where traces go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TracingSettings {
    /// The address of an OTLP collector that takes HTTP with protobuf; empty: none.
    pub otlp_endpoint: String,
    /// What the collector is told that this broker is called.
    pub service_name: String,
}

impl Default for TracingSettings {
    fn default() -> Self {
        Self { otlp_endpoint: String::new(), service_name: "rialto".to_owned() }
    }
}

//! Settings: `broker.toml`, the environment and the command line, as one checked value.
//!
//! [`load`] reads the layers in that order, the later winning, and answers with [`Settings`] or with an error
//! that says what is wrong, where it stands and what to write instead. Nothing of the broker runs before.
//! Invariants: a key that is not known is an error at every level; a `Settings` that was loaded is within all
//! limits; `broker.toml` in the repository lists exactly the known keys with their defaults (a test compares).
//! Not here: command-line parsing (`cli`), what a setting does (its owner).

mod error;
mod keys;
mod limits;
mod listen_address;
mod log;
mod policy;
mod secret;
mod settings;
mod sources;
mod store;
mod tls;
mod units;
mod words;

pub use error::ConfigError;
pub use listen_address::{ListenAddress, ListenAddressError};
pub use log::{LogFormat, LogLevel};
pub use policy::{PolicySettings, PolicyValue};
pub use secret::Secret;
pub use settings::{
    AmqpSettings, AuthSettings, LogSettings, ManagementSettings, MemorySettings, MetricsSettings,
    PermissionSettings, ProtocolSettings, QueueSettings, ServerSettings, Settings, StoreSettings,
    TopologySettings, TracingSettings, UserSettings, VhostSettings,
};
pub use sources::{ENVIRONMENT_PREFIX, FILE_NAME, Loaded, Overrides, Sources, load, parse_text};
pub use store::{OnDamage, SyncMode};
pub use tls::{CertificateSettings, ClientName, ClientVerify, TlsSettings, TlsVersion};
pub use units::Size;

//! What outlives the broker: messages in the journal, what was declared in the catalog, both in one data folder.
//!
//! The broker sees the journal as a [`Log`]; [`MemoryLog`] stands in where nothing is to outlive it. `FORMAT.md`, beside this
//! file, is the normative description of the journal's bytes. Disks stand behind [`Disk`], real and simulated.
//!
//! Invariant: a confirm or a declare of something durable is answered only when [`Log::committed`] has passed the
//! position of its record, and [`Catalog::committed`] the version of its change. Not here: what queues do with messages.

pub mod backup;
mod catalog;
pub mod check;
mod delivered;
mod disk;
mod file_disk;
pub mod journal;
mod log;
mod opening;
pub mod record;
pub mod recovery;
pub mod segment;
mod sim_disk;
#[doc(hidden)]
pub mod simulation;
#[cfg(test)]
pub(crate) mod testing;

pub use catalog::{
    BACKLOG_MAX, BindingEnd, BindingRow, Catalog, CatalogContents, CatalogError, CatalogHold, CatalogPumped,
    Change, ExchangeRow, ParameterRow, PermissionRow, PolicyRow, QueueRow, QueueUse, TopicPermissionRow,
    UserRow, VhostRow,
};
pub use disk::{Disk, DiskFile};
pub use file_disk::FileDisk;
pub use log::{
    Log, LogError, MemoryLog, Part, Position, PublishPart, RecordSlice, Role, StoredMessage, StoredTarget,
};
pub use opening::{Store, StoreError, StoreOptions};
pub use recovery::RestoredQueue;
pub use sim_disk::SimDisk;

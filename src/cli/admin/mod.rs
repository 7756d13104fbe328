//! Commands over the HTTP API: what an operator does, as one would say it (`rialto user add`, `rialto queue list`).
//!
//! Invariants: nothing is sent before the whole command line is checked; rows go to stdout, as a table or, with `--json`,
//! an object a line just as the API gave it; everything else goes to stderr; no password is ever in an argument, and none is shown
//! but one that was just made.
//! Rooms: `api` and `address` the way there; `listing` and `rows` what lists share; `filter` which messages are meant; the
//! others a noun each. Not here: what applications do (`declare`, `publish`, `consume`, …), which goes over Rialto's own protocol.

mod address;
mod api;
pub(super) mod connection;
pub(super) mod definitions;
pub(super) mod exchange;
pub(super) mod explain;
mod filter;
pub(super) mod health;
pub(super) mod job;
mod limit;
mod listing;
pub(super) mod log;
pub(super) mod message;
pub(super) mod parameter;
mod password;
pub(super) mod peek;
pub(super) mod permission;
pub(super) mod policy;
pub(super) mod queue;
mod rows;
pub(super) mod user;
pub(super) mod vhost;

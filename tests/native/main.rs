//! What the broker promises over the native protocol, feature by feature, over real sockets.
//!
//! Each file is a feature and reads as its specification. One binary, so that it links once.

#[path = "../support/mod.rs"]
mod support;

mod back_pressure;
mod confirms;
mod connections;
mod consuming;
mod dead_letters;
mod declaring;
mod expiry;
mod fairness;
mod getting;
mod interrupting;
mod listing;
mod max_length;
mod messages;
mod priorities;
mod reconnecting;
mod routing;
mod settling;
mod vhosts;

//! Running a broker: the commands over the HTTP API, what is logged, what is audited, and that no secret ever is.
//! All with the real binary on both sides.

#![cfg(unix)]

mod broker;
mod commands;
mod logging;
mod secrets;
mod starting;

//! A small blocking AMQP 0-9-1 client for tests: it says exactly what it is told to, and shows what it hears.
//!
//! Invariants: no thread, no task, no sleep; whatever must happen is awaited, and [`PATIENCE`] only turns a hang into
//! a failure. Nothing is answered behind the test's back except a close: `channel.close` and `connection.close`
//! always get their `-ok`, since every test wants that.
//! Not here: what an answer should be (the tests), the broker (a test starts it or is given an address).

// Each test binary uses its own part of this client.
#![allow(dead_code, unused_imports)]

mod client;
pub(crate) mod methods;
mod wire;

pub(crate) use client::{Client, Closed, Content, Event, Next, Options};
pub(crate) use wire::{PATIENCE, RawFrame, Wire, frame};

pub(crate) use rialto_protocol::amqp::*;
pub(crate) use rialto_protocol::types::{FieldTable, FieldValue, Properties, ShortStr};

//! Who may do what, over both protocols, HTTP and real sockets: the matrix of every operation and every right, that of
//! every route and every tag, and the ways to log in.
//!
//! Not here: the rules one by one and what is kept of users (`access` and `broker` test those themselves).

#[path = "../support/amqp/mod.rs"]
mod amqp;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "each test binary uses its own part of it")]
mod support;

mod audited;
mod connections;
mod http;
mod logins;
mod matrix;
mod over_amqp;
mod over_http;
mod over_native;
mod publishers;
mod routes;
mod world;

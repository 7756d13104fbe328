//! The HTTP API, over real sockets: what it answers, what it refuses, and RabbitMQ's own tool against it.

mod endpoints;
mod fixture;
mod limits;
mod objects;
mod refusals;
mod transcript;

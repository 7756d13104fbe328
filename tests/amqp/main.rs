//! AMQP 0-9-1 over real sockets, said by hand: what no good client says, and what good clients cannot time.
//!
//! `RIALTO_AMQP=host:port` runs the same tests against another broker: with RabbitMQ there, the expectations are
//! checked. What only we do is then passed over, with a word.
//! Not here: what clients see when all is well (`tests/conformance`), rules of queues and exchanges (`tests/native`).

#[path = "../support/amqp/mod.rs"]
mod amqp;
mod blocked;
mod contents;
mod fixture;
mod frames;
mod logging_in;
mod pipelining;
mod prefetch;
mod reply_codes;
mod requeue;

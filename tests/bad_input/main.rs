//! Bad input over real sockets: each peer here breaks a rule of `protocol/SPEC.md`. Each gets the error that the
//! document promises, nothing of it is left behind, and other connections do not notice.

mod arguments;
mod channels;
mod consuming;
mod frames;
mod limits;
mod publishing;
mod slow;
mod starting;
mod support;

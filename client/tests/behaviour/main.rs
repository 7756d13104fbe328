//! The client against a scripted broker: what it says, and what it does with what it hears. In `cut`, against
//! the broker itself over connections that break.

mod consuming;
mod cut;
mod fake;
mod login;
mod publishing;
mod reconnecting;
mod requests;

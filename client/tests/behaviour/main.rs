//! The client against a scripted broker: what it says, and what it does with what it hears.

mod consuming;
mod fake;
mod login;
mod publishing;
mod reconnecting;
mod requests;

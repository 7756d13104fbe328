//! rialto

pub mod config;

//! Which events are written: one level for all, others for single rooms of the broker.
//!
//! Invariants: a room's level says more than the level for all; audit lines are written at every level but `off`; crates that are not
//! ours say only what is wrong, since what they tell below that is for their authors, and may quote what peers sent.

use std::collections::BTreeMap;

use thiserror::Error;
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::AUDIT;
use crate::config::LogLevel;

/// The rooms that may have a level of their own: the folders of `src`.
pub const ROOMS: [&str; 12] = [
    "access", "admin", "broker", "cli", "config", "log", "queue", "routing", "server", "session", "store",
    "tls",
];

/// Crates of ours: their levels are those of the settings.
const OURS: [&str; 3] = ["rialto", "rialto_client", "rialto_protocol"];

/// There is no such room.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{room:?} is not a part of the broker that logs; choose one of {}", ROOMS.join(", "))]
pub struct UnknownRoom {
    /// What was asked for.
    pub room: String,
}

/// The levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    /// Of everything that has no level of its own.
    pub level: LogLevel,
    rooms: BTreeMap<&'static str, LogLevel>,
}

impl Levels {
    /// One level for all.
    pub fn new(level: LogLevel) -> Self {
        Levels { level, rooms: BTreeMap::new() }
    }

    /// The levels of single rooms, by their names.
    pub fn rooms(&self) -> &BTreeMap<&'static str, LogLevel> {
        &self.rooms
    }

    /// Gives a room a level of its own, or takes it away.
    ///
    /// # Errors
    /// There is no such room; nothing is changed.
    pub fn set_room(&mut self, room: &str, level: Option<LogLevel>) -> Result<(), UnknownRoom> {
        let known = ROOMS.iter().find(|known| **known == room);
        let known = known.ok_or_else(|| UnknownRoom { room: room.chars().take(64).collect() })?;
        match level {
            Some(level) => drop(self.rooms.insert(known, level)),
            None => drop(self.rooms.remove(known)),
        }
        Ok(())
    }

    /// As `tracing` wants it.
    pub(super) fn targets(&self) -> Targets {
        let others = filter(self.level).min(LevelFilter::WARN);
        let audit = filter(self.level).min(LevelFilter::INFO);
        let audit = if audit == LevelFilter::OFF { audit } else { LevelFilter::INFO };
        Targets::new()
            .with_default(others)
            .with_targets(OURS.map(|name| (name, filter(self.level))))
            .with_targets(self.rooms.iter().map(|(room, level)| (format!("rialto::{room}"), filter(*level))))
            .with_target(AUDIT, audit)
            // Spans are for a collector; lines would repeat them.
            .with_target(super::TRACES, LevelFilter::OFF)
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn a_rooms_level_says_more_than_the_one_for_all() {
        let mut levels = Levels::new(LogLevel::Warn);
        levels.set_room("session", Some(LogLevel::Debug)).unwrap();
        let targets = levels.targets();
        assert!(targets.would_enable("rialto::session::amqp", &Level::DEBUG));
        assert!(!targets.would_enable("rialto::session::amqp", &Level::TRACE));
        assert!(!targets.would_enable("rialto::broker", &Level::INFO));
        levels.set_room("session", None).unwrap();
        assert!(!levels.targets().would_enable("rialto::session::amqp", &Level::DEBUG));
    }

    #[test]
    fn other_crates_say_only_what_is_wrong() {
        let targets = Levels::new(LogLevel::Trace).targets();
        assert!(targets.would_enable("rialto_client", &Level::TRACE));
        assert!(targets.would_enable("hyper::proto", &Level::WARN));
        assert!(!targets.would_enable("hyper::proto", &Level::INFO));
        assert!(!Levels::new(LogLevel::Error).targets().would_enable("hyper::proto", &Level::WARN));
    }

    #[test]
    fn audit_lines_are_written_at_every_level_but_off() {
        for level in [LogLevel::Error, LogLevel::Warn, LogLevel::Trace] {
            assert!(Levels::new(level).targets().would_enable(AUDIT, &Level::INFO), "{level}");
        }
        assert!(!Levels::new(LogLevel::Off).targets().would_enable(AUDIT, &Level::INFO));
    }

    #[test]
    fn a_room_that_is_not_there_is_refused_with_those_that_are() {
        let mut levels = Levels::new(LogLevel::Info);
        let error = levels.set_room("sesion", Some(LogLevel::Debug)).unwrap_err();
        assert!(error.to_string().contains("\"sesion\"") && error.to_string().contains("session"), "{error}");
        assert_eq!(levels, Levels::new(LogLevel::Info));
    }
}

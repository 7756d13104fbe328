//! The prefetch limit of a whole channel (`basic.qos` with `global`), shared by its consumers on many queues.
//!
//! Invariants: at most `limit` places are taken (except after the limit was lowered); a queue that found no
//! place left a note, so whoever gives places back knows that somebody waits.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

/// Counts the unacknowledged messages of a channel over all its consumers.
///
/// The only value that queues share with each other. After a settle, the channel asks
/// [`ChannelWindow::take_waiting`] and, if told so, calls [`super::Queue::channel_has_room`] and
/// [`super::Queue::dispatch`] for its consumers.
#[derive(Debug, Default)]
pub struct ChannelWindow {
    taken: AtomicU32,
    limit: AtomicU32,
    waiting: AtomicBool,
}

impl ChannelWindow {
    /// A window of `limit` messages; 0 is unlimited.
    pub fn new(limit: u32) -> Self {
        ChannelWindow { limit: AtomicU32::new(limit), ..Self::default() }
    }

    /// Whether there is a limit now.
    pub fn is_limited(&self) -> bool {
        self.limit.load(SeqCst) > 0
    }

    /// Changes the limit; 0 is unlimited. Messages that are out stay out.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, SeqCst);
    }

    /// Messages that are out.
    pub fn taken(&self) -> u32 {
        self.taken.load(SeqCst)
    }

    /// Takes a place, or leaves a note that somebody waits for one.
    pub fn try_take(&self) -> bool {
        if self.try_take_once() {
            return true;
        }
        self.waiting.store(true, SeqCst);
        // A place given back before the note was there would go unnoticed.
        self.try_take_once()
    }

    fn try_take_once(&self) -> bool {
        let limit = self.limit.load(SeqCst);
        let room = |taken: u32| (limit == 0 || taken < limit).then(|| taken.saturating_add(1));
        self.taken.fetch_update(SeqCst, SeqCst, room).is_ok()
    }

    /// Counts messages that were out before there was a window, whatever the limit.
    pub fn take_along(&self, count: u32) {
        let more = |taken: u32| Some(taken.saturating_add(count));
        let _always = self.taken.fetch_update(SeqCst, SeqCst, more);
    }

    /// Whether there is a place; if not, leaves a note that somebody waits for one.
    pub fn has_room_or_wait(&self) -> bool {
        if self.has_room() {
            return true;
        }
        self.waiting.store(true, SeqCst);
        self.has_room()
    }

    fn has_room(&self) -> bool {
        let limit = self.limit.load(SeqCst);
        limit == 0 || self.taken.load(SeqCst) < limit
    }

    /// Gives places back.
    pub fn give_back(&self, count: u32) {
        let rest = |taken: u32| Some(taken.saturating_sub(count));
        let _always = self.taken.fetch_update(SeqCst, SeqCst, rest);
    }

    /// Whether somebody waits and there is room: then the caller must let the channel's consumers know.
    /// The note is removed.
    pub fn take_waiting(&self) -> bool {
        self.has_room() && self.waiting.swap(false, SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_window_remembers_who_waits() {
        let window = ChannelWindow::new(2);
        assert!(window.try_take() && window.try_take());
        assert!(!window.take_waiting(), "nobody waits yet");
        assert!(!window.try_take());
        assert!(!window.take_waiting(), "there is no room yet");
        window.give_back(1);
        assert!(window.take_waiting());
        assert!(!window.take_waiting(), "told once");
    }

    #[test]
    fn zero_is_unlimited() {
        let window = ChannelWindow::new(0);
        assert!((0..1000).all(|_| window.try_take()));
        assert_eq!(window.taken(), 1000);
    }
}

//! Keys seen lately: how a queue or an exchange knows that a message came before.
//!
//! Publishers put a key into a header; a message whose key is in the window is a duplicate. The window forgets a
//! key when its time is over, or when it is full and the key is the oldest. A duplicate does not make its key
//! stay longer, so a publisher that repeats itself for ever is heard again from time to time.
//!
//! Invariants: at most `size` keys of at most [`DEDUPLICATION_KEY_LEN_MAX`] bytes, whatever peers send; a key is found until
//! its time is over or `size` newer ones have come, and never after. Pure: the caller gives the time.
//! Not here: what becomes of a duplicate (`queue`, `broker`).

use std::collections::VecDeque;
use std::sync::Arc;

use ahash::{AHashMap, RandomState};
use bytes::BytesMut;
use rialto_protocol::types::{FieldTable, FieldValue, ShortStr};

use super::{ConnectionId, EXPIRY_MS_MAX, Timestamp};

/// Keys that a window remembers if `x-cache-size` does not say.
pub const DEDUPLICATION_SIZE: usize = 10_000;

/// Most keys that a window may be asked to remember: about 100 bytes each, or more if keys are long.
pub const DEDUPLICATION_SIZE_MAX: usize = 1_000_000;

/// Longest key that is kept as it is, in bytes. Of a longer one the start and a 128-bit hash are kept.
pub const DEDUPLICATION_KEY_LEN_MAX: usize = 256;

/// The header with the message's key, if `x-deduplication-header` does not name another.
const HEADER: &str = "x-deduplication-header";

/// How duplicates are recognised: the arguments of a queue or an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeduplicationOptions {
    /// `x-cache-size`: how many keys are remembered.
    pub size: usize,
    /// `x-cache-ttl`: for how many milliseconds; none is until they are pushed out.
    pub ttl_ms: Option<u64>,
    /// `x-deduplication-header`: the header that has the key.
    pub header: ShortStr,
}

/// An argument that has a value it cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentProblem {
    /// Its name.
    pub arg: &'static str,
    /// What is wrong with it, in the shape of RabbitMQ's texts.
    pub problem: String,
}

/// What a message says about its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeduplicationKey {
    /// The key, with its type: the number 5 and the text "5" are two keys.
    pub key: BytesMut,
    /// The message's own `x-cache-ttl` in milliseconds, which replaces the window's.
    pub ttl_ms: Option<u64>,
}

impl DeduplicationOptions {
    /// Reads the arguments of a declare. None: duplicates are not looked for.
    ///
    /// # Errors
    /// The first argument that is wrong.
    pub fn from_arguments(arguments: &FieldTable) -> Result<Option<Self>, ArgumentProblem> {
        const ON: &str = "x-message-deduplication";
        match arguments.get(ON) {
            None | Some(FieldValue::Bool(false)) => return Ok(None),
            Some(FieldValue::Bool(true)) => {}
            Some(other) => return Err(unacceptable(ON, other)),
        }
        let size = positive(arguments, "x-cache-size", DEDUPLICATION_SIZE_MAX as u64)?;
        let header = match arguments.get(HEADER) {
            None => HEADER,
            Some(value) => value.as_str().ok_or_else(|| unacceptable(HEADER, value))?,
        };
        let header = ShortStr::new(header).map_err(|_| too_long(HEADER))?;
        Ok(Some(DeduplicationOptions {
            size: size.map_or(DEDUPLICATION_SIZE, |size| size as usize),
            ttl_ms: positive(arguments, "x-cache-ttl", EXPIRY_MS_MAX)?,
            header,
        }))
    }

    /// The key of a message with these headers. None: it has none, and is no duplicate of anything.
    pub fn key_of(&self, headers: &FieldTable) -> Option<DeduplicationKey> {
        let value = headers.get(&self.header)?;
        let mut key = BytesMut::new();
        match value.as_int() {
            Some(number) => FieldTable::new().with("", number).encode(&mut key),
            None => FieldTable::new().with("", value.clone()).encode(&mut key),
        }
        let ttl_ms = headers.get("x-cache-ttl").and_then(number).and_then(|ttl| u64::try_from(ttl).ok());
        Some(DeduplicationKey { key, ttl_ms })
    }
}

/// An integer from 1, as a number or (the plugin's own examples do that) as text.
fn positive(arguments: &FieldTable, arg: &'static str, max: u64) -> Result<Option<u64>, ArgumentProblem> {
    let Some(value) = arguments.get(arg) else { return Ok(None) };
    let given = number(value).ok_or_else(|| unacceptable(arg, value))?;
    let problem = match u64::try_from(given) {
        Err(_) => "value_negative",
        Ok(0) => "value_zero",
        Ok(value) if value > max => "value_too_big",
        Ok(value) => return Ok(Some(value)),
    };
    Err(ArgumentProblem { arg, problem: format!("{{{problem},{given}}}") })
}

fn number(value: &FieldValue) -> Option<i64> {
    value.as_int().or_else(|| value.as_str()?.parse().ok())
}

fn unacceptable(arg: &'static str, value: &FieldValue) -> ArgumentProblem {
    ArgumentProblem { arg, problem: format!("{{unacceptable_type,{}}}", value.type_name()) }
}

fn too_long(arg: &'static str) -> ArgumentProblem {
    ArgumentProblem { arg, problem: "value_too_long".into() }
}

/// The keys seen lately. See the module's description.
#[derive(Debug)]
pub struct Deduplication {
    size: usize,
    ttl_ms: Option<u64>,
    seen: AHashMap<Arc<[u8]>, Seen>,
    /// In order of arrival. A record is stale if its number is not the key's: the key was forgotten, or came again.
    order: VecDeque<(Arc<[u8]>, u64)>,
    next_number: u64,
    folding: [RandomState; 2],
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    until: Timestamp,
    number: u64,
    /// Whose message it is whose fate is not known yet.
    claimed_by: Option<ConnectionId>,
}

/// What a window knows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownKey {
    /// Nothing: it was not seen lately.
    New,
    /// A message of this publisher has it, of which it is not known yet whether it comes to anything.
    Claimed(ConnectionId),
    /// A message has it that is there, or was.
    Kept,
}

impl Deduplication {
    /// An empty window for `size` keys (at least one), each remembered for `ttl_ms` milliseconds, or until it is
    /// pushed out.
    pub fn new(size: usize, ttl_ms: Option<u64>) -> Self {
        Deduplication {
            size: size.max(1),
            ttl_ms,
            seen: AHashMap::new(),
            order: VecDeque::new(),
            next_number: 0,
            folding: [RandomState::new(), RandomState::new()],
        }
    }

    /// What is known of a key. If nothing is, it is claimed for a message of this publisher, until [`Deduplication::keep`] or
    /// [`Deduplication::forget`]. `ttl_ms` is the message's own.
    pub fn claim(&mut self, key: &[u8], ttl_ms: Option<u64>, now: Timestamp, by: ConnectionId) -> KnownKey {
        match self.known(key, now) {
            None => {
                self.put(key, ttl_ms, now, Some(by));
                KnownKey::New
            }
            Some(Seen { claimed_by: Some(by), .. }) => KnownKey::Claimed(by),
            Some(Seen { claimed_by: None, .. }) => KnownKey::Kept,
        }
    }

    /// The message that has claimed a key is there.
    pub fn keep(&mut self, key: &[u8]) {
        let mut room = [0; DEDUPLICATION_KEY_LEN_MAX];
        let key = self.fold(key, &mut room);
        if let Some(seen) = self.seen.get_mut(key) {
            seen.claimed_by = None;
        }
    }

    fn known(&self, key: &[u8], now: Timestamp) -> Option<Seen> {
        let mut room = [0; DEDUPLICATION_KEY_LEN_MAX];
        self.seen.get(self.fold(key, &mut room)).copied().filter(|seen| now < seen.until)
    }

    /// Whether the key was seen lately.
    pub fn contains(&self, key: &[u8], now: Timestamp) -> bool {
        self.known(key, now).is_some()
    }

    /// Remembers the key of a message that is there, unless it is remembered already. `ttl_ms` is the message's own.
    pub fn insert(&mut self, key: &[u8], ttl_ms: Option<u64>, now: Timestamp) {
        if !self.contains(key, now) {
            self.put(key, ttl_ms, now, None);
        }
    }

    fn put(&mut self, key: &[u8], ttl_ms: Option<u64>, now: Timestamp, claimed_by: Option<ConnectionId>) {
        self.forget_expired(now);
        let mut room = [0; DEDUPLICATION_KEY_LEN_MAX];
        let key: Arc<[u8]> = Arc::from(self.fold(key, &mut room));
        if self.seen.len() >= self.size && !self.seen.contains_key(&key) {
            self.forget_oldest();
        }
        let until = ttl_ms.or(self.ttl_ms).map_or(Timestamp::NEVER, |ttl| now.plus_millis(ttl));
        let number = self.next_number;
        self.next_number += 1;
        self.seen.insert(key.clone(), Seen { until, number, claimed_by });
        self.order.push_back((key, number));
        if self.order.len() > 2 * self.size {
            // Keys with a short time, again and again behind one with a long time.
            let seen = &self.seen;
            self.order.retain(|(key, number)| seen.get(key).is_some_and(|seen| seen.number == *number));
        }
    }

    /// Forgets a key: its message came to nothing.
    pub fn forget(&mut self, key: &[u8]) {
        let mut room = [0; DEDUPLICATION_KEY_LEN_MAX];
        let key = self.fold(key, &mut room);
        self.seen.remove(key);
    }

    /// How many keys it remembers, some of which may be past their time.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether it remembers none.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Drops records from the front while they are stale or their keys are past their time.
    fn forget_expired(&mut self, now: Timestamp) {
        while let Some((key, number)) = self.order.front() {
            match self.seen.get(key) {
                Some(seen) if seen.number == *number && now < seen.until => break,
                Some(seen) if seen.number == *number => {
                    self.seen.remove(key);
                }
                _ => {}
            }
            self.order.pop_front();
        }
    }

    fn forget_oldest(&mut self) {
        while let Some((key, number)) = self.order.pop_front() {
            if self.seen.get(&key).is_some_and(|seen| seen.number == number) {
                self.seen.remove(&key);
                return;
            }
        }
    }

    /// The key, or what stands for one that is too long to be kept.
    fn fold<'a>(&self, key: &'a [u8], room: &'a mut [u8; DEDUPLICATION_KEY_LEN_MAX]) -> &'a [u8] {
        if key.len() < DEDUPLICATION_KEY_LEN_MAX {
            return key;
        }
        const HASHES: usize = 16;
        let start = DEDUPLICATION_KEY_LEN_MAX - HASHES;
        room[..start].copy_from_slice(&key[..start]);
        room[start..start + 8].copy_from_slice(&self.folding[0].hash_one(key).to_be_bytes());
        room[start + 8..].copy_from_slice(&self.folding[1].hash_one(key).to_be_bytes());
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the key was seen lately; if not, it is now.
    fn is_duplicate(window: &mut Deduplication, key: &[u8], ttl_ms: Option<u64>, now: Timestamp) -> bool {
        let known = window.contains(key, now);
        window.insert(key, ttl_ms, now);
        known
    }

    #[test]
    fn a_key_is_its_claimers_until_it_is_known_what_came_of_it() {
        let mut window = Deduplication::new(10, Some(100));
        let claim = |window: &mut Deduplication, by| window.claim(b"a", None, at(0), ConnectionId(by));
        assert_eq!(claim(&mut window, 1), KnownKey::New);
        assert_eq!(claim(&mut window, 2), KnownKey::Claimed(ConnectionId(1)));
        window.forget(b"a");
        assert_eq!(claim(&mut window, 2), KnownKey::New);
        window.keep(b"a");
        window.keep(b"never seen");
        assert_eq!(claim(&mut window, 1), KnownKey::Kept);
        assert_eq!(window.claim(b"a", None, at(100), ConnectionId(3)), KnownKey::New, "its time is over");
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn options(arguments: FieldTable) -> Result<Option<DeduplicationOptions>, ArgumentProblem> {
        DeduplicationOptions::from_arguments(&arguments.with("x-message-deduplication", true))
    }

    #[test]
    fn a_key_is_a_duplicate_until_its_time_is_over() {
        let mut window = Deduplication::new(10, Some(100));
        assert!(!is_duplicate(&mut window, b"a", None, at(0)));
        assert!(is_duplicate(&mut window, b"a", None, at(99)));
        assert!(!is_duplicate(&mut window, b"a", None, at(100)), "the duplicate did not make it stay longer");
        assert!(is_duplicate(&mut window, b"a", None, at(150)));
    }

    #[test]
    fn a_message_can_have_its_own_time() {
        let mut window = Deduplication::new(10, Some(100));
        assert!(!is_duplicate(&mut window, b"short", Some(10), at(0)));
        assert!(!is_duplicate(&mut window, b"long", Some(1000), at(0)));
        assert!(!is_duplicate(&mut window, b"short", Some(10), at(10)));
        assert!(is_duplicate(&mut window, b"long", None, at(999)));
    }

    #[test]
    fn the_oldest_key_makes_room() {
        let mut window = Deduplication::new(2, None);
        for key in [b"a", b"b", b"c"] {
            assert!(!is_duplicate(&mut window, key, None, at(0)));
        }
        assert!(window.contains(b"b", at(0)) && window.contains(b"c", at(0)));
        assert!(!window.contains(b"a", at(0)));
        assert_eq!(window.len(), 2);
    }

    #[test]
    fn a_key_that_comes_again_after_its_time_is_young_again() {
        let mut window = Deduplication::new(2, Some(10));
        window.insert(b"a", Some(1), at(0));
        window.insert(b"b", Some(1000), at(0));
        window.insert(b"a", Some(1000), at(5));
        window.insert(b"c", Some(1000), at(5));
        assert!(!window.contains(b"b", at(5)), "the oldest one went");
        assert!(window.contains(b"a", at(5)) && window.contains(b"c", at(5)));
    }

    #[test]
    fn records_do_not_add_up_behind_a_key_that_stays() {
        let mut window = Deduplication::new(10, Some(1));
        window.insert(b"stays", Some(1_000_000), at(0));
        for ms in 0..10_000 {
            is_duplicate(&mut window, &[(ms % 3) as u8], None, at(ms));
            assert!(window.order.len() <= 20 && window.len() <= 10);
        }
        assert!(window.contains(b"stays", at(10_000)));
    }

    #[test]
    fn long_keys_are_told_apart_and_not_kept_whole() {
        let mut window = Deduplication::new(10, None);
        let mut key = vec![7; 100_000];
        assert!(!is_duplicate(&mut window, &key, None, at(0)));
        assert!(is_duplicate(&mut window, &key, None, at(0)));
        key[99_999] = 8;
        assert!(!is_duplicate(&mut window, &key, None, at(0)), "they differ in the last byte");
        assert!(window.seen.keys().all(|key| key.len() <= DEDUPLICATION_KEY_LEN_MAX));
    }

    #[test]
    fn arguments_have_defaults_and_limits() {
        assert_eq!(DeduplicationOptions::from_arguments(&FieldTable::new()), Ok(None));
        let defaults = options(FieldTable::new()).unwrap().unwrap();
        assert_eq!((defaults.size, defaults.ttl_ms), (DEDUPLICATION_SIZE, None));
        assert_eq!(defaults.header.as_str(), "x-deduplication-header");
        let given = FieldTable::new()
            .with("x-cache-size", "5")
            .with("x-cache-ttl", 60_000)
            .with("x-deduplication-header", "id");
        let given = options(given).unwrap().unwrap();
        assert_eq!((given.size, given.ttl_ms, given.header.as_str()), (5, Some(60_000), "id"));
        for (arg, value, problem) in [
            ("x-cache-size", FieldValue::I32(0), "{value_zero,0}"),
            ("x-cache-size", FieldValue::I64(1_000_001), "{value_too_big,1000001}"),
            ("x-cache-size", "many".into(), "{unacceptable_type,longstr}"),
            ("x-cache-ttl", FieldValue::I32(-1), "{value_negative,-1}"),
            ("x-deduplication-header", FieldValue::I32(1), "{unacceptable_type,signedint}"),
        ] {
            let wrong = options(FieldTable::new().with(arg, value)).unwrap_err();
            assert_eq!((wrong.arg, wrong.problem.as_str()), (arg, problem));
        }
    }

    #[test]
    fn keys_differ_by_type_but_not_by_the_width_of_a_number() {
        let options = options(FieldTable::new()).unwrap().unwrap();
        let key = |value: FieldValue| {
            options.key_of(&FieldTable::new().with("x-deduplication-header", value)).unwrap().key
        };
        assert_eq!(key(FieldValue::U8(5)), key(FieldValue::I64(5)));
        assert_ne!(key(FieldValue::U8(5)), key("5".into()));
        assert_eq!(options.key_of(&FieldTable::new()), None);
    }
}

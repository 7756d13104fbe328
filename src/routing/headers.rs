//! Headers exchanges: the binding's arguments are tests on the message's headers.
//!
//! A binding waits in the bucket of a header that it needs (`all`: its rarest one; `any`: each), so a message
//! looks only at bindings with which it shares a header. A bucket only proposes; the rule decides.
//!
//! Invariant: a binding is in exactly the buckets that its entry lists, or among `always`.

use std::hash::{BuildHasher, Hash, Hasher};

use ahash::{HashMap, RandomState};
use rialto_protocol::types::{FieldTable, FieldValue, ShortStr};

use super::error::BindError;
use super::id_set::IdSet;

const X_MATCH: &str = "x-match";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    All,
    Any,
}

/// The tests of one binding.
#[derive(Debug, PartialEq)]
pub(super) struct HeaderTests {
    need: Need,
    tests: Vec<(ShortStr, FieldValue)>,
}

impl HeaderTests {
    /// Reads a binding's arguments. Without `x-match`: all.
    pub(super) fn new(arguments: Option<&FieldTable>) -> Result<Self, BindError> {
        let Some(arguments) = arguments else {
            return Ok(HeaderTests { need: Need::All, tests: Vec::new() });
        };
        let (need, with_x) = match arguments.get(X_MATCH) {
            None => (Need::All, false),
            Some(FieldValue::LongStr(text)) => match &text[..] {
                b"all" => (Need::All, false),
                b"any" => (Need::Any, false),
                b"all-with-x" => (Need::All, true),
                b"any-with-x" => (Need::Any, true),
                other => {
                    return Err(BindError::MatchValue(ShortStr::truncated(String::from_utf8_lossy(other))));
                }
            },
            Some(other) => return Err(BindError::MatchType(other.type_name())),
        };
        let tests = arguments
            .iter()
            .filter(|(name, _)| if with_x { &***name != X_MATCH } else { !name.starts_with("x-") })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Ok(HeaderTests { need, tests })
    }

    /// Whether headers meet the tests. No tests at all: `all` is met and `any` is not.
    pub(super) fn matches(&self, headers: &FieldTable) -> bool {
        let met = |(name, wanted): &(ShortStr, FieldValue)| {
            headers.get(name).is_some_and(|value| *wanted == FieldValue::Void || same_value(wanted, value))
        };
        match self.need {
            Need::All => self.tests.iter().all(met),
            Need::Any => self.tests.iter().any(met),
        }
    }
}

/// A value as comparisons see it.
///
/// RabbitMQ compares the values and not their type octets (`rabbit_exchange_type_headers`, Erlang's `==`): numbers
/// of every width, timestamps and whole floats by what they count, strings and byte arrays by their bytes. A
/// number is never equal to the text that spells it.
#[derive(PartialEq)]
enum Class<'a> {
    Int(i128),
    Float(f64),
    Text(&'a [u8]),
    Bool(bool),
    Other,
}

fn class(value: &FieldValue) -> Class<'_> {
    match value {
        FieldValue::F32(n) => float_class(f64::from(*n)),
        FieldValue::F64(n) => float_class(*n),
        FieldValue::Timestamp(seconds) => Class::Int(i128::from(*seconds)),
        FieldValue::LongStr(bytes) | FieldValue::Bytes(bytes) => Class::Text(bytes),
        FieldValue::Bool(value) => Class::Bool(*value),
        other => other.as_int().map_or(Class::Other, |n| Class::Int(i128::from(n))),
    }
}

fn float_class(n: f64) -> Class<'static> {
    // Beyond this no integer on the wire can be equal to it.
    let whole = n.fract() == 0.0 && n.abs() < 1e30;
    if whole { Class::Int(n as i128) } else { Class::Float(n) }
}

fn same_value(left: &FieldValue, right: &FieldValue) -> bool {
    match (left, right) {
        (FieldValue::Array(left), FieldValue::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same_nested(left, right))
        }
        (FieldValue::Table(left), FieldValue::Table(right)) => {
            left.len() == right.len()
                && left.iter().zip(right.iter()).all(|((left_name, left), (right_name, right))| {
                    left_name == right_name && same_nested(left, right)
                })
        }
        (FieldValue::Decimal(..), FieldValue::Decimal(..)) | (FieldValue::Void, FieldValue::Void) => {
            left == right
        }
        _ => match (class(left), class(right)) {
            (Class::Other, _) | (_, Class::Other) => false,
            (left, right) => left == right,
        },
    }
}

/// Inside arrays and tables the types are compared too.
fn same_nested(left: &FieldValue, right: &FieldValue) -> bool {
    left.type_name() == right.type_name() && same_value(left, right)
}

#[derive(Debug)]
struct HeaderBinding {
    tests: HeaderTests,
    target: u32,
    /// Where it waits.
    buckets: Vec<u64>,
}

/// The bindings of one headers exchange, each under its row's number.
#[derive(Debug, Default)]
pub(super) struct HeadersIndex {
    bindings: HashMap<u32, HeaderBinding>,
    /// Row numbers by the hash of a header that they need.
    buckets: HashMap<u64, IdSet>,
    /// Targets of bindings without tests.
    always: IdSet,
    hasher: RandomState,
}

impl HeadersIndex {
    fn bucket_of(&self, name: &str, value: &FieldValue) -> u64 {
        let mut state = self.hasher.build_hasher();
        name.hash(&mut state);
        match value {
            FieldValue::Void => 0_u8.hash(&mut state),
            value => match class(value) {
                Class::Int(n) => (1_u8, n).hash(&mut state),
                Class::Float(n) => (2_u8, n.to_bits()).hash(&mut state),
                Class::Text(bytes) => (3_u8, bytes).hash(&mut state),
                Class::Bool(value) => (4_u8, value).hash(&mut state),
                Class::Other => 5_u8.hash(&mut state),
            },
        }
        state.finish()
    }

    pub(super) fn insert(&mut self, row: u32, tests: HeaderTests, target: u32) {
        let mut buckets: Vec<u64> =
            tests.tests.iter().map(|(name, value)| self.bucket_of(name, value)).collect();
        buckets.sort_unstable();
        buckets.dedup();
        if tests.need == Need::All {
            let size = |bucket: &u64| self.buckets.get(bucket).map_or(0, IdSet::len);
            buckets = buckets.into_iter().min_by_key(size).into_iter().collect();
            if buckets.is_empty() {
                self.always.add(target);
            }
        }
        for bucket in &buckets {
            self.buckets.entry(*bucket).or_default().add(row);
        }
        self.bindings.insert(row, HeaderBinding { tests, target, buckets });
    }

    pub(super) fn remove(&mut self, row: u32) {
        let Some(binding) = self.bindings.remove(&row) else { return };
        for bucket in &binding.buckets {
            if let Some(rows) = self.buckets.get_mut(bucket) {
                rows.remove(row);
                if rows.is_empty() {
                    self.buckets.remove(bucket);
                }
            }
        }
        if binding.tests.need == Need::All && binding.buckets.is_empty() {
            self.always.remove(binding.target);
        }
    }

    /// Adds the targets of every binding that matches; a target may come more than once.
    pub(super) fn route(&self, headers: &FieldTable, found: &mut Vec<u32>) {
        found.extend_from_slice(self.always.as_slice());
        for (name, value) in headers.iter() {
            let presence = self.bucket_of(name, &FieldValue::Void);
            self.propose(presence, headers, found);
            let exact = self.bucket_of(name, value);
            if exact != presence {
                self.propose(exact, headers, found);
            }
        }
    }

    fn propose(&self, bucket: u64, headers: &FieldTable, found: &mut Vec<u32>) {
        let rows = self.buckets.get(&bucket).map_or(&[][..], IdSet::as_slice);
        let bindings = rows.iter().filter_map(|row| self.bindings.get(row));
        found.extend(bindings.filter(|b| b.tests.matches(headers)).map(|b| b.target));
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.bindings.is_empty() && self.buckets.is_empty() && self.always.is_empty()
    }
}
